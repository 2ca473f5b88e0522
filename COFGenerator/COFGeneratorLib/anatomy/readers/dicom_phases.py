"""Phases of the heart beat: every slice of a DICOM cine brought onto the same ones, without blending images in time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from COFGeneratorLib.anatomy.readers.dicom_clocks import SAME_TIME_MS
from COFGeneratorLib.anatomy.readers.dicom_image import Image

MAX_FILLED = 0.25
"""Share of phases of one slice that its neighbours in phase may stand in for; with fewer the slice is left out."""


def without_doubles(slices: list[list[Image]], warnings: list[str]) -> list[list[Image]]:
    """Keep one acquisition of every slice, and one image of every time; sort in time."""
    again, doubled, out = 0, 0, []
    for images in slices:
        by_series: dict[str, list[Image]] = {}
        for image in images:
            by_series.setdefault(image.series.uid, []).append(image)
        cines = [s for s in by_series.values() if len(s) > 1]
        if len(by_series) > 1 and cines:  # else every series holds one phase of all slices
            images = max(cines, key=lambda s: (len(s), s[0].series.number))
            again += 1
        kept = _in_time(images)
        doubled += len(images) - len(kept)
        out.append(kept)
    if again:
        warnings.append(
            f"{again} slices were acquired more than once; the acquisition with most images is used, the latest of "
            "those."
        )
    if doubled:
        warnings.append(f"{doubled} images repeat a slice and time that is there already and were left out.")
    return out


def _in_time(images: list[Image]) -> list[Image]:
    """Sort the images of a slice by trigger time, of equal times keeping the last; else by their numbers."""
    if len(images) < 2:
        return images
    times = [im.trigger_ms for im in images]
    if not np.isfinite(times).all() or len(set(times)) < 2:
        images = sorted((replace(im, trigger_ms=np.nan) for im in images), key=lambda im: (im.order, im.series.number))
        return [
            im for im, after in zip(images, [*images[1:], None], strict=True) if not after or after.order > im.order
        ]
    images = sorted(images, key=lambda im: (im.trigger_ms, im.series.number, im.order))
    last = [b.trigger_ms - a.trigger_ms > SAME_TIME_MS for a, b in pairwise(images)]
    return [im for im, keep in zip(images, [*last, True], strict=True) if keep]


def phase_grid(slices: list[list[Image]], warnings: list[str]) -> tuple[np.ndarray, tuple[float, ...], float]:
    """Choose the common phases (T,), as fractions of the R–R, their times, and the median R–R, NaN if unknown."""
    counts = [len(s) for s in slices if s]
    n_phases = max(set(counts), key=lambda c: (counts.count(c), c))
    if len(set(counts)) > 1:
        warnings.append(f"Slices have {min(counts)} to {max(counts)} phases; {n_phases}, the most common, are used.")
    if n_phases == 1:
        return np.zeros(1), (), np.nan
    full = [s for s in slices if len(s) == n_phases]
    phases = np.median([_phases(s) for s in full], axis=0)
    intervals = np.array([_interval_ms(s) for s in slices if s])
    known = intervals[np.isfinite(intervals)]
    if not known.size:
        warnings.append("The images state neither trigger times nor a heart rate; the cine has no frame times.")
        return phases, (), np.nan
    if np.ptp(known) > 0.1 * np.median(known):
        warnings.append(
            f"Slices were taken at R–R intervals of {known.min():.0f} to {known.max():.0f} ms; they are matched by "
            f"phase, and times refer to {np.median(known):.0f} ms."
        )
    if not np.isfinite(full[0][0].trigger_ms):
        warnings.append("The images state no trigger times; phases are taken as evenly spaced over the R–R interval.")
    return phases, tuple(float(t) for t in phases * np.median(known)), float(np.median(known))


def _interval_ms(images: list[Image]) -> float:
    """Return a slice's R–R: as stated, unless its trigger times do not fit into it; else from them; else NaN."""
    known = [im.rr_ms for im in images if np.isfinite(im.rr_ms)]
    stated = float(np.median(known)) if known else np.nan
    times = np.array([im.trigger_ms for im in images])
    if len(times) < 2 or not np.isfinite(times).all():
        return stated
    spanned = float(times[-1] - times[0])
    if np.isfinite(stated) and spanned < 1.02 * stated:
        return stated
    return spanned + float(np.median(np.diff(times)))


def _phases(images: list[Image]) -> np.ndarray:
    """Return the phase 0…1 of each image of a slice; NaN for a single one that states no time."""
    times = np.array([im.trigger_ms for im in images])
    if len(images) > 1 and not np.isfinite(times).all():
        return np.arange(len(images)) / len(images)
    return times / _interval_ms(images)


def fill(slices: list[list[Image]], phases: np.ndarray, warnings: list[str]) -> list[list[Image] | None]:
    """Give every slice an image for every phase: its own, or the nearest in phase where few are missing."""
    columns: list[list[Image] | None] = []
    step, dropped, filled = 1.0 / len(phases), 0, 0
    for images in slices:
        if not images:
            columns.append(None)
            continue
        if len(phases) == 1:
            columns.append(images[:1])
            continue
        if len(images) == len(phases):
            own = _phases(images)
            shift = np.abs(own - phases)
            if np.minimum(shift, np.abs(1 - shift)).max() <= 0.6 * step or not np.isfinite(images[0].trigger_ms):
                columns.append(list(images))
                continue
        apart = np.abs(_phases(images)[None] - phases[:, None]) % 1.0
        apart = np.where(np.isfinite(apart), np.minimum(apart, 1.0 - apart), 1.0)
        nearest = apart.argmin(axis=1)
        far = int((apart.min(axis=1) > 0.75 * step).sum())
        if far > MAX_FILLED * len(phases):
            columns.append(None)
            dropped += 1
            continue
        filled += far
        columns.append([images[n] for n in nearest])
    if dropped:
        warnings.append(f"{dropped} slices lack more than a quarter of the phases and were left out.")
    if filled:
        warnings.append(f"{filled} missing images are stood in for by the nearest in phase of the same slice.")
    return columns
