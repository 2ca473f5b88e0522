"""One run of a comparator: ``RUN/{ecg, data, autoencoder, generator}``; with ``comparator.json`` it is finished."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import sha256_of, write_json
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoderConfig

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.people import PEOPLE, refuse_leaks, write_people
from COFTrainingLib.training.comparators.clips import Clips, read_clips
from COFTrainingLib.training.comparators.settings import ComparatorTraining
from COFTrainingLib.training.comparators.told import Heard
from COFTrainingLib.training.ecg.ecg_training import WEIGHTS, adopt_encoder, load_encoder
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, TrainedRun, step_generator, train
from COFTrainingLib.training.loop.run_folder import plain

SETTINGS, FINISHED = "settings.json", "comparator.json"
STAGES = ("autoencoder", "generator")
VALIDATION_CLIPS, MEASURED_CLIPS = 16, 16
Told = Callable[[str, dict[str, Any]], None]
"""Called as told(stage, event)."""


def train_comparator(
    out_dir: Path | str, config: ComparatorTraining, cohort: Cohort, ecg: Path | str, *, segmenter: str = "",
    resume: bool = False, told: Told | None = None,
) -> Path:  # fmt: skip
    """Train, or finish, both stages on the train split of a cohort; its test split is never touched.

    Args:
        out_dir: Run folder.
        config: Settings.
        cohort: Cines with ECGs.
        ecg: Run, bundle or file of the ECG encoder that hears for it; it is copied into the run and stays as it is.
        segmenter: Folder of the segmenter for anchors without labels, or empty.
        resume: Go on with the run in ``out_dir``.
        told: Told every event.

    Returns:
        The run folder.

    Raises:
        TrainingError: If the folder holds another run, or the cohort has nothing to learn from.
        CohortError: If somebody is on both sides of a split.
    """
    out = Path(out_dir)
    tell: Told = told or (lambda stage, event: None)
    refuse_leaks(cohort, [Path(segmenter)] if segmenter else [])
    _open(out, config, cohort, resume)
    if (out / FINISHED).is_file():
        return out
    if not (out / "ecg" / WEIGHTS).is_file():
        adopt_encoder(ecg, out / "ecg", EcgEncoderConfig())
    encoder = load_encoder(out / "ecg").eval()
    clips = {}
    for split in ("train", "valid"):
        path = out / "data" / f"{split}.safetensors"
        if not path.is_file():
            read_clips(cohort, split, config.clips, encoder, segmenter, _said(tell)).save(path)
        clips[split] = Clips.load(path)
    start = perf_counter()
    torch.manual_seed(config.generator_loop.seed)
    family = config.build(encoder.config.embedding)

    def rebuilt(_: torch.nn.Module, batch: dict[str, Any], rng: torch.Generator) -> Loss:
        return family.autoencoder_loss(batch["clips"], rng)

    def generated(_: torch.nn.Module, batch: dict[str, Any], rng: torch.Generator) -> Loss:
        return family.generator_loss(batch["clips"], Heard(batch["embedding"], batch["tokens"]), rng)

    first = _stage(out, "autoencoder", family.autoencoder, rebuilt, config, config.autoencoder_loop, clips, tell)
    family.autoencoder.requires_grad_(False).eval()
    device = next(family.autoencoder.parameters()).device
    family.generator.to(device)
    family.prepare(_some(clips["train"], MEASURED_CLIPS)["clips"].to(device))
    second = _stage(out, "generator", family.generator, generated, config, config.generator_loop, clips, tell)
    write_json(out / FINISHED, {
        "family": config.family,
        "trained_on": cohort.header.name,
        "kind": cohort.header.kind,
        "licence": cohort.header.licence,
        "manifest_sha256": cohort.fingerprint(),
        "subjects": len(clips["train"].heard.embedding),
        "clips": len(clips["train"]),
        "batch": config.batch,
        "steps": {"autoencoder": first.step, "generator": second.step},
        "parameters": sum(p.numel() for part in (family.autoencoder, family.generator) for p in part.parameters()),
        "seconds_of_this_process": round(perf_counter() - start, 1),
        "weights_sha256": {stage: sha256_of(out / stage / WEIGHTS) for stage in STAGES},
    })  # fmt: skip
    return out


def placed(config: ComparatorTraining, device: str | None, threads: int | None) -> ComparatorTraining:
    """Return the settings with another device or number of threads in both loops."""
    asked: dict[str, Any] = {
        name: value for name, value in (("device", device), ("threads", threads)) if value is not None
    }
    return replace(
        config,
        autoencoder_loop=replace(config.autoencoder_loop, **asked),
        generator_loop=replace(config.generator_loop, **asked),
    )


def _said(tell: Told) -> Callable[[int, int, str], None]:
    def say(done: int, of: int, why: str) -> None:
        if why:
            tell("data", {"event": "warning", "message": f"A subject is left out: {why}"})
        tell("data", {"event": "progress", "step": done, "of": of})

    return say


def _stage(
    out: Path, name: str, network: torch.nn.Module, loss: Callable[..., Loss], config: ComparatorTraining,
    loop: LoopConfig, clips: dict[str, Clips], tell: Told,
) -> TrainedRun:  # fmt: skip
    """Train one stage, or go on with it; the network then has its weights."""

    def batches(step: int) -> dict[str, Any]:
        rng = np.random.default_rng([loop.seed, STAGES.index(name), step])
        return _batch(clips["train"], torch.from_numpy(rng.integers(len(clips["train"]), size=config.batch)))

    def validate(model: torch.nn.Module, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        held = _some(clips["valid"], VALIDATION_CLIPS)
        held = {key: value.to(device) for key, value in held.items()}
        rng = step_generator(loop.seed, 0, device)  # the same draws at every validation
        losses = [float(loss(model, held, rng)[0]) for _ in range(2)]
        return {"score": float(np.mean(losses))}

    return train(
        network, loss, batches, out / name, loop, model_config=plain(asdict(config)), validate=validate,
        resume=(out / name / "config.json").is_file(), progress=lambda event: tell(name, event),
    )  # fmt: skip


def _batch(clips: Clips, rows: torch.Tensor) -> dict[str, Any]:
    images, heard = clips.at(rows)
    return {"clips": images, "embedding": heard.embedding, "tokens": heard.tokens}


def _some(clips: Clips, most: int) -> dict[str, Any]:
    """Return evenly chosen clips."""
    return _batch(clips, torch.linspace(0, len(clips) - 1, min(most, len(clips))).long())


def _open(out: Path, config: ComparatorTraining, cohort: Cohort, resume: bool) -> None:
    """Freeze the settings of a new run, or check that a resumed one has the same.

    Raises:
        TrainingError: If the folder holds another run.
    """
    asked = json.loads(json.dumps({"training": asdict(config), "cohort": cohort.fingerprint()}))
    path = out / SETTINGS
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_people(out / PEOPLE, cohort)
        write_json(path, asked)
        return
    if not resume:
        raise TrainingError(f"A new run needs a folder without one; {out} holds a run. Choose another, or --resume it.")
    before = json.loads(path.read_text(encoding="utf-8"))
    for table in (before["training"], asked["training"]):
        for loop in ("autoencoder_loop", "generator_loop"):
            for where in ("device", "threads"):
                table[loop].pop(where, None)
    if before != asked:
        raise TrainingError(
            f"A resumed run keeps its configuration and its cohort; those of {out} are others. Give the same ones, or "
            "choose another folder."
        )
