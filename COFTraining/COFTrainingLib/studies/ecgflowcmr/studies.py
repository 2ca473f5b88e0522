"""The downstream studies on phantoms or on a labelled cohort: who is real, who is synthetic, what is asked."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.ecg.readers import read_ecg
from COFGeneratorLib.errors import ChainOfFlowError, CohortError, EcgError
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.phantom.prevalence import ENRICHED
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.studies.ecgflowcmr.tasks import CLASSES as SEVERAL
from COFTrainingLib.studies.ecgflowcmr.tasks import NUMBER, PHENOTYPES, DownstreamTask, balanced
from COFTrainingLib.training.ecgflowcmr.cohort_clips import cohort_examples
from COFTrainingLib.training.ecgflowcmr.data import TRUTHS, make_clips, phantom_ecg
from COFTrainingLib.training.ecgflowcmr.kept_clips import kept
from COFTrainingLib.training.ecgflowcmr.settings import DataSettings

REAL_SEED, SYNTHETIC_SEED, FURTHER_SEED = 8_200_000, 8_600_000, 8_900_000
"""None is ever trained on."""
CLASSES = ("infarct", "lbbb", "weak")
NUMBERS = ("ef_percent", "t_es_over_rr", "qrsd_ms")
WEAK_EF = 0.50
FEWEST_OF_A_CLASS = 10
NO_PHENOTYPES = ("seed", "visit", "anchor_frame", "ed_frame", "es_frame", "labels_frame", "target_frame", "slices")
"""Numbers among the facts that say nothing of a heart."""


def phantom_clips(data: DataSettings, first: int, count: int, keep: Path | None = None) -> dict[str, torch.Tensor]:
    """Render phantoms ``first`` … as real cines, or take them from the folder ``keep``."""
    facts = {"data": asdict(data), "first_seed": first}

    def make() -> dict[str, torch.Tensor]:
        made = make_clips(first, count, data)
        return {"clips": made.clips, "truths": made.truths}

    return kept(keep, f"phantoms-{first}", facts, count, make)


def phantom_studies(truths: torch.Tensor, wanted: list[str], seed: int) -> list[DownstreamTask]:
    """Return labelled studies of phantoms' truths (N, len(TRUTHS)), by names among ``CLASSES`` and ``NUMBERS``.

    Raises:
        CohortError: If a name is not known, or a class has fewer than ten cases.
    """
    check_targets(wanted)
    truth = {name: truths[:, index].numpy() for index, name in enumerate(TRUTHS)}
    positive = {"infarct": truth["infarct_extent"] > 0, "lbbb": truth["lbbb"] > 0, "weak": truth["ef"] < WEAK_EF}
    numbers = {"ef_percent": 100.0 * truth["ef"], **{name: truth[name] for name in NUMBERS[1:]}}
    studies = []
    for name in wanted:
        if name in positive:
            study = _enough(balanced(positive[name], name, seed), len(truths), "Draw more with --real.")
        else:
            study = DownstreamTask(np.arange(len(truths)), numbers[name].astype(float), name, NUMBER)
        studies.append(study)
    return studies


def check_targets(wanted: list[str]) -> None:
    """Check the names of phantom studies.

    Raises:
        CohortError: If one is not known.
    """
    unknown = sorted(set(wanted) - {*CLASSES, *NUMBERS})
    if unknown:
        raise CohortError(
            f"Studies of phantoms are {', '.join((*CLASSES, *NUMBERS))}; found {unknown[0]!r}. Name one of them."
        )


def cohort_studies(
    cohort: Cohort, data: DataSettings, targets: list[str], seed: int, phenotypes: list[str] | None = None
) -> tuple[torch.Tensor, list[DownstreamTask], tuple[Subject, ...]]:
    """Return a cohort's cines, the studies of its own facts, and whose cines they are.

    A fact that is 0/1 or true/false is classified (1:1), a word (a diagnosis group) among the words that at least ten
    subjects have, other numbers are regressed, each among the subjects that state it; ``phenotypes`` are numbers that
    one head tells together. Every cine takes part in pre-training.

    Raises:
        CohortError: If no subject with a cine states a fact, or fewer than ten of a class.
    """
    clips, used = cohort_clips(cohort, data)
    if phenotypes == ["all"]:
        phenotypes = numeric_facts(used)
    studies = [_stated_study(cohort, used, target, seed) for target in targets]
    if phenotypes:
        table = np.array([[_number(subject.facts.get(name)) for name in phenotypes] for subject in used])
        rows = np.flatnonzero(np.isfinite(table).any(axis=1)) if used else np.empty(0, dtype=int)
        if not len(rows):
            raise CohortError(_nobody(cohort, ", ".join(phenotypes)))
        studies.append(DownstreamTask(rows, table[rows], "phenotypes", PHENOTYPES, tuple(phenotypes)))
    return clips, studies, used


def _stated_study(cohort: Cohort, used: Sequence[Subject], target: str, seed: int) -> DownstreamTask:
    """Return the study of one fact.

    Raises:
        CohortError: If nobody states it, or too few of a class do.
    """
    stated = [subject.facts.get(target) for subject in used]
    words = Counter(value for value in stated if isinstance(value, str) and value and np.isnan(_number(value)))
    if words:
        classes = tuple(sorted(word for word, count in words.items() if count >= FEWEST_OF_A_CLASS))
        if len(classes) < 2:
            raise CohortError(
                f"A study of classes needs at least two that {FEWEST_OF_A_CLASS} subjects have; {target!r} has "
                f"{', '.join(f'{word} ({count})' for word, count in words.items())}. Name another fact."
            )
        places = np.array([n for n, value in enumerate(stated) if value in classes])
        codes = np.array([classes.index(stated[n]) for n in places], dtype=float)
        return DownstreamTask(places, codes, target, SEVERAL, classes)
    values = np.array([_number(value) for value in stated])
    places = np.flatnonzero(np.isfinite(values))
    if not len(places):
        raise CohortError(_nobody(cohort, target))
    if set(values[places]) <= {0.0, 1.0}:
        study = balanced(values[places] > 0.5, target, seed)
        study = replace(study, subjects=places[study.subjects])
        return _enough(study, len(places), "Name another fact, or a larger cohort.")
    return DownstreamTask(places, values[places], target, NUMBER)


def cohort_clips(
    cohort: Cohort, data: DataSettings, split: str | None = None
) -> tuple[torch.Tensor, tuple[Subject, ...]]:
    """Return the recorded cines (N, T, H, W) uint8 of a cohort, and whose they are; who has none is left out.

    Raises:
        CohortError: If nobody of the split has one.
    """
    clips, used = [], []
    for subject in cohort.used(split):
        try:
            clips.append(cohort_examples(replace(cohort, subjects=(subject,)), subject.split, data).clips)
        except ValueError:
            continue
        used.append(subject)
    if not used:
        raise CohortError(
            f"Subjects with a cine and an ECG that read are needed; {cohort.header.name} has none in "
            f"{split or 'any split'}. Choose another split, or import the cohort with both."
        )
    return torch.cat(clips), tuple(used)


def numeric_facts(subjects: Sequence[Subject]) -> list[str]:
    """Return the facts that are numbers of at least half of the subjects and vary: what ``--phenotype all`` means."""
    names = dict.fromkeys(name for subject in subjects for name in subject.facts if name not in NO_PHENOTYPES)
    table = {name: np.array([_number(subject.facts.get(name)) for subject in subjects]) for name in names}
    return [
        name for name, values in table.items()
        if np.isfinite(values).mean() >= 0.5 and len(set(values[np.isfinite(values)])) > 2
    ]  # fmt: skip


def _nobody(cohort: Cohort, target: str) -> str:
    return (
        f"Subjects that state {target!r} among their facts are needed; {cohort.header.name!r} has none with a cine. "
        "Name "
        "another fact, or add it to the table that is imported."
    )


def _number(value: object) -> float:
    """Return a fact as a number, also from the text of a table; NaN where it is none."""
    try:
        return float(value) if isinstance(value, bool | int | float | str) else float("nan")
    except ValueError:
        return float("nan")


def _enough(study: DownstreamTask, of: int, advice: str) -> DownstreamTask:
    """Return a study of two classes that has ten of each.

    Raises:
        CohortError: If it has not.
    """
    if len(study.targets) < 20:
        raise CohortError(
            f"A study needs at least 10 cases and 10 controls; {of} subjects have {len(study.targets) // 2} pairs of "
            f"{study.name}. {advice}"
        )
    return study


def synthetic_clips(
    bundle: Bundle, count: int, data: DataSettings, say: Callable[[str], None], keep: Path | None = None
) -> torch.Tensor:
    """Generate cines from the ECGs of phantoms that are in no study, (count, T, H, W) uint8.

    They are taken from ``keep`` where this model made them before.
    """
    facts = {"weights_sha256": bundle.weights_sha256, "grid": asdict(data.grid), "first_seed": SYNTHETIC_SEED}
    return kept(keep, "synthetic", facts, count, lambda: {"clips": _generate(bundle, count, say)})["clips"]


def _generate(bundle: Bundle, count: int, say: Callable[[str], None]) -> torch.Tensor:
    out: list[torch.Tensor] = []
    seed = SYNTHETIC_SEED
    while len(out) < count:
        subject = draw_subject(seed, ENRICHED)
        seed += 1
        try:
            *_, record, _ = phantom_ecg(subject.physiology, np.random.default_rng([seed, 9]), fs_hz=500.0)
            tokens, scalars, _ = bundle.model.read([record])
        except EcgError:
            continue
        film = bundle.model.decode(bundle.model.draw(tokens, scalars, bundle.segmenter, seed=seed))
        out.append((film[0] * 255.0).round().to(torch.uint8).cpu())
        if len(out) % 50 == 0:
            say(f"{len(out)} of {count} synthetic cines")
    return torch.stack(out)


def own_synthetic_clips(
    bundle: Bundle, cohort: Cohort, subjects: Sequence[Subject], rounds: int, say: Callable[[str], None]
) -> tuple[torch.Tensor, np.ndarray]:
    """Generate cines from a cohort's own ECGs, ``rounds`` of each with other seeds.

    Returns:
        (M, T, H, W) uint8, and (M,) the place among ``subjects`` of whose ECG each was made; ECGs that do not read give
        none.

    Raises:
        CohortError: If none reads.
    """
    read = []
    for place, subject in enumerate(subjects):
        try:
            read.append((place, *bundle.model.read([read_ecg(cohort.path(subject, "ecg"))])[:2]))
        except ChainOfFlowError as error:
            say(f"{subject.id}: no synthetic cine ({error})")
    if not read:
        raise CohortError(f"Synthetic cines are made from ECGs; none of {cohort.header.name} reads. Check the cohort.")
    out, owners = [], []
    for turn in range(rounds):
        for place, tokens, scalars in read:
            seed = SYNTHETIC_SEED + turn * len(subjects) + place
            film = bundle.model.decode(bundle.model.draw(tokens, scalars, bundle.segmenter, seed=seed))
            out.append((film[0] * 255.0).round().to(torch.uint8).cpu())
            owners.append(place)
        say(f"{len(out)} of {rounds * len(read)} synthetic cines")
    return torch.stack(out), np.array(owners)
