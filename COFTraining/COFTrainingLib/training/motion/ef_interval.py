"""How far to trust the EF that the ECG encoder states: its bias, and the conformal width of its 90 % interval."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.generator.ejection import ejection_fraction
from COFGeneratorLib.generator.model import MotionModel

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.subject import draw_subject

LEVEL = 0.9
INSTANTS = 50
"""Times of a beat at which the true volume is taken, as the product reads its own cines."""


@dataclass(frozen=True)
class EfInterval:
    """What is fitted to the EF that an encoder states.

    Attributes:
        shift: Added to what is stated, 0…1: the median error of validation subjects.
        z90: Half-width of the 90 % interval, in the SDs that the encoder states.
    """

    shift: float
    z90: float


def fit_ef_interval(
    model: MotionModel, first_seed: int, records: int, progress: Callable[[int, int], None] | None = None
) -> EfInterval:
    """Fit the interval on subjects that no network saw.

    Split conformal prediction (Vovk 2005; Angelopoulos & Bates 2021, arXiv:2107.07511): the score of a subject is
    |EF − stated| / SD, and the interval covers 90 % of new patients of the same population, however errors are
    distributed. One half of the records gives the shift, the other the width. Both halves are asked as a user asks:
    beats are found in the record, and EF is that of the volume curve, largest to smallest.

    Args:
        model: Its encoder is asked.
        first_seed: Of the subjects, at natural prevalence, disjoint from all training seeds.
        records: Number of ECGs, at least 2.
        progress: Called with (done, total).
    """
    model = replace(model, ef_z90=1.0, ef_shift=0.0)  # to be asked at all
    stated, sds, true = stated_and_true(model, first_seed, records, progress)
    return interval_of(true - stated, sds)


def stated_and_true(
    model: MotionModel, first_seed: int, records: int, progress: Callable[[int, int], None] | None = None
) -> tuple[np.ndarray, ...]:
    """Return the EF that a model states, its SD, and the true EF of phantoms, three of (N,), 0…1; args as above."""
    found = np.empty((3, records))
    for n in range(records):
        subject = draw_subject(first_seed + n)
        record, _ = synthesise_ecg(subject.physiology, np.random.default_rng([first_seed + n, 6]))
        stated = model.stated_ef(analyse_ecg(record))
        times_ms = np.arange(INSTANTS) / INSTANTS * subject.physiology.rr_ms
        found[:, n] = stated.mean, stated.sd, ejection_fraction(subject.heart.lv_volume_ml(times_ms))
        if progress:
            progress(n + 1, records)
    return tuple(found)


def interval_of(errors: np.ndarray, widths: np.ndarray) -> EfInterval:
    """Return the interval of errors true − stated (N,), 0…1, with the SDs (N,) that were stated beside them.

    Half of them are for the shift, the rest for the width, so that neither is fitted on what the other is judged by.
    """
    half = len(errors) // 2
    shift = float(np.median(errors[:half]))
    scores = np.sort(np.abs(errors[half:] - shift) / widths[half:])
    rank = min(int(np.ceil((len(scores) + 1) * LEVEL)), len(scores))
    return EfInterval(shift, float(scores[rank - 1]))
