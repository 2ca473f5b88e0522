"""The whole of Stage 2 as one resumable run: ECG encoder, examples, regression mean, flow, and the gain on motion.

``RUN/config.json`` what was asked for, ``RUN/ecg/`` the encoder (trained here, or adopted), ``RUN/cache/`` the
examples, ``RUN/mean/`` and ``RUN/flow/`` the two networks' runs, ``RUN/population.safetensors`` the baseline "mean
motion", ``RUN/events.jsonl`` what happened, ``RUN/stage2.json`` last: with it the run is finished. Killed at any
moment, it goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.grid import MotionGrid
from COFGeneratorLib.generator.mean_network import MeanConfig, MotionMean
from COFGeneratorLib.generator.model import MotionModel, SamplerDefaults
from COFGeneratorLib.generator.pack import PackScale
from safetensors.torch import load_file

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.physiology import Prevalence
from COFTrainingLib.phantom.subject import ENRICHED
from COFTrainingLib.training.calibrate import fit_gain, population_velocity
from COFTrainingLib.training.ecg_training import WEIGHTS, EcgTraining, adopt_encoder, load_encoder, train_ecg
from COFTrainingLib.training.flow import StageTwoConfig, train_flow, train_mean
from COFTrainingLib.training.flow_cache import build_flow_cache
from COFTrainingLib.training.flow_data import FlowData, load_flow_data
from COFTrainingLib.training.loop import LoopConfig
from COFTrainingLib.training.run_folder import EventLog, config_diff, plain, save_weights, versions, write_json

CONFIG, FINISHED, DATA, POPULATION = "config.json", "stage2.json", "data.json", "population.safetensors"
MIN_TRAIN, MIN_VALID = 4, 2
Told = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Calibration:
    """Subjects on which the gain on motion is fitted: natural prevalence, seeds of their own; 0 fits none."""

    first_seed: int = 1_900_000
    subjects: int = 48


@dataclass(frozen=True)
class StageTwoTraining:
    """Everything that fixes a training of Stage 2.

    Args:
        grid: The motion grid.
        subjects, first_seed, prevalence: Which phantoms, where no cohort says so.
        stage: What both networks share.
        mean, mean_loop: The regression; None trains none (the flow then carries the whole motion).
        flow, flow_loop: The velocity network; None leaves the regression alone.
        flow_epochs: Passes over the training subjects, in place of the loop's steps; 0 keeps those.
        tau_draw: How flow times are drawn.
        sampler: The sampler's defaults in the bundle.
        calibration: Subjects for the gain.
    """

    grid: MotionGrid = field(default_factory=MotionGrid)
    subjects: int = 2400
    first_seed: int = 100_000
    prevalence: Prevalence = ENRICHED
    stage: StageTwoConfig = field(default_factory=StageTwoConfig)
    mean: MeanConfig | None = field(default_factory=MeanConfig)
    mean_loop: LoopConfig = field(default_factory=lambda: LoopConfig(4000))
    flow: FlowConfig | None = field(default_factory=FlowConfig)
    flow_loop: LoopConfig = field(default_factory=lambda: LoopConfig(4000))
    flow_epochs: int = 0
    tau_draw: str = "logit-normal"
    sampler: SamplerDefaults = field(default_factory=SamplerDefaults)
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self):
        if self.mean is None and self.flow is None:
            raise TrainingError(
                "Stage 2 trains a regression mean, a flow, or both; found neither. Keep flow.mean or flow.flow."
            )


def of_cohort(training: StageTwoTraining, cohort: Cohort) -> StageTwoTraining:
    """Return the settings for the phantoms of a cohort, drawn again from its seeds and prevalence.

    Raises:
        TrainingError: If the cohort is of another kind, or shares subjects with the calibration.
    """
    seeds = sorted(int(subject.facts["seed"]) for subject in cohort.subjects if "seed" in subject.facts)
    if cohort.header.kind != "phantom" or not seeds or len(seeds) != len(cohort.subjects):
        raise TrainingError(
            "Stage 2 is trained on exact motion, which phantom cohorts have; found the cohort "
            f"{cohort.header.name!r} of the kind {cohort.header.kind!r}. Make one with: cof cohort synthesize"
        )
    held = training.calibration
    if held.subjects and seeds[0] < held.first_seed + held.subjects and seeds[-1] >= held.first_seed:
        raise TrainingError(
            f"The gain is fitted on subjects that no network saw; found the calibration's seeds {held.first_seed}… "
            f"in the cohort {cohort.header.name!r}. Set flow.calibration.first_seed to other seeds."
        )
    stated = cohort.header.settings.get("prevalence")
    prevalence = Prevalence(**stated) if stated else training.prevalence
    return replace(training, subjects=seeds[-1] - seeds[0] + 1, first_seed=seeds[0], prevalence=prevalence)


def train_stage_two(
    out_dir: Path | str,
    training: StageTwoTraining,
    ecg: EcgTraining | None = None,
    *,
    cohort: Cohort | None = None,
    ecg_weights: Path | str | None = None,
    cache: Path | str | None = None,
    workers: int = 2,
    resume: bool = False,
    told: Told | None = None,
) -> Path:
    """Train Stage 2.

    Args:
        out_dir: Run folder; may hold runs of other stages in folders of their own (``ecg/``, ``segmenter/``).
        training: Settings.
        ecg: Settings of the ECG encoder, for a run that trains its own.
        cohort: Phantom cohort; its test subjects are never used.
        ecg_weights: Finished run or weights of an ECG encoder to adopt; ``RUN/ecg`` or a new training where None.
        cache: Folder of the examples, to share them between runs; in the run folder where None.
        workers: Processes that make examples and records.
        resume: Go on with the run in ``out_dir``.
        told: Called with (stage, event) for everything that happens.

    Returns:
        The run folder.

    Raises:
        TrainingError: If the folder holds another run, or what is given cannot be used.
    """
    run = Path(out_dir)
    training = of_cohort(training, cohort) if cohort is not None else training
    _open(run, training, cohort, resume)
    if (run / FINISHED).is_file():
        return run
    log = EventLog(run / "events.jsonl")

    def tell(stage: str, event: dict[str, Any]) -> None:
        log.write(event["event"], stage=stage, **{key: value for key, value in event.items() if key != "event"})
        if told is not None:
            told(stage, event)

    try:
        _run(run, training, ecg or EcgTraining(), cohort, ecg_weights, cache, workers, tell)
    except BaseException as error:
        log.write("error", stage="flow", message=f"{type(error).__name__}: {error}")
        raise
    log.write("done")
    return run


def _run(run, training: StageTwoTraining, ecg: EcgTraining, cohort, ecg_weights, cache, workers, tell) -> None:
    folder = run / "ecg"
    if not (folder / WEIGHTS).is_file():
        if ecg_weights is not None:
            adopt_encoder(ecg_weights, folder, ecg.encoder)
        else:
            train_ecg(
                folder,
                ecg,
                workers=workers,
                resume=True,
                progress=lambda event: tell("ecg", {**event, "of": ecg.loop.steps}),
            )
    encoder = load_encoder(folder)

    def made(part: str, done: int, total: int) -> None:
        tell("examples", {"event": "progress", "part": part, "step": done, "of": total})

    examples = build_flow_cache(
        Path(cache) if cache else run / "cache", training.subjects, training.first_seed, training.grid,
        training.prevalence, workers, made,
    )  # fmt: skip
    data = _prepared(run, load_flow_data(examples, encoder), cohort)
    if not (run / POPULATION).is_file():
        save_weights(run / POPULATION, {"velocity": population_velocity(data).half()})
    mean = flow = None
    spread = (1.0, 1.0, 1.0)
    if training.mean is not None:
        mean = _mean(run / "mean", training, data, lambda event: tell("mean", event))
    if training.flow is not None:
        flow, spread = _flow(run / "flow", training, data, mean, lambda event: tell("flow", event))
    model = MotionModel(data.cache.grid, encoder, data.scale, mean, flow, tuple(spread), 1.0, training.sampler).to(
        "cpu"
    )
    held = training.calibration
    if held.subjects:
        model.gain = fit_gain(model, held.first_seed, held.subjects, lambda done, total: tell(
            "gain", {"event": "progress", "step": done, "of": total}
        ))  # fmt: skip
    write_json(run / FINISHED, {
        "rms": list(data.scale.rms),
        "spread": list(spread),
        "gain": model.gain,
        "subjects": {"train": len(data.train), "valid": len(data.valid)},
        "weights": weights_of(run),
    })  # fmt: skip


def weights_of(run: Path) -> dict[str, str]:
    """Return the SHA-256 of the weights of a run by the network's name."""
    files = {name: run / name / WEIGHTS for name in ("ecg", "mean", "flow")}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}


def _open(run: Path, training: StageTwoTraining, cohort: Cohort | None, resume: bool) -> None:
    """Freeze the configuration of a new run, or check that a resumed one is the same.

    Raises:
        TrainingError: If the folder holds another run.
    """
    source = None
    if cohort is not None:
        header = asdict(cohort.header)
        source = {"manifest_sha256": cohort.fingerprint(), **{k: header[k] for k in
                  ("name", "kind", "licence", "version", "seed", "settings")}}  # fmt: skip
    asked = json.loads(json.dumps({"training": asdict(training), "cohort": source, "versions": versions()}))
    frozen = run / CONFIG
    if not frozen.exists():
        run.mkdir(parents=True, exist_ok=True)
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


def _prepared(run: Path, data: FlowData, cohort: Cohort | None) -> FlowData:
    """Return the data in the cohort's splits, with the scale that the run began with.

    Raises:
        TrainingError: If there are too few subjects.
    """
    train, valid = data.train, data.valid
    if cohort is not None:
        first, ready = data.cache.facts["first_seed"], set(data.cache.ready.tolist())

        def of(split: str) -> np.ndarray:
            indices = (int(subject.facts["seed"]) - first for subject in cohort.used(split))
            return np.array([index for index in indices if index in ready], dtype=int)

        train, valid = of("train"), of("valid")
        if len(valid) < MIN_VALID:  # a small cohort: hold some of the training subjects back
            train, valid = train[:-MIN_VALID], train[-MIN_VALID:]
    if len(train) < MIN_TRAIN:
        raise TrainingError(
            f"Stage 2 needs at least {MIN_TRAIN} subjects to train on and {MIN_VALID} to validate; found {len(train)} "
            f"and {len(valid)}. Make a larger cohort."
        )
    kept = run / DATA
    if kept.is_file():  # the sums behind the scale may round differently with other threads
        scale = PackScale(tuple(json.loads(kept.read_text(encoding="utf-8"))["rms"]))
    else:
        scale = data.scale
        write_json(kept, {"rms": list(scale.rms), "train": len(train), "valid": len(valid)})
    return replace(data, train=train, valid=valid, scale=scale)


def _mean(folder: Path, training: StageTwoTraining, data: FlowData, progress) -> MotionMean:
    if (folder / WEIGHTS).is_file():
        mean = MotionMean(data.cache.grid, training.mean)
        mean.load_state_dict(load_file(folder / WEIGHTS))
        return mean.eval()
    mean, _ = train_mean(
        data, folder, training.mean_loop, training.stage, training.mean,
        resume=(folder / CONFIG).exists(), progress=lambda event: progress({**event, "of": training.mean_loop.steps}),
    )  # fmt: skip
    return mean.eval()


def _flow(folder: Path, training: StageTwoTraining, data: FlowData, mean: MotionMean | None, progress):
    """Return the velocity network and the residual's spread."""
    begun = folder / CONFIG
    network = replace(training.flow, residual=mean is not None)
    spread = tuple(json.loads(begun.read_text(encoding="utf-8"))["model"]["spread"]) if begun.exists() else None
    if (folder / WEIGHTS).is_file():
        flow = VelocityUNet(data.cache.grid, network)
        flow.load_state_dict(load_file(folder / WEIGHTS))
        return flow.eval(), spread
    loop = training.flow_loop
    if training.flow_epochs:
        loop = replace(loop, steps=training.flow_epochs * -(-len(data.train) // training.stage.batch))
    flow, spread, _ = train_flow(
        data, folder, loop, training.stage, network, mean,
        tau_draw=training.tau_draw, spread=spread, resume=begun.exists(),
        progress=lambda event: progress({**event, "of": loop.steps}),
    )  # fmt: skip
    return flow.eval(), spread
