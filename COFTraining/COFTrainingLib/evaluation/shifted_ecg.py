"""An ECG whose cycle begins at another phase than the R wave, as the papers shift it together with the anchor."""

from dataclasses import replace

import numpy as np
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, BEAT_R_SAMPLE, BEAT_SAMPLES, EcgCycle
from COFGeneratorLib.ecg.record import LEADS


def shifted_cycle(cycle: EcgCycle, phase: float) -> EcgCycle:
    """Return the ECG with the sample of a phase, 0…1 of the R–R, where the R wave was.

    The representative interval goes round; the average beat is read off it anew, and single beats are left out. What is
    measured (intervals, voltages, rhythm) stays.
    """
    length = cycle.cycle_mv.shape[1]
    shift = round(phase * length) % length
    times_ms = (np.arange(BEAT_SAMPLES) - BEAT_R_SAMPLE) / BEAT_FS_HZ * 1000.0 + shift / length * cycle.rr_ms
    places = times_ms / cycle.rr_ms % 1.0 * length
    round_again = np.concatenate([cycle.cycle_mv, cycle.cycle_mv[:, :1]], axis=1)
    beat = np.stack([np.interp(places, np.arange(length + 1), lead) for lead in round_again])
    level = cycle.cycle_mv[:, :1] - cycle.beat_mv[:, BEAT_R_SAMPLE : BEAT_R_SAMPLE + 1]  # the beat's baseline is PQ's
    return replace(
        cycle,
        cycle_mv=np.roll(cycle.cycle_mv, -shift, axis=1),
        beat_mv=(beat - level).astype(np.float32),
        single_mv=np.empty((0, len(LEADS), BEAT_SAMPLES), dtype=np.float32),
    )
