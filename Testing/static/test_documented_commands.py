"""Each command of README and documents is run by a test, or its block says what it needs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "Resources" / "Docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
COMMAND = re.compile(r"(?:\w+=\S+ )?(?:cof|make|python|git|torchrun|Slicer|\.venv/bin/\w+) ")
RUN = {
    "README.md": {"Two commands": "commands/test_readme.py", "On the command line": "commands/test_readme.py"},
    "CONTRIBUTING.md": {"Set up": "commands/test_readme.py"},
    "training.md": {
        "The whole in a minute": "support/documented_way.py",
        "Your own patients": "support/documented_way.py",
    },
    "publishing.md": {"Publishing the extension": "static/test_publishing.py"},
}
"""Page → heading → file of the tests that runs the commands below it."""


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return (heading above, command lines) of every code block that has commands, continued lines joined."""
    found, heading = [], ""
    for part in re.split(r"(```[^\n]*\n.*?```)", text, flags=re.DOTALL):
        if not part.startswith("```"):
            headings = re.findall(r"^#+ (.+)$", part, re.MULTILINE)
            heading = headings[-1] if headings else heading
            continue
        if re.match(r"```(?:python|toml|csv|json)", part):
            continue
        lines = re.sub(r"\\\n\s*", "", part.split("\n", 1)[1]).splitlines()
        if any(COMMAND.match(line) for line in lines):
            found.append((heading, [line for line in lines if COMMAND.match(line) or line.startswith("#")]))
    return found


def unaccounted(page: str, text: str) -> list[tuple[str, str]]:
    """Return (heading, first line) of blocks that no test runs, that say no need, and that are no mere synopsis."""
    bad = []
    for heading, lines in blocks(text):
        run = heading in RUN.get(page, {})
        needs = any(line.startswith("# needs ") for line in lines)
        synopsis = all("…" in line or "[" in line for line in lines if COMMAND.match(line))
        if not (run or needs or synopsis):
            bad.append((heading, lines[0]))
    return bad


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_each_command_is_run_or_says_what_it_needs(page):
    assert unaccounted(page.name, page.read_text("utf-8")) == []


def test_the_tests_that_are_named_read_their_page():
    for page, headings in RUN.items():
        text = next(path for path in PAGES if path.name == page).read_text("utf-8")
        for heading, file in headings.items():
            assert heading in [found for found, _ in blocks(text)], heading
            source = (ROOT / "Testing" / file).read_text("utf-8")
            assert page in source or "Makefile" in source, file


def test_a_command_that_nothing_runs_is_noticed():
    text = "# A page\n\n```\ncof demo --out x\n```\n"
    assert unaccounted("page.md", text) == [("A page", "cof demo --out x")]
    assert unaccounted("page.md", text.replace("cof demo", "# needs a day\ncof demo")) == []
    assert unaccounted("page.md", text.replace("--out x", "[--out DIR]")) == []
    assert len(blocks((DOCS / "training.md").read_text("utf-8"))) > 5
