"""From finished training runs to a model bundle: networks, segmenter, fitted gain, model card."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.bundle import load_bundle, save_bundle
from COFGeneratorLib.generator.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.grid import MotionGrid
from COFGeneratorLib.generator.mean_network import MeanConfig, MotionMean
from COFGeneratorLib.generator.model import MotionModel, SamplerDefaults
from COFGeneratorLib.generator.pack import PackScale
from safetensors.torch import load_file

from COFTrainingLib.training.calibrate import fit_gain
from COFTrainingLib.training.stage_two import FINISHED, RECIPE, load_encoder

GAIN_SEED = 1_900_000
"""First of the calibration subjects: within the range that belongs to training, away from all training cohorts."""

INTENDED_USE = (
    "Research on ECG-conditioned cardiac motion. Not a medical device; nothing that it generates may guide the care of "
    "a patient."
)


def export_bundle(
    run: Path | str,
    out: Path | str,
    *,
    segmenter: Path | str | None = None,
    name: str = "cof-plus",
    gain_subjects: int = 48,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make a bundle from a finished run of Stage 2.

    Args:
        run: Run folder of ``train_stage_two``.
        out: Folder of the bundle.
        segmenter: Run folder of ``train_segmenter`` or the segmenter's own; without it users must give labels.
        name: Name of the model.
        gain_subjects: Calibration subjects the gain on motion is fitted on; 0 leaves it at 1.
        overwrite: Replace a bundle that is there.
        progress: Called with (calibration subjects done, all).

    Returns:
        The bundle's folder.

    Raises:
        TrainingError: If the run is not finished or ``out`` is taken.
    """
    run, out = Path(run), Path(out)
    model = assemble(run)
    parts = _segmenter_files(segmenter)
    if out.exists() and any(out.iterdir()) and not (overwrite and (out / "configs" / "metadata.json").is_file()):
        raise TrainingError(
            f"A bundle needs an empty folder; found other files in {out}. Choose another, or replace a bundle with "
            "--overwrite."
        )
    if gain_subjects:
        model.gain = fit_gain(model, GAIN_SEED, gain_subjects, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        folder = Path(beside) / "bundle"
        (folder / "models").mkdir(parents=True)
        shutil.copyfile(run / "population.safetensors", folder / "models" / "population.safetensors")
        facts = _facts(run, name, model.gain, gain_subjects)
        metadata = save_bundle(folder, model, facts, parts)
        (folder / "docs").mkdir()
        (folder / "docs" / "README.md").write_text(_card(metadata), encoding="utf-8")
        load_bundle(folder)  # what cannot be loaded is not published
        shutil.rmtree(out, ignore_errors=True)
        folder.rename(out)
    return out


def assemble(run: Path) -> MotionModel:
    """Return the motion model of a finished run of Stage 2, gain 1.

    Raises:
        TrainingError: If the run is not finished.
    """
    try:
        recipe = json.loads((run / RECIPE).read_text(encoding="utf-8"))["training"]
        finished = json.loads((run / FINISHED).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(
            f"A bundle is made from a finished run of Stage 2; {run} lacks {Path(error.filename).name}. "
            "Finish it with: cof train flow --resume"
        ) from error
    grid = MotionGrid(**_tuples(recipe["grid"]))
    mean = flow = None
    if recipe["mean"]:
        mean = MotionMean(grid, MeanConfig(**_tuples(recipe["mean"])))
        mean.load_state_dict(load_file(run / "mean" / "model.safetensors"))
    if recipe["flow"]:
        flow = VelocityUNet(grid, FlowConfig(**_tuples(recipe["flow"]) | {"residual": mean is not None}))
        flow.load_state_dict(load_file(run / "flow" / "model.safetensors"))
    model = MotionModel(
        grid,
        load_encoder(run),
        PackScale(tuple(finished["rms"])),
        mean,
        flow,
        tuple(finished.get("spread", (1.0, 1.0, 1.0))),
        1.0,
        SamplerDefaults(**recipe["sampler"]),
    )
    return model.to("cpu")


def _segmenter_files(folder: Path | str | None) -> Path | None:
    """Return the folder with the segmenter's files.

    Raises:
        TrainingError: If there is none.
    """
    if folder is None:
        return None
    for candidate in (Path(folder), Path(folder) / "segmenter"):
        if (candidate / "segmenter.json").is_file():
            return candidate
    raise TrainingError(
        f"A segmenter's folder holds segmenter.json; found none in {folder}. Finish cof train segmenter."
    )


def _facts(run: Path, name: str, gain: float, gain_subjects: int) -> dict[str, Any]:
    """Return what the metadata says of a model: what it is for and what it was made from."""
    recipe = json.loads((run / RECIPE).read_text(encoding="utf-8"))
    finished = json.loads((run / FINISHED).read_text(encoding="utf-8"))
    training = recipe["training"]
    ecg = json.loads((run / "ecg.json").read_text(encoding="utf-8"))
    return {
        "name": name,
        "version": __version__,
        "description": "Motion of both ventricles over one R–R from an anchor's anatomy and a 12-lead ECG.",
        "licence": "Apache-2.0",
        "intended_use": INTENDED_USE,
        "training": {
            "cohort": "analytic phantoms; no person's data",
            "cohort_sha256": recipe["cohort"],
            "subjects": training["subjects"],
            "first_seed": training["first_seed"],
            "used_for_training": finished["train"],
            "used_for_validation": finished["valid"],
            "prevalence": training["prevalence"],
            "steps": {part: training[f"{part}_loop"]["steps"] for part in ("mean", "flow") if training[part]},
            "ecg_steps": ecg["loop"]["steps"],
            "gain": {"value": gain, "subjects": gain_subjects, "first_seed": GAIN_SEED},
        },
    }


def _card(metadata: dict[str, Any]) -> str:
    """Return the model card, from nothing but the metadata."""
    training, parts = metadata["training"], sorted(metadata["checksums"])
    steps = ", ".join(f"{part} {count}" for part, count in training["steps"].items())
    lines = (
        f"# {metadata['name']} {metadata['version']}",
        metadata["description"],
        f"**Intended use.** {metadata['intended_use']}",
        f"**Trained on** {training['used_for_training']} synthetic subjects ({training['cohort']}; seeds from "
        f"{training['first_seed']}), validated on {training['used_for_validation']} others. Steps: {steps}, "
        f"ECG encoder {training['ecg_steps']}. Motion gain {training['gain']['value']:.3f}, fitted on "
        f"{training['gain']['subjects']} subjects from seed {training['gain']['first_seed']}.",
        "**Limits.** It has seen no real patient. Function on real anchors is plausible at best; how far it can be "
        "trusted is what Testing/Benchmarks measures.",
        f"**Licence.** {metadata['licence']}",
        "**Files**\n\n" + "\n".join(f"- `{name}`" for name in parts),
    )
    return "\n\n".join(lines) + "\n"


def _tuples(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
