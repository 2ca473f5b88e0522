"""The README's commands run as written, from the root of a clone; the networks are small, so numbers say nothing."""

import re
import shlex
import webbrowser
from pathlib import Path

import pytest
from COFTrainingLib.cli import main

pytestmark = pytest.mark.slow


def commands(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_the_commands_run_in_their_order(repository, tmp_path, monkeypatch, a_bundle):
    from COFGeneratorLib import resources

    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setattr(resources, "default_bundle", lambda: a_bundle)
    (tmp_path / "Resources").symlink_to(repository / "Resources")
    monkeypatch.chdir(tmp_path)
    sample = "Resources/SampleData/labels.nrrd"
    for line in commands(repository):
        words = shlex.split(line)
        if words[0] == "make":  # what it does after setting up
            words = ["cof", "demo", "--out", "out/demo"]
        assert Path(words[0]).name == "cof", line
        if words[1] in ("generate", "demo"):
            words += ["--frames", "6", "--quiet"]
        if words[1] == "generate":  # the small bundle has no segmenter
            words += ["--labels", sample, "--label-map", "lv=1,myo=2,rv=3"]
        assert main(words[1:]) == 0, line
    assert [Path(address).parent.name for address in opened] == ["demo", "heart"]
    assert (tmp_path / "out" / "told" / "viewer.html").is_file()


def test_make_demo_does_what_the_test_above_takes_it_for(repository):
    recipe = (repository / "Makefile").read_text(encoding="utf-8").split("\ndemo: install\n")[1].splitlines()[0]
    assert recipe.split() == ["$(BIN)/cof", "demo", "--out", "$(OUT)", "--overwrite"]


def test_the_readme_is_short(repository):
    text = (repository / "README.md").read_text(encoding="utf-8").split("## How to cite")[0]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert len(prose.split()) <= 700
