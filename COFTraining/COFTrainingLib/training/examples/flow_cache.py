"""Stage 2's examples on disk: memory-mapped arrays, made by worker processes, resumable.

Without ``images`` no image enters: a network that sees label maps in the heart's frame cannot lean on contrast. One
such example takes about 0.8 s of one core and 2 MB; what images add is said in ``phantom_cine``.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.ecg.beats import cycle_from_peaks
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.generator.bundle import with_tuples
from COFGeneratorLib.generator.networks.condition import STATED_UNITS
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.jobs.workers import spread
from COFGeneratorLib.machine import one_thread

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.prevalence import ENRICHED, Prevalence
from COFTrainingLib.phantom.subject import PhantomSubject, draw_subject
from COFTrainingLib.training.examples.flow_samples import flow_example, volume_phases
from COFTrainingLib.training.examples.phantom_cine import PhantomImages
from COFTrainingLib.training.examples.stated import stated_of

SENSITIVITY_SCALE = 1000.0
"""Sensitivities are stored ×1000, so that half precision keeps them."""
ECG_DRAWS = 4
"""Recordings of every subject: noise and electrode places differ, the heart does not."""


class FlowCache:
    """Open a folder of examples.

    Arrays (N = subjects, T = phases, D, H, W of the grid), float16: ``maps`` (N, 3, D, H, W); ``velocity``
    (N, T, 3, D, H, W) grid voxels; ``sensitivity`` (N, P, 3, 3, D, H, W) × 1000 and ``deficit`` (N, P, 3) of the volume
    phases; ``beats`` (N, R, 12, 256) mV; ``scalars`` (N, R, 12) float32; ``anchor`` (N, 1) float32 phases, where
    anchors are of any phase; ``image`` (N, D, h, w), where images are made; ``confidence`` (N, T, D, H, W), where the
    motion is the teacher's; ``stated`` (N, 3) float32, see ``stated_of``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            self.facts = json.loads((self.folder / "cache.json").read_text())
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"A flow cache needs cache.json in {self.folder}; found none that reads ({error}). "
                "Leave --cache out, or name the folder of a begun cache."
            ) from error
        self.grid = MotionGrid(**with_tuples(self.facts["grid"]))
        self.anchor = self.facts.get("anchor", "ed")
        names = _layout(self.grid, 1, self.anchor, self.facts.get("images"))
        self.arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r+") for name in names}

    @property
    def ready(self) -> np.ndarray:
        """Indices of the examples that are complete: both their motion and their ECGs."""
        return np.flatnonzero(self.arrays["moved"][:, 0] & self.arrays["heard"][:, 0])

    def subject(self, index: int) -> PhantomSubject:
        """Draw the phantom subject of an example again."""
        return draw_subject(int(self.seeds[index]), Prevalence(**self.facts["prevalence"]))

    def of_split(self, cohort: Cohort, split: str) -> np.ndarray:
        """Return the indices of the complete examples of a phantom cohort's split."""
        first, ready = self.facts["first_seed"], set(self.ready.tolist())
        indices = (int(subject.facts["seed"]) - first for subject in cohort.used(split))
        return np.array([index for index in indices if index in ready], dtype=int)

    @property
    def seeds(self) -> np.ndarray:
        """Subject numbers, (N,)."""
        return self.facts["first_seed"] + np.arange(self.facts["subjects"])


def _layout(
    grid: MotionGrid, subjects: int, anchor: str, images: dict[str, Any] | None
) -> dict[str, tuple[tuple[int, ...], str]]:
    phases, space, volumes = grid.phases, grid.shape, len(volume_phases(grid, anchor))
    return {
        "maps": ((subjects, 3, *space), "f2"),
        "velocity": ((subjects, phases, 3, *space), "f2"),
        "sensitivity": ((subjects, volumes, 3, 3, *space), "f2"),
        "deficit": ((subjects, volumes, 3), "f4"),
        "beats": ((subjects, ECG_DRAWS, 12, 256), "f2"),
        "scalars": ((subjects, ECG_DRAWS, 12), "f4"),
        "stated": ((subjects, 3), "f4"),
        "moved": ((subjects, 1), "u1"),
        "heard": ((subjects, 1), "u1"),
        **({"anchor": ((subjects, 1), "f4")} if anchor == "any" else {}),
        **({"image": ((subjects, space[0], *images["plane"]), "f2")} if images else {}),
        **({"confidence": ((subjects, phases, *space), "f2")} if images and images["motion"] == "teacher" else {}),
    }


def build_flow_cache(
    folder: Path,
    subjects: int,
    first_seed: int,
    grid: MotionGrid | None = None,
    *,
    prevalence: Prevalence = ENRICHED,
    workers: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
    anchor: str = "ed",
    images: PhantomImages | None = None,
) -> FlowCache:
    """Make (or finish) a folder of examples from phantom subjects first_seed … first_seed + subjects − 1.

    ``anchor`` says when their anchors are taken, one of ``flow_samples.ANCHORS``; ``images`` what is made of images.

    Raises:
        TrainingError: If the folder holds a cache of other settings.
    """
    folder, grid = Path(folder), grid or MotionGrid()
    facts: dict[str, Any] = {
        "subjects": subjects,
        "first_seed": first_seed,
        "grid": asdict(grid),
        "prevalence": asdict(prevalence),
        "stated": list(STATED_UNITS),
        **({"anchor": anchor} if anchor != "ed" else {}),
        **({"images": images.facts()} if images is not None else {}),
    }
    marker = folder / "cache.json"
    if marker.is_file():
        if json.loads(marker.read_text()) != json.loads(json.dumps(facts)):
            raise TrainingError(
                f"A flow cache of these settings was expected in {folder}; found one of other settings. "
                "Choose another folder."
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (shape, kind) in _layout(grid, subjects, anchor, facts.get("images")).items():
            np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape).flush()
        write_json(marker, facts)
    cache = FlowCache(folder)
    missing = {flag: np.flatnonzero(cache.arrays[flag][:, 0] == 0).tolist() for flag in ("moved", "heard")}
    tasks = [(flag, index) for flag, places in missing.items() for index in places]
    done = dict.fromkeys(missing, 0)
    for flag in spread(partial(_make, folder, images), tasks, workers=workers):
        done[flag] += 1
        if progress:
            progress(flag, done[flag], len(missing[flag]))
    return FlowCache(folder)


def _make(folder: Path, images: PhantomImages | None, task: tuple[str, int]) -> str:
    """Make one part of one example and return which."""
    flag, index = task
    if flag == "moved":
        _make_motion(folder, images, index)
    else:
        _make_ecg(folder, index)
    return flag


def _make_motion(folder: Path, images: PhantomImages | None, index: int) -> None:
    """Make one example's anatomy and motion; the flag is set last, so a killed build resumes cleanly."""
    cache = FlowCache(folder)
    rng = np.random.default_rng([int(cache.seeds[index]), 3])
    with one_thread():
        subject = cache.subject(index)
        example = flow_example(subject, cache.grid, rng, cache.anchor, images)
        example["stated"] = stated_of(subject)
    example["sensitivity"] = example["sensitivity"] * SENSITIVITY_SCALE
    for name, values in example.items():
        cache.arrays[name][index] = values
    cache.arrays["moved"][index] = 1


def _make_ecg(folder: Path, index: int) -> None:
    """Record one subject's ECGs and measure them as a reader of files would."""
    cache = FlowCache(folder)
    rng = np.random.default_rng([int(cache.seeds[index]), 4])
    physiology = cache.subject(index).physiology
    for draw in range(ECG_DRAWS):
        record, peaks = synthesise_ecg(physiology, rng)
        cycle = cycle_from_peaks(record, peaks)
        cache.arrays["beats"][index, draw], cache.arrays["scalars"][index, draw] = cycle.beat_mv, cycle.scalars()
    cache.arrays["heard"][index] = 1
