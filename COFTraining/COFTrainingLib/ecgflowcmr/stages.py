"""All stages of one run, each in a folder of its own, each resumable: RUN/{pa-mae, vae, segmenter, amdf}."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.ecgflowcmr.model import Amdf, EcgFlowModel
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae
from COFGeneratorLib.ecgflowcmr.plane_segmenter import PlaneSegmenter
from COFGeneratorLib.ecgflowcmr.transformer import VelocityTransformer
from COFGeneratorLib.errors import TrainingError
from safetensors.torch import load_file, save_file

from COFTrainingLib.ecgflowcmr.cohort_clips import cohort_examples
from COFTrainingLib.ecgflowcmr.data import Examples, make_clips, make_records
from COFTrainingLib.ecgflowcmr.settings import EcgFlowTraining
from COFTrainingLib.ecgflowcmr.train_amdf import train_amdf
from COFTrainingLib.ecgflowcmr.train_pa_mae import train_pa_mae
from COFTrainingLib.ecgflowcmr.train_vae import VaeWithCritic, train_segmenter, train_vae
from COFTrainingLib.training.run_folder import write_json

STAGES = ("pa-mae", "vae", "segmenter", "amdf")
SETTINGS, WEIGHTS, TEMPLATE = "settings.json", "model.safetensors", "template.safetensors"
HELD_OUT_SEED_OFFSET, RECORD_SEED_OFFSET = 1_000_000, 2_000_000


def open_stages(out: Path, config: EcgFlowTraining, cohort=None) -> None:
    """Create the folder of a run and freeze its settings, or check that they are the same.

    Raises:
        TrainingError: If the folder holds a run with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = json.loads(json.dumps({**asdict(config), "cohort": _origin(cohort)}))
    path = out / SETTINGS
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in content if _seen(before.get(name)) != _seen(content[name])]
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


def _origin(cohort) -> dict[str, Any]:
    if cohort is None:
        return {"name": "phantoms of the configuration", "kind": "phantom", "licence": "Apache-2.0", "manifest": ""}
    header = cohort.header
    return {"name": header.name, "kind": header.kind, "licence": header.licence, "manifest": cohort.fingerprint()}


def examples_of(out: Path, config: EcgFlowTraining, cohort=None, workers: int = 1, told=None):
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
    return tuple(found)


def records_of(out: Path, config: EcgFlowTraining, clips: Examples, workers: int = 1, told=None) -> Examples:
    """Return the ECGs that PA-MAE learns from: those of the clips, and further ones without images."""
    count = config.data.records
    if not count:
        return clips
    path = out / "data" / "records.safetensors"
    if not path.is_file():
        make_records(config.data.first_seed + RECORD_SEED_OFFSET, count, config.data, workers, told).save(path)
    more = Examples.load(path)
    names = ("signals", "phase", "known", "owner")
    return Examples(*(torch.cat([getattr(clips, name), getattr(more, name)]) for name in names))


def run_stage(
    stage: str, out: Path, config: EcgFlowTraining, *, cohort=None, workers=1, resume=False, told=None
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

    Returns:
        The stage's folder.
    """
    if stage not in STAGES:
        raise TrainingError(f"A stage is one of {', '.join(STAGES)}; found {stage!r}. Name one of them.")
    out = Path(out)
    open_stages(out, config, cohort)

    def hear(name):
        return None if told is None else lambda event: told(name, event)

    clips, held_out = examples_of(out, config, cohort, workers, hear("data"))
    folder, options = (
        out / stage,
        {"resume": resume and (out / stage / "config.json").exists(), "progress": hear(stage)},
    )
    if stage == "pa-mae":
        records = records_of(out, config, clips, workers, hear("data"))
        train_pa_mae(folder, config.pa_mae, records, held_out, **options)
    elif stage == "vae":
        train_vae(folder, config.vae, clips, held_out, **options)
    elif stage == "segmenter":
        if clips.labels is None:
            raise TrainingError(
                "The plane segmenter learns from labels; this cohort's cines have none. Leave the stage out: cines are "
                "then generated without read-outs."
            )
        train_segmenter(folder, config.segmenter, clips, held_out, **options)
    else:
        pa_mae, vae = load_pa_mae(out, config), load_vae(out, config)
        _, latents, _ = train_amdf(folder, config, pa_mae, vae, clips, held_out, **options)
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


def load_vae(out: Path, config: EcgFlowTraining):
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


def assemble(out: Path, config: EcgFlowTraining) -> EcgFlowModel:
    """Return the model of a finished run: the fine-tuned encoder, not the pre-trained one."""
    amdf = Amdf(PaMae(config.pa_mae.network), VelocityTransformer(config.dit()))
    amdf.load_state_dict(_weights(out, "amdf"))
    fixed = load_file(out / "amdf" / TEMPLATE)
    return EcgFlowModel(
        config.data.grid, amdf, load_vae(out, config), fixed["template"], float(fixed["scale"]), config.amdf.sampler
    ).eval()


def _weights(out: Path, stage: str) -> dict[str, torch.Tensor]:
    path = out / stage / WEIGHTS
    if not path.is_file():
        raise TrainingError(
            f"This needs the finished stage {stage!r}; found no {path}. Run it first: "
            f"cof train ecgflowcmr --stage {stage}."
        )
    return load_file(path)
