"""A synthetic 12-lead ECG of one patient: beats of the heart vector, seen through a torso, written by a recorder."""

import numpy as np
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import CohortError
from scipy.spatial.transform import Rotation

from COFTrainingLib.phantom.ecg_findings import Beat, compose_beat
from COFTrainingLib.phantom.ecg_mishaps import MISHAPS, add_spikes, miswired, subtly_miswired
from COFTrainingLib.phantom.ecg_noise import electrode_noise, fibrillation, recorder
from COFTrainingLib.phantom.ecg_rhythm import ATRIAL, NORMAL, VENTRICULAR, Rhythm, draw_rhythm
from COFTrainingLib.phantom.lead_field import draw_lead_field, twelve_leads
from COFTrainingLib.phantom.physiology import Physiology

BEFORE_R_MS, AFTER_R_MS = 420.0, 640.0
ECTOPIC_RECORDS = 0.12
UNSEEN_EXCHANGES = 0.01


def synthesise_ecg(
    physiology: Physiology,
    rng: np.random.Generator,
    duration_s: float = 10.0,
    fs_hz: float = 500.0,
    noise: float = 1.0,
    variation: float = 1.0,
    premature: float = ECTOPIC_RECORDS,
    mishap: str = "",
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
        premature: Share of the records that hold premature beats, atrial or ventricular.
        mishap: One of ``MISHAPS``: what makes the record unfit to tell of the heart.

    Returns:
        The record and the sample indices of all R peaks (the greatest length of the heart vector).

    Raises:
        CohortError: If the record would be too short or the rate too low, or the mishap is not known.
    """
    if fs_hz < 100.0 or duration_s * 1000.0 < 2.2 * physiology.rr_ms:
        raise CohortError(
            f"A synthetic ECG needs at least 100 Hz and two R–R intervals; found {fs_hz:g} Hz and {duration_s:g} s at "
            f"{physiology.hr_bpm:.0f}/min. Ask for a longer record or a higher rate."
        )
    if mishap not in MISHAPS:
        raise CohortError(f"A mishap must be one of {MISHAPS}; found {mishap!r}. Name one of them.")
    samples = round(duration_s * fs_hz)
    field = draw_lead_field(rng, variation)
    paced = mishap == "paced"
    beat = compose_beat(physiology, rng, variation, paced=paced)
    rhythm = draw_rhythm(physiology, rng, samples, fs_hz, premature, AFTER_R_MS)
    vector = _place(beat, rhythm, samples, fs_hz, rng)
    if physiology.atrial_fibrillation:
        vector += fibrillation(rng, samples, fs_hz)
    if paced:
        vector = add_spikes(vector, rhythm.peaks[rhythm.kinds == NORMAL], beat.qrs_onset_ms, fs_hz, rng)
    channels = field @ vector
    if noise > 0:
        channels = channels + electrode_noise(rng, samples, fs_hz, noise)
        channels = recorder(rng, channels, fs_hz, 0.05 * min(noise, 1.0))
    channels = subtly_miswired(channels, rng, UNSEEN_EXCHANGES * min(variation, 1.0))
    leads = twelve_leads(miswired(channels, mishap, rng))
    visible = (rhythm.peaks >= 0) & (rhythm.peaks < samples)
    return EcgRecord(leads, fs_hz, source_format="synthetic"), rhythm.peaks[visible]


def _place(beat: Beat, rhythm: Rhythm, samples: int, fs_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Add up the beats, (3, samples) mV; breathing changes their size by a few percent."""
    before, after = round(BEFORE_R_MS * fs_hz / 1000.0), round(AFTER_R_MS * fs_hz / 1000.0)
    time = np.arange(-before, after + 1) * 1000.0 / fs_hz
    ventricular, none = beat.ventricular.sample(time), np.zeros((3, len(time)))
    shapes = {NORMAL: ventricular + (beat.p.sample(time) if beat.p is not None else none)}
    elsewhere, wide, repolarised = _turn(rng, 0.3, 1.2), _turn(rng, 1.6, 2.6), _turn(rng, 1.6, 2.6)
    # An atrial focus gives a P of its own direction, a little nearer to QRS.
    shapes[ATRIAL] = ventricular + (beat.p.rotated(elsewhere).retimed(1.0, 12.0).sample(time) if beat.p else none)
    shapes[VENTRICULAR] = 1.3 * beat.qrs.rotated(wide).retimed(
        rng.uniform(1.3, 1.6) if beat.qrs_offset_ms - beat.qrs_onset_ms > 120.0 else rng.uniform(1.6, 2.1)
    ).sample(time) - 0.35 * beat.t.rotated(repolarised).sample(time)
    padded = np.zeros((3, samples + before + 3 * after + 2))
    peaks = rhythm.peaks
    breath = rng.uniform(0.0, 0.05) * np.sin(2 * np.pi * rng.uniform(0.2, 0.3) * peaks / fs_hz + rng.uniform(0, 6.3))
    for peak, kind, size in zip(peaks, rhythm.kinds, 1.0 + breath, strict=True):
        start = peak + after
        if start - before < 0:
            continue
        padded[:, start - before : start + after + 1] += size * shapes[int(kind)]
    return padded[:, after : after + samples]


def _turn(rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    """A turn of the heart vector about any axis by ``least`` … ``most`` rad, as another focus gives."""
    axis = rng.standard_normal(3)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(least, most)).as_matrix()
