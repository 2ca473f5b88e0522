"""What the rhythm looks like, in words: sinus, fibrillation, early beats. Suspicions, not diagnoses."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.ecg.average_beat import MEAN_R_SAMPLE, AlignedBeats
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ
from COFGeneratorLib.ecg.delineation import Fiducials
from COFGeneratorLib.ecg.record import LEADS

COHERENT_P = 0.25
"""Below this share the bump before QRS is not in step with it: no P wave (fibrillation waves average out)."""
IRREGULAR = 0.09
"""Mean successive difference of R–R over its mean; atrial fibrillation has 0.15–0.3, respiration rarely over 0.08."""
EARLY = 0.85
FEWEST_BEATS = 6


@dataclass(frozen=True)
class Rhythm:
    """Name of the rhythm, and findings in words."""

    name: str
    notes: tuple[str, ...]


def assess_rhythm(beats: AlignedBeats, marks: Fiducials) -> Rhythm:
    """Judge the rhythm from R times, which rise, likeness of the beats, and the P wave of the average."""
    accepted = beats.accepted
    rr = np.diff(beats.r_peaks_s)
    median = float(np.median(rr))
    early = np.concatenate([[False], rr < EARLY * median])
    unlike = beats.likeness < 0.8
    ventricular = int((unlike & ~accepted).sum())
    nn = rr[accepted[:-1] & accepted[1:]]
    nn = nn if len(nn) >= 3 else rr
    wobble = float(np.mean(np.abs(np.diff(nn))) / np.mean(nn)) if len(nn) >= 3 else 0.0
    irregular = wobble > IRREGULAR and len(beats.r_peaks_s) >= FEWEST_BEATS
    supraventricular = 0 if irregular else int((early & ~unlike).sum())

    notes = []
    if irregular and not marks.p_wave_present:
        name = "atrial fibrillation suspected"
        notes.append(f"Atrial fibrillation suspected: no P wave in step with QRS, R–R changes by {100 * wobble:.0f} %.")
    elif not marks.p_wave_present:
        name = "rhythm without P waves"
        notes.append("No P wave was found; PR is not known.")
    else:
        name = _sinus(60.0 / median, irregular, _p_upright(beats.mean_mv, marks))
        if name.startswith("atrial rhythm"):
            notes.append("P points away from lead II: not from the sinus node, or limb leads exchanged.")
    if ventricular:
        notes.append(f"{ventricular} beat(s) of another shape (ventricular ectopy or artefact).")
    if supraventricular:
        notes.append(f"{supraventricular} early beat(s) of the usual shape (supraventricular ectopy).")
    return Rhythm(name, tuple(notes))


def _sinus(rate_bpm: float, irregular: bool, upright: bool) -> str:
    if not upright:
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
