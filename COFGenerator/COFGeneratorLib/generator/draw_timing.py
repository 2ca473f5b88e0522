"""Draws keep to the time at which systole ends: how far they stray from the expected time is a share of their own.

Draws are right in how much they scatter in volumes and regions, and too wide in time: noise that is small beside the
motion moves the flat top of contraction a long way. So a drawn motion is played a little faster or slower up to its
end-systole, and the other way round after it; what moves where stays as it was drawn.
"""

import numpy as np
import torch

from COFGeneratorLib.generator.mean_motion import amount_of_mean
from COFGeneratorLib.motion.fields import periodic_matrix

PLATEAU = 0.9
"""Of the largest contraction; end-systole is the middle of the time above it."""
DENSE = 400
SYSTOLE = (0.1, 0.75)
"""Share of the beat in which systole can end; elsewhere a draw is left as it is."""


def steadied(
    velocity: torch.Tensor, expected: torch.Tensor, maps: torch.Tensor, mean: torch.Tensor, share: float
) -> torch.Tensor:
    """Return draws whose end-systole strays from the expected one by a share of what it did.

    How far a heart is contracted is told by how much of the mean's pattern is in its motion.

    Args:
        velocity: (K, T, 3, D, H, W) of draws, from the R wave.
        expected: (T, 3, D, H, W).
        maps: (3, D, H, W) anatomy maps.
        mean: (P, 3, D, H, W).
        share: Of the straying, that is kept, 0…1; at 1 draws are returned as they are.
    """
    if share >= 1.0:
        return velocity
    phases, out = velocity.shape[1], velocity.clone()
    amounts = amount_of_mean(torch.cat([expected[None].to(velocity), velocity]), maps, mean)[0].double().cpu().numpy()
    target = end_systole(amounts[0])
    for drawn, curve in zip(out, amounts[1:], strict=True):
        own = end_systole(curve)
        wanted = target + share * (own - target)
        if not (SYSTOLE[0] < own < SYSTOLE[1] and SYSTOLE[0] < wanted < SYSTOLE[1]):
            continue
        at = np.interp(np.arange(phases) / phases, [0.0, wanted, 1.0], [0.0, own, 1.0])
        matrix = torch.from_numpy(periodic_matrix(phases, at)).to(drawn)
        drawn[:] = (matrix @ drawn.flatten(1)).view_as(drawn)
    return out


def end_systole(amount: np.ndarray) -> float:
    """Return the middle of the time, as a share of the beat, in which a contraction (T,) is near its largest."""
    curve = periodic_matrix(len(amount), np.arange(DENSE) / DENSE) @ amount
    top = int(curve.argmax())
    near = curve >= curve.min() + PLATEAU * (curve[top] - curve.min())
    after = int(np.argmin(np.roll(near, -top)))
    before = int(np.argmin(np.roll(near[::-1], top + 1 - DENSE)))
    return float((top + 0.5 * (after - before)) / DENSE % 1.0)
