"""What the rhythm looks like, in words: sinus, fibrillation, early beats. Suspicions, not diagnoses."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.ecg.average_beat import MEAN_R_SAMPLE, UNLIKE, AlignedBeats
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ
from COFGeneratorLib.ecg.delineation import INDEPENDENT, Fiducials
from COFGeneratorLib.ecg.p_waves import SURE
from COFGeneratorLib.ecg.record import LEADS

IRREGULAR = 0.09
"""Mean successive difference of R–R over its mean; atrial fibrillation has 0.15–0.3, respiration rarely over 0.08."""
ALIKE_SHARE, ALIKE_RR = 0.6, 0.06
"""Sinus rhythm with early beats keeps this share of its intervals within 6 % of one length; fibrillation does not."""
ALIKE_WITHOUT_P = 0.75
"""The same where no P wave is seen: by chance, two thirds of ten intervals of fibrillation may be alike."""
SCATTERED = 0.5
"""Share of intervals alike below which a P wave must be sure to be believed."""
TWO_LENGTHS = 1.35
"""Intervals that fall into short and long ones, apart by this ratio, are of early beats; fibrillation fills the gap."""
SHORTEST_S = 0.05
FASTEST_BPM = 150.0
"""At higher rates P rides on T, and its direction is not told."""
EARLY = 0.85
FEWEST_BEATS = 6
WIDER_MS = 16.0
"""A beat of another shape that lasts so much longer than the usual ones is ventricular."""


@dataclass(frozen=True)
class Rhythm:
    """Name of the rhythm, what each beat is (as ``EcgCycle.kinds``), and findings in words."""

    name: str
    kinds: tuple[str, ...]
    notes: tuple[str, ...]


def assess_rhythm(beats: AlignedBeats, marks: Fiducials, p_coherence: float) -> Rhythm:
    """Judge the rhythm from R times, which rise, shape of the beats, the P wave of the average and its coherence."""
    rr = np.diff(beats.r_peaks_s)
    median = float(np.median(rr))
    wobbles, alike, gap = _regularity(beats, rr)
    irregular = wobbles and alike < ALIKE_SHARE
    if marks.p_wave_present:
        fibrillates = wobbles and alike < SCATTERED and gap < TWO_LENGTHS and p_coherence < SURE
    else:
        fibrillates = wobbles and alike < ALIKE_WITHOUT_P
    kinds = _kinds(beats, rr)
    notes = []
    if fibrillates:
        name = "atrial fibrillation suspected"
        notes.append("Atrial fibrillation suspected: no P wave in step with QRS, and R–R keeps no length.")
    elif not marks.p_wave_present:
        name = "rhythm without P waves"
        notes.append("No P wave was found (a junctional rhythm, or P too small for the noise); PR is not known.")
    else:
        name = _sinus(60.0 / median, irregular, _p_upright(beats.mean_mv, marks))
        if name.startswith("atrial rhythm"):
            notes.append("P points away from lead II: not from the sinus node, or limb leads exchanged.")
    ventricular, other = kinds.count("ventricular"), kinds.count("other")
    if ventricular:
        notes.append(f"{ventricular} ventricular beat(s): wide and of another shape.")
    if other:
        notes.append(f"{other} beat(s) of another shape (aberrant, fused or artefact).")
    if kinds.count("early") and not irregular:
        notes.append(f"{kinds.count('early')} early beat(s) of the usual shape (supraventricular ectopy).")
    return Rhythm(name, kinds, tuple(notes))


def _regularity(beats: AlignedBeats, rr: np.ndarray) -> tuple[bool, float, float]:
    """Tell how intervals keep a length, ventricular beats left out.

    Returns:
        Whether they change from beat to beat, the share of those alike, and the largest ratio between neighbours in
        order of length that has two intervals or more on both sides.
    """
    usual = beats.likeness >= UNLIKE
    nn = rr[usual[:-1] & usual[1:]]
    nn = nn if len(nn) >= 3 else rr
    if len(nn) < 3 or len(beats.r_peaks_s) < FEWEST_BEATS:
        return False, 1.0, 1.0
    wobble = float(np.mean(np.abs(np.diff(nn))) / np.mean(nn))
    alike = max(float(np.mean(np.abs(nn / length - 1.0) < ALIKE_RR)) for length in nn)
    steps = np.diff(np.log(np.sort(np.maximum(nn, SHORTEST_S))))
    return wobble > IRREGULAR, alike, float(np.exp(steps[1:-1].max(initial=0.0)))


def _kinds(beats: AlignedBeats, rr: np.ndarray) -> tuple[str, ...]:
    """Tell what each beat is."""
    unlike = beats.likeness < UNLIKE
    early = np.concatenate([[False], rr < EARLY * np.median(rr)])
    wide = np.zeros(len(unlike), dtype=bool)
    if unlike.any() and len(beats.single_mv) == len(unlike):
        width_ms = _widths_ms(beats.single_mv)
        usual = np.median(width_ms[beats.accepted]) if beats.accepted.any() else np.median(width_ms)
        wide = (width_ms > usual + WIDER_MS) & (_unlike_leads(beats) >= 0.5)
    return tuple(
        "ventricular" if odd and broad else "other" if odd else "early" if soon else "usual"
        for odd, broad, soon in zip(unlike, wide, early, strict=True)
    )


def _unlike_leads(beats: AlignedBeats) -> np.ndarray:
    """Return the share of the leads (n,) in which a beat's QRS is unlike the average: few have a lead's artefact."""
    half = int(0.12 * BEAT_FS_HZ)
    around = slice(MEAN_R_SAMPLE - half, MEAN_R_SAMPLE + half + 1)
    part, usual = beats.single_mv[:, INDEPENDENT, around], beats.mean_mv[INDEPENDENT, around]
    part = part - part.mean(axis=2, keepdims=True)
    usual = usual - usual.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(part, axis=2) * np.linalg.norm(usual, axis=1) + 1e-12
    return ((part * usual).sum(axis=2) / norm < UNLIKE).mean(axis=1)


def _widths_ms(single_mv: np.ndarray) -> np.ndarray:
    """Return how long each beat's vector over the leads is above a third of its longest within ±120 ms, ms (n,)."""
    half = int(0.12 * BEAT_FS_HZ)
    part = single_mv[:, INDEPENDENT, MEAN_R_SAMPLE - half : MEAN_R_SAMPLE + half + 1]
    length = np.sqrt((part**2).sum(axis=1))
    return (length > length.max(axis=1, keepdims=True) / 3.0).sum(axis=1) * 1000.0 / BEAT_FS_HZ


def _sinus(rate_bpm: float, irregular: bool, upright: bool) -> str:
    if not upright and rate_bpm <= FASTEST_BPM:
        return "atrial rhythm, not sinus"
    if irregular:
        return "irregular rhythm with P waves"
    if rate_bpm < 60.0:
        return "sinus bradycardia"
    return "sinus tachycardia" if rate_bpm > 100.0 else "sinus rhythm"


def _p_upright(mean_mv: np.ndarray, marks: Fiducials) -> bool:
    """Tell whether P is upright in II or, where II is small, negative in aVR."""
    first, last = (int(MEAN_R_SAMPLE + at * BEAT_FS_HZ / 1000.0) for at in (marks.p_onset_ms, marks.p_offset_ms))
    part = mean_mv[:, max(first, 0) : max(last, first + 2)]
    area = part.sum(axis=1) - 0.5 * part.shape[1] * (part[:, 0] + part[:, -1])
    return bool(area[LEADS.index("II")] > 0 or area[LEADS.index("aVR")] < 0)
