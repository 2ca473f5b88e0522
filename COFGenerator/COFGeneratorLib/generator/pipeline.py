"""The main job: anchor + ECG → cine, motion, labels and read-outs in the anchor's own geometry."""

import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from COFGeneratorLib.anatomy.roi import Roi, as_roi
from COFGeneratorLib.anatomy.segmenters.segmenter import StackSegmenter
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import BundleError, EcgError
from COFGeneratorLib.function import FunctionReport, report_from_curves, volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.cine import Cine
from COFGeneratorLib.generator.conditioned import prepare
from COFGeneratorLib.generator.native import NativeMotion, native_motion
from COFGeneratorLib.generator.networks.grid import label_fractions
from COFGeneratorLib.generator.r_wave import ESTIMATED, RWave, at_the_r_wave, frame_at
from COFGeneratorLib.machine import choose_device

Progress = Callable[[str, int, int], None]
MAX_FRAMES = 400
SHORTEST_RECORD_S = 2.5
"""Shorter records can be read and drawn, but the length of the cycle and its regularity are not known from them."""
UNUSED = "Solver and steps change random draws only: this model's cine is its expectation. Ask for --samples."
PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "neurokit2")


def generate(
    anchor: SaxStack,
    record: EcgRecord,
    bundle: Bundle,
    *,
    labels: np.ndarray | None = None,
    frames: int = 50,
    solver: str | None = None,
    steps: int | None = None,
    samples: int = 1,
    seed: int = 0,
    device: str = "auto",
    beat: int | None = None,
    cycle: EcgCycle | None = None,
    roi: Roi | Sequence[float] | None = None,
    segmenter: StackSegmenter | None = None,
    complete_labels: bool = True,
    anchor_phase: float = 0.0,
    progress: Progress | None = None,
) -> Cine:
    """Generate the beating heart of an anchor under an ECG.

    The anchor is the frame at the R wave, or at ``anchor_phase``; time begins at the R wave anyway. The cine is the
    model's central estimate; with ``samples`` above one, further random draws give the spread of every read-out.

    Args:
        anchor: The short-axis stack.
        record: The 12-lead ECG.
        bundle: The model.
        labels: (D, H, W) labels on the anchor's grid, or None for the bundle's segmenter.
        frames: Frames of one cycle, equidistant in time.
        solver, steps: Of the sampler; the bundle's own where None.
        samples: 1, or the number K of random draws for intervals.
        seed: Of the draws.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        beat: Which beat of the record to use; chosen where None.
        cycle: The analysed ECG where the caller has it already.
        roi: Where the heart is, if the user says: a ``Roi`` or (xmin, xmax, ymin, ymax, zmin, zmax), RAS mm.
        segmenter: What labels the anchor, or completes its labels, in place of the bundle's own; see
            ``anatomy.segmenters.foreign_segmenter``.
        complete_labels: Let the segmenter add the wall and the right ventricle where ``labels`` lack them.
        anchor_phase: When the anchor was taken, as a fraction 0…1 of the R–R interval; the nearest frame is the anchor.
        progress: Called with (stage, done, total).

    Raises:
        EcgError, AnatomyError, BundleError: If an input cannot be used.
    """
    if not 2 <= frames <= MAX_FRAMES or samples < 1:
        raise BundleError(
            f"Frames must be 2–{MAX_FRAMES} and samples at least 1; found {frames} and {samples}. Choose others."
        )
    if record.duration_s < SHORTEST_RECORD_S:
        raise EcgError(
            f"A rhythm is needed, {SHORTEST_RECORD_S:g} s of ECG or more; found {record.duration_s:.2f} s, in which "
            "one premature beat would pass for the heart's rate. Export the full 10-second record."
        )
    still = frame_at(anchor_phase, frames)
    if segmenter is not None:
        bundle = replace(bundle, segmenter=segmenter)
    stages = _Stages(progress)
    target = choose_device(device)
    model = bundle.model.to(target)
    with stages("ecg"):
        cycle = cycle or analyse_ecg(record, beat)
    with stages("anatomy"):
        ready = prepare(anchor, cycle, bundle, labels, target, as_roi(roi), complete_labels)
    with stages("motion"):
        begin = at_the_r_wave(model, ready, anchor, frames, still, solver=solver, steps=steps)
        velocity = begin.velocities(progress=lambda done, total: stages.report("motion", done, total))
        velocity = begin.settle(velocity, ready.wanted_ef)
        native = native_motion(model, velocity, begin.ready, anchor, frames, still)
    with stages("warp"):
        cine, moved = _warp(anchor, ready.labels, native, lambda done, total: stages.report("warp", done, total))
    with stages("function"):
        time_ms = np.arange(frames) / frames * cycle.rr_ms
        folded = native.folded_fraction(ready.labels > 0)
        report = _function(moved, anchor, time_ms, cycle, ready.labels_from, folded)
        if ready.ef:
            report = replace(report, ef_interval_percent=ready.ef.interval_percent)
        label_frames = _hard_labels(moved, ready.labels, native)
    draws: tuple[FunctionReport, ...] = ()
    if samples > 1:
        with stages("samples"):
            draws = _draw_reports(model, ready, begin, anchor, cycle, frames, still, samples, seed, stages)
    return Cine(
        frames=cine,
        time_ms=time_ms,
        rr_ms=cycle.rr_ms,
        anchor=anchor,
        motion=native,
        labels=label_frames,
        labels_from=ready.labels_from,
        function=report,
        record=record,
        cycle=cycle,
        provenance=_provenance(
            anchor, record, cycle, bundle, ready, still / frames, solver, steps, samples, seed, target, stages
        ),
        samples=draws,
    )


class _Stages:
    """Times stages and passes progress on."""

    def __init__(self, progress: Progress | None):
        self.progress, self.seconds = progress, {}

    def __call__(self, name: str):
        self._name = name
        return self

    def __enter__(self):
        self._start = time.perf_counter()
        self.report(self._name, 0, 1)

    def __exit__(self, kind, *_):
        self.seconds[self._name] = time.perf_counter() - self._start
        if kind is None:
            self.report(self._name, 1, 1)

    def report(self, name: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(name, done, total)


def _warp(anchor: SaxStack, labels: np.ndarray, native: NativeMotion, progress) -> tuple[np.ndarray, np.ndarray]:
    """Return the cine (T, D, H, W) and the label fractions (T, 3, D, H, W): one warp of image and labels together."""
    channels = np.concatenate([anchor.voxels[None], label_fractions(labels)])
    moved = native.warp_all(channels, progress)
    return np.ascontiguousarray(moved[:, 0]), moved[:, 1:]


def _function(moved, anchor, time_ms, cycle, labels_from, folded) -> FunctionReport:
    curves = volume_curves(moved, anchor.ijk_to_ras)
    return report_from_curves(
        curves, time_ms, cycle.rr_ms, cycle.hr_bpm, labels_from=labels_from, folded_fraction=folded
    )


def _hard_labels(moved: np.ndarray, anchor_labels: np.ndarray, native: NativeMotion) -> np.ndarray:
    """Return (T, D, H, W) uint8: the structure that fills most of each voxel; the anchor's frame as given.

    Only the box that moves is looked at.
    """
    box = native.box
    inside = torch.from_numpy(moved[(slice(None), slice(None), *box)])
    most, best = inside.max(dim=1)
    labels = np.repeat(anchor_labels[None], len(moved), axis=0)
    labels[(slice(None), *box)] = torch.where(most > 1.0 - inside.sum(dim=1), best + 1, 0).to(torch.uint8).numpy()
    labels[native.still] = anchor_labels
    return labels


def _draw_reports(model, ready, begin: RWave, anchor, cycle, frames, still, samples, seed, stages):
    reports = []
    fractions = label_fractions(ready.labels)
    time_ms = np.arange(frames) / frames * cycle.rr_ms
    for draw in range(samples):  # one at a time: memory does not grow with K
        velocity = begin.velocities(draws=1, seed=seed + draw)
        wanted = ready.ef.draw(seed + draw) if ready.ef else None
        velocity = begin.settle(velocity, wanted, keep_wall=False)
        moved = native_motion(model, velocity, begin.ready, anchor, frames, still).warp_all(fractions)
        reports.append(_function(moved, anchor, time_ms, cycle, ready.labels_from, 0.0))
        stages.report("samples", draw + 1, samples)
    return tuple(replace(report, folded_fraction=float("nan")) for report in reports)


def _provenance(
    anchor, record, cycle, bundle, ready, phase, solver, steps, samples, seed, device, stages
) -> dict[str, Any]:
    versions = {"chainofflow": _version("chainofflow"), "python": platform.python_version()}
    versions.update({name: _version(name) for name in PACKAGES})
    estimated = (ESTIMATED.format(percent=100.0 * phase),) if phase else ()
    told = "told to the model" if bundle.model.any_anchor else "the R wave estimated from it"
    unused = (UNUSED,) if (solver or steps) and samples == 1 and bundle.model.mean is not None else ()
    return {
        "synthetic": True,
        "notice": "Synthetic cine, for research use only; not for diagnosis.",
        "model": bundle.model_id,
        "weights_sha256": bundle.weights_sha256,
        "ecg_sha256": record.source_sha256 or hashlib.sha256(record.signal_mv.tobytes()).hexdigest(),
        "anchor_sha256": anchor.source_sha256 or hashlib.sha256(anchor.voxels.tobytes()).hexdigest(),
        "labels_from": ready.labels_from,
        "segmenter": getattr(bundle.segmenter, "described", None) if "segmenter" in ready.labels_from else None,
        "labels_sha256": hashlib.sha256(np.ascontiguousarray(ready.labels).tobytes()).hexdigest(),
        "heart_centre_ras_mm": [round(float(v), 1) for v in ready.frame.origin_ras],
        "roi": None if ready.roi is None else ready.roi.described(),
        "mirrored": ready.frame.mirrored,
        "anchor_frame": anchor.frame,
        "anchor_phase": f"{phase:g} of the R–R interval, {told}" if phase else "taken as the frame at the R wave",
        "anchor_phase_fraction": phase,
        "ecg_beat": int(cycle.representative),
        "seed": seed,
        "samples": samples,
        "solver": solver or bundle.model.sampler.solver,
        "steps": steps or bundle.model.sampler.steps,
        "device": str(device),
        "versions": versions,
        "seconds": {name: round(value, 4) for name, value in stages.seconds.items()},
        "warnings": [*anchor.warnings, *ready.warnings, *record.warnings, *cycle.warnings, *estimated, *unused],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
