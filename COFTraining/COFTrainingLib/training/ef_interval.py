"""How far to trust the EF that the ECG encoder states: the conformal width of its 90 % interval."""

from dataclasses import replace

import numpy as np
from COFGeneratorLib.ecg.beats import cycle_from_peaks
from COFGeneratorLib.generator.model import MotionModel

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.subject import draw_subject

LEVEL = 0.9


def fit_ef_z90(model: MotionModel, first_seed: int, records: int, progress=None) -> float:
    """Return the half-width of the 90 % interval, in the SDs that the encoder states.

    Split conformal prediction (Vovk 2005; Angelopoulos & Bates 2021, arXiv:2107.07511) with the score
    |EF − stated| / SD: the interval covers 90 % of new patients of the same population, however errors are distributed.

    Args:
        model: Its encoder is asked.
        first_seed: Of the subjects, at natural prevalence, disjoint from all training seeds.
        records: Number of ECGs.
        progress: Called with (done, total).
    """
    model = replace(model, ef_z90=1.0)  # to be asked at all
    scores = []
    for n in range(records):
        physiology = draw_subject(first_seed + n).physiology
        record, peaks = synthesise_ecg(physiology, np.random.default_rng([first_seed + n, 6]))
        stated = model.stated_ef(cycle_from_peaks(record, peaks))
        scores.append(abs(physiology.ef - stated.mean) / stated.sd)
        if progress:
            progress(n + 1, records)
    rank = min(int(np.ceil((records + 1) * LEVEL)), records)
    return float(np.sort(scores)[rank - 1])
