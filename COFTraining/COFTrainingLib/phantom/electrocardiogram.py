"""A synthetic 12-lead ECG of one patient: beats of the heart vector, seen through a torso, written by a recorder."""

import numpy as np
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import CohortError

from COFTrainingLib.phantom.ecg_findings import Beat, compose_beat
from COFTrainingLib.phantom.ecg_noise import electrode_noise, fibrillation, recorder
from COFTrainingLib.phantom.lead_field import draw_lead_field, twelve_leads
from COFTrainingLib.phantom.physiology import Physiology

BEFORE_R_MS, AFTER_R_MS = 420.0, 640.0
PREMATURE_RECORDS = 0.04


def synthesise_ecg(
    physiology: Physiology,
    rng: np.random.Generator,
    duration_s: float = 10.0,
    fs_hz: float = 500.0,
    noise: float = 1.0,
    variation: float = 1.0,
    premature: float = PREMATURE_RECORDS,
) -> tuple[EcgRecord, np.ndarray]:
    """Synthesise a resting ECG.

    Args:
        physiology: The patient; the ECG shows these latents.
        rng: Source of randomness: everything the latents do not fix.
        duration_s: Length, s; at least two R–R intervals.
        fs_hz: Sampling rate, Hz, at least 100.
        noise: Scale of what electrodes and recorder add; 0 is a clean record with exact gains and no filter.
        variation: Scale of the differences between people that carry no latent (position of the heart, torso,
            electrodes, shape of each wave); 0 is the textbook patient.
        premature: Share of the records that hold a premature ventricular beat.

    Returns:
        The record and the sample indices of all R peaks (the greatest length of the heart vector).

    Raises:
        CohortError: If the record would be too short or the rate too low.
    """
    if fs_hz < 100.0 or duration_s * 1000.0 < 2.2 * physiology.rr_ms:
        raise CohortError(
            f"A synthetic ECG needs at least 100 Hz and two R–R intervals; found {fs_hz:g} Hz and {duration_s:g} s at "
            f"{physiology.hr_bpm:.0f}/min. Ask for a longer record or a higher rate."
        )
    samples = round(duration_s * fs_hz)
    field = draw_lead_field(rng, variation)
    beat = compose_beat(physiology, rng, variation)
    peaks, early = _rhythm(physiology, rng, samples, fs_hz, premature)
    vector = _place(beat, peaks, early, samples, fs_hz, rng)
    if physiology.atrial_fibrillation:
        vector += fibrillation(rng, samples, fs_hz)
    channels = field @ vector
    if noise > 0:
        channels = channels + electrode_noise(rng, samples, fs_hz, noise)
        channels = recorder(rng, channels, fs_hz, 0.05 * min(noise, 1.0))
    visible = (peaks >= 0) & (peaks < samples)
    return EcgRecord(twelve_leads(channels), fs_hz, source_format="synthetic"), peaks[visible]


def _rhythm(
    physiology: Physiology, rng: np.random.Generator, samples: int, fs_hz: float, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """R peaks that reach into the record (samples), and which of them are premature ventricular beats."""
    cycle = physiology.rr_ms * fs_hz / 1000.0
    count = int(samples / cycle * 1.6) + 6
    noise = rng.standard_normal(count)
    if physiology.atrial_fibrillation:
        ratio = np.clip(np.exp(0.20 * noise), 0.62, 1.7)
    else:
        depth, rate, phase = rng.uniform(0.005, 0.03), rng.uniform(0.2, 0.3), rng.uniform(0, 2 * np.pi)
        ratio = 1.0 + depth * np.sin(2 * np.pi * rate * np.arange(count) * cycle / fs_hz + phase) + 0.006 * noise
    ratio /= np.median(ratio[: max(int(samples / cycle), 2)])
    intervals = ratio * cycle
    premature = np.zeros(count, dtype=bool)
    if rng.random() < share and samples / cycle > 5:
        which = rng.integers(2, int(samples / cycle))
        premature[which] = True
        intervals[which - 1], intervals[which] = 0.68 * cycle, 1.32 * cycle
    first = rng.uniform(-0.3, 0.7) * cycle
    peaks = np.round(first + np.concatenate([[0.0], np.cumsum(intervals[:-1])])).astype(int)
    keep = peaks < samples + AFTER_R_MS * fs_hz / 1000.0
    return peaks[keep], premature[keep]


def _place(
    beat: Beat, peaks: np.ndarray, premature: np.ndarray, samples: int, fs_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """Add up the beats, (3, samples) mV; breathing changes their size by a few percent."""
    before, after = round(BEFORE_R_MS * fs_hz / 1000.0), round(AFTER_R_MS * fs_hz / 1000.0)
    time = np.arange(-before, after + 1) * 1000.0 / fs_hz
    ventricular = beat.ventricular.sample(time)
    atrial = beat.p.sample(time) if beat.p is not None else np.zeros_like(ventricular)
    ectopic = beat.qrs.rotated(_ectopic_turn(rng)).retimed(1.9).sample(time)
    ectopic = 1.3 * ectopic - 0.35 * beat.t.rotated(_ectopic_turn(rng)).sample(time)
    padded = np.zeros((3, samples + before + 3 * after + 2))
    breath = rng.uniform(0.0, 0.05) * np.sin(2 * np.pi * rng.uniform(0.2, 0.3) * peaks / fs_hz + rng.uniform(0, 6.3))
    for peak, early, size in zip(peaks, premature, 1.0 + breath, strict=True):
        start = peak + after
        if start - before < 0:
            continue
        shape = ectopic if early else ventricular + atrial
        padded[:, start - before : start + after + 1] += size * shape
    return padded[:, after : after + samples]


def _ectopic_turn(rng: np.random.Generator) -> np.ndarray:
    """A turn of the heart vector of the order of 120°, as a ventricular focus gives."""
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = rng.uniform(1.6, 2.6)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
