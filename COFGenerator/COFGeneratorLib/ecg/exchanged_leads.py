"""Limb leads that may be on the wrong limbs: what is suspected from QRS, and said. Nothing is put right by itself.

(Batchvarov, Malik, Camm, Europace 2007;9:1081: "Incorrect electrode cable connection during electrocardiographic
recording".)
"""

import numpy as np

from COFGeneratorLib.ecg.record import LEADS

SMALL_MV, SMALL_SHARE = 0.12, 0.15
"""A limb lead this small, in mV and next to the largest, has the right-leg electrode in it."""
ARM_FOR_LEG = {"I": "both arms for both legs", "II": "right arm for right leg", "III": "left arm for right leg"}
NEGATIVE = 1.5
"""How much larger the negative part of QRS must be than the positive one."""


def suspected_exchanges(qrs_mv: np.ndarray, p_mv: np.ndarray | None = None) -> list[str]:
    """Return suspicions in words.

    Args:
        qrs_mv: (12, m) QRS of the average beat, baseline at zero.
        p_mv: (12, n) its P wave, None where there is none. Only P tells the right arm on the left leg from an axis
            that is turned that far.
    """
    lead = {name: qrs_mv[LEADS.index(name)] for name in LEADS[:6]}
    height = {name: float(np.ptp(lead[name])) for name in ("I", "II", "III")}
    out = []
    p = {} if p_mv is None else {name: _net(p_mv[LEADS.index(name)]) for name in ("II", "aVR")}
    if _down(lead["II"]) and _down(lead["aVF"]) and not _down(-lead["I"]) and p and p["II"] < 0 < p["aVR"]:
        out.append("Limb-lead swap suspected (right arm and left leg): P and QRS are negative in II.")
    elif _down(lead["I"]) and lead["aVR"].max() > abs(lead["aVR"].min()):
        out.append("Limb-lead swap suspected (arms): QRS is negative in I and positive in aVR.")
    for name, limbs in ARM_FOR_LEG.items():
        others = max(value for other, value in height.items() if other != name)
        if height[name] < min(SMALL_MV, SMALL_SHARE * others):
            out.append(f"Limb-lead swap suspected ({limbs}): lead {name} shows almost nothing beside the others.")
    return out


def _down(qrs_mv: np.ndarray) -> bool:
    return bool(abs(qrs_mv.min()) > NEGATIVE * max(qrs_mv.max(), 0.0))


def _net(p_mv: np.ndarray) -> float:
    """Return the mean of a P wave over the line between its ends, mV; 0 where it is too small to tell."""
    net = float(p_mv.mean() - 0.5 * (p_mv[0] + p_mv[-1]))
    return net if abs(net) > 0.01 else 0.0
