"""Training of the assessor: a second network, of another family, that judges cines and has no part in making them.

It learns as the segmenter does, from synthetic patients of random anatomy and contrast, but from patients of other
seeds, in another random order, and through another architecture. What it met is written into its folder, so that
``evaluation/independence.py`` can tell.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.events import read_events
from COFGeneratorLib.weights import load_weights, save_weights

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.seeds import SeedBlock, numbered_subjects
from COFTrainingLib.training.loop.loop import LoopConfig, Progress
from COFTrainingLib.training.segmenter.assessor_network import (
    DESCRIPTION,
    FAMILY,
    FORMAT,
    WEIGHTS,
    AssessorNetwork,
    build_assessor,
    weights_sha256,
)
from COFTrainingLib.training.segmenter.segmenter import (
    VALIDATION_SEED_OFFSET,
    Caches,
    recorded_caches,
    segmenter_loop,
    train_on_tissues,
)
from COFTrainingLib.training.segmenter.segmenter_batches import BatchConfig
from COFTrainingLib.training.segmenter.segmenter_cache import CacheConfig, TissueCache, make_cache

FIRST_SEED = 41_000_001
"""Far from the seeds of the segmenter (1), of Stage 2 (100,000 … 2,000,000) and of held-out cohorts (7,000,000 …)."""
CONFIG = "config.json"


def assessor_cache(**changes: Any) -> CacheConfig:
    """Return the patients of the assessor; it looks at the heart alone, so their chests are drawn coarsely."""
    return CacheConfig(**{"subjects": 400, "seed": FIRST_SEED, "coarse_size": 24, "coarse_mm": 14.0, **changes})


@dataclass(frozen=True)
class AssessorTraining:
    """Settings of an assessor training.

    Args:
        cache: Training patients; validation patients have other seeds.
        validation_subjects, validation_batches: How many patients and batches elect the best weights.
        network: The network and its window.
        batches: Its batches; ``size`` and ``spacing_mm`` are the network's.
        loop: Its loop.
    """

    cache: CacheConfig = field(default_factory=assessor_cache)
    validation_subjects: int = 24
    validation_batches: int = 8
    network: AssessorNetwork = field(default_factory=AssessorNetwork)
    batches: BatchConfig = field(default_factory=lambda: BatchConfig("fine", seed=29))
    loop: LoopConfig = field(default_factory=lambda: segmenter_loop(1000, seed=29, precision="fp32"))

    @property
    def validation(self) -> CacheConfig:
        """The validation patients."""
        return replace(self.cache, subjects=self.validation_subjects, seed=self.cache.seed + VALIDATION_SEED_OFFSET)

    @property
    def subject_seeds(self) -> list[SeedBlock]:
        """Everybody whom the assessor meets."""
        return [
            numbered_subjects("assessor, training", self.cache.seed, self.cache.subjects),
            numbered_subjects("assessor, validation", self.validation.seed, self.validation_subjects),
        ]


def train_assessor(
    out_dir: Path | str, config: AssessorTraining | None = None, *, cache_dir: Path | str | None = None,
    workers: int = 1, resume: bool = False, cohort: Cohort | None = None, progress: Progress | None=None,
) -> Path:  # fmt: skip
    """Train the assessor and write its folder.

    Args:
        out_dir: Run folder; gets the run and the finished ``assessor/``.
        config: Settings.
        cache_dir: Where tissue maps are kept, made where missing; ``out_dir/cache`` where None.
        workers: Processes that make them.
        resume: Go on with a run that was stopped.
        cohort: Labelled recordings to learn from in place of drawn patients; its validation split elects the weights.
        progress: Called with every event.

    Returns:
        The assessor's folder, for ``evaluation.assessor.load_assessor``.

    Raises:
        TrainingError: If the run folder holds another run, or training fails.
    """
    config, out_dir = config or AssessorTraining(), Path(out_dir)
    cache_dir = Path(cache_dir) if cache_dir is not None else out_dir / "cache"
    caches: Caches = (
        recorded_caches(cache_dir, cohort, config.cache, workers)
        if cohort is not None
        else (
            TissueCache(make_cache(cache_dir / "train", config.cache, workers), config.cache.subjects),
            TissueCache(make_cache(cache_dir / "validation", config.validation, workers), config.validation_subjects),
        )
    )
    torch.manual_seed(config.loop.seed)
    network = build_assessor(config.network)
    batches = replace(config.batches, size=config.network.size, spacing_mm=config.network.spacing_mm, scale="fine")
    described = {
        "network": config.network.to_json(),
        "batches": asdict(batches),
        "cache": asdict(config.cache),
        "validation": asdict(config.validation),
    }
    train_on_tissues(
        network, batches, caches, out_dir, config.loop, validation_batches=config.validation_batches,
        described=described, resume=resume, progress=progress,
    )  # fmt: skip
    return write_assessor(out_dir, out_dir / "assessor", config, cohort)


def write_assessor(run: Path | str, out: Path | str, config: AssessorTraining, cohort: Cohort | None = None) -> Path:
    """Write the assessor of a finished run: weights in eight bits, and ``assessor.json`` that says all about it.

    What is in ``out`` is replaced; returns ``out``.
    """
    run, out = Path(run), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    save_weights(load_weights(run / WEIGHTS), out / WEIGHTS, eight_bits=True)
    described: dict[str, Any] = {
        "format": FORMAT,
        "family": FAMILY,
        "network": config.network.to_json(),
        **whom_it_met(config, cohort),
        "steps": config.loop.steps,
        "seeds": {"loop": config.loop.seed, "batches": config.batches.seed},
        "validation": _elected(run),
        "configuration": json.loads(json.dumps(asdict(config))),
        "versions": json.loads((run / CONFIG).read_text(encoding="utf-8"))["versions"],
        "weights_sha256": weights_sha256(out),
    }
    write_json(out / DESCRIPTION, described)
    return out


def whom_it_met(config: AssessorTraining, cohort: Cohort | None) -> dict[str, Any]:
    """Return what ``assessor.json`` says of the patients: drawn by seeds, or recorded under the terms of a cohort.

    Recorded people stand as marks in the run's ``people.json``, which stays there.
    """
    if cohort is None:
        return {
            "trained_on": "analytic phantoms of random contrast; no person's data",
            "subject_seeds": [block.to_json() for block in config.subject_seeds],
        }
    header = cohort.header
    return {
        "trained_on": f"recorded, labelled cines of {header.name}",
        "licence": header.licence,
        "manifest_sha256": cohort.fingerprint(),
        "persons": {split: len({s.person for s in cohort.used(split)}) for split in ("train", "valid")},
        "subject_seeds": [],
    }


def _elected(run: Path) -> dict[str, float]:
    """Return the validation figures of the weights that were elected."""
    found = [event for event in read_events(run / "events.jsonl") if event["event"] == "metric" and "score" in event]
    best = min(found, key=lambda event: event["score"], default={})
    return {name: round(best[name], 4) for name in ("step", "score", "dice_lv", "dice_myo", "dice_rv") if name in best}
