"""Random contrasts: what signal each tissue gives, by physics (bSSFP, spoiled GRE) or at random."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from COFTrainingLib.phantom.tissues import BLOOD, FAT, RELAXATION, TISSUE_COUNT, Tissue

KINDS = ("bssfp", "gre", "random")
BRIGHT_BLOOD = 0.85
"""Share of the random contrasts in which blood is brighter than myocardium, as in every cine sequence."""

FAT_LIKE_BLOOD = 0.35
"""Share of the physical contrasts in which fat is about as bright as blood, as in many balanced cines: there only the
thin dark wall between them tells the right ventricle from the fat that lies on it."""

_MUSCLES = (Tissue.MYOCARDIUM, Tissue.RV_WALL, Tissue.LV_PAPILLARY, Tissue.LV_TRABECULA, Tissue.RV_TRABECULA)

LATER = {Tissue.RV_ORIFICE: Tissue.RV_BLOOD, Tissue.RV_RIM: Tissue.RV_TRABECULA}
"""Tissues, the last ones, that joined after models had been trained: they take another one's draws, because a draw of
their own would give every seed another scan."""


@dataclass(frozen=True)
class Contrast:
    """Signal of every tissue.

    Args:
        mean: (n_tissues,) mean signal, LV blood about 1 or below.
        texture: (n_tissues,) standard deviation of the signal inside each tissue.
        kind: One of ``KINDS``.
    """

    mean: np.ndarray
    texture: np.ndarray
    kind: str


def bssfp_signal(proton: np.ndarray, t1_ms: np.ndarray, t2_ms: np.ndarray, flip_rad: float) -> np.ndarray:
    """Return the on-resonance balanced SSFP signal for TR ≪ T2 (Scheffler & Lehnhardt, Eur Radiol 2003)."""
    ratio = np.asarray(t1_ms) / np.asarray(t2_ms)
    return np.asarray(proton) * np.sin(flip_rad) / ((ratio + 1) - np.cos(flip_rad) * (ratio - 1))


def spoiled_signal(
    proton: np.ndarray, t1_ms: np.ndarray, t2_star_ms: np.ndarray, flip_rad: float, tr_ms: float, te_ms: float
) -> np.ndarray:
    """Return the spoiled gradient-echo signal (Ernst)."""
    e1 = np.exp(-tr_ms / np.asarray(t1_ms))
    decay = np.exp(-te_ms / np.asarray(t2_star_ms))
    return np.asarray(proton) * np.sin(flip_rad) * (1 - e1) / (1 - np.cos(flip_rad) * e1) * decay


def draw_contrast(rng: np.random.Generator, kind: str | None = None) -> Contrast:
    """Draw one contrast, of a kind of ``KINDS`` where given; bSSFP most often because cine mostly is."""
    kind = str(rng.choice(KINDS, p=(0.6, 0.15, 0.25))) if kind is None else kind
    if kind == "random":
        mean = _random_means(rng)
    else:
        proton, t1, t2 = (RELAXATION * np.exp(_each(lambda count: rng.normal(0.0, 0.15, (count, 3))))).T
        if kind == "bssfp":
            mean = bssfp_signal(proton, t1, t2, np.deg2rad(rng.uniform(35, 85)))
        else:
            mean = spoiled_signal(proton, t1, 0.6 * t2, np.deg2rad(rng.uniform(8, 25)), rng.uniform(4, 9), 2.0)
            mean[list(BLOOD)] *= rng.uniform(1.6, 4.0)  # fresh spins flow in
        mean = mean * np.exp(_each(lambda count: rng.normal(0.0, 0.12, count)))
        mean[Tissue.MYOCARDIUM] *= rng.uniform(0.8, 1.5)  # scanners differ most here
        mean[list(FAT)] *= rng.choice([1.0, 1.0, 0.4, 0.15])
        _share_blood(rng, mean, spread=0.10)
        own = rng.spawn(1)[0]  # so that all other draws stay as they were
        if own.random() < FAT_LIKE_BLOOD:
            mean[list(FAT)] *= own.uniform(0.75, 1.3) * mean[Tissue.LV_BLOOD] / mean[Tissue.EPICARDIAL_FAT]
    _share_muscle(rng, mean)
    if rng.random() < 0.3:  # what the stomach holds is anyone's guess
        mean[Tissue.STOMACH_CONTENT] = rng.uniform(0.0, 1.2) * mean.max()
    mean = mean / max(mean[Tissue.LV_BLOOD], mean[Tissue.MYOCARDIUM])
    texture = mean * _each(lambda count: rng.uniform(0.02, 0.14, count)) + rng.uniform(0.0, 0.03)
    for rough in (Tissue.VISCERAL_FAT, Tissue.BOWEL, Tissue.LUNG, Tissue.LIVER, Tissue.MUSCLE):
        texture[rough] *= rng.uniform(0.7, 2.0)
    return Contrast(mean.astype(np.float32), texture.astype(np.float32), kind)


def _each(draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return what ``draw(count)`` gives for every tissue, (TISSUE_COUNT, …)."""
    drawn = draw(TISSUE_COUNT - len(LATER))
    return np.concatenate([drawn, drawn[list(LATER.values())]])


def _random_means(rng: np.random.Generator) -> np.ndarray:
    mean = _each(lambda count: rng.uniform(0.02, 1.0, count))
    mean[[Tissue.AIR, Tissue.LUNG]] = rng.uniform(0.0, 0.25, 2)
    _share_blood(rng, mean, spread=0.15)
    blood, wall = mean[Tissue.LV_BLOOD], mean[Tissue.MYOCARDIUM]
    bright = rng.random() < BRIGHT_BLOOD
    if (blood > wall) != bright or abs(blood - wall) < 0.15:
        low, high = rng.uniform(0.05, 0.6), rng.uniform(0.7, 1.0)
        mean[Tissue.MYOCARDIUM] = low if bright else high
        mean[list(BLOOD)] *= (high if bright else low) / blood
    return mean


def _share_blood(rng: np.random.Generator, mean: np.ndarray, spread: float) -> None:
    """Make all blood pools alike: the right side a little darker (T2 of venous blood), each with its own inflow."""
    blood = mean[Tissue.LV_BLOOD]
    pools = [tissue for tissue in BLOOD if tissue not in LATER]
    mean[pools] = blood * np.exp(rng.normal(0.0, spread, len(pools)))
    venous = rng.uniform(0.72, 1.08)
    mean[[Tissue.LV_BLOOD, Tissue.LV_ORIFICE]] = blood
    for tissue in (Tissue.RIGHT_ATRIUM, Tissue.PULMONARY_TRUNK):
        mean[tissue] *= venous
    mean[[Tissue.RV_BLOOD, Tissue.RV_ORIFICE]] = mean[Tissue.RV_BLOOD] * venous


def _share_muscle(rng: np.random.Generator, mean: np.ndarray) -> None:
    """Make all heart muscle alike; trabeculae are too fine to show muscle alone."""
    wall, blood = mean[Tissue.MYOCARDIUM], mean[Tissue.LV_BLOOD]
    mean[list(_MUSCLES)] = wall * np.exp(rng.normal(0.0, 0.08, len(_MUSCLES)))
    mean[Tissue.MYOCARDIUM] = wall
    for mixed in (Tissue.LV_TRABECULA, Tissue.RV_TRABECULA):
        mean[mixed] = wall + rng.uniform(0.0, 0.6) * (blood - wall)
    mean[Tissue.RV_RIM] = mean[Tissue.RV_TRABECULA]
    mean[Tissue.LV_PAPILLARY] = wall + rng.uniform(-0.1, 0.35) * (blood - wall)
    mean[Tissue.RV_WALL] = wall + rng.uniform(0.0, 0.3) * (blood - wall)
    np.clip(mean, 0.0, None, out=mean)
