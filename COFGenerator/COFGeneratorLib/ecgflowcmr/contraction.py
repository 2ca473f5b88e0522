"""Brings the contraction of a generated cine to what the phenotype head reads from the ECG.

A small flow hears timing well and strength hardly. The plane segmenter can see how much a generated heart contracts;
the latent's motion about its fullest frame is then made larger or smaller until that is what the reading lets expect.
The paper has no such step; a model without a phenotype head, a segmenter or these constants does not take it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from COFGeneratorLib.ecgflowcmr.phenotype import PhenotypeHead
from COFGeneratorLib.ecgflowcmr.transformer import RATE_SCALARS
from COFGeneratorLib.function.curve import smooth_periodic

ROUNDS = 2
FACTOR_RANGE = (0.5, 1.7)
"""Motion is never changed by more than this in one round: beyond it the decoder leaves what it was trained on."""
FAC_RANGE = (5.0, 85.0)


@dataclass(frozen=True)
class Contraction:
    """Fractional area change that an EF read from the ECG lets expect, by the plane segmenter on real cines.

    Percent = offset + slope · EF, ± ``sd`` points between hearts of one reading.
    """

    offset: float
    slope: float
    sd: float


def fractional_area_change(areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fractional area change in percent (B,), and the fullest frame (B,), of area curves (B, T)."""
    smooth = np.stack([smooth_periodic(area) for area in np.asarray(areas, dtype=float)])
    largest = np.maximum(smooth.max(axis=1), 1e-6)
    return 100.0 * (largest - smooth.min(axis=1).clip(0.0)) / largest, smooth.argmax(axis=1)


@torch.no_grad()
def matched(
    latent: torch.Tensor,
    scalars: torch.Tensor,
    *,
    rule: Contraction,
    head: PhenotypeHead,
    areas: Callable[[torch.Tensor], np.ndarray],
    seed: int,
    alpha: float,
) -> torch.Tensor:
    """Return latents whose cines contract as the ECGs let expect.

    Args:
        latent: (B, C, T, h, w) as the flow draws them.
        scalars: (B, 2 + phenotypes) conditions; a row of zeros ("no ECG") is left as it is.
        rule: What an EF lets expect.
        head: Reads the EF from the scalars.
        areas: Measures the LV's area in every frame, (B, T), of such latents' cines.
        seed: Of the spread between hearts.
        alpha: Scale of the spread, that of the flow's noise.
    """
    ef = head.in_units(scalars[:, RATE_SCALARS:])["ef"].cpu().numpy()
    noise = np.random.default_rng([seed, 61]).standard_normal(len(ef))
    wanted = np.clip(rule.offset + rule.slope * ef + alpha * rule.sd * noise, *FAC_RANGE)
    heard = (scalars.abs().sum(dim=1) > 0).cpu().numpy()
    for _ in range(ROUNDS):
        found, fullest = fractional_area_change(areas(latent))
        factors = np.where(heard, np.clip(wanted / np.maximum(found, 1.0), *FACTOR_RANGE), 1.0)
        factor = torch.from_numpy(factors).to(latent)[:, None, None, None, None]
        still = torch.stack([one[:, at] for one, at in zip(latent, fullest, strict=True)])[:, :, None]
        latent = still + factor * (latent - still)
    return latent
