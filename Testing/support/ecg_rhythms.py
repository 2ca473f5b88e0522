"""Synthetic 12-lead records of any rhythm with known R times: what readings of beats and rhythm are measured on."""

from dataclasses import dataclass, replace

import numpy as np
from COFGeneratorLib.ecg.delineation import qt_from_rate_ms
from COFGeneratorLib.ecg.record import EcgRecord
from COFTrainingLib.phantom.ecg_findings import Beat, compose_beat
from COFTrainingLib.phantom.ecg_noise import electrode_noise, fibrillation, recorder
from COFTrainingLib.phantom.lead_field import draw_lead_field, twelve_leads
from COFTrainingLib.phantom.physiology import draw_physiology
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation

RHYTHMS = ("sinus", "atrial premature", "ventricular premature", "fibrillation", "junctional", "paced")


@dataclass(frozen=True)
class Rhythm:
    """A record and its truth.

    Attributes:
        record: The record.
        r_s: (n,) R times, s.
        ventricular: (n,) bool, beats of ventricular origin among beats of the usual shape.
    """

    record: EcgRecord
    r_s: np.ndarray
    ventricular: np.ndarray


def make(
    rng: np.random.Generator, rhythm: str, rate_bpm: float, noise: float = 1.0, seconds: float = 10.0, fs: float = 500.0
) -> Rhythm:
    """Make one record.

    Args:
        rng: Source of all randomness.
        rhythm: One of ``RHYTHMS``.
        rate_bpm: Mean rate of the usual beats.
        noise: Scale of what electrodes add.
        seconds: Length, s.
        fs: Rate, Hz.
    """
    rr = 60.0 / rate_bpm
    times, early = _times(rng, rhythm, rr, seconds)
    beat = _beat(rng, rhythm, rr)
    ventricular = early & (rhythm == "ventricular premature")
    field = draw_lead_field(rng, 1.0)
    vector = _placed(rng, beat, rhythm, times, early, round(seconds * fs), fs, field)
    if rhythm == "fibrillation":
        vector += fibrillation(rng, vector.shape[1], fs)
    channels = field @ vector
    if noise:
        channels = channels + electrode_noise(rng, channels.shape[1], fs, noise)
        channels = recorder(rng, channels, fs, 0.05)
    if rhythm == "paced":
        channels += _spikes(rng, times, channels.shape[1], fs)
    inside = (times >= 0) & (times < seconds)
    return Rhythm(EcgRecord(twelve_leads(channels), fs), times[inside], ventricular[inside])


def _times(rng: np.random.Generator, rhythm: str, rr: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return R times from before the record to behind it, s, and which beats are early."""
    count = int(1.6 * seconds / rr) + 8
    if rhythm == "fibrillation":
        ratio = np.clip(np.exp(rng.uniform(0.15, 0.28) * rng.standard_normal(count)), 0.6, 1.8)
    else:
        depth = rng.uniform(0.005, 0.04) * (rhythm != "paced") * min(1.0, rr)
        turn = 2 * np.pi * rng.uniform(0.2, 0.3) * rr * np.arange(count) + rng.uniform(0, 6.3)
        ratio = 1.0 + depth * np.sin(turn) + (0.006 if rhythm != "paced" else 0.0005) * rng.standard_normal(count)
    interval = ratio * rr
    early = np.zeros(count, dtype=bool)
    if "premature" in rhythm:
        share = rng.uniform(0.08, 0.3)
        early[2:] = rng.random(count - 2) < share
        early[1:] &= ~early[:-1]
        early[3] = True
        for k in np.flatnonzero(early):
            coupling = max(rng.uniform(0.5, 0.8) * rr, 0.26 if rhythm.startswith("vent") else 0.3)
            pause = rng.uniform(0.95, 1.15) * rr if rhythm.startswith("atrial") else 2 * rr - coupling
            interval[k - 1] = coupling
            if k < count:
                interval[k] = pause
    times = rng.uniform(-0.7, 0.3) * rr - rr + np.concatenate([[0.0], np.cumsum(interval[:-1])])
    keep = times < seconds + 1.0
    return times[keep], early[keep]


def _beat(rng: np.random.Generator, rhythm: str, rr: float) -> Beat:
    """Compose the usual beat of a drawn patient; QT and PR follow the rate."""
    patient = draw_physiology(rng, atrial_fibrillation=rhythm in ("fibrillation", "junctional", "paced"))
    # A wide QRS leaves T no room at high rates: hearts that beat so fast have a narrower one.
    qrsd_ms = min(patient.qrsd_ms, 60.0 + 100.0 * rr)
    qt_ms = min(qt_from_rate_ms(1000.0 * max(rr, 0.4)), 620.0 * rr + 130.0)
    patient = replace(patient, qt_ms=float(max(qt_ms, qrsd_ms + 130.0)), qrsd_ms=float(qrsd_ms))
    if np.isfinite(patient.pr_ms):
        patient = replace(patient, pr_ms=float(min(patient.pr_ms, 90.0 + 90.0 * rr)))
    return compose_beat(patient, rng)


def _placed(
    rng: np.random.Generator,
    beat: Beat,
    rhythm: str,
    times: np.ndarray,
    early: np.ndarray,
    samples: int,
    fs: float,
    field: np.ndarray,
) -> np.ndarray:
    """Add up all beats, (3, samples) mV."""
    out = np.zeros((3, samples))
    grid = np.arange(samples) / fs
    focus = Rotation.from_rotvec(rng.uniform(1.6, 2.6) * _direction(rng)).as_matrix()
    strange = beat.qrs.rotated(focus).retimed(rng.uniform(1.6, 2.0))
    # R is where the leads show most.
    fine = np.arange(-150.0, 150.0)
    strange = strange.retimed(1.0, -float(fine[np.linalg.norm(field @ strange.sample(fine), axis=0).argmax()]))
    atrial = Rotation.from_rotvec(rng.uniform(0.5, 1.2) * _direction(rng)).as_matrix()
    for time, premature in zip(times, early, strict=True):
        near = np.flatnonzero((grid > time - 0.5) & (grid < time + 0.8))
        ms = 1000.0 * (grid[near] - time)
        if rhythm == "paced" or (premature and rhythm.startswith("ventricular")):
            out[:, near] += 1.2 * strange.sample(ms) - 0.9 * beat.t.rotated(focus).sample(ms)
            continue
        out[:, near] += beat.ventricular.sample(ms)
        if beat.p is not None:
            p = beat.p.rotated(atrial) if premature else beat.p
            out[:, near] += p.sample(ms)
    return out


def _direction(rng: np.random.Generator) -> np.ndarray:
    axis = rng.standard_normal(3)
    return axis / np.linalg.norm(axis)


def _spikes(rng: np.random.Generator, times: np.ndarray, samples: int, fs: float) -> np.ndarray:
    """Return pacing spikes of the eight channels, 2–4 ms wide, before QRS; half of them through a 150-Hz low-pass."""
    out = np.zeros((8, samples))
    height = rng.uniform(0.5, 3.0) * rng.uniform(0.4, 1.0, 8) * rng.choice([-1.0, 1.0], 8)
    lead = rng.uniform(0.085, 0.12)
    for time in times:
        at = round((time - lead) * fs)
        if 0 <= at < samples - 1:
            out[:, at] += height
            if rng.random() < 0.5:
                out[:, at + 1] += 0.4 * height
    if rng.random() < 0.5 and fs > 400:
        out = sosfiltfilt(butter(2, 150.0, fs=fs, output="sos"), out, axis=1)
    return out
