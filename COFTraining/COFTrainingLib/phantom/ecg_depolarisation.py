"""QRS of a patient: conduction, the weak or heavy ventricle, load of the right one, and a person's own loop."""

import numpy as np

from COFTrainingLib.phantom.heart_vector import (
    Waves,
    fascicular_vector,
    late_right_vector,
    lbbb_qrs,
    normal_qrs,
    rbbb_late_vector,
    right_ventricular_vector,
    septal_q_vector,
)
from COFTrainingLib.phantom.physiology import Physiology

VARIANT_SHARE = 0.06
"""How often each benign variant appears: fascicular block, rSr'."""
MASS_INDEX = 48.0
"""LV mass index with a gain of 1, g/m²."""


def depolarisation(physiology: Physiology, weak: float, rng: np.random.Generator, variation: float) -> Waves:
    """Return QRS before it is turned and brought to its duration.

    Args:
        physiology: The patient.
        weak: Weakness of the muscle, see ``ecg_findings.weakness``.
        rng: Source of randomness.
        variation: Scale of the differences between people.
    """
    qrs = lbbb_qrs() if physiology.conduction == "lbbb" else normal_qrs()
    qrs = _weakened(qrs.jittered(rng, 0.20 * variation, 0.12 * variation, 2.0 * variation), weak, rng, variation)
    qrs = qrs.joined(_own_loop(weak, rng, variation))
    fascicular, right, thick = rng.random(3)
    if fascicular < (VARIANT_SHARE + 0.04 * max(weak, 0.0)) * variation and physiology.conduction != "lbbb":
        qrs = qrs.joined(fascicular_vector().jittered(rng, 0.3, 0.15, 3.0))
    if physiology.conduction == "rbbb":
        qrs = qrs.joined(rbbb_late_vector().jittered(rng, 0.35 * variation, 0.20 * variation, 4.0 * variation))
    elif not physiology.conduction:
        if right < (0.5 if physiology.rv_load == "volume" else VARIANT_SHARE * variation):
            qrs = qrs.joined(late_right_vector().jittered(rng, 0.3, 0.15, 3.0))
        if physiology.rv_load:
            qrs = qrs.joined(_loaded_right(physiology.rv_load, rng, variation))
    if physiology.hypertrophy and thick < 0.25:
        q = septal_q_vector().jittered(rng, 0.35 * variation, 0.2 * variation, 3.0 * variation)
        qrs = qrs.joined(q)
    gain = 0.92 * (1.0 + 0.45 * (physiology.lv_mass_index - MASS_INDEX) / MASS_INDEX)
    gain = np.clip(gain, 0.6, 1.9) * np.exp(0.15 * variation * rng.standard_normal())
    qrs.vector_mv *= gain
    return qrs


def _weakened(qrs: Waves, weak: float, rng: np.random.Generator, variation: float) -> Waves:
    """Lose forces to the front (R progression) and gain them to the back, while the limb leads become smaller.

    Small limb leads beside deep chest leads and poor R progression: Goldberger's triad of the dilated ventricle
    (Am J Cardiol 1982;50:1007).
    """
    own = variation * rng.standard_normal(3)
    front, back, down = np.exp(
        np.clip(np.array([-0.34, 0.10, -0.13]) * weak + np.array([0.18, 0.08, 0.08]) * own, -1.8, 0.9)
    )
    vector = qrs.vector_mv.copy()
    vector[:, 2] *= np.where(vector[:, 2] < 0, front, back)
    vector[:, 1] *= down
    return Waves(vector, qrs.centre_ms, qrs.rise_ms, qrs.fall_ms)


def _own_loop(weak: float, rng: np.random.Generator, variation: float) -> Waves:
    """A person's own loop: small extra vectors anywhere within QRS, among them notches and slurs; scars add to them."""
    extra = rng.standard_normal((3, 6))
    size = 0.08 * (1.0 + 0.22 * max(weak, 0.0))
    return Waves(
        size * variation * extra[:, :3],
        4.0 + 17.0 * extra[:, 3],
        7.0 * np.exp(0.3 * extra[:, 4]),
        7.0 * np.exp(0.3 * extra[:, 5]),
    )


def _loaded_right(load: str, rng: np.random.Generator, variation: float) -> Waves:
    """Forces of a heavy (pressure) or large (volume) right ventricle; how much of them shows differs."""
    shown = rng.uniform(0.35, 1.25) if variation else 0.9
    waves = right_ventricular_vector().jittered(rng, 0.2 * variation, 0.15 * variation, 3.0 * variation)
    waves.vector_mv *= shown * (1.0 if load == "pressure" else 0.35)
    return waves
