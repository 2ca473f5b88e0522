"""The whole of Stage 2 as one resumable run: examples, regression mean, flow, and what a bundle needs of them.

``RUN/recipe.json`` what was asked for, ``RUN/examples/`` the cache, ``RUN/ecg.safetensors`` the encoder it was trained
with, ``RUN/mean/`` and ``RUN/flow/`` the two networks' runs, ``RUN/population.safetensors`` the baseline,
``RUN/finished.json`` last.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.ecg_encoder import EcgEncoder, EcgEncoderConfig
from COFGeneratorLib.generator.flow_network import FlowConfig
from COFGeneratorLib.generator.grid import MotionGrid
from COFGeneratorLib.generator.mean_network import MeanConfig
from COFGeneratorLib.generator.model import SamplerDefaults
from safetensors.torch import load_file

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.physiology import Prevalence
from COFTrainingLib.phantom.subject import ENRICHED
from COFTrainingLib.training.calibrate import population_velocity
from COFTrainingLib.training.flow import StageTwoConfig, train_flow, train_mean
from COFTrainingLib.training.flow_cache import build_flow_cache
from COFTrainingLib.training.flow_data import FlowData, load_flow_data
from COFTrainingLib.training.loop import LoopConfig
from COFTrainingLib.training.run_folder import save_weights, write_json

RECIPE, FINISHED = "recipe.json", "finished.json"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class StageTwoTraining:
    """Everything that fixes a training of Stage 2.

    Args:
        grid: The motion grid.
        subjects, first_seed: Which phantoms, where no cohort says so.
        prevalence: How often findings occur among them.
        stage: What both networks share.
        mean, mean_loop: The regression; None trains none (the flow then carries the whole motion).
        flow, flow_loop: The velocity network; None leaves the regression alone.
        sampler: The sampler's defaults in the bundle.
    """

    grid: MotionGrid = field(default_factory=MotionGrid)
    subjects: int = 2400
    first_seed: int = 100_000
    prevalence: Prevalence = ENRICHED
    stage: StageTwoConfig = field(default_factory=StageTwoConfig)
    mean: MeanConfig | None = field(default_factory=lambda: MeanConfig(widths=(64, 96, 128), hidden=160))
    mean_loop: LoopConfig = field(default_factory=lambda: _loop(4000, 1e-3))
    flow: FlowConfig | None = field(default_factory=FlowConfig)
    flow_loop: LoopConfig = field(default_factory=lambda: _loop(4000, 1e-3))
    sampler: SamplerDefaults = field(default_factory=SamplerDefaults)


def _loop(steps: int, learning_rate: float, **changes) -> LoopConfig:
    settings = {"warmup_steps": 50, "ema_decay": 0.995, "precision": "bf16"}
    return LoopConfig(steps, learning_rate, **settings | changes)


CONFIGURATIONS = {
    "cof-plus": StageTwoTraining(),
    "cof-v2": StageTwoTraining(  # the paper's: 128 pixels of 1.8 mm at quarter size, the whole motion, 20 Euler steps
        grid=MotionGrid(spacing_mm=(10.0, 7.2, 7.2), centre_mm=(10.0, 0.0, 0.0), phases=11),
        mean=None,
        flow=FlowConfig(prediction="v", residual=False),
        flow_loop=LoopConfig(12_000, 2e-4, weight_decay=0.0, schedule="drops", ema_decay=0.995, checkpoint_every=500),
        sampler=SamplerDefaults("euler", 20),
    ),
    "smoke": StageTwoTraining(
        grid=MotionGrid(shape=(8, 24, 24), spacing_mm=(16.0, 7.0, 7.0), phases=6),
        subjects=12,
        stage=StageTwoConfig(batch=4),
        mean=MeanConfig(widths=(8, 16, 16), blocks=1, modes=3, hidden=32),
        mean_loop=_loop(12, 3e-3, warmup_steps=2, ema_decay=0.8, log_every=2, checkpoint_every=6),
        flow=FlowConfig(widths=(8, 16, 16), hidden=32),
        flow_loop=_loop(12, 3e-3, warmup_steps=2, ema_decay=0.8, log_every=2, checkpoint_every=6),
        sampler=SamplerDefaults("euler", 2),
    ),
}


def of_cohort(training: StageTwoTraining, cohort: Cohort) -> StageTwoTraining:
    """Return the training over the phantoms of a cohort.

    Raises:
        TrainingError: If the cohort is of another kind.
    """
    seeds = sorted(int(subject.facts["seed"]) for subject in cohort.subjects if "seed" in subject.facts)
    if cohort.header.kind != "phantom" or len(seeds) != len(cohort.subjects):
        raise TrainingError(
            "Stage 2 is trained on exact motion, which phantom cohorts have; found the cohort "
            f"{cohort.header.name!r} of kind {cohort.header.kind!r}. Make one with: cof cohort synthesize"
        )
    prevalence = cohort.header.settings.get("prevalence")
    if prevalence:
        training = replace(training, prevalence=Prevalence(**prevalence))
    return replace(training, subjects=seeds[-1] - seeds[0] + 1, first_seed=seeds[0])


def train_stage_two(
    out_dir: Path | str,
    training: StageTwoTraining,
    ecg_run: Path | str,
    *,
    cohort: Cohort | None = None,
    examples: Path | str | None = None,
    workers: int = 2,
    resume: bool = False,
    told: Progress | None = None,
    progress: Callable[[str, dict[str, Any]], None] | None = None,
) -> Path:
    """Train Stage 2; the run can be stopped at any moment and resumed.

    Args:
        out_dir: Run folder.
        training: Settings.
        ecg_run: Finished run of the ECG encoder.
        cohort: Phantom cohort whose training and validation subjects are used; its test subjects never are.
        examples: Folder of the examples, to share them between runs; in the run folder where None.
        workers: Processes that make them.
        resume: Go on with the run in ``out_dir``.
        told: Called with (stage, done, total) while examples are made.
        progress: Called with (``"mean"`` or ``"flow"``, event) for every event of the training loops.

    Raises:
        TrainingError: If the folder holds another run or the encoder is not finished.
    """
    run = Path(out_dir)
    training = of_cohort(training, cohort) if cohort is not None else training
    encoder = _open(run, training, Path(ecg_run), cohort, resume)
    cache = build_flow_cache(
        Path(examples) if examples else run / "examples",
        training.subjects,
        training.first_seed,
        training.grid,
        training.prevalence,
        workers,
        told,
    )
    data = load_flow_data(cache, encoder)
    if cohort is not None:
        data = _split_as(data, cohort)
    save_weights(run / "population.safetensors", {"velocity": population_velocity(data).half()})
    facts: dict[str, Any] = {"rms": list(data.scale.rms), "train": len(data.train), "valid": len(data.valid)}
    mean = None
    if training.mean is not None:
        options = _options(run, "mean", resume, progress)
        mean, trained = train_mean(data, run / "mean", training.mean_loop, training.stage, training.mean, **options)
        mean = mean.to("cpu").eval()
        facts["mean"] = trained.metrics
    if training.flow is not None:
        options = _options(run, "flow", resume, progress)
        parts = (data, run / "flow", training.flow_loop, training.stage, training.flow, mean)
        _, facts["spread"], trained = train_flow(*parts, **options)
        facts["flow"] = trained.metrics
    write_json(run / FINISHED, facts)
    return run


def _open(run: Path, training: StageTwoTraining, ecg_run: Path, cohort: Cohort | None, resume: bool) -> EcgEncoder:
    """Begin or continue a run folder, and return the encoder it is trained with.

    Raises:
        TrainingError: If the folder holds another run, or there are no finished weights of an encoder.
    """
    asked = json.loads(json.dumps({"training": asdict(training), "cohort": cohort and cohort.fingerprint()}))
    frozen = run / RECIPE
    if frozen.exists():
        if not resume:
            raise TrainingError(f"A new run needs an empty folder; {run} holds a run. Choose another or --resume it.")
        if json.loads(frozen.read_text(encoding="utf-8")) != asked:
            raise TrainingError(
                f"A resumed run must keep its settings; in {run} they differ. Start a new run for them."
            )
    else:
        weights = ecg_run / "model.safetensors"
        if not weights.is_file():
            raise TrainingError(
                f"Stage 2 needs a finished run of the ECG encoder; found no model.safetensors in {ecg_run}. "
                "Train one with: cof train ecg"
            )
        run.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, run / "ecg.safetensors")
        shutil.copyfile(ecg_run / "config.json", run / "ecg.json")
        write_json(frozen, asked)
    return load_encoder(run)


def load_encoder(run: Path) -> EcgEncoder:
    """Return the ECG encoder that a run of Stage 2 was trained with."""
    described = json.loads((run / "ecg.json").read_text(encoding="utf-8"))["model"]["encoder"]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}
    encoder = EcgEncoder(EcgEncoderConfig(**values))
    encoder.load_state_dict(load_file(run / "ecg.safetensors"))
    return encoder.eval()


def _split_as(data: FlowData, cohort: Cohort) -> FlowData:
    """Return the data in the splits of a cohort; its test subjects are left out.

    Raises:
        TrainingError: If there are too few subjects to train on.
    """
    first, ready = data.cache.facts["first_seed"], set(data.cache.ready.tolist())

    def of(split):
        indices = (int(subject.facts["seed"]) - first for subject in cohort.used(split))
        return np.array([index for index in indices if index in ready], dtype=int)

    train, valid = of("train"), of("valid")
    if len(valid) < 2:  # a small cohort: hold some of the training subjects back
        train, valid = train[:-2], train[-2:]
    if len(train) < 4:
        raise TrainingError(
            f"Stage 2 needs at least 4 subjects to train on; found {len(train)} in the cohort. Make a larger one."
        )
    return replace(data, train=train, valid=valid)


def _options(run: Path, part: str, resume: bool, progress) -> dict[str, Any]:
    return {
        "resume": resume and (run / part / "config.json").exists(),
        "progress": partial(progress, part) if progress else None,
    }
