"""The job of this engine: a 12-lead ECG in, a cine of one plane of a synthetic heart out."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.bundle import ENGINE
from COFGeneratorLib.ecgflowcmr.cycles import Cycles
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.ecgflowcmr.read_outs import NOTICE, PlaneReport, measure_plane
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.provenance import provenance
from COFGeneratorLib.jobs.stopwatch import Progress, Stopwatch
from COFGeneratorLib.machine import choose_device

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
    progress: Progress | None = None,
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
    target, watch = choose_device(device), Stopwatch()
    model = bundle.model.to(target)
    segmenter = None if bundle.segmenter is None else bundle.segmenter.to(target)
    tell("ecg", 0, 1)
    with watch.stage("ecg"):
        cycle = analyse_ecg(record)
        tokens, scalars, found = model.read([record])
        rr_ms = float(np.median(found[0].rr_ms))
        notes = list(_cross_check(found[0], cycle.r_peaks_s * 1000.0))

    films: list[torch.Tensor] = []
    reports: list[PlaneReport] = []
    labels = None
    options = {"alpha": alpha, "guidance": guidance, "steps": steps, "solver": solver}
    for draw in range(samples):
        with watch.stage("flow"):
            latent = model.draw(
                tokens, scalars, segmenter, seed=seed + draw, **options,
                progress=lambda done, total, draw=draw: tell("flow", done + draw * total, total * samples),
            )  # fmt: skip
        with watch.stage("decode"):
            film = model.decode(latent, frames)
        films = films or [film]  # the first is the cine
        if segmenter is not None:
            marked, areas = segmenter.segment(film)
            labels = marked[0] if labels is None else labels
            reports.append(measure_plane(areas[0], model.grid.pixel_mm, rr_ms, model.grid.plane))
    grey = np.rint(films[0][0].cpu().numpy() * GREY_LEVELS).astype(np.float32)[:, None]
    anchor = SaxStack(grey[0], plane_ijk_to_ras(model.grid), warnings=(NOTICE,))
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
        provenance=provenance(
            record,
            bundle,
            notice=NOTICE,
            engine=ENGINE,
            anatomy="synthetic: not the patient's",
            cycles=len(found[0]),
            cycle_rr_ms=[round(float(value), 1) for value in found[0].rr_ms],
            seed=seed,
            samples=samples,
            **sampler,
            device=str(target),
            seconds=watch.seconds,
            warnings=[NOTICE, *notes, *record.warnings],
        ),
        plane=reports[0] if reports else None,
        plane_draws=tuple(reports) if samples > 1 else (),
    )


def plane_ijk_to_ras(grid: PlaneGrid) -> np.ndarray:
    """Return (4, 4) ijk → RAS of the plane, centred on the origin: a convention, nobody's geometry."""
    columns, rows = (np.array(axis) for axis in AXES_RAS[grid.plane])
    columns /= np.linalg.norm(columns)
    rows -= columns * (columns @ rows)
    rows /= np.linalg.norm(rows)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([columns * grid.pixel_mm, rows * grid.pixel_mm, np.cross(columns, rows) * 8.0], axis=1)
    matrix[:3, 3] = -(matrix[:3, 0] + matrix[:3, 1]) * (grid.size - 1) / 2
    return matrix


def _cross_check(cycles: Cycles, r_peaks_ms: np.ndarray) -> Iterator[str]:
    """Say where the phase head's boundaries and the R detector disagree."""
    away = np.abs(cycles.r_ms[:, None] - r_peaks_ms[None]).min(axis=1)
    share = float((away > R_DISAGREEMENT_MS).mean())
    if share > 0.1:
        yield (
            f"{100 * share:.0f} % of the cycle boundaries lie more than {R_DISAGREEMENT_MS:.0f} ms from an R peak "
            f"(largest {away.max():.0f} ms): the timing of this cine is doubtful."
        )
