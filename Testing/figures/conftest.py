"""A cine whose every voxel is known: a shrinking ellipsoid with a wall, an RV beside it, and a drawn ECG."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.ecg.beats import cycle_from_peaks
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.function import measure_function

SHAPE, SPACING_KJI = (8, 72, 64), (9.0, 1.6, 1.6)
RR_MS, FRAMES = 800.0, 20


class _Still:
    def displacement_mm(self, frame):
        return np.zeros((3, *SHAPE))


def _geometry():
    matrix = np.zeros((4, 4))
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = (-1.6, 0, 0), (0, -1.6, 0), (0, 0, -9.0)
    matrix[3, 3] = 1
    return matrix


def _labels(squeeze):
    k, j, i = ((np.arange(n) - n / 2 + 0.5) * s for n, s in zip(SHAPE, SPACING_KJI, strict=True))
    k, j, i = k[:, None, None] + 30.0, j[None, :, None], i[None, None, :]  # the base is the first slice
    cavity = (k / 60) ** 2 + (j / (24 * squeeze)) ** 2 + (i / (24 * squeeze)) ** 2 < 1
    wall = (k / 66) ** 2 + (j / 33) ** 2 + (i / 33) ** 2 < 1
    right = ((k + 5) / 45) ** 2 + (j / 30) ** 2 + ((i + 34) / 18) ** 2 < 1
    labels = np.zeros(SHAPE, np.uint8)
    labels[right], labels[wall], labels[cavity] = 3, 2, 1
    return labels


@pytest.fixture(scope="session")
def an_ecg():
    """Return (record, cycle) of ten seconds of narrow QRS complexes and T waves at 75 bpm."""
    time_s = np.arange(5000) / 500
    r_s = np.arange(0.4, 10.0, RR_MS / 1000)
    beat = sum(
        1.1 * np.exp(-(((time_s - at) / 0.012) ** 2)) + 0.3 * np.exp(-(((time_s - at - 0.26) / 0.05) ** 2))
        for at in r_s
    )
    gains = np.array([0.7, 1.0, 0.3, -0.85, 0.2, 0.65, -0.5, -0.3, 0.6, 1.2, 1.1, 0.8])
    noise = np.random.default_rng(0).normal(0, 0.004, (12, time_s.size))
    record = EcgRecord(gains[:, None] * beat + noise, 500.0)
    return record, cycle_from_peaks(record, np.round(r_s * 500).astype(int))


@pytest.fixture(scope="session")
def a_cine(an_ecg):
    """Return a ``Cine`` with labels and function."""
    record, cycle = an_ecg
    time = np.arange(FRAMES) * cycle.rr_ms / FRAMES
    squeezes = 1 - 0.3 * np.exp(-(((time / cycle.rr_ms - 0.4) / 0.15) ** 2))
    labels = np.stack([_labels(squeeze) for squeeze in squeezes])
    grey = np.array([60.0, 420.0, 110.0, 380.0])
    frames = grey[labels] + np.random.default_rng(1).normal(0, 12, labels.shape)
    anchor = SaxStack(frames[0], _geometry())
    report = measure_function(
        labels, anchor.ijk_to_ras, time, cycle.rr_ms, cycle.hr_bpm, labels_from="user", folded_fraction=0.0
    )
    return Cine(
        frames.astype(np.float32),
        time,
        cycle.rr_ms,
        anchor,
        _Still(),
        labels,
        "user",
        report,
        record,
        cycle,
        {"seed": 3},
    )
