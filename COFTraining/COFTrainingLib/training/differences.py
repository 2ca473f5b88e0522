"""What differs between two trainings: named configurations, files of settings, or run folders."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.configurations import KINDS, configuration_names, read_configuration
from COFTrainingLib.training.loop.run_folder import config_diff, plain

RUN_CONFIG = "config.json"
PARTS = ("teacher", "segmenter", "ecg", "expected", "flow")
"""Runs that may lie in the folder of another."""


def differences(one: str, other: str) -> list[str]:
    """Return what the second of two trainings does otherwise than the first, one ``key: before → after`` line each.

    Where and how visibly they compute (device, threads, logging) is left out; for runs, versions are told.

    Raises:
        TrainingError: If one of them is neither a configuration nor a run, or a run is to be compared with a file.
    """
    before, after = (_read(name) for name in (one, other))
    if before.keys() != after.keys() and not (before.keys() & after.keys()):
        raise TrainingError(
            f"Two configurations or two runs are compared; found {one} ({', '.join(before)}) and {other} "
            f"({', '.join(after)}). Give two of a kind."
        )
    lines = []
    for part in before.keys() & after.keys():
        lines += config_diff(before[part], after[part], prefix=f"{part}.")
        lines += [
            f"{part}.versions.{name}: {old} → {after[part]['versions'].get(name)}"
            for name, old in before[part].get("versions", {}).items()
            if old != after[part].get("versions", {}).get(name)
        ]
    lines += [f"{part}: only in {one}" for part in before.keys() - after.keys()]
    lines += [f"{part}: only in {other}" for part in after.keys() - before.keys()]
    return sorted(lines)


def _read(name: str) -> dict[str, Any]:
    """Return the settings of a run by its parts, or of a configuration by its kinds."""
    folder = Path(name)
    if name not in configuration_names() and folder.is_dir():
        files = {"run": folder / RUN_CONFIG, **{part: folder / part / RUN_CONFIG for part in PARTS}}
        found = {part: json.loads(file.read_text(encoding="utf-8")) for part, file in files.items() if file.is_file()}
        if found:
            return found
        raise TrainingError(f"A run has a {RUN_CONFIG}; found none in {folder}. Name the run's folder.")
    return {kind: plain(asdict(read_configuration(kind, name))) for kind in KINDS}
