"""Electric and mechanical systole by heart rate (Boudoulas et al., Chest 1981;80:613), ms from the onset of QRS."""

import numpy as np

REGRESSION_LIMIT_BPM = 100.0
"""The regressions end here; above it intervals follow the square root of R–R (Bazett), continuously."""


def population_qt_ms(sex: str, hr_bpm: float) -> float:
    """Return the mean QT at a heart rate, ms."""
    rate, factor = _within(hr_bpm)
    return factor * (521.0 - 2.0 * rate if sex == "m" else 511.0 - 1.8 * rate)


def population_qs2_ms(sex: str, hr_bpm: float) -> float:
    """Return the mean electromechanical systole (QRS onset to aortic closure) at a heart rate, ms."""
    rate, factor = _within(hr_bpm)
    return factor * (541.0 - 2.2 * rate if sex == "m" else 540.0 - 2.0 * rate)


def _within(hr_bpm: float) -> tuple[float, float]:
    """Return the rate within the regressions' range, and the factor that leads on from there."""
    rate = min(hr_bpm, REGRESSION_LIMIT_BPM)
    return rate, float(np.sqrt(rate / hr_bpm))
