"""Synthetic patients with ECG and anatomy: what the joint statement of EF learns from and is calibrated on."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import EcgError
from COFGeneratorLib.generator.ejection import ejection_fraction
from COFGeneratorLib.generator.heart_measures import MEASURES, heart_measures
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.prevalence import NATURAL
from COFTrainingLib.phantom.subject import PhantomSubject, draw_subject, plan_stack
from COFTrainingLib.training.ecg.ecg_cohort import OVERSAMPLED, read_record

logger = logging.getLogger(__name__)

INSTANTS = 50
"""Times of a beat at which the true volume is taken, as the product reads its own cines."""
PIXEL_MM, FIELD_MM = 2.5, 170.0
PITCHES_MM = (6.0, 8.0, 8.0, 9.0, 10.0, 10.0, 12.0)
CUT_SHARE = 0.4
"""How often a stack lacks slices at base or apex."""
MEASURE_SD = 0.06
"""Of a segmenter's measures, relative; volumes on real hearts are within 3–8 %."""
CHUNK = 50


@dataclass(frozen=True)
class StatementCohort:
    """Patients: average beats (N, 12, 256) mV, scalars (N, 12), measures (N, len(MEASURES)), quality (N,), EF (N,) 0…1.

    ``measures`` are as a segmenter's labels give them.
    """

    beat_mv: torch.Tensor
    scalars: torch.Tensor
    measures: torch.Tensor
    quality: torch.Tensor
    ef: torch.Tensor

    def __len__(self) -> int:
        return len(self.ef)


def draw_statement_cohort(
    count: int, first_seed: int, *, far_out: bool = False, detect: bool = False, workers: int = 1
) -> StatementCohort:
    """Draw patients, half of them natural, half with findings oversampled; no image is made.

    Args:
        count: Patients.
        first_seed: Of the subjects.
        far_out: Give each an ECG such as the training never shows, see :func:`far_out_record`.
        detect: Find the R peaks as for a user's record; ten times slower.
        workers: Processes.
    """
    jobs = [
        (first, min(CHUNK, first_seed + count - first), far_out, detect)
        for first in range(first_seed, first_seed + count, CHUNK)
    ]
    parts = list(spread(_chunk, jobs, workers=workers, ordered=True))
    return StatementCohort(*(torch.from_numpy(np.concatenate([part[i] for part in parts])) for i in range(5)))


def subject_measures(subject: PhantomSubject, rng: np.random.Generator) -> np.ndarray | None:
    """Return the measures of a subject at end-diastole on a stack as it is planned, cut and segmented."""
    plan = plan_stack(subject, rng, (float(rng.choice(PITCHES_MM)), PIXEL_MM), FIELD_MM)
    labels = subject.heart.label_at(plan.heart_points())
    filled = np.flatnonzero((labels == 1).any(axis=(1, 2)))
    if rng.random() < CUT_SHARE and len(filled) > 6:
        cut = rng.integers(0, 3, size=2)
        labels = labels[filled[0] + cut[0] : filled[-1] + 1 - cut[1]]
    measures = heart_measures(labels, plan.ijk_to_ras)
    return (
        None if measures is None else measures + np.float32(MEASURE_SD) * rng.standard_normal(len(MEASURES), np.float32)
    )


def far_out_record(record: EcgRecord, rng: np.random.Generator) -> EcgRecord:
    """Return a record such as no recorder should give: a wrong scale, a wrong rate, or strong noise in all leads."""
    kind = int(rng.integers(3))
    signal, fs_hz = record.signal_mv, record.fs_hz
    if kind == 0:
        signal = signal * rng.choice([rng.uniform(0.15, 0.30), rng.uniform(3.5, 6.0)])
    elif kind == 1:
        fs_hz = fs_hz * float(rng.choice([0.5, 2.0]))
    else:
        noise = rng.standard_normal(signal.shape) * rng.uniform(0.25, 0.6)
        signal = signal + noise + np.cumsum(rng.standard_normal(signal.shape), axis=1) * 0.03
    return EcgRecord(signal, fs_hz, source_format="synthetic")


def _chunk(job: tuple[int, int, bool, bool]) -> tuple[np.ndarray, ...]:
    first, count, far_out, detect = job
    rows: list[tuple[np.ndarray, ...]] = []
    for seed in range(first, first + count):
        subject = draw_subject(seed, OVERSAMPLED if seed % 2 else NATURAL)
        rng = np.random.default_rng([seed, 6])
        measures = subject_measures(subject, rng)
        try:
            if far_out:
                record, _ = synthesise_ecg(subject.physiology, rng)
                cycle = analyse_ecg(far_out_record(record, rng))
            else:
                cycle = read_record(subject.physiology, rng, detect=detect)
        except EcgError as error:
            logger.warning("Synthetic patient %d is left out: %s", seed, error)
            continue
        if measures is None:
            continue
        times_ms = np.arange(INSTANTS) / INSTANTS * subject.physiology.rr_ms
        ef = ejection_fraction(subject.heart.lv_volume_ml(times_ms))
        told = (np.asarray(number, dtype=np.float32) for number in (cycle.quality, ef))
        rows.append((cycle.beat_mv, cycle.scalars(), measures, *told))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))
