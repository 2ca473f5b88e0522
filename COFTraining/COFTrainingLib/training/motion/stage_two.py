"""The whole of Stage 2 as one resumable run: ECG encoder, examples, the flow, and the gain on motion.

``RUN/config.json`` what was asked for, ``RUN/ecg/`` the encoder (trained here, or adopted), ``RUN/cache/`` the
examples, ``RUN/expected/`` and ``RUN/fold-N/`` runs of the flow's trunk, ``RUN/flow/`` the flow,
``RUN/population.safetensors`` the baseline "mean motion", ``RUN/events.jsonl`` what happened, ``RUN/stage2.json`` last:
with it the run is finished. Killed at any moment, it goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import weights_hash, write_json
from COFGeneratorLib.generator.bundle import POPULATION, Bundle, load_bundle
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.networks.dynamics import own_embedding
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow
from COFGeneratorLib.generator.networks.flow_network import VelocityUNet
from COFGeneratorLib.jobs.events import EventLog
from COFGeneratorLib.machine import versions
from COFGeneratorLib.weights import load_weights, save_exact

from COFTrainingLib.cohort.people import PEOPLE, people_sha256, refuse_leaks, write_people
from COFTrainingLib.training.ecg.ecg_training import (
    WEIGHTS,
    EcgTraining,
    adopt_encoder,
    load_encoder,
    load_statement,
    train_ecg,
)
from COFTrainingLib.training.examples.cine_data import CineCache, check_roles, cine_recipe, load_cines
from COFTrainingLib.training.examples.cine_motion import load_teacher
from COFTrainingLib.training.examples.flow_cache import FlowCache, build_flow_cache
from COFTrainingLib.training.examples.flow_data import FlowData, load_flow_data
from COFTrainingLib.training.examples.phantom_cine import PhantomImages
from COFTrainingLib.training.examples.splits import check_size, in_splits
from COFTrainingLib.training.loop.ranks import Ranks, first_rank_first
from COFTrainingLib.training.loop.run_folder import config_diff, plain
from COFTrainingLib.training.motion.calibrate import fit_gain, fit_gain_on_cines, population_velocity
from COFTrainingLib.training.motion.ef_interval import fit_ef_interval
from COFTrainingLib.training.motion.image_teacher import image_teacher
from COFTrainingLib.training.motion.networks import Start, Told, start_of, trained_expected, trained_plain
from COFTrainingLib.training.motion.regression import Preview
from COFTrainingLib.training.motion.samples import FOLDER, write_expected_sample, write_final_sample
from COFTrainingLib.training.motion.stage_two_settings import StageTwoTraining, is_recorded, of_cohort
from COFTrainingLib.training.motion.stage_two_sources import Recorded, Sources

CONFIG, FINISHED = "config.json", "stage2.json"
LEFT_OUT = "left_out.json"
"""Why subjects of a recorded cohort gave no example."""
STATED = ("name", "kind", "licence", "version", "seed", "settings", "ecg")
"""What a run's configuration keeps of a cohort's header."""


def train_stage_two(
    out_dir: Path | str,
    training: StageTwoTraining,
    ecg: EcgTraining | None = None,
    *,
    resume: bool = False,
    told: Told | None = None,
    **sources: Any,
) -> Path:
    """Train, or finish, all of Stage 2.

    Args:
        out_dir: Run folder; may hold runs of other stages in folders of their own (``ecg/``, ``segmenter/``).
        training: Settings.
        ecg: Settings of the ECG encoder, for a run that trains its own.
        resume: Go on with the run in ``out_dir``.
        told: Called with (stage, event) for everything that happens.
        **sources: Fields of ``Sources``.

    Returns:
        The run folder.

    Raises:
        TrainingError: If the folder holds another run, or what is given cannot be used.
    """
    run, given = Path(out_dir), Sources(**sources)
    if given.listener is not None and training.flow is None:
        raise TrainingError(
            "An encoder of others is for the papers' flow, which hears an embedding; this configuration trains a flow "
            "that is told what our encoder reads. Leave --encoder out, or choose --config cof-v2."
        )
    looks = image_teacher(run, training, given.teacher)
    if given.cohort is not None:
        training = of_cohort(training, given.cohort)
    before = None if given.start_from is None else load_bundle(given.start_from)
    start = None if before is None else start_of(before, training)
    recorded = None
    if given.cohort is not None:
        if is_recorded(given.cohort):
            recipe = cine_recipe(
                training.grid,
                training.cines,
                run,
                given.teacher,
                given.segmenter,
                training.anchor,
                looks if training.needs_image else "",
            )
            recorded = Recorded(given.cohort, recipe)
            check_roles(given.cohort, recipe)
            refuse_leaks(given.cohort, [Path(folder) for folder in (recipe.teacher, recipe.segmenter) if folder])
        check_size(*(len(given.cohort.used(split)) for split in ("train", "valid")))
    with first_rank_first() as ranks:
        _open(run, training, given, recorded, before, looks, resume or not ranks.first)
    if (run / FINISHED).is_file():
        return run
    log = EventLog(run / "events.jsonl")

    def tell(stage: str, event: dict[str, Any]) -> None:
        if ranks.first:
            log.write(event["event"], stage=stage, **{key: value for key, value in event.items() if key != "event"})
            if told is not None:
                told(stage, event)

    try:
        _run(run, training, ecg or EcgTraining(), given, recorded, start, looks, tell)
    except BaseException as error:
        tell("flow", {"event": "error", "message": f"{type(error).__name__}: {error}"})
        raise
    if ranks.first:
        log.write("done")
    return run


def _run(
    run: Path, training: StageTwoTraining, ecg: EcgTraining, given: Sources, recorded: Recorded | None,
    start: Start | None, looks: str, tell: Told,
) -> None:  # fmt: skip
    encoder = _encoder(run / "ecg", ecg, given, tell)
    embedding = None
    if training.flow is not None:
        embedding = partial(own_embedding, encoder) if given.listener is None else given.listener.embedding
    with first_rank_first() as ranks:
        examples = _examples(run, training, given, recorded, looks, ranks, tell)
        loaded = load_flow_data(examples, encoder, embedding)
        data = in_splits(run, loaded if start is None else replace(loaded, scale=start.scale), given.cohort)
        if not (run / POPULATION).is_file():
            save_exact({"velocity": population_velocity(data).half()}, run / POPULATION)
    flow: ExpectedFlow | VelocityUNet
    if training.expected is not None:
        preview = _preview(run, data, tell) if given.samples else None
        flow = trained_expected(run, training, data, tell, preview, start)
    else:
        teacher = load_teacher(looks).network if training.needs_image else None
        flow = trained_plain(run, training, data, tell, start, teacher)
    model = MotionModel(
        data.cache.grid, encoder, data.scale, flow, gain=1.0, listener=given.listener,
        sampler=training.sampler, after=training.after, statement=load_statement(run / "ecg"),
        mean=load_weights(run / POPULATION)["velocity"].float(),
    ).to("cpu")  # fmt: skip
    if ranks.first:
        _calibrate(model, training, data, recorded, tell)
        if given.samples:
            path = write_final_sample(run / FOLDER, data, model)
            tell("flow", {"event": "artifact", "path": str(path)})
        write_json(run / FINISHED, {
            "rms": list(data.scale.rms),
            "gain": model.gain,
            "ef_z90": model.ef_z90,
            "ef_shift": model.ef_shift,
            "subjects": {"train": len(data.train), "valid": len(data.valid)},
            **({"cines": examples.summary()} if isinstance(examples, CineCache) else {}),
            "weights": weights_of(run),
        })  # fmt: skip
    ranks.wait()


def _encoder(folder: Path, ecg: EcgTraining, given: Sources, tell: Told) -> EcgEncoder:
    """Return the ECG encoder: trained before, adopted, or trained now."""
    with first_rank_first():
        if not (folder / WEIGHTS).is_file() and given.ecg_weights is not None:
            adopt_encoder(given.ecg_weights, folder, ecg.encoder)
    if not (folder / WEIGHTS).is_file():
        train_ecg(
            folder, ecg, workers=given.workers, resume=True,
            progress=lambda event: tell("ecg", {**event, "of": ecg.loop.steps}),
        )  # fmt: skip
    return load_encoder(folder)


def _examples(
    run: Path, training: StageTwoTraining, given: Sources, recorded: Recorded | None, looks: str, ranks: Ranks,
    tell: Told,
) -> FlowCache | CineCache:  # fmt: skip
    """Return the examples, made where they are missing: of phantoms, or of a cohort's own cines."""
    folder = Path(given.cache) if given.cache else run / "cache"

    def made(part: str, done: int, total: int) -> None:
        tell("examples", {"event": "progress", "part": part, "step": done, "of": total})

    if recorded is None:
        return build_flow_cache(
            folder, training.subjects, training.first_seed, training.grid, prevalence=training.prevalence,
            workers=given.workers, progress=made, anchor=training.anchor,
            images=PhantomImages(looks, training.phantoms) if looks else None,
        )  # fmt: skip
    cache = load_cines(
        folder, recorded.cohort, recorded.recipe, workers=given.workers, scheduler=given.scheduler,
        progress=lambda done, total: made("cines", done, total),
    )  # fmt: skip
    if ranks.first:
        write_json(run / LEFT_OUT, cache.left_out)
        for name, reason in cache.left_out.items():
            tell("examples", {"event": "warning", "message": f"{name} is left out: {reason}"})
    return cache


def _calibrate(
    model: MotionModel, training: StageTwoTraining, data: FlowData, recorded: Recorded | None, tell: Told
) -> None:
    """Fit the gain on motion and, where the encoder's reading was trained on such hearts, the interval of its EF."""
    held = training.calibration

    def told(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: tell(stage, {"event": "progress", "step": done, "of": total})

    if not held.subjects:
        return
    if recorded is not None and isinstance(data.cache, CineCache):
        chosen = np.array([index for _, index in data.cache.first_of(data.valid)[: held.subjects]])
        model.gain = fit_gain_on_cines(
            model, recorded.cohort, data.cache, chosen, recorded.recipe.segmenter, told("gain")
        )
        return
    model.gain = fit_gain(model, held.first_seed, held.subjects, told("gain"))
    if held.records and model.statement is None:
        fitted = fit_ef_interval(model, held.first_seed, held.records, told("interval"))
        model.ef_shift, model.ef_z90 = fitted.shift, fitted.z90


def weights_of(run: Path) -> dict[str, str]:
    """Return the SHA-256 of the weights of a run by the network's name."""
    files = {name: run / name / WEIGHTS for name in ("ecg", "flow")}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}


def _open(
    run: Path, training: StageTwoTraining, given: Sources, recorded: Recorded | None, before: Bundle | None,
    looks: str, resume: bool,
) -> None:  # fmt: skip
    """Freeze the configuration of a new run, or check that a resumed one is the same.

    Raises:
        TrainingError: If the folder holds another run.
    """
    source: dict[str, Any] | None = None
    cohort = given.cohort
    if cohort is not None:
        header = asdict(cohort.header)
        source = {"manifest_sha256": cohort.fingerprint(), **{name: header[name] for name in STATED}}
        if recorded is not None:
            source["people_sha256"] = people_sha256(cohort)
            networks = {"teacher": recorded.recipe.teacher, "segmenter": recorded.recipe.segmenter}
            source["networks"] = {name: weights_hash(folder) for name, folder in networks.items()}
    described: dict[str, Any] = {"training": asdict(training), "cohort": source, "versions": versions()}
    if looks:
        described["teacher_sha256"] = weights_hash(looks)
    if given.listener is not None:
        described["listener"] = given.listener.facts()
    if before is not None:
        described["start_from"] = {"model": before.model_id, "weights_sha256": before.weights_sha256}
    asked = json.loads(json.dumps(described))
    frozen = run / CONFIG
    if not frozen.exists():
        run.mkdir(parents=True, exist_ok=True)
        if cohort is not None:
            write_people(run / PEOPLE, cohort)
        write_json(frozen, asked)
        return
    if not resume:
        raise TrainingError(
            f"A new run needs a folder without one; {run} already holds a run. Choose another folder or --resume it."
        )
    defaults = plain({"training": asdict(StageTwoTraining())})
    changed = config_diff(json.loads(frozen.read_text(encoding="utf-8")), asked, defaults)
    if changed:
        raise TrainingError(
            f"A resumed run must keep its configuration; in {run} these differ: {'; '.join(changed)}. Start a new run "
            "for the new settings, or give the old ones."
        )


def _preview(run: Path, data: FlowData, tell: Told) -> Preview:
    """Return what writes a sample of the expectation and tells where it is."""

    def write(maps: torch.Tensor, velocity: torch.Tensor, step: int) -> None:
        try:
            path = write_expected_sample(run / FOLDER, data, maps, velocity, step)
        except OSError as error:  # a picture is not worth a training
            tell("expected", {"event": "warning", "message": f"No sample at step {step}: {error}"})
        else:
            tell("expected", {"event": "artifact", "path": str(path)})

    return write
