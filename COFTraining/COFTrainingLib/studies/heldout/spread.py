"""Whether draws are spread as the truth is: coverage of their intervals, and their CRPS beside a constant spread."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.function import measure_regional, report_from_curves, volume_curves
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.networks.grid import hard_labels, label_fractions
from scipy.stats import norm

from COFTrainingLib.evaluation.protocols.calibration import crps, prediction_interval
from COFTrainingLib.phantom.cases import PhantomCase, draw_case
from COFTrainingLib.studies.heldout.arms import asked
from COFTrainingLib.training.motion.trial import move, prepared

DRAWS, FRAMES, LEVEL = 8, 24, 0.9
READ_OUTS = ("esv_ml", "ef_percent", "rvef_percent", "es_frames")
SEGMENTS = "excursion_mm"
VALIDATION_SUBJECTS = 24
"""At most, on which the constant spread of the centre is fitted; they are none of the judged."""
VALIDATION_SEED = 1_950_000
COVERAGE = (85.0, 95.0)


@dataclass(frozen=True)
class ReadOuts:
    """Read-outs of one motion: ``values`` (4,) in the order of ``READ_OUTS``, ``segments`` (17,) excursion, mm."""

    values: np.ndarray
    segments: np.ndarray


def of_motion(case: PhantomCase, ready: Conditioned, native: NativeMotion) -> ReadOuts:
    """Return the read-outs of a motion, from the warped labels of the anchor."""
    moved = native.warp_all(label_fractions(case.labels))
    rr_ms = case.cycle.rr_ms
    report = report_from_curves(
        volume_curves(moved, case.anchor.ijk_to_ras), np.arange(FRAMES) / FRAMES * rr_ms, rr_ms, 60000.0 / rr_ms,
        labels_from="user", folded_fraction=0.0,
    )  # fmt: skip
    es = hard_labels(moved[report.es_frame][None])[0]
    segments = measure_regional(case.labels, es, case.anchor.ijk_to_ras, ready.frame).excursion_mm
    es_frames = 50.0 * report.es_time_ms / rr_ms
    return ReadOuts(np.array([report.esv_ml, report.ef_percent, report.rv_ef_percent, es_frames]), segments)


def of_truth(case: PhantomCase, ready: Conditioned) -> ReadOuts:
    """Return the phantom's own read-outs."""
    truth = case.true_function(50)
    es = case.subject.heart.label_at(case.plan.heart_points(), truth.es_time_ms)
    segments = measure_regional(case.labels, es, case.anchor.ijk_to_ras, ready.frame).excursion_mm
    es_frames = 50.0 * truth.es_time_ms / truth.rr_ms
    return ReadOuts(np.array([truth.esv_ml, truth.ef_percent, truth.rv_ef_percent, es_frames]), segments)


def judge_spread(
    bundle: Bundle, cases: list[PhantomCase], seed: int, progress: Callable[[str], None] = lambda text: None
) -> dict[str, dict[str, float]]:
    """Return for every read-out the coverage of the draws' 90 % intervals, and the CRPS of draws and of the centre.

    The centre is given a Gaussian of constant spread, the RMS of its errors on validation subjects of other seeds.
    A case's draws come one at a time, as ``--samples`` makes them.
    """
    judged = [_of_case(bundle, case, seed, DRAWS) for case in cases]
    progress(f"drew {DRAWS} motions of each of {len(cases)} subjects")
    count = min(VALIDATION_SUBJECTS, len(cases))
    fitted = [_of_case(bundle, draw_case(VALIDATION_SEED + n), seed, 0) for n in range(count)]
    progress(f"fitted the constant spread on {count} subjects, seeds {VALIDATION_SEED}…")
    rows = {}
    for name in (*READ_OUTS, SEGMENTS):
        truth, centre, draws = _columns(name, judged)
        valid_truth, valid_centre, _ = _columns(name, fitted)
        spread = float(np.sqrt(np.mean((valid_centre - valid_truth) ** 2)))
        low, high = prediction_interval(draws, LEVEL)
        rows[name] = {
            "coverage_percent": 100.0 * float(((truth >= low) & (truth <= high)).mean()),
            "width": float((high - low).mean()),
            "crps": float(crps(draws, truth).mean()),
            "crps_constant": float(gaussian_crps(centre, spread, truth).mean()),
            "centre_rmse": float(np.sqrt(np.mean((centre - truth) ** 2))),
            "draw_sd": float(np.sqrt(draws.var(axis=1, ddof=1).mean())),
        }
    return rows


def gaussian_crps(mean: np.ndarray, sd: float, truth: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of N(mean, sd²) for each truth (Gneiting & Raftery 2007)."""
    z = (truth - mean) / sd
    return sd * (z * (2.0 * norm.cdf(z) - 1.0) + 2.0 * norm.pdf(z) - 1.0 / np.sqrt(np.pi))


def bars_of(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the figures that have bars, by name."""
    figures = {}
    for name, row in rows.items():
        figures[f"coverage_{name}_off_90"] = abs(row["coverage_percent"] - 90.0)
        figures[f"crps_{name}_ratio"] = row["crps"] / row["crps_constant"]
    return figures


BARS = {
    **{f"coverage_{name}_off_90": ("<=", 5.0) for name in (*READ_OUTS, SEGMENTS)},
    **{f"crps_{name}_ratio": ("<=", 1.0) for name in (*READ_OUTS, SEGMENTS)},
}


def _of_case(bundle: Bundle, case: PhantomCase, seed: int, draws: int) -> tuple[ReadOuts, ReadOuts, list[ReadOuts]]:
    """Return truth, centre and draws of one case."""
    ready = prepared(bundle, case)

    def found(draw: int | None) -> ReadOuts:
        count, own = (0, 0) if draw is None else (1, seed + 1_000 * (draw + 1))
        velocity, wanted = asked(bundle, lambda case: case.cycle, draws=count, seed=own)(case, ready)
        return of_motion(case, ready, move(bundle, case, ready, velocity, FRAMES, wanted_ef=wanted))

    with torch.inference_mode():
        return of_truth(case, ready), found(None), [found(draw) for draw in range(draws)]


def _columns(
    name: str, cases: list[tuple[ReadOuts, ReadOuts, list[ReadOuts]]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truths (N,), centres (N,) and draws (N, K) of one read-out, where all of them are known."""

    def values(read: ReadOuts) -> np.ndarray:
        return read.segments if name == SEGMENTS else read.values[[READ_OUTS.index(name)]]

    truth = np.concatenate([values(true) for true, _, _ in cases])
    centre = np.concatenate([values(middle) for _, middle, _ in cases])
    draws = np.concatenate(
        [np.stack([values(read) for read in drawn or [middle]], axis=1) for _, middle, drawn in cases]
    )
    known = np.isfinite(truth) & np.isfinite(centre) & np.isfinite(draws).all(axis=1)
    return truth[known], centre[known], draws[known]
