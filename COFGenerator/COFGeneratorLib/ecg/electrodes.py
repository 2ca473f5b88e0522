"""Whether electrodes sit where they should: suspected from the beat, and said. Nothing is put right by itself.

Eight independent leads see one heart vector of three components. Seen through the usual lead field (Dower, Machado &
Osborne, Clin Cardiol 1980;3:87), P, QRS and T of well-placed electrodes leave little unexplained and point where hearts
point; P most of all. Each exchange of electrodes is undone in turn, and what would fit much better is suspected. How
much each clue counts was fitted by logistic regression (``Testing/Benchmarks/electrode_weights.py``).

An exchange of left arm and left leg, or of neighbours on the chest, mostly cannot be told from another person's heart.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations

import numpy as np

from COFGeneratorLib.ecg.average_beat import MEAN_R_SAMPLE
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ
from COFGeneratorLib.ecg.delineation import INDEPENDENT, Fiducials
from COFGeneratorLib.ecg.record import LEADS, Doubt

LEAD_FIELD = np.array([
    [0.632, -0.235, 0.059], [0.235, 1.066, -0.132], [-0.515, 0.157, -0.917], [0.044, 0.164, -1.387],
    [0.882, 0.098, -1.277], [1.213, 0.127, -0.601], [1.125, 0.127, -0.086], [0.831, 0.076, 0.230],
])  # fmt: skip
"""(8, 3) rows I, II, V1–V6; columns X left, Y down, Z back."""
_USUAL = np.array([[0.55, 0.72, -0.08], [0.60, 0.25, 0.35], [0.45, 0.30, -0.45]])
_SPREAD = np.array([[0.26, 0.24, 0.34], [0.42, 0.40, 0.45], [0.50, 0.40, 0.40]])
_MOST = np.array([9.0, 5.0, 4.0])
"""Mean direction of P, QRS and T, its spread, and how much one of them may say against an arrangement."""
_P_AXIS_DEG, _P_SPREAD = 55.0, 0.5
_FLOOR = 0.02
WEIGHTS = {
    "limb": (2.22, 2.63, 2.49, -0.29, 0.59, -0.05, 1.85, 1.20, -2.10),
    "chest": (2.82, 5.25, 2.08, 0.62, 0.88, 0.17, 1.60, 0.0, -2.61),
    "all": (0.0, 0.0, 0.0, 1.19, 0.39, 1.52, 0.0, 0.0, 0.0),
}
"""For each group: weight of what P, QRS and T leave unexplained, of where they point, of the likeness of I and
V5–V6, and of the frontal axis of P; last the constant."""
SUSPECTED = {"limb": 0.5, "reversed": 0.5, "chest": 2.8, "all": 0.5}
"""Log odds from which an exchange is said. Neighbours on the chest look alike: more is asked there."""
STRONG = 1.5
"""Log odds beyond those from which a suspicion is a strong one."""
WITHOUT_P = 3.0
"""So much more is asked where there is no P wave, the surest of the three."""
SMALL_MV, SMALL_SHARE = 0.12, 0.15
"""A limb lead this small, in mV and next to the largest, has the right-leg electrode in it."""
ARM_FOR_LEG = {"I": "both arms for both legs", "II": "right arm for right leg", "III": "left arm for right leg"}
_LIMBS = {(1, 0, 2): "arms", (2, 1, 0): "right arm and left leg", (0, 2, 1): "left arm and left leg"}
_RIGHT_NAMES = {(1, 0, 2): "-I,III,II,aVL,aVR,aVF", (2, 1, 0): "-III,-II,-I,aVF,aVL,aVR",
                (0, 2, 1): "II,I,-III,aVR,aVF,aVL"}  # fmt: skip
"""What the rows I … aVF of a record with exchanged limb electrodes are in truth."""


@dataclass(frozen=True)
class Exchange:
    """One way to place electrodes wrongly.

    Attributes:
        group: Key of ``WEIGHTS``.
        words: What is exchanged.
        undo: (8, 8) that brings the recorded leads I, II, V1–V6 back.
        names: What the twelve rows are in truth, for ``--leads``; empty where it cannot be said so.
    """

    group: str
    words: str
    undo: np.ndarray
    names: str = ""


@cache
def exchanges() -> tuple[Exchange, ...]:
    """Return all that is looked for."""
    found = []
    for limbs in permutations(range(3)):
        order = (limbs[0], limbs[1], limbs[2])
        if order != (0, 1, 2):
            # Potentials of right arm, left arm and left leg over the right arm, in I and II.
            at = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[list(order)]
            made = np.eye(8)
            made[:2, :2] = np.stack([at[1] - at[0], at[2] - at[0]])
            names = f"{_RIGHT_NAMES[order]},V1,V2,V3,V4,V5,V6" if order in _RIGHT_NAMES else ""
            found.append(Exchange("limb", _LIMBS.get(order, "all three limbs"), np.linalg.inv(made), names))
    orders = {"V1 to V6 in reverse": list(range(5, -1, -1))}
    for one, other in combinations(range(6), 2):
        row = list(range(6))
        row[one], row[other] = other, one
        orders[f"V{one + 1} and V{other + 1}"] = row
    for words, row in orders.items():
        undo = np.eye(8)
        undo[2:, 2:] = np.eye(6)[row]
        names = ",".join((*LEADS[:6], *(f"V{k + 1}" for k in row)))
        found.append(Exchange("chest", words, undo, names))
    turned = ",".join(f"-{lead}" for lead in LEADS)
    found.append(Exchange("all", "all leads upside down", -np.eye(8), turned))
    return tuple(found)


def suspicions(mean_mv: np.ndarray, marks: Fiducials) -> tuple[tuple[Doubt, ...], tuple[str, ...]]:
    """Return what is doubted of the electrodes, for programs and in words.

    Args:
        mean_mv: (12, n) mV, the average beat with its lead-in, baseline at the PQ level.
        marks: Its fiducials.
    """
    notes = _empty_leads(mean_mv)
    if notes:
        return (Doubt.LEADS,), tuple(notes)
    waves = beat_waves(mean_mv, marks)
    odds = log_odds(waves) - (WITHOUT_P if waves[0] is None else 0.0)
    found = exchanges()
    excess = [
        value - SUSPECTED["reversed" if "reverse" in one.words else one.group]
        for value, one in zip(odds, found, strict=True)
    ]
    best = int(np.argmax(excess))
    if excess[best] <= 0.0:
        return (), ()
    one = found[best]
    remedy = f" If so, read it with --leads={one.names}" if one.names else ""
    if one.group == "all":
        return (Doubt.POLARITY,), (
            f"All leads may be upside down: P, QRS and T point away from where hearts point.{remedy}",
        )
    kind = "Limb-lead" if one.group == "limb" else "Chest-lead"
    return (Doubt.LEADS if excess[best] >= STRONG else Doubt.ELECTRODES,), (
        f"{kind} swap suspected ({one.words}): P, QRS and T would fit one heart far better.{remedy}",
    )


def beat_waves(mean_mv: np.ndarray, marks: Fiducials) -> tuple[np.ndarray | None, ...]:
    """Cut P, QRS and T out of an average beat, each (8, m) mV over the line between its ends; None where absent."""

    def cut(first_ms: float, last_ms: float, level: bool) -> np.ndarray | None:
        if not np.isfinite(first_ms + last_ms):
            return None
        first = max(round(MEAN_R_SAMPLE + first_ms * BEAT_FS_HZ / 1000.0), 0)
        part = mean_mv[INDEPENDENT, first : round(MEAN_R_SAMPLE + last_ms * BEAT_FS_HZ / 1000.0) + 1]
        if part.shape[1] < 3:
            return None
        share = np.linspace(0.0, 1.0, part.shape[1])
        return part - part[:, -1:] * share - (part[:, :1] * (1.0 - share) if level else 0.0)

    qrs = cut(marks.qrs_onset_ms, marks.qrs_offset_ms, False)
    return cut(marks.p_onset_ms, marks.p_offset_ms, True), qrs, cut(marks.qrs_offset_ms + 30.0, marks.t_end_ms, False)


def log_odds(waves: tuple[np.ndarray | None, ...]) -> np.ndarray:
    """Return the log odds of each of ``exchanges()`` against electrodes in their places."""
    clues = clue_differences(waves)
    weights = np.array([WEIGHTS[one.group] for one in exchanges()])
    return (clues * weights[:, :-1]).sum(axis=1) + weights[:, -1]


def clue_differences(waves: tuple[np.ndarray | None, ...]) -> np.ndarray:
    """Return how much better each exchange fits than none, clue by clue, (exchanges, 8)."""
    undo = np.stack([np.eye(8), *(one.undo for one in exchanges())])
    inverse = np.linalg.pinv(LEAD_FIELD)
    clues = np.zeros((len(undo), 8))
    for k, wave in enumerate(waves):
        if wave is None:
            continue
        leads = undo @ wave  # (h, 8, m)
        vector = inverse @ leads
        left = ((leads - LEAD_FIELD @ vector) ** 2).sum(axis=(1, 2)) / ((leads**2).sum(axis=(1, 2)) + 1e-12)
        mean = vector.sum(axis=2)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True) + 1e-12
        apart = 0.5 * (((mean - _USUAL[k]) / _SPREAD[k]) ** 2).sum(axis=1)
        clues[:, k] = -np.log(left + _FLOOR)
        clues[:, 3 + k] = -_MOST[k] * np.tanh(apart / _MOST[k])
        if k == 0:
            one, two = leads[:, 0].sum(axis=1), leads[:, 1].sum(axis=1)
            axis = np.arctan2((two - one / 2) * 2 / np.sqrt(3), one) - np.deg2rad(_P_AXIS_DEG)
            off = 0.5 * (np.angle(np.exp(1j * axis)) / _P_SPREAD) ** 2
            clues[:, 7] = -6.0 * np.tanh(off / 6.0)
        if k == 1:
            clues[:, 6] = _likeness(leads[:, 0], leads[:, 6:].mean(axis=1))
    return clues[1:] - clues[:1]


def _likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlation (h,) of rows (h, m)."""
    one = one - one.mean(axis=1, keepdims=True)
    other = other - other.mean(axis=1, keepdims=True)
    return (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1) + 1e-12)


def _empty_leads(mean_mv: np.ndarray) -> list[str]:
    """Suspect a limb lead that shows nothing: the right leg is nearly at the potential of the left one.

    (Batchvarov, Malik, Camm, Europace 2007;9:1081.)
    """
    qrs = mean_mv[:, MEAN_R_SAMPLE - 15 : MEAN_R_SAMPLE + 16]
    height = {name: float(np.ptp(qrs[LEADS.index(name)])) for name in ARM_FOR_LEG}
    return [
        f"Limb-lead swap suspected ({limbs}): lead {name} shows almost nothing beside the others."
        for name, limbs in ARM_FOR_LEG.items()
        if height[name] < min(SMALL_MV, SMALL_SHARE * max(v for other, v in height.items() if other != name))
    ]
