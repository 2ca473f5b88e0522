"""An ECG at another heart rate than it was recorded at: what the user states of the rate wins."""

from dataclasses import replace

import numpy as np

from COFGeneratorLib.ecg.cycle import EcgCycle

ES_MS_PER_BPM = -2.05
"""Change of the end of systole with heart rate, electromechanical systole of men and women (Weissler 1968)."""
QT_EXPONENT = 1.0 / 3.0
"""QT goes with the cube root of the R–R interval (Fridericia 1920)."""
LATEST_T_END = 0.9
"""Of the R–R interval."""


def at_rate(cycle: EcgCycle, hr_bpm: float) -> EcgCycle:
    """Return a cycle at another rate: systole follows QT, diastole takes what is left. The average beat stays."""
    rr_ms = 60000.0 / hr_bpm
    ratio = (rr_ms / cycle.rr_ms) ** QT_EXPONENT
    old_end = float(np.clip(np.nan_to_num(cycle.t_end_ms, nan=0.4 * cycle.rr_ms), 1.0, 0.98 * cycle.rr_ms))
    new_end = min(old_end * ratio, LATEST_T_END * rr_ms)
    times_ms = np.arange(max(round(rr_ms * cycle.fs_hz / 1000.0), 2)) * 1000.0 / cycle.fs_hz
    before_ms = np.interp(times_ms, [0.0, new_end, rr_ms], [0.0, old_end, cycle.rr_ms])
    recorded_ms = np.arange(cycle.cycle_mv.shape[1]) * 1000.0 / cycle.fs_hz
    resampled = np.stack([np.interp(before_ms, recorded_ms, lead) for lead in cycle.cycle_mv])
    share = new_end / old_end
    return replace(
        cycle, cycle_mv=resampled, rr_ms=rr_ms, t_peak_ms=cycle.t_peak_ms * share, t_end_ms=cycle.t_end_ms * share
    )


def es_at_rate_ms(es_ms: float, from_bpm: float, to_bpm: float) -> float:
    """Return the time of end-systole at another rate, ms."""
    return es_ms + ES_MS_PER_BPM * (to_bpm - from_bpm)
