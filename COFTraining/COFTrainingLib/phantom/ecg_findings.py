"""How the latents of a patient shape the electrical heart vector of one beat.

The signs are the textbook ones: pathological Q, loss of R and ST–T change over an infarct's territory; bundle branch
block; voltage and strain in hypertrophy; right axis, R in V1 and right-sided strain under load of the right ventricle.
A weak ventricle has no single mark. It is spread over R progression, the left-atrial part of P, small limb leads beside
deep chest leads, fragmented QRS, the angle between QRS and T, and only weakly over the size of T, which varies for
many reasons that have nothing to do with function. Each is blurred by variation of its own, so that the weakness can be
read only from all of them together, and a normal ECG makes a good ventricle likely without proving it.
"""

from dataclasses import dataclass

import numpy as np

from COFTrainingLib.phantom.ecg_depolarisation import depolarisation
from COFTrainingLib.phantom.ecg_infarct import infarct, positional_q
from COFTrainingLib.phantom.ecg_mishaps import paced_beat
from COFTrainingLib.phantom.ecg_repolarisation import repolarisation, strain
from COFTrainingLib.phantom.heart_vector import (
    LEFT_ATRIAL_BACKWARD,
    RIGHT_ATRIAL,
    Waves,
    normal_p,
    qrs_bounds_ms,
    t_end_ms,
)
from COFTrainingLib.phantom.lead_field import draw_rotation
from COFTrainingLib.phantom.physiology import Physiology
from COFTrainingLib.phantom.pump import contractility_for

WEAKNESS_RANGE = (-2.5, 6.0)
SILENT_SHARE = 0.08
"""How often a weak ventricle hardly shows in the ECG: a normal one is found in up to a tenth of failing hearts
(Davie et al., BMJ 1996;312:222; Nielsen et al., BMJ 2000;320:220)."""
LATE_SIGNS, EARLY_SIGNS, EARLY_RANGE = 0.75, 0.76, 0.8
"""Signs of a weakness w: LATE · w + EARLY · tanh(w / RANGE), 1.7 a step about a usual heart, 0.75 far from it."""
PACED_QRSD_MS = (150.0, 195.0)


@dataclass(frozen=True)
class Beat:
    """The waves of one beat, R at 0 ms; ``p`` is None in atrial fibrillation."""

    p: Waves | None
    qrs: Waves
    t: Waves
    qrs_onset_ms: float
    qrs_offset_ms: float
    t_end_ms: float

    @property
    def ventricular(self) -> Waves:
        """QRS and T together."""
        return self.qrs.joined(self.t)


def weakness(physiology: Physiology) -> float:
    """Return how weak the muscle is, in units of ``contractility``: 0 at an EF of 60 %, 1 eight points below.

    The part of a low EF that an infarct or a left bundle branch block explains has marks of its own and is left out.
    """
    weak = contractility_for(physiology.ef, physiology.infarct_extent, physiology.dyssynchrony_ms)
    return float(np.clip(weak, *WEAKNESS_RANGE))


def _shown(weak: float, rng: np.random.Generator, variation: float) -> float:
    """Return how much of the weakness the ECG of this person shows: mostly about all, now and then hardly any of it.

    Signs come early and then grow more slowly.
    """
    signs = LATE_SIGNS * weak + EARLY_SIGNS * np.tanh(weak / EARLY_RANGE)
    chance, little, spread = rng.random(), rng.uniform(0.0, 0.6), np.exp(0.15 * variation * rng.standard_normal())
    return float(signs * (little if chance < SILENT_SHARE * variation else spread))


def compose_beat(
    physiology: Physiology, rng: np.random.Generator, variation: float = 1.0, *, paced: bool = False
) -> Beat:
    """Build the beat of one patient; QRS duration, PR and QT come out as the latents say.

    Args:
        physiology: The patient.
        rng: Source of randomness, used only for what is independent of the latents.
        variation: Scale of the differences between people that carry no latent; 0 gives the textbook beat.
        paced: Whether a pacemaker drives the ventricles: their waves then tell of the lead, not of the muscle.
    """
    weak = _shown(weakness(physiology), rng, variation)
    turn = draw_rotation(rng, variation)
    habitus = np.exp(variation * 0.22 * rng.standard_normal())
    qrsd_ms = physiology.qrsd_ms
    if paced:
        qrs, t = paced_beat(rng, variation)
        qrsd_ms = float(rng.uniform(*PACED_QRSD_MS))
    else:
        qrs = depolarisation(physiology, weak, rng, variation)
        t = repolarisation(physiology, weak, rng, variation)
        t = strain(physiology, t, rng, variation)
        if physiology.infarct_territory:
            qrs, t = infarct(physiology, qrs, t, rng, variation)
        else:
            qrs = positional_q(qrs, rng, variation)

    onset, peak, offset = qrs_bounds_ms(qrs)
    factor = qrsd_ms / (offset - onset)
    qrs = qrs.retimed(factor, -peak * factor)
    onset, offset = (onset - peak) * factor, (offset - peak) * factor

    # The T group lies on a time of its own in which J is at 60 ms; the map keeps J at J and brings its end to QT.
    wanted = onset + physiology.qt_ms + 0.5 * (qrsd_ms - physiology.qrsd_ms)
    factor = (wanted - offset) / (t_end_ms(t) - 60.0)
    t = t.retimed(factor, offset - 60.0 * factor)

    p = None if physiology.atrial_fibrillation else _atrial(physiology, weak, rng, variation)
    move = habitus * turn
    p = p and p.retimed(1.0, onset - physiology.pr_ms).rotated(move)
    return Beat(p, qrs.rotated(move), t.rotated(move), onset, offset, wanted)


def _atrial(physiology: Physiology, weak: float, rng: np.random.Generator, variation: float) -> Waves:
    """P: its backward end grows with the pressure behind a weak ventricle, its first part with a loaded right one."""
    p = normal_p().jittered(rng, 0.20 * variation, 0.12 * variation, 3.0 * variation)
    left, right = np.exp(variation * np.array([0.30, 0.20]) * rng.standard_normal(2))
    p.vector_mv[LEFT_ATRIAL_BACKWARD] *= min(np.exp(0.50 * weak) * left, 5.0)
    p.vector_mv[RIGHT_ATRIAL] *= right * (1.6 if physiology.rv_load == "pressure" else 1.0)
    return p
