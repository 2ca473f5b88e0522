"""From a heart vector to the twelve leads: the Dower matrix, and how a torso and its electrodes depart from it.

The nominal matrix is Dower's (Dower, Machado & Osborne, Clin Cardiol 1980;3:87). Leads I, II and V1–V6 are the eight
independent channels of every electrocardiograph; the other four are computed from I and II, so Einthoven's and
Goldberger's relations hold exactly, whatever the gains of the channels.
"""

import numpy as np
from scipy.spatial.transform import Rotation

DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
"""(8, 3) rows I, II, V1–V6; columns X left, Y down, Z back."""

AXIS_SD_DEG = (10.0, 15.0, 25.0)
"""SD of the heart's turn about X, Y (transition zone of the chest leads) and Z (frontal axis)."""


def twelve_leads(channels: np.ndarray) -> np.ndarray:
    """Return (12, …) leads in the order of ``LEADS`` from the eight channels I, II, V1–V6, (8, …)."""
    lead_i, lead_ii = channels[0], channels[1]
    derived = (lead_ii - lead_i, -(lead_i + lead_ii) / 2, lead_i - lead_ii / 2, lead_ii - lead_i / 2)
    return np.concatenate([channels[:2], np.stack(derived), channels[2:]], axis=0)


def draw_rotation(rng: np.random.Generator, variation: float = 1.0) -> np.ndarray:
    """Draw how this heart lies in its chest, a (3, 3) rotation; ``variation`` scales the spread."""
    turn = np.asarray(AXIS_SD_DEG) * rng.standard_normal(3) * variation
    return Rotation.from_rotvec(np.deg2rad(turn)).as_matrix()


def draw_lead_field(rng: np.random.Generator, variation: float = 1.0) -> np.ndarray:
    """Draw the lead field of one torso with its electrodes, (8, 3).

    Electrodes of the chest slip along the row V1…V6 (rows are interpolated) and up or down (the Y column changes), the
    conductivity of the torso changes each row's length, and chest leads as a whole are stronger or weaker than limb
    leads, as with a thick or thin chest wall.

    Args:
        rng: Source of randomness.
        variation: Scale of all departures; 0 returns ``DOWER``.
    """
    field = DOWER.copy()
    slip, lift, length = rng.standard_normal(6), rng.standard_normal(2), rng.standard_normal(8)
    detail, chest = rng.standard_normal((8, 3)), rng.standard_normal()
    position = np.clip(np.arange(6) + variation * (0.30 * slip + 0.20 * lift[0]), 0.0, 5.0)
    below = np.minimum(position.astype(int), 4)
    part = (position - below)[:, None]
    rows = DOWER[2:]
    field[2:] = (1.0 - part) * rows[below] + part * rows[below + 1]
    field[2:, 1] += variation * 0.12 * lift[1]
    norm = np.linalg.norm(field, axis=1, keepdims=True)
    field += variation * np.where(np.arange(8)[:, None] < 2, 0.05, 0.10) * norm * detail
    field *= np.exp(variation * np.where(np.arange(8) < 2, 0.05, 0.14) * length)[:, None]
    field[2:] *= np.exp(variation * 0.15 * chest)
    return field
