"""The beating phantom: exact labels and exact pull displacements at any time of the cycle.

The wall moves by a volume-preserving map in closed form, with regional amplitude and delay:
a wall point (r, θ, z) goes to z' = λz (about the fixed apex), r'² = q·r0²(θ, z) + (r² − r0²)/λ, θ' = θ + τ(z). With
λ, q, τ functions of (θ, z) as below, det J = 1 exactly in the wall. The pull map needed by images is its inverse, also
in closed form. The LV's volume is V(t) = λ(t)·½∫∫ q r0² dθ dz.
"""

import numpy as np

from COFTrainingLib.phantom.physiology import Physiology, volume_fraction
from COFTrainingLib.phantom.shape import Cylinder, quadrature
from COFTrainingLib.phantom.varied_shape import AnyShape

Times = float | np.ndarray
"""One time in ms, or one for every point."""

LONGITUDINAL_SHORTENING = 0.14
"""Fractional LV shortening at EF 60 %: MAPSE of about 13 mm for an 85-mm ventricle."""
BASE_TORSION_RAD, APEX_TORSION_RAD = np.deg2rad(4.0), np.deg2rad(-10.0)
"""At EF 60 %; θ runs clockwise as seen from the apex, so the apex turns counter-clockwise (negative)."""
TERRITORIES = {"anterior": (-1.95, 0.62), "inferior": (1.65, 0.45), "lateral": (-0.1, 0.45)}
"""Centre (θ rad, z/L) of the three coronary territories."""
DECAY_MM = 26.0
ABOVE_BASE_MM = 28.0
TISSUES = ("background", "lv", "myocardium", "rv", "rv_wall", "basal_blood", "basal_wall")


class BeatingHeart:
    """One phantom heart: a shape and a physiology.

    Coordinates are heart-frame mm, last axis (k, j, i), origin at the LV cavity's centroid at end-diastole.
    """

    def __init__(self, shape: AnyShape, physiology: Physiology) -> None:
        self.shape, self.physiology = shape, physiology
        self._cycle = np.arange(512) / 512 * physiology.rr_ms
        self._curve = np.asarray(volume_fraction(physiology, self._cycle), dtype=float)
        self._conduction_scale = physiology.conduction_delay_ms if physiology.conduction == "lbbb" else 0.0
        self._rv_delay_ms = physiology.conduction_delay_ms if physiology.conduction == "rbbb" else 0.0
        theta, z, weight = quadrature(shape.length_mm)
        cavity = shape.cavity_sq(theta, z)
        self._lobe_level = self._fit_lobe(theta, z, cavity)
        raw = 1.0 - self._lobe(theta, z)
        self._amplitude_mean = float((raw * cavity).sum() / cavity.sum())
        self._quadrature = (theta, z, cavity * weight)
        delay = self._delay_ms(theta)
        self._mean_delay_ms = float((delay * cavity).sum() / cavity.sum())
        self._rv_squeeze_es = self._fit_rv_squeeze()

    # --- time -------------------------------------------------------------------------------------------------

    def contraction(self, time_ms: Times) -> Times:
        """Return s(t): 0 at the R wave, 1 at end-systole; periodic."""
        return np.interp(np.mod(time_ms, self.physiology.rr_ms), self._cycle, self._curve, period=self.physiology.rr_ms)

    def _length_ratio(self, time_ms: Times) -> Times:
        shortening = LONGITUDINAL_SHORTENING * self.physiology.ef / 0.6
        return 1.0 - shortening * self.contraction(time_ms - self._mean_delay_ms)

    def _squeeze(self, time_ms: Times) -> Times:
        """Return 1 − q of a segment with amplitude 1 and no delay: V = EDV·λ·q gives q = (1 − EF·s)/λ."""
        s = self.contraction(time_ms)
        shortening = LONGITUDINAL_SHORTENING * self.physiology.ef / 0.6
        return 1.0 - (1.0 - self.physiology.ef * s) / (1.0 - shortening * s)

    # --- regions ----------------------------------------------------------------------------------------------

    def _distance(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        angle, level = TERRITORIES[self.physiology.infarct_territory]
        around = np.angle(np.exp(1j * (theta - angle))) / 1.0
        return around**2 + ((z / self.shape.length_mm - level) / 0.55) ** 2

    def _fit_lobe(self, theta: np.ndarray, z: np.ndarray, cavity: np.ndarray) -> float | None:
        """Find the level whose soft lobe covers the stated fraction of the cavity's surface (bisection)."""
        extent = self.physiology.infarct_extent if self.physiology.infarct_territory else 0.0
        if extent <= 0:
            return None
        distance, low, high = self._distance(theta, z), -2.0, 8.0
        for _ in range(30):
            level = 0.5 * (low + high)
            covered = (_sigmoid((level - distance) / 0.2) * cavity).sum() / cavity.sum()
            low, high = (level, high) if covered < extent else (low, level)
        return level

    def _lobe(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        if self._lobe_level is None:
            return np.zeros_like(theta)
        return _sigmoid((self._lobe_level - self._distance(theta, z)) / 0.2)

    def amplitude(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the regional amplitude A(θ, z), mean 1 over the cavity: 0 where akinetic, above 1 remotely."""
        return (1.0 - self._lobe(theta, z)) / self._amplitude_mean

    def _delay_ms(self, theta: np.ndarray) -> np.ndarray:
        """Left bundle branch block: the septum first, the lateral wall last."""
        return self._conduction_scale * 0.5 * (1.0 + np.cos(theta))

    def _fit_rv_squeeze(self) -> float:
        """Find the crescent's relative depth at ES that gives the RV's ejection fraction (bisection)."""
        target = 1.0 - self.shape.ef_rv
        low, high = 0.15, 1.2
        for _ in range(24):
            squeeze = 0.5 * (low + high)
            volume = self._rv_volume(1.0, squeeze)
            low, high = (squeeze, high) if volume < target * self._rv_volume(0.0, 1.0) else (low, squeeze)
        return squeeze

    def _rv_volume(self, s: Times, depth_ratio: Times) -> float:
        shape = self.shape
        theta, z, weight = quadrature(shape.length_mm)
        shortening = LONGITUDINAL_SHORTENING * self.physiology.ef / 0.6
        lam = 1.0 - shortening * s
        q = 1.0 - self.amplitude(theta, z) * (1.0 - (1.0 - self.physiology.ef * s) / lam)
        cavity, epi = shape.cavity_sq(theta, z), shape.epicardium(theta, z)
        moved = np.sqrt(np.clip(q * cavity + (epi**2 - cavity) / lam, 0.0, None))
        depth = shape.rv_depth_mm * shape.rv_profile(theta, z) * depth_ratio
        return float((lam * 0.5 * ((moved + depth) ** 2 - moved**2) * weight).sum() / 1000.0)

    def _rv_ratio(self, time_ms: Times) -> Times:
        return 1.0 - (1.0 - self._rv_squeeze_es) * self.contraction(time_ms - self._rv_delay_ms)

    # --- read-outs --------------------------------------------------------------------------------------------

    def lv_volume_ml(self, time_ms: Times) -> np.ndarray:
        """Return the LV cavity volume at each time, (T,) mL, by quadrature of the closed form."""
        theta, z, weight = self._quadrature
        amplitude, delay = self.amplitude(theta, z), self._delay_ms(theta)
        times = np.atleast_1d(np.asarray(time_ms, dtype=float))
        volumes = [
            self._length_ratio(t) * 0.5 * ((1.0 - amplitude * self._squeeze(t - delay)) * weight).sum() / 1000.0
            for t in times
        ]
        return np.asarray(volumes)

    def rv_volume_ml(self, time_ms: Times) -> np.ndarray:
        """Return the RV cavity volume below the LV base plane at each time, (T,) mL, by quadrature."""
        times = np.atleast_1d(np.asarray(time_ms, dtype=float))
        late = self._mean_delay_ms
        return np.asarray([self._rv_volume(self.contraction(t - late), float(self._rv_ratio(t))) for t in times])

    # --- space ------------------------------------------------------------------------------------------------

    def _cylinder(self, points: np.ndarray) -> Cylinder:
        z, j, i = self.shape.about_axis(points)
        return Cylinder(np.hypot(j, i), np.arctan2(j, i), z)

    def pull_mm(self, points_mm: np.ndarray, time_ms: float) -> np.ndarray:
        """Return u with ``frame_t(x) = anchor(x + u)``.

        Args:
            points_mm: (…, 3) heart-frame points (k, j, i) of the frame at ``time_ms``, mm.
            time_ms: Time from the R wave; the anchor is the frame at 0.

        Returns:
            (…, 3) displacement (k, j, i), mm; zero at time 0.
        """
        points = np.asarray(points_mm, dtype=np.float64)
        shape = self.shape
        r1, theta1, z1 = self._cylinder(points)
        lam = self._length_ratio(time_ms) / self._length_ratio(0.0)
        fixed = shape.length_mm + shape.apex_wall_mm
        z_inside = np.minimum((z1 - (1.0 - lam) * fixed) / lam, np.maximum(z1, fixed))
        z_inside = np.maximum(z_inside, z1 - (1.0 - lam) * fixed / lam)  # the base carries what lies above it

        depth = shape.rv_depth_mm * shape.rv_profile(theta1, z_inside)
        ratio = self._rv_ratio(time_ms) / self._rv_ratio(0.0)
        outer = shape.epicardium(theta1, z_inside) + depth + shape.rv_wall_mm
        away = np.exp(-(np.clip(r1 - outer, 0.0, None) ** 2) / (2 * DECAY_MM**2))
        above = np.exp(-((np.clip(-z_inside, 0.0, None) / (2.2 * ABOVE_BASE_MM)) ** 2))
        z = z1 + (z_inside - z1) * away * above

        torsion = self.contraction(time_ms) * self.physiology.ef / 0.6
        turn = torsion * (BASE_TORSION_RAD + (APEX_TORSION_RAD - BASE_TORSION_RAD) * np.clip(z / fixed, 0.0, 1.0))
        theta = theta1 - turn * away * above

        fade = np.exp(-((np.clip(-z, 0.0, None) / ABOVE_BASE_MM) ** 2))
        squeeze = self._squeeze(time_ms - self._delay_ms(theta)) - self._squeeze(-self._delay_ms(theta))
        q = 1.0 - fade * self.amplitude(theta, z) * squeeze
        lam_r = 1.0 - fade * (1.0 - lam)
        cavity = shape.cavity_sq(theta, z)
        epi = np.maximum(shape.epicardium(theta, z), np.sqrt(cavity))
        epi_moved = np.sqrt(q * cavity + (epi**2 - cavity) / lam_r)
        depth = shape.rv_depth_mm * shape.rv_profile(theta, z)
        ratio = 1.0 - fade * (1.0 - ratio)

        endo_moved = np.sqrt(q * cavity)
        wall = np.sqrt(np.clip(cavity + lam_r * (r1**2 - q * cavity), 0.0, None))
        beyond = r1 - epi_moved
        shift = (epi - epi_moved) + depth * (1.0 - ratio)
        reach = np.maximum(DECAY_MM, 1.8 * np.abs(shift))  # du/dr > −1: no folding outside the heart
        outside = r1 + shift * np.exp(-np.clip(beyond - depth * ratio, 0.0, None) / reach)
        r = np.where(r1 <= endo_moved, r1 / np.sqrt(q), wall)
        r = np.where(beyond > 0, np.where(beyond <= depth * ratio, epi + beyond / ratio, outside), r)
        return shape.cartesian(r, theta, z) - shape.cartesian(r1, theta1, z1)

    def tissue_at(self, points_mm: np.ndarray, time_ms: float = 0.0) -> np.ndarray:
        """Return the tissue at heart-frame points (…, 3) mm at a time: indices into ``TISSUES``, uint8."""
        points = np.asarray(points_mm, dtype=np.float64)
        if time_ms:
            points = points + self.pull_mm(points, time_ms)
        shape = self.shape
        r, theta, z = self._cylinder(points)
        base = shape.base_z(r, theta)
        cavity, epi = np.sqrt(shape.cavity_sq(theta, z)), shape.epicardium(theta, z)
        depth = shape.rv_depth_mm * shape.rv_profile(theta, z)
        beyond = np.clip(r - epi, 0.0, None)
        rv_base = -shape.rv_base_mm + shape.rv_base_slope * beyond
        tissue = np.zeros(r.shape, dtype=np.uint8)
        wall = shape.rv_wall_mm * np.clip(shape.rv_profile(theta, z) * 6.0, 0.0, 1.0)
        rv_wall = (r > epi) & (r <= epi + depth + wall) & (depth > 0) & (epi > 0)
        tissue[rv_wall] = 4
        in_rv = (r > epi) & (r <= epi + depth) & (epi > 0)
        tissue[in_rv] = np.where(z[in_rv] >= rv_base[in_rv], 3, 5)
        in_wall = (r > cavity) & (r <= epi)
        tissue[in_wall] = np.where(z[in_wall] >= base[in_wall], 2, 6)
        in_lv = r <= cavity
        tissue[in_lv] = np.where(z[in_lv] >= base[in_lv], 1, 5)
        return tissue

    def label_at(self, points_mm: np.ndarray, time_ms: float = 0.0) -> np.ndarray:
        """Return labels (0 background, 1 LV cavity, 2 myocardium, 3 RV cavity) at heart-frame points (…, 3) mm."""
        tissue = self.tissue_at(points_mm, time_ms)
        return np.where(tissue <= 3, tissue, 0).astype(np.uint8)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))
