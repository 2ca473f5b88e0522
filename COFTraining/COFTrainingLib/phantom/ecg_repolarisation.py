"""ST and T of a patient: much that means nothing, a little of the weak ventricle, and strain."""

import numpy as np
from scipy.spatial.transform import Rotation

from COFTrainingLib.phantom.heart_vector import Waves, normal_t
from COFTrainingLib.phantom.physiology import Physiology

VARIANT_SHARE = 0.06
"""How often each benign variant appears: early repolarisation, T inversion in V1–V3."""
UNSPECIFIC_SHARE = 0.12
"""How often T is flat or turned over without any fault of the muscle (drugs, potassium, nerves, age)."""
STRAIN_SHARE = 0.35
"""Of the hypertrophic hearts, how many show strain."""


def repolarisation(physiology: Physiology, weak: float, rng: np.random.Generator, variation: float) -> Waves:
    """Return ST and T before they are turned, J at 60 ms on the group's own clock.

    Args:
        physiology: The patient.
        weak: Weakness of the muscle, see ``ecg_findings.weakness``.
        rng: Source of randomness.
        variation: Scale of the differences between people.
    """
    size = np.exp(variation * 0.38 * rng.standard_normal())
    angle = Rotation.from_rotvec(np.deg2rad(15.0 * variation * rng.standard_normal(3))).as_matrix()
    t = normal_t().jittered(rng, 0.15 * variation, 0.18 * variation, 6.0 * variation)
    # A weak ventricle turns T away from QRS; its size hardly tells.
    spread = weak + 0.6 * variation * rng.standard_normal()
    t.vector_mv[:3] *= 1.0 - 0.07 * np.clip(spread, -2.0, 5.0)
    t.vector_mv[0] += np.array([-0.065, -0.015, 0.030]) * spread
    if physiology.conduction == "lbbb":
        t.vector_mv[:3] -= np.diag([0.50, 0.18, 0.12])
        t.vector_mv[3] += np.array([-0.08, -0.03, -0.08])
    elif physiology.conduction == "rbbb":
        t.vector_mv[2] += np.array([0.06, 0.0, 0.16]) * np.exp(0.4 * variation * rng.standard_normal())
    t.vector_mv *= size
    early, juvenile, unspecific = rng.random(3)
    if juvenile < VARIANT_SHARE * variation and not physiology.conduction:
        t.vector_mv[2] += np.array([-0.05, 0.0, 0.28]) * rng.uniform(0.6, 1.2)
    if unspecific < UNSPECIFIC_SHARE * variation:
        t = _unspecific(t, rng)
    # ST: the level at J and its drift to the T wave; young men lift it in front, weak hearts depress it at the side.
    level = variation * np.array([0.028, 0.022, -0.036]) * rng.standard_normal(3)
    level += np.array([-0.020, -0.010, 0.006]) * weak
    if early < VARIANT_SHARE * variation:
        level += np.array([0.06, 0.05, -0.06]) * rng.uniform(0.5, 1.3)
    st = Waves.of([(*level, 95.0, 28.0, 70.0)])
    return t.joined(st).rotated(angle)


def strain(physiology: Physiology, t: Waves, rng: np.random.Generator, variation: float) -> Waves:
    """Return T with the strain of a heavy ventricle: ST down and T turned over, away from it."""
    chance, deep = rng.random(), np.exp(0.3 * variation * rng.standard_normal())
    if physiology.hypertrophy and chance < STRAIN_SHARE:
        depth = 0.16 * deep
        t = t.joined(
            Waves.of([(-depth, -0.3 * depth, 0.4 * depth, 130, 40, 60), (-2 * depth, -0.6 * depth, 0, 268, 40, 22)])
        )
    if physiology.rv_load == "pressure":
        depth = 0.12 * deep
        t = t.joined(Waves.of([(0, -0.4 * depth, depth, 130, 40, 60), (0, -0.8 * depth, 2.0 * depth, 265, 40, 24)]))
    return t


def _unspecific(t: Waves, rng: np.random.Generator) -> Waves:
    """Flatten T, or turn it over at the side or below."""
    vector = t.vector_mv.copy()
    form = rng.random()
    if form < 0.5:
        vector[:3] *= rng.uniform(0.1, 0.5)
    elif form < 0.8:
        vector[:, 0] -= np.array([rng.uniform(0.25, 0.6), 0.0, 0.0, 0.0])
    else:
        vector[:, 1] -= np.array([0.0, rng.uniform(0.2, 0.45), 0.0, 0.0])
    return Waves(vector, t.centre_ms, t.rise_ms, t.fall_ms)
