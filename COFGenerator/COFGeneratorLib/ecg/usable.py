"""What a record must have to be analysed, and how good what was found is."""

import numpy as np

from COFGeneratorLib.ecg.average_beat import MEAN_R_SAMPLE, AlignedBeats
from COFGeneratorLib.ecg.record import LEADS, Doubt, EcgRecord
from COFGeneratorLib.errors import EcgError

SHORTEST_S = 0.6
"""Shorter records hold no whole beat."""
UNUSABLE = 0.05
"""Quality below which what was found is noise; recordings that can be read by eye have 0.3 and more."""
DOUBTFUL = 0.35
"""Quality below which measurements are doubted."""
FLAT_MV = 0.02
"""A lead whose 1st–99th percentile range is smaller is flat (electrode off)."""


def check_usable(record: EcgRecord) -> None:
    """Refuse a record that is too short or has flat leads.

    Raises:
        EcgError: See above.
    """
    if record.duration_s < SHORTEST_S:
        raise EcgError(
            f"At least one whole beat, {SHORTEST_S:g} s of ECG, is needed; found {record.duration_s:.2f} s. Use a "
            "rhythm recording, usually 10 s."
        )
    flat = flat_leads(record)
    if len(flat) > 1 or {"I", "II"} & set(flat):
        raise EcgError(
            f"Twelve leads with a signal are needed; found flat lead(s) {', '.join(flat)}. "
            "Check the electrodes and cables (an arm's cable on the right leg empties a limb lead) and record again."
        )


def flat_leads(record: EcgRecord) -> list[str]:
    """Name the leads without signal. III and the augmented leads may be small by their axis; I and II tell those."""
    # A thousand sorted samples tell the percentiles as well as all do, in a tenth of the time.
    thin = np.sort(record.signal_mv[:, :: max(1, record.signal_mv.shape[1] // 1000)], axis=1)
    edge = thin.shape[1] // 100
    spread = thin[:, -1 - edge] - thin[:, edge]
    peak = record.signal_mv.max(axis=1) - record.signal_mv.min(axis=1)
    derived = ("III", "aVR", "aVL", "aVF")
    return [
        name
        for i, name in enumerate(LEADS)
        if spread[i] < FLAT_MV
        and (peak[i] < 2 * FLAT_MV or spread[i] < 0.1 * FLAT_MV)
        and not (name in derived and peak[i] > 0.1 * FLAT_MV)
    ]


def judge(
    record: EcgRecord, aligned: AlignedBeats, rr_cv: float, hum: bool
) -> tuple[float, tuple[Doubt, ...], list[str]]:
    """Return quality 0…1, whether it is doubted, and the findings in words."""
    notes = []
    flat = flat_leads(record)
    amplitude = np.ptp(aligned.mean_mv[:, MEAN_R_SAMPLE - 25 : MEAN_R_SAMPLE + 25], axis=1)
    noise = float(np.median(aligned.noise_mv / np.maximum(amplitude, 0.1)))
    count, good = len(aligned.accepted), int(aligned.accepted.sum())
    quality = float(np.clip(np.median(aligned.likeness[aligned.accepted]), 0, 1)) if good else 0.0
    quality *= float(np.clip(1.15 - 2.0 * noise, 0.1, 1.0)) * (0.5 + 0.5 * good / count)
    if flat:
        notes.append(f"Lead {flat[0]} is flat (electrode off?); what it would tell is missing.")
        quality *= 0.7
    if noise > 0.15:
        notes.append(f"Noise: single beats differ from the average by {100 * noise:.0f} % of the QRS (median lead).")
    if hum:
        notes.append("Mains hum was removed.")
    if good < 5:
        notes.append(f"Few beats: the average rests on {good}.")
        quality *= 0.8 if good >= 3 else 0.6 if good == 2 else 0.4
    if count == 2 and good == 1:
        notes.append("One beat only: its R–R interval is what the file states.")
    if rr_cv > 0.12:
        notes.append(f"Irregular rhythm: R–R varies by {100 * rr_cv:.0f} %; one cycle does not stand for all.")
    if count - good > 0:
        notes.append(f"{count - good} of {count} beats are unlike the others or early, and left out of the average.")
    quality = float(np.clip(quality, 0.0, 1.0))
    doubts = (Doubt.QUALITY,) if flat or quality < DOUBTFUL else ()
    return quality, doubts, notes
