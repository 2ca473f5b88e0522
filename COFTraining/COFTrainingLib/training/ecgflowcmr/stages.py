"""All stages of one run, each in a folder of its own, each resumable: RUN/{pa-mae, vae, segmenter, amdf}."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.ecgflowcmr.contraction import Contraction
from COFGeneratorLib.ecgflowcmr.model import Amdf, EcgFlowModel
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae
from COFGeneratorLib.ecgflowcmr.plane_segmenter import PlaneSegmenter
from COFGeneratorLib.ecgflowcmr.transformer import VelocityTransformer
from COFGeneratorLib.ecgflowcmr.video_vae import VideoVae
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.weights import save_exact
from safetensors.torch import load_file, save_file

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.seeds import HELD_OUT_SEED_OFFSET, RECORD_SEED_OFFSET
from COFTrainingLib.training.ecgflowcmr.cohort_clips import cohort_examples
from COFTrainingLib.training.ecgflowcmr.contraction_fit import fit_contraction
from COFTrainingLib.training.ecgflowcmr.data import Examples, make_clips, make_records
from COFTrainingLib.training.ecgflowcmr.settings import EcgFlowTraining
from COFTrainingLib.training.ecgflowcmr.train_amdf import flow_data, train_amdf
from COFTrainingLib.training.ecgflowcmr.train_pa_mae import train_pa_mae
from COFTrainingLib.training.ecgflowcmr.train_vae import VaeWithCritic, train_plane_segmenter, train_vae
from COFTrainingLib.training.ecgflowcmr.warm_start import states_of, taken_whole
from COFTrainingLib.training.loop.loop import Progress

STAGES = ("pa-mae", "vae", "segmenter", "amdf")
TAKEN_OVER = ("vae", "segmenter")
"""Stages that may have no steps: their networks then come from the bundle that a run starts from."""
SIGNALS = ("signals", "phase", "known")
SETTINGS, WEIGHTS, TEMPLATE = "settings.json", "model.safetensors", "template.safetensors"
CONTRACTION = "contraction.json"


def open_stages(
    out: Path, config: EcgFlowTraining, cohort: Cohort | None = None, start: dict[str, str] | None = None
) -> None:
    """Create the folder of a run and freeze its settings (and what it starts from), or check that they are the same.

    Raises:
        TrainingError: If the folder holds a run with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = json.loads(json.dumps({**asdict(config), "cohort": _origin(cohort), "start": start or {}}))
    path = out / SETTINGS
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in content if _seen(before.get(name, {})) != _seen(content[name])]
        if changed:
            raise TrainingError(
                f"All stages of a run share their settings; in {out} these tables differ: {', '.join(changed)}. Choose "
                "another folder, or give the same configuration and cohort."
            )
        return
    write_json(path, content)


def _seen(table: Any) -> Any:
    """Return a table without what says only where a run computes."""
    if not isinstance(table, dict):
        return table
    loop = {k: v for k, v in table.get("loop", {}).items() if k not in ("device", "threads", "log_every", "prefetch")}
    return {**table, "loop": loop}


def _origin(cohort: Cohort | None) -> dict[str, Any]:
    if cohort is None:
        return {"name": "phantoms of the configuration", "kind": "phantom", "licence": "Apache-2.0", "manifest": ""}
    header = cohort.header
    return {"name": header.name, "kind": header.kind, "licence": header.licence, "manifest": cohort.fingerprint()}


def examples_of(
    out: Path, config: EcgFlowTraining, cohort: Cohort | None = None, workers: int = 1, told: Progress | None = None
) -> tuple[Examples, Examples]:
    """Return the examples to train on and the held-out ones; made once and kept in RUN/data."""
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    data = config.data
    found = []
    for name, offset, count in (("train", 0, data.subjects), ("valid", HELD_OUT_SEED_OFFSET, data.held_out)):
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            if cohort is not None:
                cohort_examples(cohort, name, data).save(path)
            else:
                make_clips(data.first_seed + offset, count, data, workers, told).save(path)
        found.append(Examples.load(path))
    return found[0], found[1]


def records_of(
    out: Path,
    config: EcgFlowTraining,
    clips: Examples,
    cohort: Cohort | None = None,
    workers: int = 1,
    told: Progress | None = None,
) -> Examples:
    """Return the ECGs that PA-MAE learns from: those of a cohort's cines, and phantom ECGs without images.

    Where all are phantoms and there are such ECGs, those of the cines are left to the flow: its subjects are then as
    new to the phenotype head as a patient is.
    """
    parts = [clips] if cohort is not None or not config.data.records else []
    if config.data.records:
        path = out / "data" / "records.safetensors"
        if not path.is_file():
            first = config.data.first_seed + RECORD_SEED_OFFSET
            make_records(first, config.data.records, config.data, workers, told).save(path)
        parts.append(Examples.load(path))
    signals, phase, known = (torch.cat([getattr(part, name) for part in parts]) for name in SIGNALS)
    truths = torch.cat([part.truths_by_ecg() for part in parts])
    return Examples(signals, phase, known, torch.arange(len(truths)), truths=truths)


def run_stage(
    stage: str,
    out: Path,
    config: EcgFlowTraining,
    *,
    cohort: Cohort | None = None,
    workers: int = 1,
    resume: bool = False,
    told: Callable[[str, dict[str, Any]], None] | None = None,
    start: Path | str | None = None,
) -> Path:
    """Run one stage; those before it must be finished.

    Args:
        stage: One of ``STAGES``.
        out: Folder of the run.
        config: All settings.
        cohort: A cohort of cines of this plane with ECGs; phantoms of the configuration where None.
        workers: Processes that make data.
        resume: Go on with this stage.
        told: Called as ``told(stage, event)`` with every event.
        start: Bundle to begin from; a stage of no steps is taken over from it.

    Returns:
        The stage's folder.
    """
    if stage not in STAGES:
        raise TrainingError(f"A stage is one of {', '.join(STAGES)}; found {stage!r}. Name one of them.")
    out = Path(out)
    states, origin = states_of(start) if start is not None else ({}, {})
    open_stages(out, config, cohort, origin)

    def hear(name: str) -> Progress | None:
        return None if told is None else lambda event: told(name, event)

    clips, held_out = examples_of(out, config, cohort, workers, hear("data"))
    folder = out / stage
    resume = resume and (folder / "config.json").exists()
    options: dict[str, Any] = {"resume": resume, "progress": hear(stage), "start": states.get(stage)}
    if stage in TAKEN_OVER and not getattr(config, stage).loop.steps:
        network = VaeWithCritic(config.vae) if stage == "vae" else PlaneSegmenter(config.segmenter.network)
        folder.mkdir(exist_ok=True)
        save_exact(taken_whole(network, states.get(stage), stage), folder / WEIGHTS)
    elif stage == "pa-mae":
        records = records_of(out, config, clips, cohort, workers, hear("data"))
        train_pa_mae(folder, config.pa_mae, records, held_out, **options)
    elif stage == "vae":
        train_vae(folder, config.vae, clips, held_out, **options)
    elif stage == "segmenter":
        train_plane_segmenter(folder, config.segmenter, clips, held_out, **options)
    else:
        pa_mae, vae = load_pa_mae(out, config), load_vae(out, config)
        data, kept = flow_data(pa_mae, vae, clips, held_out, config.amdf.template)
        amdf, _ = train_amdf(folder, config, pa_mae, data, kept, **options)
        rule = fit_contraction(amdf, load_segmenter(out, config), data)
        write_json(folder / CONTRACTION, {} if rule is None else asdict(rule))
        latents = data.latents
        save_file({"template": latents.template.contiguous(), "scale": torch.tensor(latents.scale)}, folder / TEMPLATE)
    return folder


def place(config: EcgFlowTraining, device: str | None, threads: int | None) -> EcgFlowTraining:
    """Return the settings with another device or number of threads in every loop."""
    asked = {name: value for name, value in (("device", device), ("threads", threads)) if value is not None}
    parts = {
        name: replace(part, loop=replace(part.loop, **asked))
        for name, part in ((name, getattr(config, name)) for name in ("pa_mae", "vae", "segmenter", "amdf"))
    }
    return replace(config, **parts)


def load_pa_mae(out: Path, config: EcgFlowTraining) -> PaMae:
    """Return the pre-trained PA-MAE of a run."""
    model = PaMae(config.pa_mae.network)
    model.load_state_dict(_weights(out, "pa-mae"))
    return model.eval()


def load_vae(out: Path, config: EcgFlowTraining) -> VideoVae:
    """Return the VAE of a run, without its critic."""
    model = VaeWithCritic(config.vae)
    model.load_state_dict(_weights(out, "vae"))
    return model.vae.eval()


def load_segmenter(out: Path, config: EcgFlowTraining) -> PlaneSegmenter | None:
    """Return the plane segmenter of a run, or None where it has none."""
    if not (out / "segmenter" / WEIGHTS).is_file():
        return None
    model = PlaneSegmenter(config.segmenter.network)
    model.load_state_dict(_weights(out, "segmenter"))
    return model.eval()


def assemble_ecgflow_model(out: Path, config: EcgFlowTraining) -> EcgFlowModel:
    """Return the model of a finished run: the fine-tuned encoder, not the pre-trained one."""
    amdf = Amdf(PaMae(config.pa_mae.network), VelocityTransformer(config.dit()))
    amdf.load_state_dict(_weights(out, "amdf"))
    fixed = load_file(out / "amdf" / TEMPLATE)
    path = out / "amdf" / CONTRACTION
    rule = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return EcgFlowModel(
        config.data.grid, amdf, load_vae(out, config), fixed["template"], scale=float(fixed["scale"]),
        defaults=config.amdf.sampler, contraction=Contraction(**rule) if rule else None,
    ).eval()  # fmt: skip


def _weights(out: Path, stage: str) -> dict[str, torch.Tensor]:
    path = out / stage / WEIGHTS
    if not path.is_file():
        raise TrainingError(
            f"This needs the finished stage {stage!r}; found no {path}. Run it first: "
            f"cof train ecgflowcmr --stage {stage}."
        )
    return load_file(path)
