"""The held-out comparison on phantom subjects: every arm on the same cases, and the bars that the product must hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.function import FunctionReport
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.counterfactuals import FRAMES, heart_rate_shift, infarct_territories
from COFTrainingLib.evaluation.metrics.function import circular
from COFTrainingLib.evaluation.statistics import known_mean
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.studies.heldout.arms import (
    DRAW,
    DRAW_OF_20,
    MAIN,
    NO_FACTOR,
    NULL,
    POPULATION,
    SHUFFLED,
    velocity_arms,
)
from COFTrainingLib.training.motion.trial import measure, move, prepared

BARS = {
    "ef_ratio_to_constant": ("<=", 0.45),
    "ef_ratio_to_constant_no_factor": ("<=", 0.75),
    "curve_ratio_to_population": ("<=", 0.40),
    "ef_abs_bias_points": ("<=", 1.5),
    "es_error_frames": ("<=", 0.4),
    "few_steps_ef_change": ("<=", 0.05),
    "few_steps_curve_change": ("<=", 0.05),
    "few_steps_es_change": ("<=", 0.05),
    "few_steps_spread_change": ("<=", 0.05),
    "ef_wins_over_null_of_64": (">=", 48),
    "es_wins_over_null_of_64": (">=", 54),
    "ef_ratio_to_best_without_ecg": ("<=", 0.70),
    "ef_cost_of_shuffled_ecg": (">=", 1.8),
    "folded_percent": ("<=", 0.02),
}
COUNTERFACTUAL_BARS = {
    "hr_shift_error_frames": ("<=", 1.5),
    "infarct_anterior_share": (">=", 0.6),
    "infarct_inferior_share": (">=", 0.6),
    "infarct_lateral_share": (">=", 0.6),
}


@dataclass(frozen=True)
class Errors:
    """Errors of one arm over all cases, (N,) each: EF in points (signed), ES in frames of 50, curve RMSE in mL."""

    ef: np.ndarray
    es: np.ndarray
    es_argmin: np.ndarray
    rmse: np.ndarray
    ef_found: np.ndarray
    folded: np.ndarray

    def row(self) -> dict[str, float]:
        """Return the means of the table."""
        return {
            "ef_mae_points": float(np.abs(self.ef).mean()),
            "ef_bias_points": float(self.ef.mean()),
            "es_error_frames": known_mean(self.es),
            "es_argmin_error_frames": known_mean(self.es_argmin),
            "curve_rmse_ml": float(self.rmse.mean()),
            "folded_percent": 100 * float(self.folded.mean()),
        }


def run_heldout(
    bundle: Bundle,
    population: torch.Tensor,
    subjects: int,
    seed: int,
    progress: Callable[[str], None] = lambda text: None,
    other: Bundle | None = None,
) -> dict[str, Any]:
    """Run all arms on held-out subjects seed … seed + subjects − 1.

    ``other`` is a second model that is shown beside the first.

    Returns:
        ``arms`` (name → row of means), ``summary`` (the figures that have bars), ``errors`` (name → Errors), ``truth``.
    """
    cases = [draw_case(seed + n) for n in range(subjects)]
    progress(f"drew {subjects} held-out subjects, seeds {seed}…{seed + subjects - 1}")
    shuffled = {case.subject.seed: cases[(n + subjects // 2) % subjects] for n, case in enumerate(cases)}
    arms = velocity_arms(bundle, population, shuffled, seed, other)
    collected: dict[str, list[tuple[float, ...]]] = {name: [] for name in arms}
    truths: list[FunctionReport] = []
    covered: list[bool] = []
    for count, case in enumerate(cases, start=1):
        truth = case.true_function(FRAMES)
        truths.append(truth)
        ready = {id(one): prepared(one, case) for one in (bundle, other) if one is not None}
        if stated := ready[id(bundle)].ef:
            low, high = stated.interval_percent
            covered.append(low <= truth.ef_percent <= high)
        for name, arm in arms.items():
            heart = ready[id(arm.bundle)]
            velocity, wanted_ef = arm.velocities(case, heart)
            native = move(arm.bundle, case, heart, velocity, FRAMES, keep_wall=arm.keep_wall, wanted_ef=wanted_ef)
            rr_ms = case.cycle.rr_ms if name != SHUFFLED else shuffled[case.subject.seed].cycle.rr_ms
            found = measure(case, native, FRAMES, rr_ms, folded=name == MAIN)
            collected[name].append(_compare(found, truth))
        progress(f"{count}/{subjects}")
    errors = {name: Errors(*np.array(values, dtype=float).T) for name, values in collected.items()}
    truth_ef = np.array([truth.ef_percent for truth in truths])
    return {
        "arms": {name: error.row() for name, error in errors.items()},
        "summary": _summarise(errors, truth_ef) | _coverage(covered),
        "errors": errors,
        "truth": truths,
        "cases": cases,
    }


def _compare(found: FunctionReport, truth: FunctionReport) -> tuple[float, ...]:
    """Return the errors of one case; curves are compared frame by frame over one cycle."""
    frame = FRAMES / found.rr_ms
    es = circular(found.es_time_ms * frame, truth.es_time_ms * FRAMES / truth.rr_ms, FRAMES)
    return (
        found.ef_percent - truth.ef_percent,
        es,
        circular(found.es_argmin_frame, truth.es_argmin_frame, FRAMES),
        float(np.sqrt(np.mean((found.lv_volume_ml - truth.lv_volume_ml) ** 2))),
        found.ef_percent,
        found.folded_fraction,
    )


def _summarise(errors: dict[str, Errors], truth_ef: np.ndarray) -> dict[str, float]:
    """Return the figures that have bars. Wins are scaled to 64 subjects where N differs."""
    main, null = errors[MAIN], errors[NULL]
    constant = float(np.abs(truth_ef - np.median(truth_ef)).mean())
    # the null's own bias must not flatter the gain, so it is compared after its median error is taken off, too
    unbiased = float(np.abs(null.ef - np.median(null.ef)).mean())
    best = min(float(np.abs(null.ef).mean()), unbiased, constant)
    mae = float(np.abs(main.ef).mean())
    scale = 64 / len(main.ef)
    return {
        "ef_mae_points": mae,
        "ef_abs_bias_points": abs(float(main.ef.mean())),
        "curve_rmse_ml": float(main.rmse.mean()),
        "ef_ratio_to_constant": mae / constant,
        "ef_ratio_to_constant_no_factor": float(np.abs(errors[NO_FACTOR].ef).mean()) / constant,
        "curve_ratio_to_population": float(main.rmse.mean() / errors[POPULATION].rmse.mean()),
        **_few_steps(errors),
        "es_error_frames": float(np.nanmean(main.es)),
        "ef_wins_over_null_of_64": float((np.abs(main.ef) < np.abs(null.ef)).sum() * scale),
        "es_wins_over_null_of_64": float((main.es < null.es).sum() * scale),
        "ef_constant_mae_points": constant,
        "ef_null_unbiased_mae_points": unbiased,
        "ef_ratio_to_best_without_ecg": mae / best,
        "ef_cost_of_shuffled_ecg": float(np.abs(errors[SHUFFLED].ef).mean()) / mae,
        "ef_correlation": float(np.corrcoef(main.ef_found, truth_ef)[0, 1]),
        "folded_percent": 100 * float(main.folded.mean()),
    }


def _few_steps(errors: dict[str, Errors]) -> dict[str, float]:
    """Return the relative change of errors, and of the draws' distance from the centre, from 20 steps to 4."""
    few, many, centre = errors[DRAW], errors[DRAW_OF_20], errors[MAIN]

    def change(of: Callable[[Errors], float]) -> float:
        return abs(of(few) / of(many) - 1.0)

    return {
        "few_steps_ef_change": change(lambda error: float(np.abs(error.ef).mean())),
        "few_steps_curve_change": change(lambda error: float(error.rmse.mean())),
        "few_steps_es_change": change(lambda error: known_mean(error.es)),
        "few_steps_spread_change": change(lambda error: float(np.sqrt(np.mean((error.ef - centre.ef) ** 2)))),
    }


def _coverage(covered: list[bool]) -> dict[str, float]:
    """Return how often the stated 90 % interval holds the true EF; nothing for a model that states none."""
    return {"ef_interval_coverage_percent": 100 * float(np.mean(covered))} if covered else {}


def run_counterfactuals(bundle: Bundle, subjects: int, seed: int) -> dict[str, float]:
    """Return the figures of counterfactual ECGs, which have bars of their own."""
    with torch.inference_mode():
        return {**heart_rate_shift(bundle, subjects, seed), **infarct_territories(bundle, subjects, seed)}


def failed_bars(summary: dict[str, float], bars: dict[str, tuple[str, float]] = BARS) -> list[str]:
    """Return which bars a summary misses, in words."""
    missed = []
    for name, (sign, bar) in bars.items():
        value = summary[name]
        if not (value <= bar if sign == "<=" else value >= bar):
            missed.append(f"{name} is {value:.3g}, must be {sign} {bar:g}")
    return missed
