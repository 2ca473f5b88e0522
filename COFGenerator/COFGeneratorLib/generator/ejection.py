"""The ejection fraction that an ECG states, and that of a curve of volumes."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

SMALLEST_EF, LARGEST_EF = 0.05, 0.85
NORMAL_Z90 = 1.645


@dataclass(frozen=True)
class StatedEf:
    """What an ECG, and the anatomy beside it, say of the ejection fraction.

    Attributes:
        mean, sd: Of the statement, 0…1.
        z90: Half-width of the 90 % interval in SDs: the conformal quantile of a validation cohort.
        status: ``"stated"``; ``"widened"`` where the ECG is unlike those that the model knows; ``"withheld"`` where it
            does not tell of the muscle at all, and the numbers come from the anatomy alone.
        notes: Reasons, disagreement of ECG and anatomy, and what the interval was calibrated on, in words.
    """

    mean: float
    sd: float
    z90: float
    status: str = "stated"
    notes: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a user must be told at once, in words: why the ECG is not believed, or contradicts the anatomy."""
        certain = self.status == "stated"
        return tuple(note for note in self.notes if "disagree" in note or (not certain and "EF is" in note))

    @property
    def interval_percent(self) -> tuple[float, float]:
        """The 90 % interval, percent."""
        low, high = (self.mean + sign * self.z90 * self.sd for sign in (-1.0, 1.0))
        return 100.0 * max(low, 0.0), 100.0 * min(high, 1.0)

    def draw(self, seed: int) -> float:
        """Return one random ejection fraction of that spread, 0…1."""
        noise = float(np.random.default_rng([seed, 90]).standard_normal())
        return float(np.clip(self.mean + noise * self.sd * self.z90 / NORMAL_Z90, SMALLEST_EF, LARGEST_EF))


def ejection_fraction(volume: np.ndarray) -> float:
    """Return the ejection fraction 0…1 of one cycle's volumes (T,), equidistant: that of the periodic cubic curve."""
    closed = np.append(volume, volume[0])
    curve = CubicSpline(np.linspace(0.0, 1.0, len(closed)), closed, bc_type="periodic")(np.linspace(0.0, 1.0, 241))
    return float(1.0 - curve.min() / curve.max())
