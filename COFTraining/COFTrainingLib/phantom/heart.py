"""The beating phantom: exact labels and exact pull displacements at any time of the cycle."""

import numpy as np

from COFTrainingLib.phantom.kinematics import Kinematics
from COFTrainingLib.phantom.pericardium import Pericardium, smoothstep
from COFTrainingLib.phantom.physiology import Physiology
from COFTrainingLib.phantom.right_ventricle import FreeWall
from COFTrainingLib.phantom.shape import Cylinder, quadrature
from COFTrainingLib.phantom.varied_shape import AnyShape
from COFTrainingLib.phantom.volume_curve import volume_fraction
from COFTrainingLib.phantom.wall_regions import WallRegions

Times = float | np.ndarray
"""One time in ms, or one for every point."""

TISSUES = ("background", "lv", "myocardium", "rv", "rv_wall", "basal_blood", "basal_wall")
APPARENT_DESCENT = 0.4
"""Share of MAPSE and TAPSE that is long-axis motion of what short-axis stacks label: as the base descends, its ring and
the outflow tracts come into the first slices and are read as ventricle, and the basal slices seldom empty."""
APPARENT_THICKENING = 1.5
"""Times MAPSE: the descent whose tissue would thicken the wall as it is seen to. Slices lose little of the wall to its
shortening, yet it thickens by all of it; and trabeculae that are drawn as cavity at end-diastole close to wall. In
five readers' contours the wall's volume grows by 6 % at an EF of 15 %; how much it does at 60 % is by eye."""
APPARENT_RV_EJECTION = 0.7
"""Share of the RVEF that tissue seen in slices ejects. The rest is the RV's long-axis shortening, twice the LV's, by
which it leaves the first slices: readers stop drawing it there. Chosen on seven recorded hearts, where all of the RVEF
as narrowing was too much motion."""
SWING_FROM_EF = 0.20
"""From this EF on the heart swings as far as a healthy one does."""
NARROWEST, WIDEST = 0.08, 1.5
"""Of the RV's crescent at end-systole, relative to end-diastole."""


class BeatingHeart:
    """One phantom heart: a shape and a physiology.

    Coordinates are heart-frame mm, last axis (k, j, i), origin at the LV cavity's centroid at end-diastole.
    """

    def __init__(self, shape: AnyShape, physiology: Physiology) -> None:
        self.shape, self.physiology = shape, physiology
        self._cycle = np.arange(512) / 512 * physiology.rr_ms
        self._curve = np.asarray(volume_fraction(physiology, self._cycle), dtype=float)
        self._rv_delay_ms = physiology.conduction_delay_ms if physiology.conduction == "rbbb" else 0.0
        self._mitral_mm = APPARENT_DESCENT * physiology.mapse_mm
        self._tricuspid_mm = APPARENT_DESCENT * physiology.tapse_mm
        self._ef = physiology.ef
        self._regions = WallRegions(shape, physiology, float(self._squeeze(1.0)))
        theta, z, weight = quadrature(shape.length_mm)
        self._angles = theta[0]
        cavity = shape.cavity_sq(theta, z) * weight
        self._area, self._moving = cavity.sum(axis=0), (cavity * self._regions.amplitude(theta, z)).sum(axis=0)
        if physiology.dyssynchrony_ms:
            self._ef = self._fit_ef()
        self._sac, self._free_wall = Pericardium(shape), FreeWall(shape)
        self._narrowing_es = self._fit_narrowing()

    # --- time -------------------------------------------------------------------------------------------------

    def contraction(self, time_ms: Times, delay_ms: Times = 0.0) -> Times:
        """Return s(t): 0 at the R wave, 1 at end-systole; periodic.

        A part of the wall that is activated late is late by ``delay_ms`` in systole, and again in step at the R wave.
        """
        rr_ms, opening = self.physiology.rr_ms, self.physiology.mitral_opening_ms
        time = np.mod(time_ms, rr_ms)
        if np.any(delay_ms):
            late = np.asarray(delay_ms) * (1.0 - np.exp(-time / np.maximum(delay_ms, 1e-6)))
            time = time - late * (1.0 - smoothstep((time - opening) / (rr_ms - opening)))
        return np.interp(time, self._cycle, self._curve, period=rr_ms)

    def _mitral(self, time_ms: Times) -> Times:
        """Return the descent of the mitral plane, mm."""
        return self._mitral_mm * self.contraction(time_ms, self._regions.mean_delay_ms)

    def _squeeze(self, contraction: Times) -> Times:
        """Return 1 − q of a segment with amplitude 1 and no delay: V = EDV·λ·q gives q = (1 − EF·s)/λ."""
        shortening = self._mitral_mm / (self.shape.length_mm + self.shape.apex_wall_mm)
        return 1.0 - (1.0 - self._ef * contraction) / (1.0 - shortening * contraction)

    def _fit_ef(self) -> float:
        """Find the EF of a segment at which the whole of a heart that is out of step has the patient's (bisection)."""
        wanted, low, high = self.physiology.ef, self.physiology.ef, min(self.physiology.ef * 1.6, 0.88)
        times = np.linspace(0.5 * self.physiology.t_es_ms, self.physiology.mitral_opening_ms + 90.0, 48)
        for _ in range(20):
            self._ef = 0.5 * (low + high)
            reached = 1.0 - self.lv_volume_ml(times).min() / (0.5 * self._area.sum() / 1000.0)
            low, high = (self._ef, high) if reached < wanted else (low, self._ef)
        return 0.5 * (low + high)

    def _fit_narrowing(self) -> float:
        """Find the crescent's relative depth at end-systole that gives what slices show of the RVEF (bisection)."""
        target = (1.0 - self.seen_rv_ef) * self._at_rest().rv_volume_ml()
        time_ms = 0.5 * (self.physiology.t_es_ms + self.physiology.mitral_opening_ms)
        low, high = NARROWEST, WIDEST
        for _ in range(24):
            ratio = 0.5 * (low + high)
            volume = self._kinematics(time_ms, ratio, 1.0).rv_volume_ml()
            low, high = (ratio, high) if volume < target else (low, ratio)
        return 0.5 * (low + high)

    def _kinematics(self, time_ms: float, narrowing: float | None = None, rv: float | None = None) -> Kinematics:
        """Return the state at a time; ``narrowing`` and the RV's contraction may be forced."""
        regions = self._regions
        rv = float(self.contraction(time_ms, self._rv_delay_ms)) if rv is None else rv
        mitral = float(self._mitral(time_ms))

        def squeezed(theta: np.ndarray, z: np.ndarray) -> np.ndarray:
            own = self._squeeze(self.contraction(time_ms, regions.delay_ms(theta)))
            return regions.amplitude(theta, z) * own + regions.flash(theta, time_ms)

        return Kinematics(
            self.shape,
            self._sac,
            self._free_wall,
            mitral,
            mitral + (self._tricuspid_mm - self._mitral_mm) * rv,
            APPARENT_THICKENING / APPARENT_DESCENT * mitral,
            float(self.contraction(time_ms)) * self.physiology.ef / 0.6,
            squeezed,
            1.0 - (1.0 - self._narrowing_es) * rv if narrowing is None else narrowing,
            self._free_wall.retraction(self.physiology.rv_ef) * rv,
            float(self.contraction(time_ms, regions.mean_delay_ms)) * min(self.physiology.ef / SWING_FROM_EF, 1.0),
        )

    def _at_rest(self) -> Kinematics:
        return self._kinematics(0.0, 1.0, 0.0)

    @property
    def seen_rv_ef(self) -> float:
        """RVEF of the tissue that slices show, a fraction: what labels of a cine say."""
        return APPARENT_RV_EJECTION * self.physiology.rv_ef

    # --- read-outs --------------------------------------------------------------------------------------------

    def lv_volume_ml(self, time_ms: Times) -> np.ndarray:
        """Return the LV cavity volume at each time, (T,) mL, by quadrature of the closed form."""
        times = np.atleast_1d(np.asarray(time_ms, dtype=float))[:, None]
        squeeze = self._squeeze(self.contraction(times, self._regions.delay_ms(self._angles)))
        flash = np.array(
            [np.broadcast_to(self._regions.flash(self._angles, t), self._angles.shape) for t in times[:, 0]]
        )
        cross = (self._area * (1.0 - flash) - self._moving * squeeze).sum(axis=1)
        apex_mm = self.shape.length_mm + self.shape.apex_wall_mm
        return (1.0 - self._mitral(times[:, 0]) / apex_mm) * 0.5 * cross / 1000.0

    def rv_volume_ml(self, time_ms: Times) -> np.ndarray:
        """Return the volume of the labelled RV cavity at each time, (T,) mL, by quadrature."""
        times = np.atleast_1d(np.asarray(time_ms, dtype=float))
        return np.asarray([self._kinematics(float(t)).rv_volume_ml() for t in times])

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
        now = self._cylinder(np.asarray(points_mm, dtype=np.float64))
        return self.shape.cartesian(*self._kinematics(time_ms).pull(now)) - self.shape.cartesian(*now)

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
