"""The downstream studies on phantoms or on a labelled cohort: who is real, who is synthetic, what is asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.errors import CohortError, EcgError
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.ecgflowcmr.cohort_clips import cohort_examples
from COFTrainingLib.ecgflowcmr.data import TRUTHS, make_clips, phantom_ecg
from COFTrainingLib.ecgflowcmr.downstream import Labelled, balanced
from COFTrainingLib.ecgflowcmr.settings import DataSettings
from COFTrainingLib.phantom.subject import ENRICHED, draw_subject

REAL_SEED, SYNTHETIC_SEED = 8_200_000, 8_600_000
"""Neither is ever trained on."""
CLASSES = ("infarct", "lbbb", "weak")
NUMBERS = ("ef_percent", "t_es_over_rr", "qrsd_ms")
WEAK_EF = 0.50


def phantom_studies(data: DataSettings, real: int, wanted: list[str], seed: int, told=None) -> list[Labelled]:
    """Return labelled phantom studies.

    Args:
        data: Plane and body as in training.
        real: Real cines before cases and controls are balanced.
        wanted: Names among ``CLASSES`` and ``NUMBERS``.
        seed: Of the choice of controls.
        told: Told how far rendering is.

    Raises:
        CohortError: If a name is not known, or a class has fewer than ten cases.
    """
    unknown = sorted(set(wanted) - {*CLASSES, *NUMBERS})
    if unknown:
        raise CohortError(
            f"Studies of phantoms are {', '.join((*CLASSES, *NUMBERS))}; found {unknown[0]!r}. Name one of them."
        )
    examples = make_clips(REAL_SEED, real, data, told=told)
    truth = {name: examples.truths[:, index].numpy() for index, name in enumerate(TRUTHS)}
    positive = {"infarct": truth["infarct_extent"] > 0, "lbbb": truth["lbbb"] > 0, "weak": truth["ef"] < WEAK_EF}
    numbers = {"ef_percent": 100.0 * truth["ef"], **{name: truth[name] for name in NUMBERS[1:]}}
    studies = []
    for name in wanted:
        if name in positive:
            study = balanced(examples.clips, positive[name], name, seed)
            if len(study.targets) < 20:
                raise CohortError(
                    f"A study needs at least 10 cases and 10 controls; {real} phantoms have {len(study.targets) // 2} "
                    f"of {name}. Draw more with --real."
                )
        else:
            study = Labelled(examples.clips, numbers[name].astype(float), name, "regression")
        studies.append(study)
    return studies


def cohort_study(cohort, data: DataSettings, target: str, seed: int) -> Labelled:
    """Return the study of a cohort's own fact: 0/1 or true/false is classified (1:1), other numbers are regressed.

    Raises:
        CohortError: If no subject with a cine states the fact.
    """
    from dataclasses import replace

    subjects = [subject for subject in cohort.used() if isinstance(subject.facts.get(target), bool | int | float)]
    if not subjects:
        raise CohortError(
            f"Subjects that state {target!r} among their facts are needed; {cohort.header.name!r} has none. Name "
            "another fact, or add it to the table that is imported."
        )
    kept, clips = [], []
    for subject in subjects:
        one = replace(cohort, subjects=(subject,))
        try:
            clips.append(cohort_examples(one, subject.split, data).clips)
        except ValueError:
            continue
        kept.append(float(subject.facts[target]))
    values, cines = np.array(kept), torch.cat(clips)
    if set(values) <= {0.0, 1.0}:
        return balanced(cines, values > 0.5, target, seed)
    return Labelled(cines, values, target, "regression")


def synthetic_clips(
    bundle: Bundle, count: int, data: DataSettings, say: Callable[[str], None], cache: Path | None = None
) -> torch.Tensor:
    """Generate cines from the ECGs of phantoms that are in no study, (count, T, H, W) uint8."""
    if cache is not None and cache.is_file():
        from safetensors.torch import load_file

        kept = load_file(cache)["clips"]
        if len(kept) >= count:
            return kept[:count]
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
    clips = torch.stack(out)
    if cache is not None:
        from safetensors.torch import save_file

        cache.parent.mkdir(parents=True, exist_ok=True)
        save_file({"clips": clips}, cache)
    return clips
