"""The one clean form of a 12-lead electrocardiogram, whatever file it came from."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from COFGeneratorLib.errors import EcgError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the rows of every 12-lead array of this project."""


class Doubt(StrEnum):
    """What of an ECG may not be what it seems; who states a measure from it widens or withholds it."""

    LEADS = "leads"
    """Leads contradict each other, one of them shows nothing, or waves would fit far better with leads exchanged."""
    ELECTRODES = "electrodes"
    """Electrodes may be exchanged: waves would fit better so, but not by much."""
    POLARITY = "polarity"
    """All leads may be upside down, by the shape of their waves."""
    SCALE = "scale"
    """The file states no calibration: voltages may be wrong."""
    PACED = "paced"
    """A pacemaker drives the ventricles: QRS and T are not the heart's own."""
    QUALITY = "quality"
    """Noise, a missing lead or too few usual beats: the average may be off."""


@dataclass(frozen=True, repr=False)
class EcgRecord:
    """Twelve standard leads in millivolt, free of anything that names a person.

    Args:
        signal_mv: (12, L) float32, rows in the order of ``LEADS``, mV.
        fs_hz: Sampling rate, Hz.
        source_format: Short name of the file format, e.g. ``"wfdb"``.
        source_sha256: SHA-256 of the file(s) read, hexadecimal; empty for a record made in memory.
        stated: Measurements the file itself states (``hr_bpm``, ``qrsd_ms``, …), for cross-checks only.
        warnings: What the reader had to assume or repair, in words.
        doubts: The same for programs: what of the record is in doubt.

    Raises:
        EcgError: If the array is not (12, L) of finite numbers or the rate is outside 50–4,000 Hz.
    """

    signal_mv: np.ndarray
    fs_hz: float
    source_format: str = "memory"
    source_sha256: str = ""
    stated: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def __post_init__(self) -> None:
        signal = np.ascontiguousarray(self.signal_mv, dtype=np.float32)
        if signal.ndim != 2 or signal.shape[0] != len(LEADS):
            raise EcgError(
                f"An ECG record needs 12 leads as an array (12, samples); found shape {signal.shape}. "
                "Export all twelve standard leads."
            )
        if not np.isfinite(signal).all():
            raise EcgError(
                f"An ECG record needs finite values; found {int((~np.isfinite(signal)).sum())} missing or infinite "
                "samples. Export the record again without gaps."
            )
        if not 50.0 <= self.fs_hz <= 4000.0:
            raise EcgError(
                f"Sampling rate must be 50–4,000 Hz; found {self.fs_hz} Hz. Check the rate stated in the file."
            )
        object.__setattr__(self, "signal_mv", signal)

    def __repr__(self) -> str:
        """Return one line: how long, how fine, from what."""
        return f"EcgRecord({self.duration_s:.1f} s of 12 leads at {self.fs_hz:g} Hz, {self.source_format})"

    @property
    def duration_s(self) -> float:
        """Length of the record, s."""
        return self.signal_mv.shape[1] / self.fs_hz

    def lead(self, name: str) -> np.ndarray:
        """Return one lead, (L,) mV, by its name in ``LEADS``."""
        return self.signal_mv[LEADS.index(name)]
