"""Examples of recorded cohorts on disk, addressed by content: what was made once is found again by any run.

``STORE/objects/ab/KEY.safetensors`` one example; its key is the hash of the subject's files, of what the manifest says
about reading them, and of the recipe. ``STORE/known/RECIPE.jsonl`` remembers which file stamps (path, size, time) gave
which keys, so that planning looks at no file's content: ten thousand subjects take seconds. Killed at any moment,
nothing but unfinished subjects is lost.
"""

import errno
import hashlib
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.files import replacing
from COFGeneratorLib.jobs.workers import spread
from safetensors import safe_open
from safetensors.numpy import save_file

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.examples.cine_example import Recipe, make_examples

FORMAT = 2
"""Raise it when examples are made differently."""
ROLES = ("cine", "cine_labels", "labels", "ecg", "displacement")
FACTS = ("anchor_frame", "label_map", "labels_frame", "ecg", "ef_percent", "rvef_percent", "es_phase")
ARRAYS = ("maps", "velocity", "sensitivity", "deficit", "beats", "scalars", "volumes", "stated")


@dataclass(frozen=True)
class Made:
    """The keys of a subject's examples, or why there are none; what is ``passing`` is tried again by the next run."""

    subject: str
    stamp: str
    keys: tuple[str, ...] = ()
    reason: str = ""
    passing: bool = False


@dataclass(frozen=True)
class _Job:
    """One subject's work, as a worker gets it."""

    store: str
    cohort: Cohort
    subject: Subject
    recipe: Recipe
    recipe_id: str
    copies: int
    stamp: str


def recipe_id(recipe: Recipe) -> str:
    """Return the hash of a recipe: of its settings, and of the weights of its networks."""
    facts: dict[str, Any] = {"format": FORMAT, "grid": asdict(recipe.grid), "motion": asdict(recipe.motion)}
    facts["motion"].pop("copies")
    if recipe.anchor != "ed":
        facts["anchor"] = recipe.anchor
    for name in ("teacher", "segmenter", *(("looks",) if recipe.looks else ())):
        folder = getattr(recipe, name)
        files = sorted(path for path in Path(folder).iterdir() if path.is_file()) if folder else ()
        facts[name] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return _digest(facts)[:16]


def plan(
    store: Path, cohort: Cohort, recipe: Recipe, copies: Callable[[Subject], int]
) -> tuple[dict[str, Made], list[_Job]]:
    """Return what is known of a cohort's used subjects, by id, and the work that is left; no file is opened."""
    identity = recipe_id(recipe)
    known = _read_known(store / "known" / f"{identity}.jsonl")
    there = {path.stem for path in (store / "objects").glob("*/*.safetensors")}
    made, jobs = {}, []
    for subject in cohort.used():
        count = copies(subject)
        stamp = _stamp(cohort, subject, count)
        found = known.get(stamp)
        if found is not None and (found.reason or there.issuperset(found.keys)):
            made[subject.id] = found
        else:
            few = Cohort(cohort.folder, cohort.header, ())
            jobs.append(_Job(store=str(store), cohort=few, subject=subject, recipe=recipe, recipe_id=identity,
                             copies=count, stamp=stamp))  # fmt: skip
    return made, jobs


def fill_store(
    store: Path,
    cohort: Cohort,
    recipe: Recipe,
    copies: Callable[[Subject], int],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Made]:
    """Make what is missing of a cohort's examples.

    Every worker holds one subject at a time: a cine of 50 × 12 × 200 × 200 takes 1.4 GB with both networks.

    Args:
        store: Folder; any number of runs and cohorts may share it.
        cohort: The cohort.
        recipe: How examples are made.
        copies: How many examples a subject is to have.
        workers, scheduler: See ``jobs.workers.spread``.
        progress: Called with (subjects done, subjects to do).

    Returns:
        What became of every used subject, by id.
    """
    made, jobs = plan(store, cohort, recipe, copies)
    memory = store / "known" / f"{recipe_id(recipe)}.jsonl"
    memory.parent.mkdir(parents=True, exist_ok=True)
    for done, result in enumerate(spread(_make, jobs, workers=workers, scheduler=scheduler), start=1):
        made[result.subject] = result
        if not result.passing:
            with memory.open("a", encoding="utf-8") as file:
                file.write(json.dumps({k: v for k, v in asdict(result).items() if k != "passing"}) + "\n")
        if progress is not None:
            progress(done, len(jobs))
    return made


def read_example(store: Path, key: str, names: tuple[str, ...] = ARRAYS) -> dict[str, np.ndarray]:
    """Return arrays of an example."""
    with safe_open(object_path(store, key), framework="np") as file:
        return {name: file.get_tensor(name) for name in names}


def example_facts(store: Path, key: str) -> dict[str, Any]:
    """Return how an example was made: ``labels_from``, ``confidence`` and ``ecg``."""
    with safe_open(object_path(store, key), framework="np") as file:
        return json.loads(file.metadata()["facts"])


def object_path(store: Path, key: str) -> Path:
    """Return the file of an example."""
    return store / "objects" / key[:2] / f"{key}.safetensors"


def _make(job: _Job) -> Made:
    """Make one subject's examples, unless equal content gave them already."""
    store = Path(job.store)
    try:
        content = {role: _content(job.cohort.path(job.subject, role)) for role in ROLES if role in job.subject.files}
        facts = {name: job.subject.facts[name] for name in FACTS if name in job.subject.facts}
        source = _digest({"content": content, "facts": facts, "recipe": job.recipe_id})
        keys = tuple(_digest({"source": source, "copy": copy}) for copy in range(job.copies))
        if not all(object_path(store, key).is_file() for key in keys):
            seed = int(source[:12], 16)
            made = make_examples(job.cohort, job.subject, job.recipe, job.copies, seed)
            for key, example in zip(keys, made, strict=True):
                if not object_path(store, key).is_file():
                    _save(object_path(store, key), example)
    except ChainOfFlowError as error:
        return Made(job.subject.id, job.stamp, reason=str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise CohortError(
                f"Examples are written to {store}; writing failed ({error.strerror}). Free some space, or name another "
                "folder with --cache, and run it again: what is done is kept."
            ) from error
        return Made(job.subject.id, job.stamp, reason=str(error), passing=True)
    except Exception as error:  # one strange file of ten thousand is left out, not the end of the work
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
        return Made(job.subject.id, job.stamp, reason=words, passing=True)
    return Made(job.subject.id, job.stamp, keys)


def _save(path: Path, example: dict[str, Any]) -> None:
    names = (*ARRAYS, *(("anchor",) if "anchor" in example else ()))
    arrays = {name: np.ascontiguousarray(example[name]) for name in names}
    with replacing(path) as beside:
        save_file(arrays, beside, {"facts": json.dumps(example["facts"])})


def _stamp(cohort: Cohort, subject: Subject, copies: int) -> str:
    """Return what tells a subject's files from others without opening them."""
    stats, root = {}, cohort.root
    for role in ROLES:
        if role in subject.files:
            path = os.path.join(root, subject.files[role])
            pair = [path] if not path.endswith(".hea") else [path, f"{path[:-4]}.dat"]  # WFDB keeps its signal beside
            stats[role] = [_stat(one) for one in pair]
    facts = {name: subject.facts[name] for name in FACTS if name in subject.facts}
    return _digest({"files": stats, "facts": facts, "copies": copies})[:32]


def _stat(path: str) -> list[Any]:
    try:
        found = os.stat(path)
    except OSError:
        return [path]
    return [path, found.st_size, found.st_mtime_ns]


def _content(path: Path) -> str:
    """Return the hash of a file, or of all files of a folder (a DICOM export; a WFDB header beside its signal)."""
    files = sorted(path.rglob("*")) if path.is_dir() else sorted(path.parent.glob(f"{path.stem}.*"))
    digest = hashlib.sha256()
    for file in files if path.is_dir() or path.suffix == ".hea" else [path]:
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _read_known(path: Path) -> dict[str, Made]:
    """Return what a store remembers of a recipe, by stamp; a line cut short by a crash is left out."""
    known = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
            known[row["stamp"]] = Made(**{**row, "keys": tuple(row["keys"])})
        except (ValueError, KeyError, TypeError):
            continue
    return known
