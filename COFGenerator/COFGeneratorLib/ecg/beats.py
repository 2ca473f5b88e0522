"""From a record to one representative R–R: beats, quality, measurements."""

from dataclasses import replace

import numpy as np

from COFGeneratorLib.ecg.average_beat import LEAD_IN, MEAN_R_SAMPLE, AlignedBeats, align_beats
from COFGeneratorLib.ecg.calibration import calibration_pulses, without_pulses
from COFGeneratorLib.ecg.conditioning import condition
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, MOST_SINGLE, EcgCycle
from COFGeneratorLib.ecg.delineation import Fiducials, delineate
from COFGeneratorLib.ecg.electrodes import suspicions
from COFGeneratorLib.ecg.p_waves import ON_TIME, SEEN, on_time, p_coherence
from COFGeneratorLib.ecg.pacing import drives_beats, find_spikes, without_spikes
from COFGeneratorLib.ecg.record import LEADS, Doubt, EcgRecord
from COFGeneratorLib.ecg.rhythm import assess_rhythm
from COFGeneratorLib.ecg.usable import UNUSABLE, check_usable, judge
from COFGeneratorLib.errors import EcgError

RR_MS = (240.0, 3000.0)
"""R–R of a record with one interval only: 250 down to 20 a minute. With several, the median guards against nonsense."""


def analyse_ecg(record: EcgRecord, beat: int | None = None, at_s: float | None = None) -> EcgCycle:
    """Find the beats of a record and measure its representative cycle.

    Pacing spikes and calibration pulses are bridged before, so that they are neither beats nor part of QRS.

    Args:
        record: The 12-lead record.
        beat: Index of the R peak whose R–R is wanted; the representative one when None.
        at_s: Or a time within the wanted R–R, s.

    Raises:
        EcgError: If leads are flat, the record is too short, no beats are found, or the wanted beat does not exist.

    Example:
        >>> from COFGeneratorLib import read_ecg
        >>> from COFGeneratorLib.resources import sample_patient
        >>> f"{analyse_ecg(read_ecg(sample_patient().ecg)).rr_ms:.0f} ms"
        '1100 ms'
    """
    check_usable(record)
    notes: list[str] = []
    pulses = calibration_pulses(record.signal_mv, record.fs_hz)
    if pulses:
        record = replace(record, signal_mv=without_pulses(record.signal_mv, record.fs_hz, pulses))
        notes.append(f"{len(pulses)} calibration pulse(s) were left out.")
    spikes = find_spikes(record.signal_mv, record.fs_hz)
    driven = _driven(record, spikes, beat, at_s)
    cycle = driven or _read(record, beat, at_s, paced=False)
    if cycle.quality < UNUSABLE:
        raise EcgError(
            f"An ECG whose beats resemble each other is needed; found a quality of {cycle.quality:.2f} (below "
            f"{UNUSABLE:g}), as noise has. Check leads and gain, and record again."
        )
    if driven:
        notes.append(f"Pacing spikes: {len(spikes)} narrow deflections, bridged before measuring.")
        doubts = tuple(sorted({*cycle.doubts, Doubt.PACED}))
        cycle = replace(cycle, rhythm="paced rhythm suspected", doubts=doubts)
    return replace(cycle, warnings=(*cycle.warnings, *notes))


def _driven(record: EcgRecord, spikes: np.ndarray, beat: int | None, at_s: float | None) -> EcgCycle | None:
    """Measure a record without its pacing spikes; None where what was found drives no beats.

    That may be tips of steep QRS, whose bridging costs beats, or what muscles make.
    """
    if not len(spikes):
        return None
    bridged = replace(record, signal_mv=without_spikes(record.signal_mv, record.fs_hz, spikes))
    try:
        cycle = _read(bridged, beat, at_s, paced=True)
    except EcgError:
        return None
    return cycle if drives_beats(spikes / record.fs_hz, cycle.r_peaks_s) else None


def _read(record: EcgRecord, beat: int | None, at_s: float | None, paced: bool) -> EcgCycle:
    """Find the beats of a record and measure it."""
    from COFGeneratorLib.ecg.detection import find_r_peaks

    peaks_s = find_r_peaks(record)
    if at_s is not None and beat is None:
        beat = _beat_at(peaks_s, at_s)
    return _measured(record, peaks_s * record.fs_hz, beat, paced)


def _beat_at(r_peaks_s: np.ndarray, at_s: float) -> int:
    """Return the index of the R peak whose R–R holds a time.

    Raises:
        EcgError: If no complete R–R does.
    """
    beat = int(np.searchsorted(r_peaks_s, at_s, side="right")) - 1
    if not 0 <= beat < len(r_peaks_s) - 1:
        reach = f"{r_peaks_s[0]:.2f} to {r_peaks_s[-1]:.2f} s" if len(r_peaks_s) > 1 else "none"
        raise EcgError(
            f"A beat must be chosen by a time within a complete R–R interval ({reach} in this record); found "
            f"{at_s:g} s. Choose another time, or leave it out."
        )
    return beat


def cycle_from_peaks(record: EcgRecord, r_peaks_samples: np.ndarray, beat: int | None = None) -> EcgCycle:
    """Measure the representative cycle of a record whose R peaks are known.

    Args:
        record: The record.
        r_peaks_samples: (n,) R peaks, samples (may be fractional); refined by alignment here.
        beat: Index of the R peak whose R–R is wanted; the representative one when None.

    Raises:
        EcgError: If no R–R interval is known, or ``beat`` does not exist.
    """
    return _measured(record, r_peaks_samples, beat, paced=False)


def _measured(record: EcgRecord, r_peaks_samples: np.ndarray, beat: int | None, paced: bool) -> EcgCycle:
    """Measure a record; beats that are paced point anywhere and say nothing of the electrodes."""
    r = np.sort(np.asarray(r_peaks_samples, dtype=np.float64)) / record.fs_hz
    r = r[(r >= 0) & (r <= record.duration_s)]
    _check_beats(record, r)
    signal = condition(record.signal_mv, record.fs_hz)
    aligned = align_beats(signal, r)
    if len(r) == 1:
        aligned = _with_stated_interval(aligned, _stated_rr_ms(record) / 1000.0)
    aligned = replace(aligned, r_peaks_s=np.maximum.accumulate(aligned.r_peaks_s))
    r = aligned.r_peaks_s
    rr = 1000.0 * np.diff(r)
    usable = aligned.accepted[:-1] & aligned.accepted[1:]
    if not usable.any():
        usable = aligned.accepted[:-1] | aligned.accepted[1:]
    if not usable.any():
        usable[:] = True
    chosen = beat is not None
    if beat is None:
        beat = _representative(rr, usable, aligned.likeness)
    elif not 0 <= beat < len(rr):
        raise EcgError(
            f"A beat must be one of 0–{len(rr) - 1} (it needs the next R to end its cycle); found {beat}. "
            "`cof ecg` lists the beats."
        )

    timely = on_time(r, aligned.accepted)
    aligned = _with_timely_p(aligned, timely)
    mean = aligned.mean_mv
    marks = delineate(mean, float(np.median(rr[usable])), MEAN_R_SAMPLE, aligned.noise_mv)
    shortest_ms = ON_TIME * float(np.percentile(rr, 75))
    single = aligned.single_mv[timely[: len(aligned.single_mv)]]
    coherence = p_coherence(single, marks.qrs_onset_ms, marks.t_end_ms, shortest_ms)
    if coherence < SEEN:
        marks = replace(marks, p_onset_ms=np.nan, p_offset_ms=np.nan)
    axis, sokolow, cornell = _voltages(mean, marks)
    nn = rr[usable]
    rr_cv = float(nn.std() / nn.mean()) if len(nn) > 1 else 0.0
    quality, doubted, notes = judge(record, aligned, rr_cv, signal.hum)
    misplaced, words = ((), ()) if paced else suspicions(mean, marks)
    if chosen and not usable[beat]:
        notes.append(
            f"The chosen interval (beat {beat}) begins or ends with a beat that is unlike the others or early; it sets "
            "the R–R interval, while the average of the usual beats gives the shape of the waves."
        )
    rhythm = assess_rhythm(aligned, marks, coherence)
    return EcgCycle(
        cycle_mv=_interval(record, r[beat], r[beat + 1], marks),
        beat_mv=mean[:, LEAD_IN:].astype(np.float32),
        fs_hz=record.fs_hz,
        r_peaks_s=r,
        accepted=aligned.accepted,
        representative=int(beat),
        rr_ms=float(rr[beat]),
        p_onset_ms=marks.p_onset_ms,
        qrs_onset_ms=marks.qrs_onset_ms,
        qrs_offset_ms=marks.qrs_offset_ms,
        t_peak_ms=marks.t_peak_ms,
        t_end_ms=marks.t_end_ms,
        axis_deg=axis,
        sokolow_mv=sokolow,
        cornell_mv=cornell,
        p_wave_present=marks.p_wave_present,
        rr_cv=rr_cv,
        quality=quality,
        t_end_source=marks.t_end_source,
        warnings=(*record.warnings, *notes, *words, *rhythm.notes),
        rhythm=rhythm.name,
        likeness=aligned.likeness,
        single_mv=_single(aligned),
        kinds=rhythm.kinds,
        doubts=tuple(sorted({*record.doubts, *doubted, *misplaced})),
    )


def _with_timely_p(aligned: AlignedBeats, timely: np.ndarray) -> AlignedBeats:
    """Take what precedes QRS from the beats that come on time: early ones have a P wave of their own, on another T."""
    if timely.sum() == aligned.accepted.sum():
        return aligned
    mean = aligned.mean_mv.copy()
    # Both averages are zero at the PQ level, which ends about here.
    last = MEAN_R_SAMPLE - round(0.04 * BEAT_FS_HZ)
    own = np.median(aligned.single_mv[timely], axis=0)[:, :last]
    share = np.clip((last - np.arange(last)) / 5.0, 0.0, 1.0)
    mean[:, :last] = share * own + (1.0 - share) * mean[:, :last]
    return replace(aligned, mean_mv=mean)


def _single(aligned: AlignedBeats) -> np.ndarray:
    """Return the first accepted beats (k, 12, BEAT_SAMPLES), mV; a beat that the file alone states has no samples."""
    known = aligned.accepted[: len(aligned.single_mv)]
    return aligned.single_mv[known][:MOST_SINGLE, :, LEAD_IN:].astype(np.float32)


def _check_beats(record: EcgRecord, r: np.ndarray) -> None:
    """Refuse records whose R–R interval cannot be told.

    Raises:
        EcgError: If there are fewer than two beats and the file states no rate, or two beats that are too far apart.
    """
    found = f"found {len(r)} beat(s) in {record.duration_s:.1f} s"
    if not len(r) or (len(r) == 1 and np.isnan(_stated_rr_ms(record))):
        raise EcgError(
            "A complete R–R interval (two beats), or one beat and the heart rate stated in the file, is needed; "
            f"{found}. Use a longer recording."
        )
    if len(r) == 2 and not RR_MS[0] <= 1000.0 * (r[1] - r[0]) <= RR_MS[1]:
        raise EcgError(
            f"An R–R interval of {RR_MS[0]:.0f} to {RR_MS[1]:.0f} ms is needed; {found}, {1000 * (r[1] - r[0]):.0f} ms "
            "apart. Check the sampling rate, or use a longer recording."
        )


def _stated_rr_ms(record: EcgRecord) -> float:
    """Return the R–R that the file states, NaN where it states none that a heart could have."""
    rr = record.stated.get("rr_ms", 60000.0 / record.stated.get("hr_bpm", np.nan))
    return float(rr) if RR_MS[0] <= rr <= RR_MS[1] else np.nan


def _with_stated_interval(aligned: AlignedBeats, rr_s: float) -> AlignedBeats:
    """Add the R that ends the only beat of a record, where the file says that it came."""
    return replace(
        aligned,
        r_peaks_s=np.append(aligned.r_peaks_s, aligned.r_peaks_s[0] + rr_s),
        accepted=np.append(aligned.accepted, False),
        likeness=np.append(aligned.likeness, 0.0),
    )


def _representative(rr: np.ndarray, usable: np.ndarray, likeness: np.ndarray) -> int:
    """Pick the interval nearest the median length; among those about as near (1 %), the one most like the mean beat."""
    median = np.median(rr[usable])
    distance = np.abs(rr - median) / median
    pair = np.minimum(likeness[:-1], likeness[1:])
    score = np.floor(distance / 0.01) + (1.0 - pair) + 0.1 * distance
    return int(np.argmin(np.where(usable, score, np.inf)))


def _interval(record: EcgRecord, start_s: float, stop_s: float, marks: Fiducials) -> np.ndarray:
    """Cut (12, n) from R to the next R at the record's own rate; the line between both PQ levels is taken off."""
    fs = record.fs_hz
    first, last = round(start_s * fs), round(stop_s * fs)
    cut = record.signal_mv[:, first:last].astype(np.float64)
    levels = []
    for r in (start_s, stop_s):
        onset = round((r + marks.qrs_onset_ms / 1000.0) * fs)
        a = max(0, onset - max(2, int(0.02 * fs)))
        b = max(a + 1, onset)
        levels.append(record.signal_mv[:, a:b].mean(axis=1) if a < record.signal_mv.shape[1] else cut[:, -1])
    ramp = np.linspace(0, 1, cut.shape[1])
    return (cut - levels[0][:, None] * (1 - ramp) - levels[1][:, None] * ramp).astype(np.float32)


def _voltages(mean: np.ndarray, marks: Fiducials) -> tuple[float, float, float]:
    """Return the frontal QRS axis (degrees, from net areas of I and aVF), Sokolow–Lyon and Cornell voltages (mV)."""
    a = max(0, int(MEAN_R_SAMPLE + marks.qrs_onset_ms * BEAT_FS_HZ / 1000.0))
    b = int(np.ceil(MEAN_R_SAMPLE + marks.qrs_offset_ms * BEAT_FS_HZ / 1000.0)) + 1
    qrs = mean[:, a:b]
    net = qrs.sum(axis=1)
    # aVF is an augmented lead: 2/√3 brings it to the scale of lead I (hexaxial system).
    axis = float(np.degrees(np.arctan2(net[LEADS.index("aVF")] * 2 / np.sqrt(3), net[LEADS.index("I")])))
    up, down = np.maximum(qrs.max(axis=1), 0), np.maximum(-qrs.min(axis=1), 0)
    at = LEADS.index
    sokolow = down[at("V1")] + max(up[at("V5")], up[at("V6")])
    return axis, float(sokolow), float(up[at("aVL")] + down[at("V3")])
