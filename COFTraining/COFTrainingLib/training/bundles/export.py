"""From finished training runs to a model bundle: networks, segmenter, model card, and how to train it again."""

import json
from pathlib import Path
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.bundle import POPULATION, load_bundle, save_bundle, with_tuples
from COFGeneratorLib.generator.choices import PostProcessing, SamplerDefaults
from COFGeneratorLib.generator.encoders.named import NamedEncoder
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.pack import PackScale
from safetensors.torch import load_file

from COFTrainingLib.training.bundles.card import write_card
from COFTrainingLib.training.bundles.provenance import (
    read_run,
    retraining_commands,
    segmenter_of,
    teacher_of,
    trained_on,
    without_place,
)
from COFTrainingLib.training.ecg.ecg_training import CONFIG, WEIGHTS, encoder_facts, load_encoder, load_statement
from COFTrainingLib.training.publishing import check_figures, check_place, staged

DESCRIPTION = "Motion of both ventricles over one R–R interval, from the anatomy of an anchor and a 12-lead ECG."
INTENDED_USE = (
    "Research on ECG-conditioned cardiac motion. Not a medical device; nothing that it generates may guide the care of "
    "a patient."
)
LICENCE = "Apache-2.0"


def export_bundle(
    run: Path | str,
    out: Path | str,
    *,
    segmenter: Path | str | None = None,
    teacher: Path | str | None = None,
    name: str = "cof-plus",
    metrics: Path | str | None = None,
    overwrite: bool = False,
) -> Path:
    """Make a bundle from a finished run of Stage 2.

    Args:
        run: Run folder of ``cof train flow``.
        out: Folder of the bundle.
        segmenter: Run folder of ``cof train segmenter``; ``RUN/segmenter`` where None and there; without one, users
            must give labels.
        teacher: Run folder of ``cof train teacher``; ``RUN/teacher`` where None and there.
        name: Name of the model.
        metrics: File of figures measured on these very weights (``Testing/Benchmarks/heldout.py --json``, or
            ``metrics.json`` of ``cof evaluate``), for the card.
        overwrite: Replace a bundle that is there.

    Returns:
        The bundle's folder.

    Raises:
        TrainingError: If the run is not finished, something of its origin is not known, the figures are of other
            weights, or ``out`` is taken.
    """
    run, out = Path(run), Path(out)
    facts = trained_on(run)
    parts, registration = segmenter_of(run, segmenter), teacher_of(run, teacher)
    check_place(out, overwrite)
    figures = read_figures(metrics)
    model = assemble_motion_model(run)
    with staged(out) as folder:
        described: dict[str, Any] = {
            "name": name, "version": __version__, "description": DESCRIPTION, "licence": LICENCE,
            "intended_use": INTENDED_USE, "training": facts,
        }  # fmt: skip
        settings = configuration_of(run)
        if parts is not None:
            described["segmenter"] = {key: value for key, value in parts[1].items() if key != "configuration"}
            settings |= {"segmenter": parts[1]["configuration"]} if "configuration" in parts[1] else {}
        if registration is not None:
            described["teacher"] = {key: value for key, value in registration[1].items() if key != "configuration"}
            settings |= {"teacher": registration[1]["configuration"]}
        config, _ = read_run(run)
        commands = retraining_commands(config, described, "segmenter" in settings, registration is not None)
        described["training"]["commands"] = commands
        metadata = save_bundle(folder, model, described, parts and parts[0], registration and registration[0])
        write_docs(folder, metadata, settings, {"metrics": figures})
        check_figures(load_bundle(folder).weights_sha256, figures, metrics)
    return out


def assemble_motion_model(run: Path | str) -> MotionModel:
    """Return the motion model of a finished run of Stage 2, with its fitted gain.

    Raises:
        TrainingError: If the run is not finished or was altered.
    """
    run = Path(run)
    config, finished = read_run(run)
    training = config["training"]
    grid = MotionGrid(**with_tuples(training["grid"]))
    told = {"any_anchor": training.get("anchor", "ed") == "any"}
    flow: ExpectedFlow | VelocityUNet
    if training["expected"]:
        flow = ExpectedFlow(grid, ExpectedFlowConfig(**with_tuples(training["expected"]) | told))
    else:
        known = json.loads((run / "flow" / CONFIG).read_text(encoding="utf-8"))["model"]["network"]  # as it was trained
        flow = VelocityUNet(grid, FlowConfig(**with_tuples(known)))
    flow.load_state_dict(load_file(run / "flow" / WEIGHTS))
    return MotionModel(
        grid, load_encoder(run / "ecg"), PackScale(tuple(finished["rms"])), flow, gain=float(finished["gain"]),
        listener=NamedEncoder(**config["listener"]) if "listener" in config else None,
        sampler=SamplerDefaults(**training["sampler"]), after=PostProcessing(**training["after"]),
        statement=load_statement(run / "ecg"),
        ef_z90=finished.get("ef_z90"), ef_shift=float(finished.get("ef_shift", 0.0)),
        mean=load_file(run / POPULATION)["velocity"].float(),
    ).to("cpu")  # fmt: skip


def write_docs(folder: Path, metadata: dict[str, Any], settings: dict[str, Any], figures: dict[str, Any]) -> None:
    """Write the card, the configuration file of the commands that train it again, and the figures.

    ``figures`` has ``metrics`` of held-out subjects and ``real_hearts``, as their benches write them; any may be
    missing.
    """
    docs = folder / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "configuration.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    card = write_card(metadata, metadata["training"]["commands"], figures.get("metrics"), figures.get("real_hearts"))
    (docs / "README.md").write_text(card, encoding="utf-8")
    for name, values in figures.items():
        if values:
            (docs / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def configuration_of(run: Path) -> dict[str, Any]:
    """Return the configuration file that repeats a run: everything stated, nothing left to the defaults."""
    config, _ = read_run(run)
    known = encoder_facts(run / "ecg")
    trained, ecg = known["trained_with"], known["settings"]
    training = {key: False if value is None else value for key, value in config["training"].items()}
    if ecg is None:
        ecg = {"loop": trained["loop"], "encoder": trained["model"]["encoder"]}
        ecg |= {name: trained["model"][name] for name in ("batch", "records")}
    return without_place({"base": "cof-plus", "ecg": ecg, "flow": training})


def read_figures(path: Path | str | None) -> dict[str, Any] | None:
    """Read the figures for the card.

    Raises:
        TrainingError: If the file does not read.
    """
    if path is None:
        return None
    try:
        figures = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(figures, dict):
            raise ValueError("no table")
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"Figures are a JSON file as cof evaluate writes it; {path} does not read ({error})."
        ) from error
    return figures
