"""One case of a batch, run in whatever process: its result or its failure, never an exception."""

import argparse
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from COFGeneratorLib.cases.generate import generate_into
from COFGeneratorLib.cases.table import Case
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.jobs.events import EventWriter
from COFGeneratorLib.jobs.session import Session
from COFGeneratorLib.results.folder import read_manifest

SUMMARY_COLUMNS = (
    "hr_bpm", "edv_ml", "esv_ml", "sv_ml", "ef_percent", "co_l_min", "es_time_ms", "rv_edv_ml", "rv_esv_ml",
    "rv_ef_percent", "folded_fraction", "labels_from",
)  # fmt: skip
SETTINGS = ("frames", "solver", "steps", "samples", "seed", "device", "labels_as_given")
"""Settings of a batch that every case shares."""

_bundles: dict[str, Any] = {}


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: The case.
        state: ``"done"``, ``"resumed"`` (an earlier result stands) or ``"failed"``.
        kind: Of a failure: ``"input"`` (exit code 2) or ``"internal"`` (1).
        message: Why it failed.
        summary: Read-outs by column of ``SUMMARY_COLUMNS``.
    """

    name: str
    state: str
    kind: str = ""
    message: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


def run_case(case: Case, out: str, model: str, settings: dict[str, Any]) -> Outcome:
    """Run one case into ``out/<name>``, unless the same was done before."""
    folder = Path(out) / case.name
    try:
        if case.problem:
            raise ChainOfFlowError(case.problem)
        request = request_hash(case, model, settings)
        earlier = read_manifest(folder)
        if earlier is not None and earlier.get("request_sha256") == request:
            return Outcome(case.name, "resumed", summary=_summary(folder))
        arguments = argparse.Namespace(
            **settings | case.options,
            anchor=case.anchor, ecg=case.ecg, labels=case.labels, label_map=case.label_map,
            anchor_frame=case.anchor_frame, anchor_phase=case.anchor_phase, roi=case.roi, beat=case.beat, model=model,
            out=str(folder), overwrite=False,
        )  # fmt: skip
        current = Session(EventWriter(None), quiet=True)
        generate_into(arguments, current, "batch", _bundle(model), {"request_sha256": request})
        return Outcome(case.name, "done", summary=_summary(folder))
    except (ChainOfFlowError, FileNotFoundError, PermissionError, IsADirectoryError) as error:
        return Outcome(case.name, "failed", "input", str(error))
    except Exception as error:
        return Outcome(case.name, "failed", "internal", f"{type(error).__name__}: {error}")


def request_hash(case: Case, model: str, settings: dict[str, Any]) -> str:
    """Return a hash of all that decides a case's result: contents of its files, settings, model."""
    what = {name: value for name, value in (settings | case.options).items() if name in SETTINGS and name != "device"}
    what |= {
        "label_map": case.label_map,
        "anchor_frame": case.anchor_frame,
        "roi": case.roi,
        "beat": case.beat,
        **({"anchor_phase": case.anchor_phase} if case.anchor_phase else {}),  # earlier results stand
    }
    what["files"] = {
        part: [(path.suffix, sha256_of(path)) for path in _together(getattr(case, part))]
        for part in ("anchor", "ecg", "labels")
        if getattr(case, part)
    }
    what["model"] = sha256_of(Path(model) / "configs" / "metadata.json")  # which holds the weights' checksums
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _together(path: str) -> list[Path]:
    """Return a file and those of the same stem beside it: a WFDB header says nothing without its samples."""
    path = Path(path)
    if path.suffix != ".hea":
        return [path]
    return sorted(one for one in path.parent.glob(f"{path.stem}.*") if one.suffix in (".hea", ".dat", ".mat"))


def _bundle(model: str):
    """Return the loaded bundle, kept for the next case of this process."""
    key = os.path.realpath(model)
    if key not in _bundles:
        from COFGeneratorLib import load_bundle

        _bundles[key] = load_bundle(model)
    return _bundles[key]


def _summary(folder: Path) -> dict[str, Any]:
    """Return the read-outs of a finished case; empty where it had no labels."""
    path = folder / "function.json"
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: content.get(name) for name in SUMMARY_COLUMNS}
