"""The documented way from an empty folder to a bundle, walked once."""

import os
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from COFTrainingLib.cli import main

BARS_MISSED = 1
"""Exit code of the held-out comparison where a model misses a bar, as one of a dozen steps does."""


@dataclass(frozen=True)
class Walk:
    """The folder in which the commands ran, and what each one returned."""

    folder: Path
    codes: dict[str, int]


def commands(page: str, heading: str) -> list[str]:
    """Return the commands of the first shell block under a heading."""
    section = page.split(f"## {heading}\n", 1)[1]
    return re.search(r"```bash\n(.*?)```", section, re.DOTALL).group(1).strip().splitlines()


def run_script(argv: list[str]) -> int:
    """Run a Python script as ``python SCRIPT …`` does; returns its exit code."""
    before = sys.argv
    sys.argv = argv
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture(scope="session")
def page(repository) -> str:
    """Return the text of the page."""
    return (repository / "Resources" / "Docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def walked(page, repository, tmp_path_factory) -> Walk:
    """Run the commands of the page's first block, as written, in an empty folder."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "Testing").symlink_to(repository / "Testing")
    codes, before = {}, Path.cwd()
    os.chdir(folder)
    try:
        for command in commands(page, "The whole in a minute"):
            program, *arguments = shlex.split(command)
            codes[command] = main(arguments) if program == "cof" else run_script(arguments)
    finally:
        os.chdir(before)
    return Walk(folder, codes)
