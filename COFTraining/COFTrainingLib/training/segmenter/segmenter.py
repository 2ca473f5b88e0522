"""Training of the segmenter: a coarse network that finds the heart and a fine one that draws its contours.

Both learn from synthetic patients of random anatomy and random contrast alone (after SynthSeg and SynthMorph: Billot
et al. 2023, Hoffmann et al. 2022) and meet no patient.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from COFGeneratorLib.anatomy.segmenters.segmenter_network import NetworkConfig, build_network
from COFGeneratorLib.files import write_json
from COFGeneratorLib.weights import load_weights

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.seeds import SeedBlock, numbered_subjects
from COFTrainingLib.training.loop.loop import LoopConfig, Loss, Progress, RunOptions, TrainedRun, train
from COFTrainingLib.training.loop.precision import full_precision
from COFTrainingLib.training.segmenter.recorded import RecordedStacks, StackSizes, batches_of, cut_cohort
from COFTrainingLib.training.segmenter.segmenter_batches import BatchConfig, coarse_batches
from COFTrainingLib.training.segmenter.segmenter_cache import CacheConfig, TissueCache, make_cache

VALIDATION_SEED_OFFSET = 1_000_003
Caches = tuple[TissueCache | RecordedStacks, TissueCache | RecordedStacks]
"""Whom to train on, and who elects the weights."""
DICE_WEIGHT = 0.3
"""Of the soft Dice beside the cross-entropy. Dice alone is best served by drawing all that may belong to a structure:
at equal weights walls came out a tenth too large on held-out phantoms."""
RECORDED = "recorded_training.json"
"""In the run folder of a training on recordings: which, under what terms."""
STARTED_FROM = "started_from.json"
"""In the run folder of a training that began with other weights: whom those had met."""


def segmenter_loop(steps: int, **changes: Any) -> LoopConfig:
    """Return the loop's settings for a number of steps."""
    settings = {"learning_rate": 1.5e-3, "warmup_steps": min(100, steps // 10), "ema_decay": 0.995, "precision": "bf16",
                "device": "cpu", "threads": 1, "checkpoint_every": 250, "log_every": 25}  # fmt: skip
    return LoopConfig(steps, **{**settings, **changes})


@dataclass(frozen=True)
class SegmenterConfig:
    """Settings of a segmenter training.

    Args:
        cache: Training patients; validation patients have other seeds.
        validation_subjects, validation_batches: How many patients and batches elect the best weights.
        fine, coarse: Networks.
        fine_batches, coarse_batches: Their batches.
        fine_loop, coarse_loop: Their loops.
    """

    cache: CacheConfig = field(default_factory=CacheConfig)
    validation_subjects: int = 32
    validation_batches: int = 12
    fine: NetworkConfig = field(default_factory=NetworkConfig)
    coarse: NetworkConfig = field(default_factory=lambda: NetworkConfig(spacing_mm=4.5, size=80))
    fine_batches: BatchConfig = field(default_factory=lambda: BatchConfig("fine"))
    coarse_batches: BatchConfig = field(default_factory=coarse_batches)
    fine_loop: LoopConfig = field(default_factory=lambda: segmenter_loop(4000))
    coarse_loop: LoopConfig = field(default_factory=lambda: segmenter_loop(1500))


def dice_and_cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> Loss:
    """Return the loss and metrics: cross-entropy, plus ``DICE_WEIGHT`` of the soft Dice over the batch.

    Args:
        logits: (B, 4, D, H, W).
        label: (B, D, H, W) int64.
    """
    with full_precision(logits.device):
        logits = logits.float()
        cross = torch.nn.functional.cross_entropy(logits, label)
        wanted = torch.nn.functional.one_hot(label, logits.shape[1]).movedim(-1, 1).float()
        found, axes = logits.softmax(dim=1), (0, 2, 3, 4)
        overlap = (found * wanted).sum(axes)
        dice = (2 * overlap + 20.0) / ((found + wanted).sum(axes) + 20.0)
        names = ("lv", "myo", "rv")
        metrics = {f"dice_{name}": dice[code].detach() for code, name in enumerate(names, start=1)}
        return cross + DICE_WEIGHT * (1.0 - dice[1:].mean()), metrics


def train_on_tissues(
    network: torch.nn.Module,
    batches: BatchConfig,
    caches: Caches,
    out_dir: Path,
    loop: LoopConfig,
    *,
    validation_batches: int,
    described: dict[str, Any],
    **options: Unpack[RunOptions],
) -> TrainedRun:
    """Train a network, built from the loop's seed, to label images.

    ``caches`` are patients to train on, and those of whom ``validation_batches`` elect the best weights; ``described``
    is frozen into the run's configuration.
    """
    drawn, held_out = (batches_of(cache, batches) for cache in caches)

    def loss_fn(model: torch.nn.Module, batch: dict[str, Any], _generator: torch.Generator) -> Loss:
        return dice_and_cross_entropy(model(batch["image"]), batch["label"])

    def validate(model: torch.nn.Module, _step: int) -> dict[str, float]:
        totals: dict[str, float] = {}
        device = next(model.parameters()).device
        for number in range(validation_batches):
            batch = held_out(number)
            loss, metrics = dice_and_cross_entropy(model(batch["image"].to(device)), batch["label"].to(device))
            for name, value in {"score": loss, **metrics}.items():
                totals[name] = totals.get(name, 0.0) + float(value) / validation_batches
        return totals

    return train(network, loss_fn, drawn, out_dir, loop, model_config=described, validate=validate, **options)


def train_scale(
    scale: str, config: SegmenterConfig, caches: Caches, out_dir: Path,
    *, start_from: Path | None = None, **options: Unpack[RunOptions],
) -> TrainedRun:  # fmt: skip
    """Train the ``"fine"`` or the ``"coarse"`` network; ``start_from`` is a file of weights to begin with."""
    network_config, loop = getattr(config, scale), getattr(config, f"{scale}_loop")
    batches = getattr(config, f"{scale}_batches")
    torch.manual_seed(loop.seed)
    network = build_network(network_config)
    if start_from is not None:
        network.load_state_dict(load_weights(start_from))  # of a run, or of a bundle in fewer bits
    described = {"network": network_config.to_json(), "batches": asdict(batches), "cache": asdict(config.cache)}
    return train_on_tissues(
        network, batches, caches, out_dir, loop, validation_batches=config.validation_batches, described=described,
        **options,
    )  # fmt: skip


def train_segmenter(
    out_dir: Path | str, config: SegmenterConfig | None = None, *, cache_dir: Path | str, workers: int = 1,
    resume: bool = False, start_from: Path | str | None = None, cohort: Cohort | None = None,
    progress: Progress | None=None,
) -> Path:  # fmt: skip
    """Train both networks and write the segmenter's folder.

    Args:
        out_dir: Run folder; gets ``fine/`` and ``coarse/`` runs and the finished ``segmenter/``.
        config: Settings.
        cache_dir: Where tissue maps are kept; made where missing.
        workers: Processes that make them.
        resume: Go on with a run that was stopped.
        start_from: A segmenter folder whose weights to begin with.
        cohort: Labelled recordings to learn from in place of drawn patients; its validation split elects the weights.
        progress: Called with every event.

    Returns:
        The segmenter's folder, for ``Segmenter.from_files``.
    """
    config, out_dir, cache_dir = config or SegmenterConfig(), Path(out_dir), Path(cache_dir)
    held_out = replace(
        config.cache, subjects=config.validation_subjects, seed=config.cache.seed + VALIDATION_SEED_OFFSET
    )
    if start_from is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        write_json(out_dir / STARTED_FROM, {"subject_seeds": _met_before(Path(start_from))})
    caches: Caches = (
        recorded_caches(cache_dir, cohort, config.cache, workers)
        if cohort is not None
        else (
            TissueCache(make_cache(cache_dir / "train", config.cache, workers), config.cache.subjects),
            TissueCache(make_cache(cache_dir / "validation", held_out, workers), config.validation_subjects),
        )
    )
    for scale in ("fine", "coarse"):
        run = out_dir / scale
        first = Path(start_from) / f"{scale}.safetensors" if start_from else None
        if first is None and scale == "coarse" and config.coarse.same_weights(config.fine):
            first = out_dir / "fine" / "model.safetensors"  # what a heart looks like is known by now
        train_scale(
            scale, config, caches, run, resume=resume and (run / "config.json").exists(), start_from=first,
            progress=progress,
        )  # fmt: skip
    return write_segmenter(out_dir, config)


def recorded_caches(
    folder: Path, cohort: Cohort, config: CacheConfig, workers: int
) -> tuple[RecordedStacks, RecordedStacks]:
    """Return the labelled frames of a cohort's training and validation split, cut to a configuration's sizes.

    Raises:
        TrainingError: If a split has none.
    """
    sizes = StackSizes(config.fine_size, config.fine_mm, config.coarse_size, config.coarse_mm)
    train, valid = (
        cut_cohort(folder / f"recorded-{split}", cohort, split, sizes, workers=workers) for split in ("train", "valid")
    )
    return train, valid


def subject_seeds(config: SegmenterConfig) -> list[SeedBlock]:
    """Return whom a training meets: the patients of its two caches."""
    seed = config.cache.seed
    return [
        numbered_subjects("segmenter, training", seed, config.cache.subjects),
        numbered_subjects("segmenter, validation", seed + VALIDATION_SEED_OFFSET, config.validation_subjects),
    ]


def _met_before(folder: Path) -> list[Any] | None:
    """Return whom a segmenter's folder says that its weights had met, as JSON; None where it does not say."""
    stated = folder / "provenance.json"
    return json.loads(stated.read_text(encoding="utf-8")).get("subject_seeds") if stated.is_file() else None


def write_segmenter(run: Path, config: SegmenterConfig) -> Path:
    """Collect the finished weights of a run into a segmenter folder."""
    folder = run / "segmenter"
    folder.mkdir(exist_ok=True)
    for scale in ("fine", "coarse"):
        shutil.copyfile(run / scale / "model.safetensors", folder / f"{scale}.safetensors")
    described = {scale: getattr(config, scale).to_json() for scale in ("fine", "coarse")}
    (folder / "segmenter.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    return folder
