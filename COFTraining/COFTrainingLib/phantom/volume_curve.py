"""The left-ventricular volume over one heartbeat: what the physiology's clock makes of it, in closed form."""

import numpy as np
from scipy.special import betainc, betaincinv

from COFTrainingLib.phantom.physiology import NORMAL_QRSD_MS, R_AFTER_QRS_ONSET_MS, Physiology

EJECTION_SHAPE = (1.5, 2.6)
"""Of the Beta distribution along which the ventricle empties: it starts quickly."""
ONSET_MS = 12.0
"""Cavities of cines get smaller from the first frames after R on: the wall thickens and closes its trabeculae while the
valves are still shut. What short-axis volumes show begins here, not where the aortic valve opens 50 ms later."""
ONSET_PER_WIDENED_QRS = 0.25
ONSET_PER_LOST_EF_MS = 90.0
"""Weak ventricles raise their pressure slowly: pre-ejection is longer by 30 ms at an EF of 20 % (Weissler 1968)."""
ATRIAL_DELAY_MS = 8.0
"""From the onset of P to that of atrial emptying."""


def onset_ms(physiology: Physiology) -> float:
    """Return when the cavity begins to empty, ms from R; later with a wide QRS and a weak ventricle."""
    wide = ONSET_PER_WIDENED_QRS * max(physiology.qrsd_ms - NORMAL_QRSD_MS, 0.0)
    late = ONSET_MS + wide + ONSET_PER_LOST_EF_MS * max(0.55 - physiology.ef, 0.0)
    return min(late, 0.25 * physiology.t_es_ms)


def volume_fraction(physiology: Physiology, time_ms: float | np.ndarray) -> np.ndarray:
    """Return the contraction s(t) of the left ventricle, 0 at R and 1 from end of ejection to mitral opening.

    V(t) = EDV − (EDV − ESV)·s(t). Emptying along a Beta distribution function, isovolumic plateau, early filling, and
    the atrial kick that ends at the next R. The curve is continuous and periodic over one R–R: filling that a short R–R
    cuts off is scaled so that the next beat starts where this one did.

    Args:
        physiology: The patient.
        time_ms: (T,) times from R, ms; any real number, wrapped onto one R–R.

    Returns:
        (T,) float64 in [0, 1].
    """
    time = np.mod(np.asarray(time_ms, dtype=np.float64), physiology.rr_ms)
    onset, opening = onset_ms(physiology), physiology.mitral_opening_ms
    ejected = betainc(*EJECTION_SHAPE, np.clip((time - onset) / (physiology.t_es_ms - onset), 0.0, 1.0))

    def early(moment: float | np.ndarray) -> np.ndarray:
        return 1.0 - np.exp(-((np.maximum(moment - opening, 0.0) / physiology.filling_tau_ms) ** 1.5))

    share = 0.0 if physiology.atrial_fibrillation else physiology.atrial_fraction
    filled = (1.0 - share) * early(time) / early(physiology.rr_ms)
    if share > 0:
        kick = atrial_kick_ms(physiology)
        progress = np.clip((time - kick) / (physiology.rr_ms - kick), 0.0, 1.0)
        filled = filled + share * 0.5 * (1.0 - np.cos(np.pi * progress))
    return np.clip(ejected - filled, 0.0, 1.0)


def atrial_kick_ms(physiology: Physiology) -> float:
    """Return when the atria begin to fill the ventricle, ms from R: after P onset, which lies PR before QRS onset."""
    start = physiology.rr_ms - physiology.pr_ms - R_AFTER_QRS_ONSET_MS + ATRIAL_DELAY_MS
    return float(min(max(start, physiology.mitral_opening_ms), physiology.rr_ms - 40.0))


def end_systole_ms(physiology: Physiology, depth: float = 0.10) -> float:
    """Return the centre of the plateau within ``depth`` of the stroke volume above the minimum, ms from R.

    Exact where the atrial kick begins after the plateau, as it does below a rate of about 130.
    """
    onset = onset_ms(physiology)
    first = onset + betaincinv(*EJECTION_SHAPE, 1.0 - depth) * (physiology.t_es_ms - onset)
    opening, tau = physiology.mitral_opening_ms, physiology.filling_tau_ms
    passive = 1.0 if physiology.atrial_fibrillation else 1.0 - physiology.atrial_fraction
    complete = 1.0 - np.exp(-(((physiology.rr_ms - opening) / tau) ** 1.5))
    last = opening + tau * (-np.log(1.0 - depth * complete / passive)) ** (2.0 / 3.0)
    return float((first + last) / 2.0)
