"""Whether the assessor is independent of what it judges: of family, weights, drawn patients and people.

Everything is read off the files: families and weights from the tensors, patients from what each training wrote about
the seeds it drew from, people from the marks that a training on recordings leaves in its run. What does not say whom it
has met is not independent.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.errors import ChainOfFlowError, CohortError
from COFGeneratorLib.generator.bundle import METADATA, read_metadata
from COFGeneratorLib.weights import load_weights

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.people import people_of, refuse_leaks
from COFTrainingLib.cohort.seeds import SeedBlock, numbered_subjects, seeded_subjects, shared
from COFTrainingLib.training.bundles.provenance import segmenter_of
from COFTrainingLib.training.segmenter.assessor_network import DESCRIPTION, WEIGHTS

FAMILIES = {"SegResNet": ("up_layers.",), "DynUNet": ("input_block.", "bottleneck."), "UNet": ("submodule.",)}
"""Marks in the names of weights by which MONAI's families of segmentation networks are told."""
LARGE = 512
"""Smaller tensors (biases, norms) may be alike by chance or by their start."""
ALIKE = 0.98
"""Cosine between tensors of two networks above which one is a copy of the other, rounded or trained on."""
UNKNOWN_COUNT = 10**9
TEACHER_SPAN = 40_024
"""A teacher validates on 24 phantoms 40,000 seeds after its first one; what lies between is its own, too."""


def check_independent(
    assessor: Path | str, models: Sequence[Path | str], cohort: Cohort | None = None, runs: Iterable[Path | str] = ()
) -> None:
    """Refuse an assessor that has anything in common with what it is to judge.

    That are bundles, runs or folders of segmenters, and a cohort's subjects; ``runs`` are run folders where recordings
    were trained on, for the marks of people.

    Raises:
        CohortError: If it is not independent; names everything that is shared.
    """
    problems = independence_problems(assessor, models, cohort, runs)
    if problems:
        raise CohortError(
            f"An assessor judges networks that it has nothing in common with; the one in {assessor} "
            f"{'; it '.join(problems)}. Train another with cof train assessor and seeds of its own "
            "(assessor.cache.seed), or judge other models or subjects."
        )


def independence_problems(
    assessor: Path | str, models: Sequence[Path | str], cohort: Cohort | None = None, runs: Iterable[Path | str] = ()
) -> list[str]:
    """Return all that an assessor has in common with what it is to judge, in words that follow "it"; empty if nothing.

    Args as for ``check_independent``.
    """
    folder = Path(assessor)
    try:
        own = load_weights(folder / WEIGHTS)
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except Exception as error:  # safetensors and json each raise their own kinds
        return [f"does not read ({type(error).__name__}: {error})"]
    problems = []
    family = family_of(own)
    if not family:
        problems.append("is of a family that is not known")
    try:
        met = [SeedBlock.from_json(block) for block in described["subject_seeds"]]
    except (KeyError, TypeError, ValueError):
        met = []
        problems.append("does not state the seeds of its subjects (subject_seeds)")
    for model in map(Path, models):
        problems += _networks(own, family, model)
        try:
            theirs = subjects_of(model)
        except ChainOfFlowError as error:
            problems.append(f"cannot be told from {model.name}, of which this is known: {error}")
            continue
        problems += [f"met subjects of {model.name} ({mine}; {other})" for mine, other in shared(met, theirs)]
    problems += _people(folder, [Path(place) for place in (*models, *runs)])
    return problems + (_cohort(folder, met, cohort) if cohort is not None else [])


def family_of(weights: dict[str, torch.Tensor]) -> str:
    """Return the family of a segmentation network by the names of its weights; empty where it is none we know."""
    for family, marks in FAMILIES.items():
        if all(any(name.startswith(mark) or f".{mark}" in name for name in weights) for mark in marks):
            return family
    return ""


def subjects_of(model: Path) -> list[SeedBlock]:
    """Return the drawn patients that a bundle or a segmenter has met, in training, validation and calibration.

    Raises:
        ChainOfFlowError: If a network in it does not state them.
    """
    if not (model / METADATA).is_file():
        found = segmenter_of(model, model)
        return _stated({} if found is None else found[1], "its segmenter")
    metadata = read_metadata(model)
    training, cof = metadata.get("training", {}), metadata["cof"]
    settings = _settings(model)
    blocks = _first_seeds(training, settings)
    calibration = settings.get("flow", {}).get("calibration", {})
    if isinstance(gain := training.get("gain"), dict) and gain.get("first_seed") is not None:
        count = max(int(gain.get("subjects", 1)), int(calibration.get("records", 0)))
        blocks.append(seeded_subjects("calibration", int(gain["first_seed"]), count))
    if cof.get("ecg"):
        seed = int(training.get("seeds", {}).get("ecg", 0))
        ecg = settings.get("ecg", {})
        count = int(ecg["records"]) + int(ecg.get("held_out", 0)) if "records" in ecg else UNKNOWN_COUNT
        blocks.append(numbered_subjects("ECGs", seed, count))
    if cof.get("segmenter") is True:
        blocks += _stated(metadata.get("segmenter", {}), "its segmenter")
    if cof.get("teacher"):
        blocks += _teachers(metadata.get("teacher", {}))
    return blocks


def _first_seeds(training: dict[str, Any], settings: dict[str, Any]) -> list[SeedBlock]:
    """Return the phantoms that the networks of motion or of cines were trained on; none for recordings."""
    if training.get("first_seed") is None:
        return []
    first = int(training["first_seed"])
    if training.get("last_seed") is not None:
        return [seeded_subjects("motion", first, int(training["last_seed"]) - first + 1)]
    from COFTrainingLib.cohort.seeds import HELD_OUT_SEED_OFFSET, RECORD_SEED_OFFSET

    data = settings.get("data", {})
    parts = (("subjects", 0), ("held_out", HELD_OUT_SEED_OFFSET), ("records", RECORD_SEED_OFFSET))
    counts = {name: int(data.get(name, UNKNOWN_COUNT)) for name, _ in parts}
    return [seeded_subjects(f"cines, {name}", first + offset, counts[name]) for name, offset in parts if counts[name]]


def _teachers(facts: dict[str, Any]) -> list[SeedBlock]:
    """Return the phantoms that a registration teacher was trained on; none for one that was trained on recordings.

    Raises:
        CohortError: If it does not state them.
    """
    pairs = facts.get("pairs")
    if not isinstance(pairs, dict):
        raise CohortError("a network must state the seeds of its subjects; its teacher does not (pairs)")
    if pairs.get("first_seed") is None:
        return []
    return [seeded_subjects("teacher", int(pairs["first_seed"]), max(TEACHER_SPAN, int(pairs["subjects"])))]


def _stated(facts: dict[str, Any], who: str) -> list[SeedBlock]:
    """Return the drawn patients that a network's provenance states; an empty list is a statement, too.

    Raises:
        CohortError: If it states nothing.
    """
    try:
        return [SeedBlock.from_json(block) for block in facts["subject_seeds"]]
    except (KeyError, TypeError, ValueError) as error:
        raise CohortError(
            f"a network must state the seeds of its subjects; {who} does not (subject_seeds). Train or export it again"
        ) from error


def _settings(model: Path) -> dict[str, Any]:
    path = model / "docs" / "configuration.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _networks(own: dict[str, torch.Tensor], family: str, model: Path) -> list[str]:
    """Return what the networks of a model share with the assessor's."""
    problems = []
    for path in sorted(model.rglob("*.safetensors")):
        if any(part.startswith(".") or part in ("checkpoints", "cache") for part in path.relative_to(model).parts):
            continue
        try:
            theirs = load_weights(path)
        except Exception as error:  # safetensors and torch each raise their own kinds
            problems.append(f"cannot be told from {path.name} of {model.name}, which does not read ({error})")
            continue
        name = f"{model.name}/{path.relative_to(model).as_posix()}"
        if family and family_of(theirs) == family:
            problems.append(f"is of the family of {name} ({family})")
        copied = _copied(own, theirs)
        if copied:
            problems.append(f"has {len(copied)} tensors in common with {name}, such as {copied[0]}")
    return problems


def _copied(own: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of our large tensors that are, but for rounding or little training, in another network."""
    by_shape: dict[tuple, list[torch.Tensor]] = {}
    for value in theirs.values():
        if value.is_floating_point() and value.numel() >= LARGE:
            by_shape.setdefault(tuple(value.shape), []).append(torch.nn.functional.normalize(value.flatten(), dim=0))
    found = []
    for name, value in own.items():
        others = by_shape.get(tuple(value.shape), []) if value.is_floating_point() else []
        unit = torch.nn.functional.normalize(value.flatten(), dim=0) if others else None
        if any(float(unit @ other) >= ALIKE for other in others):
            found.append(name)
    return found


def _people(folder: Path, runs: Sequence[Path]) -> list[str]:
    mine = people_of(folder)
    return [
        f"was trained on {len(both)} persons whom {run.name} was trained on"
        for run in dict.fromkeys(runs)
        if (both := mine & people_of(run))
    ]


def _cohort(folder: Path, met: list[SeedBlock], cohort: Cohort) -> list[str]:
    """Return which subjects of a cohort the assessor has met: people by their marks, phantoms by their seeds."""
    problems = []
    try:
        refuse_leaks(cohort, [folder], ("train", "valid", "test"))
    except CohortError as error:
        problems.append(f"has seen people whom it is to judge ({error})")
    if cohort.header.kind == "phantom":
        judged = [
            seeded_subjects(f"{cohort.header.name}", int(subject.facts["seed"]), 1)
            for subject in cohort.used()
            if "seed" in subject.facts
        ]
        common = shared(met, judged)
        if common:
            problems.append(f"met {len(common)} of the phantoms that it is to judge ({common[0][0]}; {common[0][1]})")
    return problems
