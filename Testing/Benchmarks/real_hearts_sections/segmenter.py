"""Zero-shot overlap with expert and machine labels on the native grid, and the volumes that follow."""

import importlib.util
import time
from pathlib import Path

import numpy as np

_spec = importlib.util.spec_from_file_location("real_hearts_common", Path(__file__).with_name("_common.py"))
_common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_common)

NAME = "segmenter"
BARS = {
    "lv": 0.88, "myo": 0.70, "rv": 0.72, "edv_percent": 12.0,  # of every case held to bars
    "mean_rv_es": 0.80, "mean_rvef_points": 10.0, "mean_wall_percent": 10.0,  # of those with expert labels at ED and ES
}  # fmt: skip
EXPERTS = "acdc-"
BARRED = ("autofd", "acdc")
"""Cases with expert-grade contours of all three structures are held to the bars; machine-made ones are reported."""


def measure(cases, options):
    """Return one row a labelled phase, and the rows below the bars."""
    segmenter = _common.load_segmenter(options)
    rows, short = [], []
    print(f"{'case':12s} {'phase':5s}   LV   myo    RV   LV volume mL (truth)  coarse LV  confidence   s")
    for case in cases:
        for phase in _common.phases(case):
            row, sheet = _row(segmenter, case, phase)
            rows.append(row)
            print(_line(row))
            short += _below(row)
            if options.figures:
                _draw(options.figures / f"segmenter-{row['case']}-{phase}.png", *sheet)
    held = [row for row in rows if row["held_to_bars"] and "lv" in row]
    names = _common.NAMES.values() if held else ()
    means = {name: round(float(np.nanmean([row[name] for row in held])), 3) for name in names}
    print("mean of the cases held to bars:", means)
    volumes, missed = _volumes([row for row in held if row["case"].startswith(EXPERTS)])
    return {"rows": rows, "means": means, "volumes": volumes}, short + missed


def _volumes(rows):
    """Return errors of ejection fractions and wall over hearts with both phases, and the bars that they miss."""
    by_heart = {}
    for row in rows:
        by_heart.setdefault(row["case"], {})[row["phase"]] = row
    hearts = [phases for phases in by_heart.values() if {"ed", "es"} <= set(phases)]
    if not hearts:
        return {}, []

    def ef_error(phases, name):
        found, truth = (100 * (1 - phases["es"][of][name] / phases["ed"][of][name]) for of in ("found_ml", "true_ml"))
        return found - truth

    wall = np.array([[100 * (one[p]["found_ml"]["myo"] / one[p]["true_ml"]["myo"] - 1) for p in ("ed", "es")]
                     for one in hearts])  # fmt: skip
    errors = {name: np.array([ef_error(phases, name) for phases in hearts]) for name in ("lv", "rv")}
    out = {"hearts": len(hearts), "rv_es": float(np.mean([one["es"]["rv"] for one in hearts])),
           "wall_percent_ed": float(wall[:, 0].mean()), "wall_percent_es": float(wall[:, 1].mean())}  # fmt: skip
    for name, error in errors.items():
        out |= {f"{name}ef_mae_points": float(np.abs(error).mean()), f"{name}ef_bias_points": float(error.mean())}
    out = {name: round(value, 3) for name, value in out.items()}
    print("hearts with expert labels at ED and ES:", out)
    short = []
    if out["rv_es"] < BARS["mean_rv_es"]:
        short.append(f"mean RV Dice at ES {out['rv_es']:.3f} < {BARS['mean_rv_es']}")
    if out["rvef_mae_points"] > BARS["mean_rvef_points"]:
        short.append(f"RVEF off by {out['rvef_mae_points']:.1f} points on average > {BARS['mean_rvef_points']}")
    for phase in ("ed", "es"):
        if abs(out[f"wall_percent_{phase}"]) > BARS["mean_wall_percent"]:
            short.append(f"mean wall volume at {phase.upper()} off by {out[f'wall_percent_{phase}']:+.1f} %")
    return out, short


def _row(segmenter, case, phase):
    stack, truth = _common.read_phase(case, phase)
    row = {"case": case["name"], "phase": phase, "held_to_bars": case["name"].startswith(BARRED)}
    start = time.perf_counter()
    try:
        found = segmenter.segment(stack)
    except ValueError as error:
        return {**row, "error": str(error)}, (stack, truth, np.zeros_like(truth))
    row["wall_s"] = round(time.perf_counter() - start, 2)
    for code, name in _common.NAMES.items():
        row[name] = _common.dice(found.labels, truth, code) if name in case["label_map"] else float("nan")
    volume = stack.voxel_volume_ml
    row |= {"volume_ml": float((found.labels == 1).sum() * volume), "truth_ml": float((truth == 1).sum() * volume)}
    for of, labels in (("found_ml", found.labels), ("true_ml", truth)):
        row[of] = {name: float((labels == code).sum() * volume) for code, name in _common.NAMES.items()}
    row["volume_error_percent"] = 100 * (row["volume_ml"] / row["truth_ml"] - 1)
    row["confidence"] = found.confidence
    row["coarse_lv"] = _common.dice(_coarse(segmenter, stack), truth, 1)
    return row, (stack, truth, found.labels)


def _coarse(segmenter, stack):
    """Return the labels of the coarse pass alone: the alternative without a fine network."""
    return segmenter._coarse_pass(stack).argmax(axis=0)


def _line(row):
    if "error" in row:
        return f"{row['case']:12s} {row['phase']:5s} refused: {row['error'][:90]}"
    return (
        f"{row['case']:12s} {row['phase']:5s} {row['lv']:5.3f} {row['myo']:5.3f} {row['rv']:5.3f}   "
        f"{row['volume_ml']:6.1f} ({row['truth_ml']:5.1f}) {row['volume_error_percent']:+6.1f} %   "
        f"{row['coarse_lv']:5.3f}     {row['confidence']:5.3f}   {row['wall_s']:5.2f}"
    )


def _below(row):
    if not row["held_to_bars"]:
        return []
    where = f"{row['case']} {row['phase'].upper()}"
    if "error" in row:
        return [f"{where} was refused"]
    names = [name for name in _common.NAMES.values() if row[name] < BARS[name]]
    out = [f"{where} {name} Dice {row[name]:.3f} < {BARS[name]}" for name in names]
    if row["phase"] == "ed" and abs(row["volume_error_percent"]) > BARS["edv_percent"]:
        out.append(f"{where} LVEDV off by {row['volume_error_percent']:+.1f} %")
    return out


def _draw(path, stack, truth, found):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    depth = stack.shape[0]
    columns = min(depth, 6)
    rows = int(np.ceil(depth / columns))
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 3 * rows), squeeze=False)
    j, i = np.nonzero((truth > 0).any(axis=0))
    window = (slice(max(j.min() - 25, 0), j.max() + 25), slice(max(i.min() - 25, 0), i.max() + 25))
    top = np.percentile(stack.voxels[:, window[0], window[1]], 99.3)
    for axis in axes.ravel():
        axis.axis("off")
    for k in range(depth):
        axis = axes.ravel()[k]
        axis.imshow(stack.voxels[k][window], cmap="gray", vmin=0, vmax=top)
        for code, colour in ((1, "tab:red"), (2, "tab:cyan"), (3, "gold")):
            for labels, style in ((found, "-"), (truth, ":")):
                if (labels[k][window] == code).any():
                    axis.contour(labels[k][window] == code, [0.5], colors=colour, linestyles=style, linewidths=1.0)
    figure.tight_layout(pad=0.1)
    figure.savefig(path, dpi=60)
    plt.close(figure)
