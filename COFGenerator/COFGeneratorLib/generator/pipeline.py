"""The main job: anchor + ECG → cine, motion, labels and read-outs in the anchor's own geometry."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from COFGeneratorLib.anatomy.roi import Roi, as_roi
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter, StackSegmenter
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import BundleError, EcgError
from COFGeneratorLib.function import FunctionReport, VolumeCurves, curves_from_sums, report_from_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned, prepare_anchor
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.moving import moved_anchor, volume_sums
from COFGeneratorLib.generator.native import NativeMotion, native_motion
from COFGeneratorLib.generator.networks.condition import Stated
from COFGeneratorLib.generator.provenance import provenance, sha256_of_array
from COFGeneratorLib.generator.r_wave import ESTIMATED, RWave, at_the_r_wave, frame_at
from COFGeneratorLib.generator.rate import at_rate
from COFGeneratorLib.jobs.stopwatch import Progress, Stopwatch
from COFGeneratorLib.machine import choose_device

NOTICE = "Synthetic cine, for research use only; not for diagnosis."
MAX_FRAMES = 400
SHORTEST_RECORD_S = 2.5
"""Shorter records can be read and drawn, but the length of the cycle and its regularity are not known from them."""
UNUSED = "Solver and steps change random draws only: this cine is the model's expectation. Ask for --draw or --samples."


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
    draw: bool | None = None,
    ef_percent: float | None = None,
    rvef_percent: float | None = None,
    es_ms: float | None = None,
    hr_bpm: float | None = None,
    in_slices: bool = False,
    progress: Progress | None = None,
) -> Cine:
    """Generate the beating heart of an anchor under an ECG.

    The anchor is the frame at the R wave, or at ``anchor_phase``; time begins at the R wave anyway. The cine is the
    flow's centre, or with ``draw`` a random draw of the flow; with ``samples`` above one, further draws give the spread
    of every read-out.

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
        draw: Whether the cine is a random draw, that of ``seed``; as the bundle says where None.
        ef_percent, rvef_percent, es_ms, hr_bpm: What is known of the heart: ejection fractions of both ventricles, the
            time of end-systole, the heart rate. It is told to the model beside the ECG, and wins where they differ.
        in_slices: Of what volumes and ejection fractions are, told and found, where the stack ends within the
            ventricle: of the contours in the anchor's own slices, as on a recorded cine of them; else of the tissue
            that is seen in the anchor, wherever it moves. On a stack that covers the heart both are the same.
        progress: Called with (stage, done, total).

    Raises:
        EcgError, AnatomyError, BundleError: If an input cannot be used.

    Example:
        >>> from COFGeneratorLib import load_bundle, read_ecg, read_sax
        >>> from COFGeneratorLib.resources import sample_patient
        >>> patient = sample_patient()
        >>> cine = generate(read_sax(patient.anchor), read_ecg(patient.ecg), load_bundle(), frames=4, device="cpu")
        >>> cine.frames.shape[0], bool((cine.frames[0] == cine.anchor.voxels).all())
        (4, True)
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
    stated = Stated(ef_percent, rvef_percent, es_ms, hr_bpm)
    if segmenter is not None:
        bundle = replace(bundle, segmenter=segmenter)
    watch = Stopwatch(progress)
    target = choose_device(device)
    model = bundle.model.to(target)
    if isinstance(bundle.segmenter, Segmenter) and target.type != "mps":  # which lacks some of its operations
        bundle.segmenter.to(target)
    with watch.stage("ecg"):
        cycle = cycle or analyse_ecg(record, beat)
    with watch.stage("anatomy"):
        ready = prepare_anchor(
            anchor, cycle, bundle, labels, target, roi=as_roi(roi), complete=complete_labels, stated=stated,
            end_diastolic=not still, followed=not in_slices,
        )  # fmt: skip
    if hr_bpm is not None:
        cycle = at_rate(cycle, hr_bpm)
    drawn = model.sampler.draw if draw is None else draw
    with watch.stage("motion"):
        begin = at_the_r_wave(model, ready, anchor, frames, still, solver=solver, steps=steps)
        heart = _Heart(model, anchor, cycle, ready, begin=begin, frames=frames, still=still)
        velocity = begin.velocities(
            draws=int(drawn), seed=seed, progress=lambda done, total: watch.report("motion", done, total)
        )
        wanted = ready.drawn_ef(seed) if drawn else ready.wanted_ef
        native = heart.motion(begin.settle(velocity, wanted, model.after.keep_wall, ready.wanted_rvef))
    with watch.stage("warp"):
        cine, hard, curves = moved_anchor(
            anchor,
            ready.labels,
            native,
            followed=ready.followed,
            keep_tissue=model.after.keep_tissue,
            progress=lambda done, total: watch.report("warp", done, total),
        )
    with watch.stage("function"):
        report = heart.report(curves, native.folded_fraction(ready.labels > 0))
        if ready.ef:
            interval = ready.ef.interval_percent if ready.ef.sd else None
            report = replace(
                report, ef_interval_percent=interval, ef_statement=ready.ef.status, ef_notes=ready.ef.notes
            )
    draws: list[FunctionReport] = []
    if samples > 1:
        with watch.stage("samples"):
            for number in range(samples):  # one at a time: memory does not grow with K
                draws.append(heart.drawn(seed + number))
                watch.report("samples", number + 1, samples)
    return Cine(
        frames=cine,
        time_ms=heart.time_ms,
        rr_ms=cycle.rr_ms,
        anchor=anchor,
        motion=native,
        labels=hard,
        labels_from=ready.labels_from,
        function=report,
        record=record,
        cycle=cycle,
        provenance=_provenance(
            heart,
            record,
            bundle,
            watch,
            solver=solver,
            steps=steps,
            samples=samples,
            seed=seed,
            device=str(target),
            drawn=drawn,
            stated=stated,
        ),
        samples=tuple(draws),
    )


@dataclass(frozen=True)
class _Heart:
    """An anchor with all that moves it, and how its motion is measured."""

    model: MotionModel
    anchor: SaxStack
    cycle: EcgCycle
    ready: Conditioned
    begin: RWave
    frames: int
    still: int

    @property
    def time_ms(self) -> np.ndarray:
        """(T,) time from the R wave, ms."""
        return np.arange(self.frames) / self.frames * self.cycle.rr_ms

    def motion(self, velocity: torch.Tensor) -> NativeMotion:
        """Return the motion of velocities (T, 3, D, H, W) on the anchor's grid."""
        return native_motion(self.model, velocity, self.begin.ready, self.anchor, self.frames, self.still)

    def report(self, curves: VolumeCurves, folded_fraction: float) -> FunctionReport:
        """Return the function of the volumes of all frames."""
        return report_from_curves(
            curves,
            self.time_ms,
            self.cycle.rr_ms,
            self.cycle.hr_bpm,
            labels_from=self.ready.labels_from,
            folded_fraction=folded_fraction,
        )

    def drawn(self, seed: int) -> FunctionReport:
        """Return the function of one random draw; whether it folds is not looked at."""
        velocity = self.begin.velocities(draws=1, seed=seed)
        settled = self.begin.settle(velocity, self.ready.drawn_ef(seed), False, self.ready.wanted_rvef)
        motion = self.motion(settled)
        curves = curves_from_sums(
            volume_sums(motion, self.ready.labels, followed=self.ready.followed), self.anchor.ijk_to_ras
        )
        return self.report(curves, float("nan"))


def _provenance(
    heart: _Heart,
    record: EcgRecord,
    bundle: Bundle,
    watch: Stopwatch,
    *,
    solver: str | None,
    steps: int | None,
    samples: int,
    seed: int,
    device: str,
    drawn: bool,
    stated: Stated,
) -> dict[str, Any]:
    anchor, cycle, ready, model = heart.anchor, heart.cycle, heart.ready, heart.model
    phase = heart.still / heart.frames
    estimated = (ESTIMATED.format(percent=100.0 * phase),) if phase else ()
    told = "told to the model" if model.any_anchor else "the R wave estimated from it"
    doubts = ready.ef.doubts if ready.ef else ()
    unused = (UNUSED,) if (solver or steps) and samples == 1 and not drawn and model.has_centre else ()
    return provenance(
        record,
        bundle,
        notice=NOTICE,
        anchor_sha256=anchor.source_sha256 or sha256_of_array(anchor.voxels),
        labels_from=ready.labels_from,
        segmenter=getattr(bundle.segmenter, "described", None) if "segmenter" in ready.labels_from else None,
        labels_sha256=sha256_of_array(ready.labels),
        heart_centre_ras_mm=[round(float(v), 1) for v in ready.frame.origin_ras],
        roi=None if ready.roi is None else ready.roi.described(),
        mirrored=ready.frame.mirrored,
        anchor_frame=anchor.frame,
        anchor_phase=f"{phase:g} of the R–R interval, {told}" if phase else "taken as the frame at the R wave",
        anchor_phase_fraction=phase,
        ecg_beat=int(cycle.representative),
        cine="draw" if drawn else "centre",
        stated={name: value for name, value in asdict(stated).items() if value is not None},
        seed=seed,
        samples=samples,
        solver=solver or model.sampler.solver,
        steps=steps or model.sampler.steps,
        device=device,
        seconds=watch.seconds,
        warnings=[*anchor.warnings, *ready.warnings, *record.warnings, *cycle.warnings, *estimated, *unused, *doubts],
    )
