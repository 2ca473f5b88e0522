"""Give a motion the ejection fraction that the ECG states, by one factor on its velocities.

The ECG encoder says how much the LV ejects; the motion network says how the walls do it. Regression shrinks what the
second makes of the first: a factor that is the same for all hearts leaves strong hearts too weak and weak ones too
strong (slope of EF error on EF -0.28 on held-out phantoms). One factor per heart makes both say the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from COFGeneratorLib.motion.volume_gradient import relative_volumes

FACTORS = np.array([0.55, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 1.7])
"""Factors tried; the outermost are as far as a motion may be changed."""
SMALLEST_EF, LARGEST_EF = 0.05, 0.85
NORMAL_Z90 = 1.645


@dataclass(frozen=True)
class StatedEf:
    """What an ECG says of the ejection fraction.

    Attributes:
        mean, sd: Of the encoder's reading, 0…1.
        z90: Half-width of the 90 % interval in SDs: the conformal quantile of a validation cohort.
    """

    mean: float
    sd: float
    z90: float

    @property
    def interval_percent(self) -> tuple[float, float]:
        """The 90 % interval, percent."""
        low, high = (self.mean + sign * self.z90 * self.sd for sign in (-1.0, 1.0))
        return 100.0 * max(low, 0.0), 100.0 * min(high, 1.0)

    def draw(self, seed: int) -> float:
        """Return one random ejection fraction of that spread, 0…1."""
        noise = float(np.random.default_rng([seed, 90]).standard_normal())
        return float(np.clip(self.mean + noise * self.sd * self.z90 / NORMAL_Z90, SMALLEST_EF, LARGEST_EF))


def ejection_fraction(volume: np.ndarray) -> float:
    """Return the ejection fraction 0…1 of one cycle's volumes (T,), equidistant: that of the periodic cubic curve."""
    closed = np.append(volume, volume[0])
    curve = CubicSpline(np.linspace(0.0, 1.0, len(closed)), closed, bc_type="periodic")(np.linspace(0.0, 1.0, 241))
    return float(1.0 - curve.min() / curve.max())


def ejection_factor(velocity: torch.Tensor, fine_maps: torch.Tensor, lv_ml: np.ndarray, wanted_ef: float) -> float:
    """Return the factor on velocities at which the LV ejects what is wanted.

    The volume at end-systole is measured once, on the anchor's own grid; how it answers to the factor is seen on the
    motion grid, where trying is cheap.

    Args:
        velocity: (T, 3, D, H, W) voxels of the motion grid.
        fine_maps: (3, D', H', W') refined anatomy maps.
        lv_ml: (T,) LV volume under this velocity on the anchor's grid.
        wanted_ef: Ejection fraction 0…1; taken to the nearest of 0.05…0.85.

    Returns:
        A factor within ``FACTORS``; 1 where there is no LV or it does not contract.
    """
    present = ejection_fraction(lv_ml) if lv_ml[0] > 0 else float("nan")
    if not present > 0.02:
        return 1.0
    systole = velocity[int(np.argmin(lv_ml))]
    tried = torch.stack([float(factor) * systole for factor in FACTORS])
    volume = relative_volumes(tried, fine_maps)[:, 0].double().numpy()
    ejected = present + np.interp(1.0, FACTORS, volume) - volume
    order = np.argsort(ejected)
    return float(np.interp(np.clip(wanted_ef, SMALLEST_EF, LARGEST_EF), ejected[order], FACTORS[order]))
