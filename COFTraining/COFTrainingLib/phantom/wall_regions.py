"""How the parts of the left ventricle's wall differ in extent and time of their motion.

θ runs clockwise as seen from the apex: lateral 0, inferior +π/2, septum π, anterior −π/2.
"""

import numpy as np

from COFTrainingLib.phantom.physiology import Physiology
from COFTrainingLib.phantom.shape import quadrature, wrapped
from COFTrainingLib.phantom.varied_shape import AnyShape

TERRITORIES = {"anterior": (-1.95, 0.62), "inferior": (1.65, 0.45), "lateral": (-0.1, 0.45)}
"""Centre (θ rad, z/L) of the three coronary territories."""
APEX_GAIN = 0.12
"""How much more the apex contracts than the base, relative."""
SEPTUM_WIDTH_RAD = 0.9
SEPTUM_GAIN = {"": -0.12, "pressure": 0.25, "volume": -0.45}
"""Inward motion of the septum relative to the mean: a little less than the free wall's in health; pushed into the LV at
end-systole by a pressure-loaded right ventricle; paradoxical where volume load has flattened it at end-diastole
(Sheehan & Redington, Heart 2008;94:1510)."""
LBBB_SEPTUM_GAIN = -0.35
"""Of a septum that contracts early and is then stretched by the late lateral wall."""
FLASH_MS, FLASH_WIDTH_MS, FLASH_DEPTH = 70.0, 45.0, 0.10
"""The septal flash of LBBB: a short inward beat before ejection, depth as share of the squared cavity radius."""
LARGEST_SQUEEZE = 0.94
"""Share of the squared cavity radius that no region may exceed, or its cavity would vanish."""


class WallRegions:
    """Regional amplitude and delay of one heart's wall.

    Args:
        shape: The heart at end-diastole.
        physiology: Infarct, conduction, RV load.
        squeeze: 1 − q at end-systole of a region of amplitude 1; regions above the mean are held where it forbids more.
    """

    def __init__(self, shape: AnyShape, physiology: Physiology, squeeze: float) -> None:
        self.shape, self.physiology = shape, physiology
        theta, z, _ = quadrature(shape.length_mm)
        self._cavity = shape.cavity_sq(theta, z)
        self._lobe_level = self._fit_lobe(theta, z)
        self._mean, self._contrast = 1.0, 1.0
        raw = self._raw(theta, z)
        self._mean = self._average(raw)
        excess = raw.max() / self._mean - 1.0
        if squeeze > 0 and excess > 0:
            self._contrast = float(np.clip((LARGEST_SQUEEZE / squeeze - 1.0) / excess, 0.0, 1.0))
        self.mean_delay_ms = self._average(self.delay_ms(theta))

    def amplitude(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the regional amplitude A(θ, z), mean 1 over the cavity: about 0 where akinetic, above 1 remotely."""
        return 1.0 + self._contrast * (self._raw(theta, z) / self._mean - 1.0)

    def delay_ms(self, theta: np.ndarray) -> np.ndarray:
        """Return the delay of the wall in LBBB, ms: the septum first, the lateral wall last."""
        return self.physiology.dyssynchrony_ms * 0.5 * (1.0 + np.cos(theta))

    def flash(self, theta: np.ndarray, time_ms: float) -> np.ndarray | float:
        """Return the septal flash, share of the squared cavity radius by which the septum is drawn in."""
        since = (time_ms - FLASH_MS) / FLASH_WIDTH_MS
        if self.physiology.conduction != "lbbb" or abs(since) >= 1.0:
            return 0.0
        return FLASH_DEPTH * (1.0 - since**2) ** 2 * self._septum(theta)

    def _raw(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        patient = self.physiology
        level = np.clip(z / self.shape.length_mm, 0.0, 1.0)
        gain = SEPTUM_GAIN[patient.rv_load] + (LBBB_SEPTUM_GAIN if patient.conduction == "lbbb" else 0.0)
        healthy = (1.0 + APEX_GAIN * level) * (1.0 + gain * self._septum(theta))
        return healthy * (1.0 - self._lobe(theta, z))

    def _septum(self, theta: np.ndarray) -> np.ndarray:
        away = wrapped(theta - self.shape.rv_angle_rad) / SEPTUM_WIDTH_RAD
        return np.exp(-(away**2))

    def _average(self, values: np.ndarray) -> float:
        return float((values * self._cavity).sum() / self._cavity.sum())

    def _distance(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        angle, level = TERRITORIES[self.physiology.infarct_territory]
        around = wrapped(theta - angle)
        return around**2 + ((z / self.shape.length_mm - level) / 0.55) ** 2

    def _fit_lobe(self, theta: np.ndarray, z: np.ndarray) -> float | None:
        """Find the level whose soft lobe covers the stated fraction of the cavity's surface (bisection)."""
        extent = self.physiology.infarct_extent if self.physiology.infarct_territory else 0.0
        if extent <= 0:
            return None
        distance, low, high = self._distance(theta, z), -2.0, 8.0
        for _ in range(30):
            level = 0.5 * (low + high)
            covered = self._average(_sigmoid((level - distance) / 0.2))
            low, high = (level, high) if covered < extent else (low, level)
        return level

    def _lobe(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        if self._lobe_level is None:
            return np.zeros_like(theta)
        return _sigmoid((self._lobe_level - self._distance(theta, z)) / 0.2)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))
