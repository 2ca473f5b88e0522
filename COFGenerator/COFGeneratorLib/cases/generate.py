"""Generates one case: reads its files, computes the cine and writes the result folder."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.request_hash import request_hash
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.jobs.session import Session
from COFGeneratorLib.results.folder import REQUEST, ResultFolder, read_manifest, write_manifest
from COFGeneratorLib.results.writer import write_result


def generate_into(
    request: GenerateRequest,
    current: Session,
    *,
    command: str,
    bundle: Bundle | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Cine:
    """Generate one case into ``request.out`` and return the cine.

    ``command`` and ``facts`` go into ``run.json``; the bundle is loaded from ``request.model`` where none is given.
    An earlier result stays unless it is of the same request, or ``request.overwrite``.
    """
    replaces = not request.overwrite and read_manifest(request.out) is not None
    digest = request_hash(request) if replaces else ""  # else the readers say what is wrong with a file
    with ResultFolder(request.out, request.overwrite, digest) as folder:
        cine = compute(request, current, bundle)
        current.warn(*write_result(cine, folder, current.watch, current.progress, request.write))
        told = run_facts(cine, request) | {REQUEST: digest or request_hash(request), **(facts or {})}
        write_manifest(folder, command, told, current.watch, current.warnings)
    current.tell_files(request.out)
    return cine


def compute(request: GenerateRequest, current: Session, bundle: Bundle | None = None) -> Cine:
    """Read, load and generate; all errors of input come from here, before anything is written."""
    current.progress(0, 3, "reading")
    with current.watch.stage("reading"):
        from COFGeneratorLib import analyse_ecg, read_ecg, read_labels, read_sax
        from COFGeneratorLib.anatomy.roi import as_roi
        from COFGeneratorLib.anatomy.segmenters.completion import lacking

        roi = as_roi(request.roi)
        record = read_ecg(request.ecg, **request.ecg_told)
        cycle = None if request.beat is None else analyse_ecg(record, **chosen_beat(request.beat))
        anchor = read_sax(request.anchor, request.anchor_frame, series=request.series, spacing_mm=request.spacing)
        current.progress(1, 3, "reading")
        labels = None
        if request.labels:
            labels = read_labels(request.labels, anchor, request.label_map)
            if request.segmenter and not lacking(labels):
                current.warn("The labels lack nothing, so the segmenter was not asked.")
    with current.watch.stage("loading"):
        from COFGeneratorLib import generate, load_bundle
        from COFGeneratorLib.resources import default_bundle

        bundle = bundle or load_bundle(request.model or default_bundle(), request.encoder)
        segmenter = None
        if request.segmenter:
            from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import load_segmenter
            from COFGeneratorLib.machine import choose_device

            device = str(choose_device(request.device))
            segmenter = load_segmenter(request.segmenter, request.segmenter_labels, device)
    current.progress(3, 3, "reading")
    cine = generate(
        anchor,
        record,
        bundle,
        labels=labels,
        **request.drawing,
        **request.telling,
        cycle=cycle,
        roi=roi,
        segmenter=segmenter,
        complete_labels=not request.labels_as_given,
        anchor_phase=phase_of(anchor, request.anchor_phase),
        progress=lambda stage, done, total: current.progress(done, total, stage),
    )
    current.take_over(cine.provenance)
    return cine


def phase_of(anchor: SaxStack, asked: float | str | None) -> float:
    """Return ``--anchor-phase`` as a fraction of the R–R interval; ``cine`` is read off the frame times of the file.

    Raises:
        AnatomyError: If the file does not say when its frames were taken.
    """
    if not isinstance(asked, str):
        return asked or 0.0
    times = np.asarray(anchor.frame_times_ms, dtype=float)
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise AnatomyError(
            "The phase of a frame is read off the times of its cine's frames; found none in the anchor's file. State "
            f"it: --anchor-phase FRACTION, for frame {anchor.frame} of n frames of one R–R {anchor.frame}/n."
        )
    length = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    if np.isfinite(anchor.rr_ms):  # a prospective cine leaves the end of the R–R open
        length = max(length, anchor.rr_ms)
    return float((times[anchor.frame] - times[0]) / length)


def chosen_beat(beat: int | float | None) -> dict[str, int | float]:
    """Return ``--beat`` as the argument of ``analyse_ecg`` that it stands for: a time is a float, s."""
    return {} if beat is None else {"at_s": beat} if isinstance(beat, float) else {"beat": beat}


def run_facts(cine: Cine, request: GenerateRequest) -> dict[str, Any]:
    """Return the facts of one generation: what went in (by content, not by name), and how."""
    told_elsewhere = ("warnings", "versions", "seconds", "anchor_sha256", "ecg_sha256", "anchor_frame")
    facts = {name: value for name, value in cine.provenance.items() if name not in told_elsewhere}
    record, _ = cine.ecg
    inputs = {
        "anchor": {"sha256": cine.anchor.source_sha256, "frame": cine.anchor.frame, "shape": list(cine.anchor.shape)},
        "ecg": {"sha256": record.source_sha256, "format": record.source_format},
    }
    if request.labels:
        inputs["labels"] = {"sha256": sha256_of(request.labels), "label_map": request.label_map}
    return facts | {"frames": len(cine.time_ms), "inputs": inputs}
