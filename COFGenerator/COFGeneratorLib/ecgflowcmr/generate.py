"""The job of this engine: a 12-lead ECG in, a cine of one plane of a synthetic heart out."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.cycles import Cycles
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.ecgflowcmr.read_outs import NOTICE, PlaneReport, measure_plane
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.cine import Cine
from COFGeneratorLib.machine import choose_device, versions

MAX_FRAMES = 400
GREY_LEVELS = 1000.0
R_DISAGREEMENT_MS = 40.0
AXES_RAS = {
    "sax": ((-0.75, -0.65, 0.10), (0.33, -0.50, -0.79)),
    "four-chamber": ((-0.75, -0.65, 0.10), (0.62, -0.52, 0.59)),
}
"""Directions of columns and rows in RAS as such planes usually lie in a patient: a convention, nobody's geometry."""


@dataclass(frozen=True)
class PlaneCine(Cine):
    """A cine of one plane: ``motion`` and ``function`` are None; ``plane`` holds what the plane tells, or None."""

    plane: PlaneReport | None = None
    plane_draws: tuple[PlaneReport, ...] = ()


def generate_from_ecg(
    record: EcgRecord,
    bundle: Bundle,
    *,
    frames: int | None = None,
    solver: str | None = None,
    steps: int | None = None,
    samples: int = 1,
    seed: int = 0,
    alpha: float | None = None,
    guidance: float | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> PlaneCine:
    """Generate a cine from an ECG alone. The anatomy is drawn, not the patient's.

    Args:
        record: The 12-lead ECG.
        bundle: From ``load_ecgflow_bundle``.
        frames: Frames of one R–R; the model's own where None.
        solver, steps, alpha, guidance: Of the sampler; the model's own where None.
        samples: Draws; the first is the cine, all give the spread of the read-outs.
        seed: Of the first draw; the k-th has seed + k.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        progress: Called with (stage, done, total).

    Raises:
        EcgError, BundleError, FunctionError: If an input cannot be used or nothing usable came out.
    """
    if samples < 1 or not (frames is None or 4 <= frames <= MAX_FRAMES):
        raise BundleError(f"Frames must be 4–{MAX_FRAMES} and samples at least 1; found {frames} and {samples}.")
    tell = progress or (lambda stage, done, total: None)
    target, seconds = choose_device(device), {}
    model = bundle.model.to(target)
    begin = time.perf_counter()
    tell("ecg", 0, 1)
    cycle = analyse_ecg(record)
    tokens, scalars, found = model.read([record])
    rr_ms = float(np.median(found[0].rr_ms))
    notes = list(_cross_check(found[0], cycle.r_peaks_s * 1000.0))
    seconds["ecg"] = time.perf_counter() - begin

    reports, first, labels = [], None, None
    options = {"alpha": alpha, "guidance": guidance, "steps": steps, "solver": solver}
    for draw in range(samples):
        begin = time.perf_counter()
        segmenter = None if bundle.segmenter is None else bundle.segmenter.to(target)
        latent = model.draw(
            tokens, scalars, segmenter, seed=seed + draw, **options,
            progress=lambda done, total, draw=draw: tell("flow", done + draw * total, total * samples),
        )  # fmt: skip
        seconds["flow"] = seconds.get("flow", 0.0) + time.perf_counter() - begin
        begin = time.perf_counter()
        film = model.decode(latent, frames)
        seconds["decode"] = seconds.get("decode", 0.0) + time.perf_counter() - begin
        if first is None:
            first = film
        if segmenter is not None:
            marked, areas = segmenter.segment(film)
            labels = marked[0] if labels is None else labels
            reports.append(measure_plane(areas[0], model.grid.pixel_mm, rr_ms, model.grid.plane))
    grey = np.rint(first[0].cpu().numpy() * GREY_LEVELS).astype(np.float32)[:, None]
    anchor = SaxStack(grey[0], plane_geometry(model.grid), warnings=(NOTICE,))
    sampler = {name: value if value is not None else getattr(model.defaults, name) for name, value in options.items()}
    return PlaneCine(
        frames=grey,
        time_ms=np.arange(len(grey)) / len(grey) * rr_ms,
        rr_ms=rr_ms,
        anchor=anchor,
        motion=None,
        labels=None if labels is None else labels[:, None],
        labels_from="none" if labels is None else "plane segmenter",
        function=None,
        record=record,
        cycle=cycle,
        provenance=_provenance(record, bundle, found[0], sampler, seed, samples, target, seconds, notes),
        plane=reports[0] if reports else None,
        plane_draws=tuple(reports) if samples > 1 else (),
    )


def plane_geometry(grid: PlaneGrid) -> np.ndarray:
    """Return (4, 4) ijk → RAS of the plane, centred on the origin: a convention, nobody's geometry."""
    columns, rows = (np.array(axis) for axis in AXES_RAS[grid.plane])
    columns /= np.linalg.norm(columns)
    rows -= columns * (columns @ rows)
    rows /= np.linalg.norm(rows)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([columns * grid.pixel_mm, rows * grid.pixel_mm, np.cross(columns, rows) * 8.0], axis=1)
    matrix[:3, 3] = -(matrix[:3, 0] + matrix[:3, 1]) * (grid.size - 1) / 2
    return matrix


def _cross_check(cycles: Cycles, r_peaks_ms: np.ndarray):
    """Say where the phase head's boundaries and the R detector disagree."""
    away = np.abs(cycles.r_ms[:, None] - r_peaks_ms[None]).min(axis=1)
    share = float((away > R_DISAGREEMENT_MS).mean())
    if share > 0.1:
        yield (
            f"{100 * share:.0f} % of the cycle boundaries lie more than {R_DISAGREEMENT_MS:.0f} ms from an R peak "
            f"(largest {away.max():.0f} ms): the timing of this cine is doubtful."
        )


def _provenance(record, bundle, cycles, sampler, seed, samples, device, seconds, notes) -> dict[str, Any]:
    return {
        "synthetic": True,
        "engine": "ecgflowcmr",
        "anatomy": "synthetic: not the patient's",
        "notice": NOTICE,
        "model": bundle.model_id,
        "weights_sha256": bundle.weights_sha256,
        "ecg_sha256": record.source_sha256 or hashlib.sha256(record.signal_mv.tobytes()).hexdigest(),
        "cycles": len(cycles),
        "cycle_rr_ms": [round(float(value), 1) for value in cycles.rr_ms],
        "seed": seed,
        "samples": samples,
        **sampler,
        "device": str(device),
        "versions": versions(),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "warnings": [NOTICE, *notes, *record.warnings],
    }
