"""What is known of an example's heart beside its ECG, so that it can be told to the networks in the ECG's place."""

import numpy as np
from COFGeneratorLib.function.curve import interpolate_periodic

from COFTrainingLib.cohort.manifest import Subject
from COFTrainingLib.phantom.subject import PhantomSubject

INSTANTS = 50
"""Times of a beat at which volumes are taken, as the product reads its own cines."""


def stated_of(subject: PhantomSubject) -> np.ndarray:
    """Return what could be stated of a phantom, (3,) in the order of ``condition.STATED_UNITS``: EF, RVEF, time of ES.

    Ejection fractions are of the volume curves, largest to smallest; ES is the end of ejection as a share of the R–R.
    """
    rr_ms = subject.physiology.rr_ms
    times_ms = np.arange(INSTANTS) / INSTANTS * rr_ms
    curves = subject.heart.lv_volume_ml(times_ms), subject.heart.rv_volume_ml(times_ms)
    return np.array([*(1.0 - v.min() / v.max() for v in curves), subject.physiology.t_es_ms / rr_ms], dtype=np.float32)


def stated_of_cine(subject: Subject, volumes: np.ndarray) -> np.ndarray:
    """Return what could be stated of a recorded heart, (3,) in the same order.

    The manifest's facts ``ef_percent``, ``rvef_percent`` and ``es_phase`` where they are there, else what the example's
    own volumes say; NaN for a ventricle that is not labelled.

    Args:
        subject: The subject.
        volumes: (T, 3) relative volumes of LV, wall and RV at equidistant phases from the R wave.
    """
    phases, instants = np.arange(len(volumes)) / len(volumes), np.arange(INSTANTS) / INSTANTS
    lv, rv = (interpolate_periodic(volumes[:, column], phases, 1.0, instants) for column in (0, 2))
    shares = [1.0 - curve.min() / curve.max() if curve.max() > 0 else np.nan for curve in (lv, rv)]
    found = [*shares, float(np.argmin(lv)) / INSTANTS]
    told = (subject.facts.get(name) for name in ("ef_percent", "rvef_percent", "es_phase"))
    units = (0.01, 0.01, 1.0)
    known = [own if fact is None else unit * float(fact) for own, fact, unit in zip(found, told, units, strict=True)]
    return np.array(known, dtype=np.float32)
