"""When in the heart beat images were taken: every clock of a DICOM cine checked before one is believed.

Clocks fail in known ways: they count from the start of the scan, in seconds or microseconds, over two beats, or stand
still. A clock that makes no heart beat is passed over, the next is tried, and what had to be assumed is said.
"""

from dataclasses import replace

import numpy as np

from COFGeneratorLib.anatomy.readers import dicom_fields as fields
from COFGeneratorLib.anatomy.readers.dicom_image import Image
from COFGeneratorLib.anatomy.readers.timing import PLAUSIBLE_CYCLE_MS
from COFGeneratorLib.errors import AnatomyError

SAME_TIME_MS = 1.0
LEAST_PHASES = 4
"""Fewest images that tell how long a beat was; end-diastole and end-systole alone do not."""
ONE_A_BEAT = 0.7
"""Share of a heart beat between images from which on they are one of each beat, not phases."""
USUAL_RR_MS = 900.0
LONGEST_BEAT = 1.25
"""Of the stated R–R, how much images may cover and still be of one beat: the heart was slower then."""
DIFFERS = 1.07
ODD_RR = (0.6, 1.6)
"""Of the usual R–R, what a slice may state as its own; beyond that its trigger was misread."""
SHORTEST_INVERSION_MS = 20.0
LONG_RR_MS = 1500.0
"""A beat of less than 40 a minute, where no R–R is stated, may well be two."""
UNITS = ((1.0, "ms"), (1000.0, "s"), (1e-3, "µs"))
Planes = list[list[Image]]


def technique_by_clocks(planes: Planes) -> str:
    """Name what repeats its slices without being a cine, from what changes between the images of a slice; else ""."""
    several = [plane for plane in planes if len(plane) >= LEAST_PHASES]
    if not several:
        inverted = all(im.clocks.inversion_ms > SHORTEST_INVERSION_MS for plane in planes for im in plane)
        return fields.INVERTED if inverted else ""
    if _varies(several, "inversion_ms"):
        return fields.T1_MAPPING
    if _varies(several, "echo_ms"):
        return fields.T2_MAPPING
    trigger = [_values(plane, "trigger_ms") for plane in several]
    rr_ms = _stated_rr_ms(several)
    if all(np.isfinite(t).all() for t in trigger):
        step = float(np.median([np.median(np.diff(np.sort(t))) for t in trigger]))
        if any(factor * step >= ONE_A_BEAT * rr_ms and step * factor < 20_000 for factor in (1.0, 1000.0)):
            return fields.PERFUSION
        still = all(np.ptp(t) <= SAME_TIME_MS and t.min() > SAME_TIME_MS for t in trigger)
        if still and not _another_clock(several):
            return f"{fields.PERFUSION} or another series of one image a beat"
    acquired = [_values(plane, "acquired_s") for plane in several]
    if all(np.isfinite(a).all() for a in acquired) and not all(_counts(plane, "trigger_ms") for plane in several):
        step_ms = 1000.0 * float(np.median([np.median(np.diff(np.sort(a))) for a in acquired]))
        if step_ms >= ONE_A_BEAT * rr_ms:
            return fields.PERFUSION
    return ""


def several_beats(planes: Planes) -> bool:
    """Whether trigger times run on over more than the stated R–R, as those of a real-time cine do."""
    several = [plane for plane in planes if len(plane) >= LEAST_PHASES]
    known = [im.rr_ms for plane in several for im in plane if np.isfinite(im.rr_ms)]
    if not known:
        return False
    span = float(np.median([np.ptp(_values(plane, "trigger_ms")) for plane in several]))
    return span > LONGEST_BEAT * float(np.median(known))


def _varies(planes: Planes, what: str | int) -> bool:
    """Whether at least three values, other for most images of each slice, are stated."""
    found = [_values(plane, what) for plane in planes]
    return all(np.isfinite(v).all() and len(np.unique(v)) >= max(3, len(v) // 4) for v in found)


def _another_clock(planes: Planes) -> bool:
    return any(all(_counts(plane, clock) for plane in planes) for clock in ("percent", "reference_ms"))


def _values(plane: list[Image], what: str | int) -> np.ndarray:
    return np.array([_told(im, what) for im in plane])


def _told(image: Image, clock: str | int) -> float:
    """Return what one of the clocks says, or a column of the dimension index."""
    return float(image.clocks.dimension[clock] if isinstance(clock, int) else getattr(image.clocks, clock))


def _stated_rr_ms(planes: Planes) -> float:
    known = [im.rr_ms for plane in planes for im in plane if np.isfinite(im.rr_ms)]
    return float(np.median(known)) if known else USUAL_RR_MS


def _counts(plane: list[Image], clock: str | int) -> bool:
    """Whether a clock tells the images of a slice apart, series by series where a series holds several."""
    by_series: dict[str, list[float]] = {}
    for image in plane:
        by_series.setdefault(image.series.uid, []).append(_told(image, clock))
    runs = [run for run in by_series.values() if len(run) > 1] or [[v for run in by_series.values() for v in run]]
    return all(np.isfinite(run).all() and len(set(run)) >= max(2, len(run) / 2) for run in runs)


def _works(planes: Planes, clock: str | int) -> bool:
    several = [plane for plane in planes if len(plane) > 1]
    return bool(several) and sum(_counts(plane, clock) for plane in several) >= 0.8 * len(several)


def judge_clocks(planes: Planes, warnings: list[str]) -> Planes:
    """Give every image its time from the R wave, or where none is known its order; leave out a second beat.

    Returns:
        The planes, sorted by nothing yet; `trigger_ms` is finite for all images of a plane or for none.

    Raises:
        AnatomyError: If nothing tells the images of a slice apart.
    """
    if all(len(plane) == 1 for plane in planes):
        return [[replace(im, trigger_ms=im.clocks.trigger_ms) for im in plane] for plane in planes]
    for clock, name in (("trigger_ms", "Trigger times"), ("reference_ms", "Frame reference times")):
        if clock == "reference_ms" and _works(planes, "percent"):
            return _by_percent(planes, warnings)
        if _works(planes, clock):
            timed = _by_time(planes, clock, name, warnings)
            if timed is not None:
                return timed
    return _by_order(planes, warnings)


def _by_percent(planes: Planes, warnings: list[str]) -> Planes:
    known = any(np.isfinite(im.rr_ms) for plane in planes for im in plane)
    if known:
        warnings.append("Phases are told as percent of the R–R interval; times follow from its length.")
        return [
            [replace(im, trigger_ms=im.clocks.percent / 100.0 * im.rr_ms, order=im.clocks.percent) for im in plane]
            for plane in planes
        ]
    return [[replace(im, order=im.clocks.percent) for im in plane] for plane in planes]


def _by_order(planes: Planes, warnings: list[str]) -> Planes:
    """Order by temporal position, dimension index, and at last, as a guess, by instance number."""
    columns = min((len(im.clocks.dimension) for plane in planes for im in plane), default=0)
    stated: list[str | int] = ["position", *range(columns)]
    clock = next((one for one in stated if _works(planes, one)), None)
    if clock is None and _works(planes, "instance"):
        clock = "instance"
        warnings.append(
            "The order of the phases is a guess, by instance numbers: no clock of the images tells them apart."
        )
    if clock is None:
        raise AnatomyError(
            "The images of a slice are put in order by trigger time, percent of phase, frame reference time, temporal "
            "position, dimension index or instance number; in this cine none of them differs. Export the series again "
            "with its numbers."
        )
    return [[replace(im, order=_told(im, clock)) for im in plane] for plane in planes]


def _by_time(planes: Planes, clock: str, name: str, warnings: list[str]) -> Planes | None:
    """Return the planes with times from the R wave by a clock, or None where it makes no heart beat."""
    timed = [plane for plane in planes if np.isfinite(_values(plane, clock)).all()]
    several = [plane for plane in timed if len(plane) > 1]
    stated = [im.rr_ms for plane in timed for im in plane if np.isfinite(im.rr_ms)]
    rr_ms = float(np.median(stated)) if stated else np.nan
    span = float(np.median([np.ptp(_values(plane, clock)) for plane in several]))
    many = float(np.median([len(np.unique(_values(plane, clock))) for plane in several]))
    length = span * many / (many - 1)
    unit = _unit(length, many, rr_ms)
    if unit is None:
        warnings.append(f"{name} make no heart beat (they span {span:g}) and are not used.")
        return None
    factor, word = unit
    if factor != 1.0:
        warnings.append(f"{name} make a heart beat in {word} only and are taken so.")
    starts = np.array([_values(plane, clock).min() * factor for plane in several])
    known = np.isfinite(rr_ms)
    cycle = rr_ms if known else length * factor
    from_scan = clock == "reference_ms" or np.ptp(starts) > 0.3 * cycle or starts.min() >= cycle
    if from_scan and clock == "trigger_ms":
        warnings.append(
            "Trigger times count from the start of the scan; the first image of each slice is taken for its R wave, "
            "which is a guess."
        )
    elif from_scan and starts.max() > SAME_TIME_MS:
        warnings.append(f"{name} say nothing of the R wave; the first image of each slice is taken for it, a guess.")
    several_beats = known and length * factor > LONGEST_BEAT * rr_ms
    out, beats, early = [], 1.0, 0
    for plane in planes:
        times = _values(plane, clock) * factor
        if not np.isfinite(times).all():
            out.append([replace(im, trigger_ms=np.nan, order=im.clocks.instance) for im in plane])
            continue
        own_rr = _own_rr_ms(plane, cycle)
        times = times - times.min() if from_scan else times
        if not from_scan and len(plane) > 1 and np.ptp(times) < own_rr:
            early += int((times < -SAME_TIME_MS).sum())
            times = times % own_rr if times.min() < -SAME_TIME_MS or (known and times.max() > 1.02 * own_rr) else times
        covered = _covered(times) / own_rr
        again = covered > LONGEST_BEAT and (several_beats or (known and len(plane) > LONGEST_BEAT * many))
        kept = times < times.min() + own_rr - SAME_TIME_MS if again else np.ones(len(times), bool)
        beats = max(beats, covered) if not kept.all() else beats
        out.append([replace(im, trigger_ms=float(t)) for im, t, good in zip(plane, times, kept, strict=True) if good])
    if early:
        warnings.append(f"{early} images were taken before the R wave; they are the end of the beat.")
    if beats > 1.0:
        warnings.append(f"The images cover {beats:.1f} heart beats; the first is used.")
    elif known and many >= LEAST_PHASES and length * factor > DIFFERS * rr_ms:
        warnings.append(
            f"The images cover {length * factor:.0f} ms, more than the stated R–R interval of {rr_ms:.0f} ms; the "
            "beat is taken to have been as long as they tell."
        )
    elif not known and length * factor > LONG_RR_MS:
        warnings.append(
            f"No R–R interval is stated, and the images cover {length * factor:.0f} ms: a slow heart, or two beats. "
            "Look at the cine."
        )
    elif known and many >= LEAST_PHASES and length * factor < 0.93 * rr_ms:
        warnings.append(
            f"The images cover {100 * length * factor / rr_ms:.0f} % of the R–R interval of {rr_ms:.0f} ms; the rest "
            "of the beat was not recorded."
        )
    return out


def _own_rr_ms(plane: list[Image], usual_ms: float) -> float:
    """Return the R–R of one slice, whose breath-hold may have had another heart rate; the usual one where it is odd."""
    stated = [im.rr_ms for im in plane if np.isfinite(im.rr_ms)]
    own = float(np.median(stated)) if stated else usual_ms
    return own if ODD_RR[0] <= own / usual_ms <= ODD_RR[1] else usual_ms


def _covered(times: np.ndarray) -> float:
    """Return the length of time that images of one slice stand for: from the first to the last, and one step more."""
    count = len(np.unique(times))
    return float(np.ptp(times)) * count / (count - 1) if count > 1 else 0.0


def _unit(length: float, many: float, rr_ms: float) -> tuple[float, str] | None:
    """Find the unit in which times make a beat: near the stated R–R (or some of them), else of plausible length."""
    for factor, word in UNITS:
        cycle = length * factor
        if np.isfinite(rr_ms) and many >= LEAST_PHASES:
            fits = 0.25 * rr_ms <= cycle and cycle / many < ONE_A_BEAT * rr_ms and cycle < 6 * rr_ms
        else:
            fits = (PLAUSIBLE_CYCLE_MS[0] if many >= LEAST_PHASES else 50.0) <= cycle <= PLAUSIBLE_CYCLE_MS[1]
        if fits:
            return factor, word
    return None
