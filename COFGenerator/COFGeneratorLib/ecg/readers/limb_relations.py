"""What Einthoven's and Goldberger's relations tell of leads that are not named, or named wrongly.

II = I + III, aVR = −(I + II)/2, aVL = I − II/2, aVF = II − I/2: a permutation of the six limb leads meets all four
in one way only, so that they tell which row is which. They say nothing of the chest leads, nor of electrodes on the
wrong limbs.
"""

from itertools import permutations

import numpy as np

from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError

LIMB = LEADS[:6]
WELL_MET, MET = 0.05, 0.15
"""Root mean square of what should be zero, next to I and II, up to which a relation is met well, and at all: steps and
filters differ."""
LOOSE = 0.35
"""The same, beyond which an array is not what it is taken for."""
DISTINCT, EXACT = 3.0, 0.01
"""How many times worse any other arrangement must be for one to be certain; what is met better is met exactly."""
_RELATIONS = np.array([[-1, 1, -1, 0, 0, 0], [0.5, 0.5, 0, 1, 0, 0], [-1, 0.5, 0, 0, 1, 0], [0.5, -1, 0, 0, 0, 1]])
_RELATED = ("III", "aVR", "aVL", "aVF")
_MOST_SAMPLES = 20_000


def named_rows(values: np.ndarray) -> tuple[tuple[str, ...], str | None]:
    """Tell which row of an array without names is which lead.

    Args:
        values: (12, L) of any unit, with missing samples as NaN.

    Returns:
        The names of the rows (``-aVR`` where it is turned over), and a note where the order is not the standard one.

    Raises:
        EcgError: If no order of the limb leads meets the relations.
    """
    gram = _gram(values)
    usual = _misfit(gram, np.arange(6)[None])[0].max()
    if usual <= WELL_MET:
        return LEADS, None
    found = _arranged(gram, range(12))
    if found is not None and max(found[0], EXACT) * DISTINCT <= usual:
        names = dict(zip(found[1], LIMB, strict=True))
        if found[2]:
            names[found[1][3]] = "-aVR"
        chest = iter(LEADS[6:])
        order = tuple(names[row] if row in names else next(chest) for row in range(12))
        return (
            order,
            f"The rows are not in the standard order: by the limb leads' relations they are {', '.join(order)}.",
        )
    if usual <= LOOSE:
        return LEADS, None
    raise EcgError(
        "Twelve rows in the order I, II, III, aVR, aVL, aVF, V1–V6 are expected where none is named; here the limb "
        "leads contradict each other in that order and in any other. Name the rows: --leads I,II,III,…"
    )


def put_right(limb: np.ndarray) -> tuple[np.ndarray, str | None, bool]:
    """Check six limb leads that the file names, and put right what their relations leave no doubt about.

    Args:
        limb: (6, L) in the order of ``LIMB``.

    Returns:
        The leads, a note, and whether they are still in doubt.
    """
    gram = _gram(limb)
    misfit = _misfit(gram, np.arange(6)[None])[0]
    if misfit.max() <= WELL_MET:
        return limb, None, False
    wrong = [name for name, value in zip(_RELATED, misfit, strict=True) if value > MET]
    if len(wrong) == 1:
        out = limb.copy()
        relation = _RELATED.index(wrong[0])
        row = LIMB.index(wrong[0])
        weights = -_RELATIONS[relation] / _RELATIONS[relation, row]
        weights[row] = 0.0
        out[row] = weights @ limb
        return out, f"{wrong[0]} contradicts the other limb leads; it was replaced by what they say.", False
    found = _arranged(gram, range(6))
    if found is not None and max(found[0], EXACT) * DISTINCT <= misfit.max():
        out = limb[list(found[1])]
        out[3] *= -1.0 if found[2] else 1.0
        moved = [name for name, row in zip(LIMB, found[1], strict=True) if LIMB[row] != name]
        moved = moved or ["aVR"]
        return out, f"Limb leads contradict each other as they are named; {', '.join(moved)} were put right.", False
    if misfit.max() <= MET:
        return limb, None, False
    one, two, three = limb[:3]
    return (
        limb,
        f"Limb leads contradict each other: II − I − III is {1000 * float(np.nanstd(two - one - three)):.0f} µV (rms) "
        f"instead of 0, and {', '.join(wrong)} can not be what I and II make them.",
        True,
    )


def _gram(values: np.ndarray) -> np.ndarray:
    """Return the covariances (n, n) of (n, L)."""
    thin = np.asarray(values[:, :: max(1, values.shape[1] // _MOST_SAMPLES)], dtype=np.float64)
    thin = thin[:, np.isfinite(thin).all(axis=0)]
    if thin.shape[1] < 2:
        return np.zeros((len(values), len(values)))
    thin = thin - thin.mean(axis=1, keepdims=True)
    return thin @ thin.T / thin.shape[1]


def _misfit(gram: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (k, 4): what is left of each relation next to I and II, for k arrangements (k, 6) of rows."""
    part = gram[rows[:, :, None], rows[:, None, :]]  # (k, 6, 6)
    left = np.sqrt(np.maximum(np.einsum("ri,kij,rj->kr", _RELATIONS, part, _RELATIONS), 0.0))
    scale = np.sqrt(np.maximum(0.5 * (part[:, 0, 0] + part[:, 1, 1]), 0.0))
    return left / np.maximum(scale, 1e-9)[:, None]


def _arranged(gram: np.ndarray, rows: range) -> tuple[float, tuple[int, ...], bool] | None:
    """Return the one arrangement of rows that meets the relations: misfit, the rows of ``LIMB``, aVR turned over."""
    best: dict[tuple[tuple[int, ...], bool], float] = {}
    triples = np.array(list(permutations(rows, 3)))
    # Where I, II and III would be; the other three follow from them one by one.
    padded = np.concatenate([triples, triples[:, [0, 0, 0]]], axis=1)
    fit = _misfit(gram, padded)[:, 0]
    for index in np.argsort(fit)[:24]:
        if fit[index] > MET:
            break
        for turned in (False, True):
            chosen = [int(row) for row in triples[index]]
            for relation in (1, 2, 3):
                free = [row for row in rows if row not in chosen]
                trial = np.array([[*chosen[:3], *[row] * 3] for row in free])
                signed = gram.copy()
                if turned and relation == 1:
                    signed[free, :] *= -1.0
                    signed[:, free] *= -1.0
                chosen.append(free[int(np.argmin(_misfit(signed, trial)[:, relation]))])
            signed = gram.copy()
            if turned:
                signed[chosen[3], :] *= -1.0
                signed[:, chosen[3]] *= -1.0
            best[tuple(chosen), turned] = float(_misfit(signed, np.array([chosen]))[0].max())
    ranked = sorted(best.items(), key=lambda item: item[1])
    if not ranked or ranked[0][1] > MET:
        return None
    if len(ranked) > 1 and ranked[1][1] < DISTINCT * max(ranked[0][1], EXACT):
        return None
    (order, turned), misfit = ranked[0]
    return misfit, order, turned
