"""Give a motion the ejection fractions that are wanted, by a factor on the velocities of either ventricle.

The ECG encoder says how much the LV ejects; the motion network says how the walls do it. Regression shrinks what the
second makes of the first: a factor that is the same for all hearts leaves strong hearts too weak and weak ones too
strong (slope of EF error on EF -0.28 on held-out phantoms). One factor per heart makes both say the same. The right
ventricle has one of its own: in failing hearts its EF is anything between 9 and 69 %.
"""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from COFGeneratorLib.generator.ejection import LARGEST_EF, SMALLEST_EF

FACTORS = (0.05, 4.0)
"""As far as a motion may be changed: from an EF of 60 % to 10 %, from 25 % to 70 %."""
STIFFENING = 1.2
"""Power of the factor with which −ln(1 − EF) grows: 1 for a uniform squeeze, more for walls that move inwards."""
LEAST_EF = 0.02
"""A ventricle that ejects less stands still: no factor makes it eject."""
PASSES_OVER_MM = 20.0
"""From the left ventricle into the right, over which one's factor passes into the other's."""


def next_factor(factor: float, found_ef: float, wanted_ef: float) -> float:
    """Return the factor at which a ventricle ejects what is wanted, from what it ejects at another.

    A stationary velocity shrinks a cavity nearly exponentially (``STIFFENING``).

    Args:
        factor: Of the velocities under which ``found_ef`` was measured.
        found_ef: 0…1.
        wanted_ef: 0…1; taken to the nearest of 0.05…0.85.

    Returns:
        A factor within ``FACTORS``; ``factor`` where the ventricle stands still.
    """
    if not LEAST_EF < found_ef < 1.0:
        return factor
    wanted_ef = min(max(wanted_ef, SMALLEST_EF), LARGEST_EF)
    return float(np.clip(factor * (np.log1p(-wanted_ef) / np.log1p(-found_ef)) ** (1.0 / STIFFENING), *FACTORS))


def right_share(maps: torch.Tensor, spacing_mm: tuple[float, float, float]) -> torch.Tensor:
    """Return how far each node moves with the right ventricle, (D, H, W): 0 on the left one, 1 on the free wall.

    Args:
        maps: (3, D, H, W) anatomy maps (LV, myocardium, RV).
        spacing_mm: Of the nodes, (k, j, i).
    """
    left, right = (maps[:2].sum(dim=0) > 0.5).cpu().numpy(), (maps[2] > 0.5).cpu().numpy()
    if not left.any() or not right.any():
        return torch.zeros_like(maps[0])
    from_left, from_right = (distance_transform_edt(~part, sampling=spacing_mm) for part in (left, right))
    t = np.clip(from_left / PASSES_OVER_MM, 0.0, 1.0)
    nearer = from_left / np.maximum(from_left + from_right, 1e-6)  # beside the lateral wall nothing is the right one's
    return torch.from_numpy(t * t * (3.0 - 2.0 * t) * nearer).to(maps)
