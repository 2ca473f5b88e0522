"""From a finished run of ECGFlowCMR to a bundle with its card."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle, save_ecgflow_bundle
from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.ecgflowcmr.settings import EcgFlowTraining
from COFTrainingLib.training.ecgflowcmr.stages import SETTINGS, STAGES, assemble_ecgflow_model, load_segmenter
from COFTrainingLib.training.loop.settings import applied
from COFTrainingLib.training.publishing import check_place, publish

DESCRIPTION = "A cine of one plane of a synthetic heart, over one R–R interval, from a 12-lead ECG alone."
INTENDED_USE = (
    "Research on ECG-conditioned synthesis and on training with synthetic images. The anatomy is NOT the patient's. "
    "Not a medical device; nothing that it generates may guide the care of a patient."
)
LICENCE = "Apache-2.0"


def settings_of(run: Path | str) -> EcgFlowTraining:
    """Return the frozen settings of a run.

    Raises:
        TrainingError: If the folder is no run of ``cof train ecgflowcmr``.
    """
    path = Path(run) / SETTINGS
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"A run of `cof train ecgflowcmr` has a {SETTINGS}; reading {path} failed ({error}). Name that folder."
        ) from error
    table.pop("cohort", None)
    table.pop("start", None)
    return applied(EcgFlowTraining(), table)


def export_ecgflow(
    run: Path | str, out: Path | str, *, name: str = "ecgflowcmr-small", metrics: Path | str | None = None,
    overwrite: bool = False,
) -> Path:  # fmt: skip
    """Make a bundle of a finished run.

    Args:
        run: Folder of ``cof train ecgflowcmr``.
        out: Folder of the bundle.
        name: Name of the model.
        metrics: JSON of ``Testing/Benchmarks/ecgflowcmr_heldout.py`` measured on these weights, for the card.
        overwrite: Replace a bundle that is there.

    Raises:
        TrainingError: If the run is not finished, ``out`` is taken, or the figures are of other weights.
    """
    run, out = Path(run), Path(out)
    config = settings_of(run)
    check_place(out, overwrite)
    figures = None if metrics is None else json.loads(Path(metrics).read_text(encoding="utf-8"))
    frozen = json.loads((run / SETTINGS).read_text(encoding="utf-8"))
    data = config.data
    training = {
        **frozen["cohort"],
        "subjects": data.subjects,
        "first_seed": data.first_seed,
        "steps": {stage: _steps(run, stage) for stage in STAGES},
        "ecgs": data.records,
        "started_from": frozen.get("start", {}),
    }
    facts = {
        "name": name, "version": __version__, "description": DESCRIPTION, "licence": LICENCE,
        "intended_use": INTENDED_USE, "training": training,
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        folder = Path(beside) / "bundle"
        metadata = save_ecgflow_bundle(folder, assemble_ecgflow_model(run, config), load_segmenter(run, config), facts)
        docs = folder / "docs"
        docs.mkdir()
        (docs / "README.md").write_text(_card(metadata, figures), encoding="utf-8")
        (docs / "configuration.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
        if figures:
            (docs / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        publish(folder, out, load_ecgflow_bundle(folder).weights_sha256, figures, metrics)
    return out


def _steps(run: Path, stage: str) -> int:
    path = run / stage / "config.json"
    return json.loads(path.read_text(encoding="utf-8"))["loop"]["steps"] if path.is_file() else 0


def _started(origin: dict[str, str]) -> str:
    return f"{origin['model']}, {origin['weights_sha256'][:12]}…" if origin else "none"


def _card(metadata: dict[str, Any], figures: dict[str, Any] | None) -> str:
    training, grid = metadata["training"], metadata["cof"]["grid"]
    rows = [
        ("plane", grid["plane"]),
        ("cine", f"{grid['frames']} × {grid['size']} × {grid['size']} at {grid['pixel_mm']} mm"),
        ("cohort", f"{training['name']} ({training['kind']}), {training['subjects']} subjects"),
        ("licence of the cohort", training["licence"]),
        ("further ECGs, without images", training["ecgs"]),
        ("started from the weights of", _started(training["started_from"])),
        ("optimiser steps", ", ".join(f"{stage} {steps}" for stage, steps in training["steps"].items())),
    ]
    parts = [
        f"# {metadata['name']} {metadata['version']}",
        metadata["description"],
        f"**Intended use.** {metadata['intended_use']}",
        "**The anatomy of every cine is drawn from the training cohort. It is NOT the patient's.** Sizes, shapes, wall "
        "thickness and everything else that an ECG does not show are fiction.",
        "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows),
        "## Figures\n\n" + (figures["table"] if figures and "table" in figures else "None were given with the export."),
        f"## Licence\n\n{metadata['licence']}. Research use only; not a medical device.",
    ]
    return "\n\n".join(parts) + "\n"
