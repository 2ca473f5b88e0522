"""What an infarct writes into QRS and T, and what only looks like one."""

import numpy as np
from scipy.spatial.transform import Rotation

from COFTrainingLib.phantom.heart_vector import Waves
from COFTrainingLib.phantom.physiology import Physiology

TOWARDS = {
    "anterior": np.array([0.30, -0.05, -0.95]),
    "inferior": np.array([0.05, 0.98, 0.15]),
    "lateral": np.array([0.90, -0.30, 0.32]),
}
"""Unit vectors from the middle of the ventricle to the three territories (X left, Y down, Z back)."""

FADED_SHARE = 0.12
"""How often an old infarct has lost most of its Q (up to a fifth do within years)."""
POSITIONAL_SHARE = 0.08
"""How often a healthy heart has a Q in III and aVF, or hardly any R in V1–V3, by its position alone."""


def infarct(
    physiology: Physiology, qrs: Waves, t: Waves, rng: np.random.Generator, variation: float
) -> tuple[Waves, Waves]:
    """Return QRS and T with Q, lost R and ST–T over the territory, graded by extent.

    The age of the infarct, from fresh (ST elevation) to old (Q with a shallow inverted T), carries no latent.
    """
    extent = physiology.infarct_extent
    towards = TOWARDS[physiology.infarct_territory]
    wander = Rotation.from_rotvec(np.deg2rad(15.0 * variation * rng.standard_normal(3))).as_matrix()
    towards = wander @ (towards / np.linalg.norm(towards))
    fresh, faded, left = rng.random(3)
    blur = np.exp(0.16 * variation * rng.standard_normal(4))
    # In the first hours ST tells more than Q.
    written = 1.0 - 0.45 * max(2.0 * fresh - 1.0, 0.0) * min(variation, 1.0)
    if faded < FADED_SHARE * variation:
        written *= 0.1 + 0.5 * left

    ahead = qrs.vector_mv @ towards
    lost = min(2.4 * extent * written * blur[0], 0.95) * np.maximum(ahead, 0.0)
    vector = qrs.vector_mv - lost[:, None] * towards
    depth = (0.14 + 2.6 * extent) * written * blur[1]
    width = 7.0 + 16.0 * extent
    centre = -24.0 + 18.0 * extent + 2.0 * variation * rng.standard_normal()
    q = Waves.of([(*(-depth * towards), centre, width * 0.9, width)])
    qrs = Waves(vector, qrs.centre_ms, qrs.rise_ms, qrs.fall_ms).joined(q)

    raised = fresh * (0.05 + 1.1 * extent) * blur[2]
    inverted = (1.0 - 0.75 * fresh) * (0.12 + 1.5 * extent) * blur[3] * min(written + 0.3, 1.0)
    change = Waves.of([(*(raised * towards), 110.0, 40.0, 75.0), (*(-inverted * towards), 258.0, 45.0, 34.0)])
    return qrs, t.joined(change)


def positional_q(qrs: Waves, rng: np.random.Generator, variation: float) -> Waves:
    """Return QRS of a heart without an infarct, now and then with a Q or a lost R that its position gives it."""
    chance, which, depth = rng.random(3)
    if chance >= POSITIONAL_SHARE * variation:
        return qrs
    towards = TOWARDS["inferior" if which < 0.6 else "anterior"]
    size = -(0.08 + 0.22 * depth) * towards
    return qrs.joined(Waves.of([(*size, -24.0, 6.0, 6.0)]))
