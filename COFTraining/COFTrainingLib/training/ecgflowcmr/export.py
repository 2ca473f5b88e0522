"""From a finished run of ECGFlowCMR to a bundle with its card."""

import json
from dataclasses import asdict
from pathlib import Path

from COFGeneratorLib import __version__
from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle, save_ecgflow_bundle
from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.ecgflowcmr.settings import EcgFlowTraining
from COFTrainingLib.training.ecgflowcmr.stages import SETTINGS, STAGES, assemble_ecgflow_model, load_segmenter
from COFTrainingLib.training.loop.settings import applied
from COFTrainingLib.training.publishing import card, check_figures, check_place, staged

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
    with staged(out) as folder:
        metadata = save_ecgflow_bundle(folder, assemble_ecgflow_model(run, config), load_segmenter(run, config), facts)
        docs = folder / "docs"
        docs.mkdir()
        text = card(
            Path(__file__).with_name("card.md.j2"),
            metadata=metadata, training=metadata["training"], grid=metadata["cof"]["grid"], figures=figures,
        )  # fmt: skip
        (docs / "README.md").write_text(text, encoding="utf-8")
        (docs / "configuration.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
        if figures:
            (docs / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        check_figures(load_ecgflow_bundle(folder).weights_sha256, figures, metrics)
    return out


def _steps(run: Path, stage: str) -> int:
    path = run / stage / "config.json"
    return json.loads(path.read_text(encoding="utf-8"))["loop"]["steps"] if path.is_file() else 0
