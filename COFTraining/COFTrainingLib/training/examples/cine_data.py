"""A recorded cohort as training data of Stage 2: what ``FlowCache`` is for phantoms."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.resources import default_bundle

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.examples.cine_example import Recipe
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.example_store import ARRAYS, Made, example_facts, fill_store, read_example

LARGEST_LOSS = 0.5
"""Where a larger share of a cohort gives no example, the cohort is wrong, not its subjects."""
SHOWN = 3


class CineCache:
    """The examples of a cohort in a store, indexed 0 … N − 1."""

    def __init__(
        self, store: Path, cohort: Cohort, made: dict[str, Made], grid: MotionGrid, further: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.grid, self.made = store, grid, made
        self.rows = [
            (subject, key, copy)
            for subject in cohort.used()
            for copy, key in enumerate(made[subject.id].keys if subject.id in made else ())
        ]
        self.facts = {"subjects": len(self.rows), "grid": asdict(grid)}
        keys = [key for _, key, _ in self.rows]
        self.arrays = {name: _Gathered(store, keys, name) for name in (*ARRAYS, *further)}
        self.seeds = np.array([f"{subject.id}/{copy}" if copy else subject.id for subject, _, copy in self.rows])

    @property
    def ready(self) -> np.ndarray:
        """Indices of the examples: all of them."""
        return np.arange(len(self.rows))

    @property
    def left_out(self) -> dict[str, str]:
        """Why subjects have no example, by id."""
        return {name: found.reason for name, found in self.made.items() if found.reason}

    def of_split(self, cohort: Cohort, split: str) -> np.ndarray:
        """Return the indices of a split's examples; copies are for training alone."""
        kept = [n for n, (subject, _, copy) in enumerate(self.rows) if subject.split == split]
        return np.array([n for n in kept if split == "train" or self.rows[n][2] == 0], dtype=int)

    def first_of(self, indices: Iterable[int]) -> list[tuple[Subject, int]]:
        """Return (subject, index) of the first example of every subject among some indices."""
        return [(self.rows[n][0], int(n)) for n in indices if self.rows[n][2] == 0]

    def summary(self) -> dict[str, Any]:
        """Return where labels come from and how well the registration agrees, for the model's card."""
        facts = [example_facts(self.folder, key) for _, key, copy in self.rows if copy == 0]
        sources, ecgs = ([fact[name] for fact in facts] for name in ("labels_from", "ecg"))
        return {
            "labels_from": {name: sources.count(name) for name in sorted(set(sources))},
            "ecg": {name: ecgs.count(name) for name in sorted(set(ecgs))},
            "registration_confidence": round(float(np.mean([fact["confidence"] for fact in facts])), 4),
            "left_out": len(self.left_out),
        }


@dataclass(frozen=True)
class _Gathered:
    """One array of all examples, read where it is asked for."""

    store: Path
    keys: list[str]
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.keys), *self[0].shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, int | np.integer):
            return read_example(self.store, self.keys[index], (self.name,))[self.name]
        return np.stack([self[int(one)] for one in np.arange(len(self.keys))[index]])


def cine_recipe(
    grid: MotionGrid,
    motion: CineMotion,
    run: Path,
    teacher: Path | str | None,
    segmenter: Path | str | None,
    anchor: str = "ed",
    looks: str = "",
) -> Recipe:
    """Return the recipe of a run: with the teacher and the segmenter that are named, or that lie in the run.

    ``looks`` is the folder of the teacher whose encoder looks at images, or empty.

    Raises:
        TrainingError: If motion is to come from a teacher and there is none.
    """
    folder = ""
    if motion.source == "teacher":
        folder = str(teacher_folder(teacher if teacher is not None else run / "teacher"))
    return Recipe(grid, motion, folder, segmenter_folder(run, segmenter), anchor, looks)


def teacher_folder(given: Path | str) -> Path:
    """Return the folder of a teacher's own files, given it or its run.

    Raises:
        TrainingError: If there is no finished teacher.
    """
    given = Path(given)
    for folder in (given / "teacher", given):
        if (folder / "model.safetensors").is_file() and (folder / "config.json").is_file() and folder.name == "teacher":
            return folder
    raise TrainingError(
        f"The motion of recorded cines is found by a registration teacher; found no finished one in {given}. Train one "
        '(cof train teacher), give it with --teacher, or name another source: [flow.cines] source = "demons"'
    )


def segmenter_folder(run: Path, given: Path | str | None) -> str:
    """Return the folder of a segmenter's own files: of the one given, in the run, or in the default model.

    Returns:
        Empty where none was given and there is none.

    Raises:
        TrainingError: If what is given is no segmenter.
    """
    places = [run / "segmenter"] if given is None else [Path(given)]
    if given is None:
        places.append(default_bundle())
    for place in places:
        for folder in (place, place / "segmenter", place / "models" / "segmenter"):
            if (folder / "segmenter.json").is_file():
                return str(folder)
    if given is not None:
        raise TrainingError(
            f"A segmenter is a run of cof train segmenter, or a bundle that has one; found none in {given}. Correct "
            "--segmenter."
        )
    return ""


def load_cines(
    store: Path,
    cohort: Cohort,
    recipe: Recipe,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CineCache:
    """Make what is missing of a recorded cohort's examples, and open them. Its test subjects are never touched.

    Raises:
        TrainingError: If subjects lack what is needed, or most of them give no example.
    """
    used = check_roles(cohort, recipe)

    def copies(subject: Subject) -> int:
        return recipe.motion.copies if subject.split == "train" else 1

    made = fill_store(store, used, recipe, copies, workers=workers, scheduler=scheduler, progress=progress)
    cache = CineCache(store, used, made, recipe.grid, further_arrays(recipe))
    lost = cache.left_out
    if len(lost) > LARGEST_LOSS * max(len(used.subjects), 1) or not cache.rows:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(lost.items())[:SHOWN])
        raise TrainingError(
            f"Most subjects of a cohort must give an example; {len(lost)} of {len(used.subjects)} of "
            f"{cohort.header.name} do not, e.g. {shown}. Check it: cof cohort check"
        )
    check_own_ecgs(cache)
    return cache


def further_arrays(recipe: Recipe) -> tuple[str, ...]:
    """Return what examples hold beside ``ARRAYS``."""
    found: tuple[str, ...] = ("anchor",) if recipe.anchor == "any" else ()
    if recipe.looks:
        found += ("image",) if recipe.motion.source == "truth" else ("image", "confidence")
    return found


def check_roles(cohort: Cohort, recipe: Recipe) -> Cohort:
    """Return a cohort less its test subjects.

    Raises:
        TrainingError: If the manifest lists too little of any of them.
    """
    used = replace(cohort, subjects=tuple(s for s in cohort.used() if s.split != "test"))
    needed = ["cine", *cohort.header.needs] + (["displacement"] if recipe.motion.source == "truth" else [])
    needed = [role for role in dict.fromkeys(needed) if role in ("cine", "ecg", "displacement")]
    for role in needed:
        lacking = [subject.id for subject in used.subjects if role not in subject.files]
        if lacking:
            raise TrainingError(
                f"Stage 2 learns from cines, with the ECGs that their manifest promises; {len(lacking)} subjects of "
                f"{cohort.header.name} have no {role}, e.g. {', '.join(lacking[:SHOWN])}. Leave them out."
            )
    return used


def check_own_ecgs(cache: CineCache) -> None:
    """Refuse an ECG that several people have: it tells nothing of the heart whose motion is learnt under it.

    Raises:
        TrainingError: If beats of one person are those of another.
    """
    owners: dict[str, str] = {}
    for subject, index in cache.first_of(cache.ready):
        beats = cache.arrays["beats"][index]
        if not beats.any():  # there is none
            continue
        other = owners.setdefault(hashlib.sha256(beats.tobytes()).hexdigest(), subject.person)
        if other != subject.person:
            raise TrainingError(
                f"Every heart needs an ECG of its own; {subject.person} and {other} have the same. Give each its own, "
                "or have ECGs made that fit them: cof cohort import-acdc … --ecg synthesise"
            )
