"""The documented way from an empty folder to a bundle, walked once."""

import json
import os
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from COFTrainingLib.cli import main

from support.once import made_once

BARS_MISSED = 1
"""Exit code of the held-out comparison where a model misses a bar, as one of a dozen steps does."""


BENCH_FRAMES, ORACLE_PATIENTS = 10, 200
"""Frames of a cycle and patients of the oracles in the bench: its own 50 and 20,000 take longer than all trainings."""


@dataclass(frozen=True)
class Walk:
    """The folder in which the commands ran, and what each one returned. Many tests read it: copy what you change."""

    folder: Path
    codes: dict[str, int]


def commands(page: str, heading: str) -> list[str]:
    """Return the commands of the first shell block under a heading; a line that says what they need is none."""
    section = page.split(f"## {heading}\n", 1)[1]
    lines = re.search(r"```bash\n(.*?)```", section, re.DOTALL).group(1).strip().splitlines()
    return [line for line in lines if not line.startswith("# needs ")]


def run_commands(folder: Path, lines: list[str]) -> dict[str, int]:
    """Run lines of a shell block, ``cof`` and Python scripts, in a folder; returns each one's exit code."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return {line: _run(shlex.split(line)) for line in lines}
    finally:
        os.chdir(before)


def _run(words: list[str]) -> int:
    if words[0] == "cof":
        return main(words[1:])
    from COFTrainingLib.phantom import oracles
    from COFTrainingLib.studies.heldout import heldout

    floors = oracles.oracle_floors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracles, "oracle_floors", lambda _, seed: floors(ORACLE_PATIENTS, seed))
        patch.setattr(heldout, "FRAMES", BENCH_FRAMES)
        patch.setattr(sys, "argv", words[1:])
        try:
            runpy.run_path(words[1], run_name="__main__")
        except SystemExit as error:
            return int(error.code or 0)
    return 0


@pytest.fixture(scope="session")
def page(repository) -> str:
    """Return the text of the page."""
    return (repository / "Resources" / "Docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def walked(page, repository, tmp_path_factory) -> Walk:
    """Run the commands of the page's first block, as written, in an empty folder."""

    def walk(folder: Path) -> None:
        (folder / "Testing").symlink_to(repository / "Testing")
        codes = run_commands(folder, commands(page, "The whole in a minute"))
        (folder / "codes.json").write_text(json.dumps(codes), encoding="utf-8")

    folder = made_once(tmp_path_factory, "walk", walk)
    return Walk(folder, json.loads((folder / "codes.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def own_patients(page, tmp_path_factory) -> Path:
    """Return a folder in which the page's commands on one's own patients were run, as written."""

    def walk(folder: Path) -> None:
        codes = run_commands(folder, commands(page, "Your own patients"))
        assert set(codes.values()) == {0}, codes

    return made_once(tmp_path_factory, "own-patients", walk)
