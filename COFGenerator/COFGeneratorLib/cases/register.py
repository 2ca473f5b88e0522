"""Registers one recorded cine: finds labels and teacher, and computes its motion."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from COFGeneratorLib.cases.request import RegisterRequest
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import BundleError, ChainOfFlowError
from COFGeneratorLib.jobs.session import Session

DEMONS = "demons"
MOST_OPEN = 0.95
"""Share of the R–R from which on frames are taken to cover all of it."""


def compute(request: RegisterRequest, current: Session) -> Cine:
    """Read the cine, find labels and teacher, register."""
    from COFGeneratorLib import load_bundle, read_labels
    from COFGeneratorLib.anatomy.readers import read_cine
    from COFGeneratorLib.machine import choose_device
    from COFGeneratorLib.registration.pipeline import WITHOUT_TEACHER, find_teacher, register_cine
    from COFGeneratorLib.resources import default_bundle

    current.progress(0, 1, "reading")
    with current.watch.stage("reading"):
        real, index = read_cine(request.cine, series=request.series, spacing_mm=request.spacing), request.anchor_frame
        if not 1 < len(real.frames) > index:
            raise ChainOfFlowError(
                f"Registration needs a cine with frame {index}; found {len(real.frames)} frames. Choose another file."
            )
        anchor = real.stack(index)
        rr_ms = request.rr_ms or (real.rr_ms if np.isfinite(real.rr_ms) else cycle_length_ms(real.frame_times_ms))
    bundle: Path | None = Path(request.model) if request.model else None
    if bundle is None:
        with contextlib.suppress(BundleError):  # without one, demons register and labels have to be given
            bundle = default_bundle()
    labels, source = None, "none"
    segmenter = load_bundle(bundle).segmenter if bundle is not None else None
    if request.labels:
        labels, source = read_labels(request.labels, anchor, request.label_map), "user"
    elif segmenter is not None:
        with current.watch.stage("segmenting"):
            current.progress(0, 1, "segmenting")
            labels, source = segmenter.segment(anchor, None).labels, "segmenter"
    by_demons = request.teacher == DEMONS
    teacher = None if by_demons else Path(request.teacher) if request.teacher else find_teacher(bundle)
    with current.watch.stage("registration"):
        cine = register_cine(
            anchor, real.frames, rr_ms, times_ms=open_end(real.frame_times_ms, rr_ms), labels=labels,
            labels_from=source, teacher=teacher, segmenter=segmenter,
            device=str(choose_device(request.device)),
            progress=lambda stage, done, total: current.progress(done, total, stage),
        )  # fmt: skip
    current.warn(*(text for text in cine.provenance["warnings"] if not (by_demons and text == WITHOUT_TEACHER)))
    return cine


def open_end(times_ms: Sequence[float], rr_ms: float) -> Sequence[float] | None:
    """Return the times of frames that leave the end of the R–R open, as prospective ones do; None where even."""
    if len(times_ms) < 2 or cycle_length_ms(times_ms) > MOST_OPEN * rr_ms:
        return None
    return times_ms


def cycle_length_ms(times_ms: Sequence[float]) -> float:
    """Return the R–R of evenly timed frames: the last frame lasts as long as the others.

    Raises:
        ChainOfFlowError: If the file tells no times.
    """
    span = times_ms[-1] - times_ms[0] if len(times_ms) > 1 else 0.0
    if not span > 0.0:
        raise ChainOfFlowError(
            "The file does not say when its frames were taken. Give the cycle's length with --rr MS."
        )
    return span * len(times_ms) / (len(times_ms) - 1)
