"""What the documentation names is there: modules, files, commands and their options; made pages are current."""

import argparse
import functools
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "Testing" / "slicer_host" / "README.md",
    *sorted((ROOT / "Resources" / "Docs").glob("*.md")),
    *sorted((ROOT / "Resources").glob("*/*/docs/README.md")),
]
"""All but the changelog, which also tells what things were called before."""
PLACES = (ROOT, ROOT / "COFGenerator", ROOT / "COFTraining")
FLOORS = {"COFGeneratorLib": "COFGenerator", "COFTrainingLib": "COFTraining"}
ROOMS = {
    path.name: floor for floor, folder in FLOORS.items() for path in (ROOT / folder / floor).iterdir() if path.is_dir()
}
ENDINGS = (
    "json", "jsonl", "csv", "png", "gif", "html", "nrrd", "seq", "mrb", "safetensors", "dat", "hea", "md", "py", "toml",
)  # fmt: skip
"""Of file names, which look like dotted names."""


@pytest.fixture(params=PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def page(request) -> str:
    return request.param.read_text("utf-8")


def commands_in(text: str) -> list[list[str]]:
    """Return the words of every command line in the code of a page, continued lines joined."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    lines = re.sub(r"\\\n\s*", "", "\n".join(blocks)).splitlines()
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [re.split(r"\s#\s|\s{3,}| \| ", line.strip())[0].split() for line in lines]
    return [words for words in lines if len(words) > 1]


def made_by_a_recipe(text: str) -> set[str]:
    """Return the files that a page tells how to make."""
    return set(re.findall(r"^# (COF\S+)$", text, re.MULTILINE))


def test_files_that_are_named_exist(page):
    names = re.findall(r"(?<![\w/.-])(?:…/)?((?:COF\w+|Resources|Testing)/[\w./-]*\w)", page)
    absent = [name for name in names if not any((place / name).exists() for place in PLACES)]
    assert sorted(set(absent) - made_by_a_recipe(page)) == []


def test_modules_and_names_that_are_named_exist(page):
    absent = []
    for dotted in re.findall(r"(?<![\w/.])((?:COFGeneratorLib|COFTrainingLib)(?:\.\w+)+)", page):
        absent += [dotted] * (not exists(dotted))
    for dotted in re.findall(r"`((?:\w+\.)+\w+)(?:\([^`]*\))?`", page):
        first, *_, last = dotted.split(".")
        if first in ROOMS and last not in ENDINGS:
            absent += [dotted] * (not any(exists(f"{floor}.{dotted}") for floor in FLOORS))
    made = {name.split("/", 1)[1].removesuffix(".py").replace("/", ".") for name in made_by_a_recipe(page)}
    assert sorted(set(absent) - made) == []


def exists(dotted: str) -> bool:
    """Return whether there is a module, or a name in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for name in parts[end:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@functools.cache
def parser_of(floor: str) -> argparse.ArgumentParser:
    from COFGeneratorLib.cli import build_parser

    return build_parser(importlib.import_module(f"{floor}.cli").COMMANDS)


def wrong_words(words: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return the words that a parser and those below it do not know: sub-commands and options."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    known = set(parser._option_string_actions)
    if below:
        wanted = next((word for word in words if not word.startswith("-")), "")
        if not re.fullmatch(r"[a-z-]+", wanted):  # an alternative such as a|b, or an ellipsis
            return []
        if wanted not in below[0].choices:
            return [wanted]
        return wrong_words(words[words.index(wanted) + 1 :], below[0].choices[wanted])
    options = [re.match(r"--[a-z0-9-]+", word.strip("[]()")) for word in words]
    return [option.group() for option in options if option and option.group() not in known]


def test_commands_that_are_named_exist_with_their_options(page):
    wrong = []
    for words in commands_in(page):
        floor = "COFTrainingLib"
        if words[:2] == ["python", "-m"] and words[2:3] and words[2] in FLOORS:
            floor, words = words[2], words[2:]
        elif words[0] != "cof":
            continue
        wrong += [(" ".join(words), wrong_words(words[1:], parser_of(floor)))]
    assert [line for line in wrong if line[1]] == []


def test_scripts_that_are_named_know_their_options(page):
    wrong = []
    for words in commands_in(page):
        script = next((ROOT / word for word in words[:3] if word.startswith(("Testing/", "Resources/"))), None)
        if words[0] == "python" and script is not None:
            source = script.read_text("utf-8")
            wrong += [(script.name, word) for word in words if word.startswith("--") and f'"{word}"' not in source]
    assert wrong == []


def test_the_lower_floor_has_the_commands_that_the_changelog_says():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    said = text.split("`python -m COFGeneratorLib …` offers")[1].split(". Cohorts")[0]
    from COFGeneratorLib.cli import COMMANDS

    assert {name.split()[0] for name in re.findall(r"`([^`]+)`", said)} == set(COMMANDS)
    assert wrong_words(["bundle", "export"], parser_of("COFGeneratorLib")) == ["export"]
    assert wrong_words(["bundle", "export"], parser_of("COFTrainingLib")) == []


def test_the_checks_see_what_is_wrong():
    cof = parser_of("COFTrainingLib")
    assert wrong_words(["generate", "--anchor", "a", "--nowhere"], cof) == ["--nowhere"]
    assert wrong_words(["imagine", "--anchor", "a"], cof) == ["imagine"]
    assert not exists("COFGeneratorLib.generator.nothing")
    assert not exists("COFGeneratorLib.nowhere.Nothing")
    assert exists("COFGeneratorLib.ecg.record.EcgRecord.lead")


def test_the_page_of_the_interface_is_what_make_api_writes():
    run = subprocess.run(
        [sys.executable, str(ROOT / "Resources" / "Docs" / "make_api.py"), "--check"],
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert run.returncode == 0, f"{run.stdout}{run.stderr}\nrun: make api"


def test_the_version_is_the_same_everywhere():
    import yaml
    from COFGeneratorLib import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    newest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert __version__ == citation["version"] == newest.group(1)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" in project["dynamic"]
    assert citation["license"] == project["license"]


def test_the_citation_is_that_of_the_readme():
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type"} <= set(citation)
    assert citation["authors"] == [{"name": "The ChainOfFlow developers"}]
    section = " ".join((ROOT / "README.md").read_text("utf-8").split("## How to cite")[1].split())
    assert len(citation["references"]) == 2
    for paper in citation["references"]:
        assert paper["title"] in section
        assert paper["identifiers"][0]["value"] in section
        for author in paper["authors"]:
            assert f"{author['given-names']} {author['family-names']}" in section
