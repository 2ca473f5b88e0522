"""The downstream studies on phantoms or on a labelled cohort: who is real, who is synthetic, what is asked."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.errors import CohortError, EcgError
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.prevalence import ENRICHED
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.studies.ecgflowcmr.downstream import DownstreamTask, balanced
from COFTrainingLib.training.ecgflowcmr.cohort_clips import cohort_examples
from COFTrainingLib.training.ecgflowcmr.data import TRUTHS, make_clips, phantom_ecg
from COFTrainingLib.training.ecgflowcmr.kept_clips import kept
from COFTrainingLib.training.ecgflowcmr.settings import DataSettings

REAL_SEED, SYNTHETIC_SEED, FURTHER_SEED = 8_200_000, 8_600_000, 8_900_000
"""None is ever trained on."""
CLASSES = ("infarct", "lbbb", "weak")
NUMBERS = ("ef_percent", "t_es_over_rr", "qrsd_ms")
WEAK_EF = 0.50


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
            study = DownstreamTask(np.arange(len(truths)), numbers[name].astype(float), name, "regression")
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
    cohort: Cohort, data: DataSettings, targets: list[str], seed: int
) -> tuple[torch.Tensor, list[DownstreamTask]]:
    """Return a cohort's cines and the studies of its own facts.

    A fact that is 0/1 or true/false is classified (1:1), other numbers are regressed, each among the subjects that
    state it; every cine takes part in pre-training.

    Raises:
        CohortError: If no subject with a cine states a fact, or fewer than ten of a class.
    """
    clips, stated = [], []
    for subject in cohort.used():
        try:
            clips.append(cohort_examples(replace(cohort, subjects=(subject,)), subject.split, data).clips)
        except ValueError:
            continue
        stated.append({name: subject.facts.get(name) for name in targets})
    studies = []
    for target in targets:
        told = {n: value for n, facts in enumerate(stated) if isinstance(value := facts[target], bool | int | float)}
        if not told:
            raise CohortError(
                f"Subjects that state {target!r} among their facts are needed; {cohort.header.name!r} has none with a "
                "cine. Name another fact, or add it to the table that is imported."
            )
        places, values = np.array(list(told)), np.array(list(told.values()), dtype=float)
        if set(values) <= {0.0, 1.0}:
            study = balanced(values > 0.5, target, seed)
            study = replace(study, subjects=places[study.subjects])
            studies.append(_enough(study, len(values), "Name another fact, or a larger cohort."))
        else:
            studies.append(DownstreamTask(places, values, target, "regression"))
    return torch.cat(clips), studies


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
