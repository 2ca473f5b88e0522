"""Means over hearts and groups, the bars that the product must hold, and the tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from COFTrainingLib.evaluation.statistics import known_mean
from COFTrainingLib.studies.real_motion.arms import ARMS, COPY, NORMAL, ORACLE, OWN, RECORDED
from COFTrainingLib.studies.real_motion.run import HeartResult

WEAK_EF_PERCENT = 35.0
DILATED_EDV_ML = 220.0
NORMAL_CURVES = ("NOR", "HCM")
BARS: dict[str, tuple[str, float]] = {
    "own_ef_mae_points": ("<=", 6.0),
    "own_ef_abs_bias_points": ("<=", 3.0),
    "own_weak_ef_abs_bias_points": ("<=", 6.0),
    "oracle_psnr_es_gain_db": (">=", 2.0),
    "oracle_psnr_gain_db": (">=", 1.4),
    "oracle_dice_lv_gain": (">=", 0.10),
    "oracle_dice_wall_gain": (">=", 0.17),
    "oracle_dice_rv_gain": (">=", 0.04),
    "oracle_rv_better_percent": (">=", 75.0),
    "oracle_curve_percent": ("<=", 4.5),
    "oracle_es_error": ("<=", 0.03),
    "asked_ef_error_points": ("<=", 0.5),
    "fewer_slices_ef_change_points": ("<=", 3.0),
    "own_contraction_10_error": ("<=", 0.08),
    "own_contraction_20_error": ("<=", 0.08),
    "own_contraction_90_error": ("<=", 0.08),
    "own_sharpness_es": (">=", 0.90),
    "own_sharpness_first": (">=", 0.98),
    "own_far_change_percent": ("<=", 0.5),
    "dilated_ef_below_normal_points": (">=", 10.0),
    "dilated_noted_percent": (">=", 100.0),
    "segmenter_rv_es": (">=", 0.80),
    "segmenter_rvef_mae_points": ("<=", 10.0),
    "segmenter_wall_abs_percent": ("<=", 10.0),
}
"""Figures of ``summarise`` that have bars; one whose figure is not known (no such hearts, arm left out) is not held."""
COLUMNS = {
    "psnr_es_db": ("PSNR at ES, dB", 1), "psnr_db": ("PSNR, dB", 1), "ssim_es": ("SSIM at ES", 3), "ssim": ("SSIM", 3),
    "dice_lv": ("Dice LV", 3), "dice_wall": ("wall", 3), "dice_rv": ("RV", 3),
    "ef_mae": ("EF MAE", 1), "ef_bias": ("EF bias", 1), "rvef_mae": ("RVEF MAE", 1), "rvef_bias": ("RVEF bias", 1),
    "curve_percent": ("LV curve, % EDV", 1), "es_error": ("ES phase error", 3), "es_bias": ("ES bias", 3),
}  # fmt: skip
FURTHER = {
    "contraction_10": ("contraction at .1", 2), "contraction_20": (".2", 2), "contraction_90": (".9", 2),
    "sharpness_es": ("sharpness at ES", 2), "sharpness_first": ("frame 1", 2), "far_change_percent": ("far, %", 2),
}  # fmt: skip


def means(results: Sequence[HeartResult]) -> dict[str, dict[str, float]]:
    """Return the means of every arm over hearts, with absolute and signed errors of EF and RVEF."""
    found = {}
    for arm in ARMS:
        rows = [result.arms[arm] for result in results if arm in result.arms]
        if not rows:
            continue
        mean = {name: known_mean([row[name] for row in rows]) for name in rows[0]}
        for name in ("ef", "rvef"):
            errors = np.array([row[f"{name}_error_points"] for row in rows])
            mean |= {f"{name}_mae": known_mean(np.abs(errors)), f"{name}_bias": known_mean(errors)}
        found[arm] = mean
    return found


def by_group(results: Sequence[HeartResult]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the means of every arm by group, the groups in the order of the alphabet."""
    groups = sorted({result.heart["group"] for result in results})
    return {group: means([result for result in results if result.heart["group"] == group]) for group in groups}


def summarise(results: Sequence[HeartResult]) -> dict[str, float]:
    """Return the figures that have bars, and a few beside them; NaN where one is not known."""
    weak = [result for result in results if result.heart["ef_percent"] < WEAK_EF_PERCENT]
    usual = means([result for result in results if result.heart["group"] in NORMAL_CURVES])
    mean = means(results)

    def value(table: dict[str, dict[str, float]], arm: str, name: str) -> float:
        return table.get(arm, {}).get(name, float("nan"))

    def gain(name: str) -> float:
        return value(mean, ORACLE, name) - value(mean, COPY, name)

    rv = [
        (result.arms[ORACLE]["dice_rv"] > result.arms[COPY]["dice_rv"])
        for result in results
        if ORACLE in result.arms and COPY in result.arms and np.isfinite(result.arms[COPY]["dice_rv"])
    ]
    asked = [abs(result.arms[ORACLE]["asked_error_points"]) for result in results if ORACLE in result.arms]
    return {
        "own_ef_mae_points": value(mean, OWN, "ef_mae"),
        "own_ef_abs_bias_points": abs(value(mean, OWN, "ef_bias")),
        "own_weak_ef_abs_bias_points": abs(value(means(weak), OWN, "ef_bias")),
        "oracle_psnr_es_gain_db": gain("psnr_es_db"),
        "oracle_psnr_gain_db": gain("psnr_db"),
        **{f"oracle_dice_{name}_gain": gain(f"dice_{name}") for name in ("lv", "wall", "rv")},
        "oracle_rv_better_percent": 100.0 * known_mean(np.array(rv, dtype=float)),
        "oracle_curve_percent": value(mean, ORACLE, "curve_percent"),
        "oracle_es_error": value(mean, ORACLE, "es_error"),
        "asked_ef_error_points": known_mean(asked),
        "fewer_slices_ef_change_points": _extra(results, "ef_change_fewer_slices_points"),
        **{
            f"own_{name}_error": abs(value(usual, OWN, name) - value(usual, RECORDED, name))
            for name in ("contraction_10", "contraction_20", "contraction_90")
        },
        **{f"own_{name}": value(mean, OWN, name) for name in ("sharpness_es", "sharpness_first", "far_change_percent")},
        **_dilated(results),
        "segmenter_rv_es": _extra(results, "segmenter_rv_es", absolute=False),
        "segmenter_rvef_mae_points": _extra(results, "segmenter_rvef_error_points"),
        "segmenter_wall_abs_percent": abs(_extra(results, "segmenter_wall_percent", absolute=False)),
    }


def _extra(results: Sequence[HeartResult], name: str, absolute: bool = True) -> float:
    values = np.array([result.extra.get(name, float("nan")) for result in results])
    return known_mean(np.abs(values) if absolute else values)


def _dilated(results: Sequence[HeartResult]) -> dict[str, float]:
    """Return how much lower EF is in dilated hearts than in normal ones under one normal ECG, and how often it is said.

    What is said of the disagreement is what is said of this anchor under the normal ECG alone: neither under its own,
    nor of a normal heart.
    """
    under = [result for result in results if NORMAL in result.arms]
    dilated = [result for result in under if result.heart["edv_ml"] > DILATED_EDV_ML]
    normal = [result for result in under if result.heart["group"] == "NOR" and result.heart["edv_ml"] <= DILATED_EDV_ML]
    usual = {note for result in normal for note in result.notes[NORMAL]}
    noted = [bool(set(one.notes[NORMAL]) - set(one.notes.get(OWN, ())) - usual) for one in dilated]
    ef = [known_mean([one.arms[NORMAL]["ef_percent"] for one in some]) for some in (normal, dilated)]
    return {
        "dilated_hearts": float(len(dilated)),
        "dilated_ef_below_normal_points": ef[0] - ef[1],
        "dilated_noted_percent": 100.0 * known_mean(np.array(noted, dtype=float)),
    }


def missed_bars(summary: dict[str, float]) -> list[str]:
    """Return which bars a summary misses, in words."""
    missed = []
    for name, (sign, bar) in BARS.items():
        value = summary[name]
        if np.isfinite(value) and not (value <= bar if sign == "<=" else value >= bar):
            missed.append(f"{name} is {value:.3g}, must be {sign} {bar:g}")
    return missed


def table_of(rows: dict[str, dict[str, float]], columns: dict[str, tuple[str, int]], corner: str = "arm") -> str:
    """Return means as a table of Markdown."""
    names = [title for title, _ in columns.values()]
    lines = [f"| {corner} | " + " | ".join(names) + " |", "|" + " --- |" * (len(names) + 1)]
    for name, row in rows.items():
        cells = [f"{row[key]:.{digits}f}" if np.isfinite(row[key]) else "–" for key, (_, digits) in columns.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report_of(results: Sequence[HeartResult]) -> dict[str, Any]:
    """Return everything as JSON values: hearts, means, groups, the figures with bars, and what falls short."""
    summary = summarise(results)
    return _plain({
        "hearts": [{**result.heart, "arms": result.arms, **result.extra} for result in results],
        "means": means(results),
        "groups": by_group(results),
        "summary": summary,
        "bars": BARS,
        "missed": missed_bars(summary),
    })  # fmt: skip


def _plain(value: Any, digits: int = 4) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, digits) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), digits) if np.isfinite(value) else None
    return value
