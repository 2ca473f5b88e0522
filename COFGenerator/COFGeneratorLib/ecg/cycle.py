"""What the rest of the product knows of an ECG: one representative R–R with its measurements."""

from dataclasses import dataclass, field

import numpy as np

from COFGeneratorLib.ecg.record import Doubt

BEAT_FS_HZ = 250.0
BEAT_SAMPLES = 256
BEAT_R_SAMPLE = 60
"""The average beat is 256 samples at 250 Hz (4 ms), R at sample 60: 240 ms before R to 784 ms after it."""

MOST_SINGLE = 12
"""Single beats that are kept beside the average one."""

SCALAR_NAMES = (
    "rr_ms", "pr_ms", "qrsd_ms", "qt_ms", "t_end_over_rr", "axis_cos", "axis_sin", "sokolow_mv", "cornell_mv",
    "p_wave_present", "rr_cv", "t_end_measured",
)  # fmt: skip
"""Order of ``EcgCycle.scalars()``."""


@dataclass(frozen=True, repr=False)
class EcgCycle:
    """One representative R–R interval and the measurements of the record's average beat.

    Times are ms relative to the R peak unless named otherwise; NaN where a wave is absent.

    Attributes:
        cycle_mv: (12, L) mV, the representative interval from R to the next R at ``fs_hz``.
        beat_mv: (12, BEAT_SAMPLES) mV at ``BEAT_FS_HZ``: average beat, baseline at the PQ level; the encoder's input.
        fs_hz: Rate of ``cycle_mv``, Hz.
        r_peaks_s: (n,) times of all R peaks in the record, s.
        accepted: (n,) bool, beats that went into the average.
        representative: Index into ``r_peaks_s`` of the R that starts ``cycle_mv``.
        rr_ms: Length of the representative interval, ms.
        p_onset_ms, qrs_onset_ms, qrs_offset_ms, t_peak_ms, t_end_ms: Fiducials of the average beat.
        axis_deg: Frontal QRS axis, degrees.
        sokolow_mv: S(V1) + max(R(V5), R(V6)), mV.
        cornell_mv: R(aVL) + S(V3), mV.
        p_wave_present: Whether a P wave was found.
        rr_cv: Coefficient of variation of R–R.
        quality: 0 (unusable) … 1.
        t_end_source: ``"delineated"`` or ``"fallback"`` (from heart rate).
        warnings: Findings in words.
        rhythm: What the rhythm looks like, in words; a suspicion, not a diagnosis.
        likeness: (n,) correlation of each beat's QRS with the average beat; empty where not known.
        single_mv: (k, 12, BEAT_SAMPLES) mV, the first accepted beats one by one, at most ``MOST_SINGLE``.
        kinds: (n,) what each beat is: ``"usual"``, ``"early"`` (of the usual shape), ``"ventricular"`` (wide, of
            another shape) or ``"other"``; empty where not known.
        doubts: What of the ECG may not be what it seems; see ``Doubt``.
    """

    cycle_mv: np.ndarray
    beat_mv: np.ndarray
    fs_hz: float
    r_peaks_s: np.ndarray
    accepted: np.ndarray
    representative: int
    rr_ms: float
    p_onset_ms: float
    qrs_onset_ms: float
    qrs_offset_ms: float
    t_peak_ms: float
    t_end_ms: float
    axis_deg: float
    sokolow_mv: float
    cornell_mv: float
    p_wave_present: bool
    rr_cv: float
    quality: float
    t_end_source: str
    warnings: tuple[str, ...] = ()
    rhythm: str = ""
    likeness: np.ndarray = field(default_factory=lambda: np.empty(0))
    single_mv: np.ndarray = field(default_factory=lambda: np.empty((0, 0, BEAT_SAMPLES), dtype=np.float32))
    kinds: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def __repr__(self) -> str:
        """Return one line: rhythm, length of the cycle, quality."""
        what = self.rhythm or "rhythm not known"
        return f"EcgCycle({what}, R–R {self.rr_ms:.0f} ms, {len(self.r_peaks_s)} beats, quality {self.quality:.2f})"

    @property
    def hr_bpm(self) -> float:
        """Heart rate of the representative interval, beats per minute."""
        return 60000.0 / self.rr_ms

    @property
    def mean_hr_bpm(self) -> float:
        """Ventricular rate over the whole record, beats per minute."""
        return 60.0 / float(np.mean(np.diff(self.r_peaks_s)))

    @property
    def pr_ms(self) -> float:
        """P onset to QRS onset, ms; NaN without a P wave."""
        return self.qrs_onset_ms - self.p_onset_ms

    @property
    def qrsd_ms(self) -> float:
        """QRS duration, ms."""
        return self.qrs_offset_ms - self.qrs_onset_ms

    @property
    def qt_ms(self) -> float:
        """QRS onset to T end, ms."""
        return self.t_end_ms - self.qrs_onset_ms

    def rr_ratios(self) -> np.ndarray:
        """Return R–R before and after each of ``single_mv`` over the record's median, (k, 2); 1 where not known."""
        rr = np.diff(self.r_peaks_s) / np.median(np.diff(self.r_peaks_s))
        around = np.stack([np.concatenate([[1.0], rr]), np.concatenate([rr, [1.0]])], axis=1)
        return around[np.flatnonzero(self.accepted)[: len(self.single_mv)]]

    def scalars(self) -> np.ndarray:
        """Return the scalar side channel, (len(SCALAR_NAMES),) float32, raw units, 0 where a wave is absent.

        Amplitude and rate must reach the network although the waveform may be normalised.
        """
        axis = np.deg2rad(self.axis_deg)
        values = (
            self.rr_ms,
            self.pr_ms if self.p_wave_present else 0.0,
            self.qrsd_ms,
            self.qt_ms,
            self.t_end_ms / self.rr_ms,
            np.cos(axis),
            np.sin(axis),
            self.sokolow_mv,
            self.cornell_mv,
            float(self.p_wave_present),
            self.rr_cv,
            float(self.t_end_source == "delineated"),
        )
        return np.nan_to_num(np.asarray(values, dtype=np.float32))
