"""What it costs that an anchor was not taken at the R wave, with and without saying so, on phantoms of known motion.

    python Testing/Benchmarks/anchor_phase.py [--subjects 12] [--seed 7000000] [--bundle FOLDER] [--json FILE]

Each subject's exact labels at several phases of the beat are the anchor's in turn. Measured are the ejection fraction
and the end-diastolic volume against the closed form, and the labels of the frame at the R wave against the true ones:
with the phase said (``--anchor-phase``), and with the anchor taken for the frame at the R wave.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]

FRAMES = 20
PHASES = (0.0, 0.15, 0.6, 0.8)
HEADER = "| anchor at | said | EF MAE | EF bias | EDV MAE, % | EDV bias, % | Dice at R: LV | wall | RV | folds, % |"
STRUCTURES = ("lv", "myo", "rv")


def dice(found: np.ndarray, true: np.ndarray, code: int) -> float:
    """Return the overlap of one structure, NaN where there is none."""
    total = (found == code).sum() + (true == code).sum()
    return float(2.0 * ((found == code) & (true == code)).sum() / total) if total else float("nan")


def generated(bundle, stack, labels, cycle, still: int):
    """Return the function of a generated cine and the labels of its frame at the R wave."""
    import torch
    from COFGeneratorLib.function import report_from_curves, volume_curves
    from COFGeneratorLib.generator.conditioned import prepare_anchor
    from COFGeneratorLib.generator.native import native_motion
    from COFGeneratorLib.generator.networks.grid import label_fractions, moved_labels
    from COFGeneratorLib.generator.r_wave import at_the_r_wave

    model, ready = bundle.model, prepare_anchor(stack, cycle, bundle, labels, torch.device("cpu"))
    begin = at_the_r_wave(model, ready, stack, FRAMES, still)
    velocity = begin.settle(begin.velocities(), ready.wanted_ef)
    native = native_motion(model, velocity, begin.ready, stack, FRAMES, still)
    moved = native.warp_all(label_fractions(labels))
    report = report_from_curves(
        volume_curves(moved, stack.ijk_to_ras), np.arange(FRAMES) / FRAMES * cycle.rr_ms, cycle.rr_ms, cycle.hr_bpm,
        labels_from="user", folded_fraction=native.folded_fraction(labels > 0),
    )  # fmt: skip
    return report, moved_labels(moved, labels, still)[0]


def measure(bundle, case, frame: int) -> list[dict]:
    """Return the rows of one subject whose anchor is one frame: told, and not told."""
    from COFGeneratorLib.anatomy.stack import SaxStack

    truth, rr_ms = case.true_function(FRAMES), case.subject.physiology.rr_ms
    labels = case.subject.heart.label_at(case.plan.heart_points(), frame / FRAMES * rr_ms)
    stack = SaxStack(labels.astype(np.float32), case.anchor.ijk_to_ras)
    rows = []
    for told in (True, False) if frame else (True,):
        report, first = generated(bundle, stack, labels, case.cycle, frame if told else 0)
        rows.append({
            "told": told,
            "ef_error": report.ef_percent - truth.ef_percent,
            "edv_percent": 100.0 * (report.edv_ml / truth.edv_ml - 1.0),
            "folded_percent": 100.0 * report.folded_fraction,
            **{name: dice(first, case.labels, code) for code, name in enumerate(STRUCTURES, start=1)},
        })  # fmt: skip
    return rows


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=None, help="model bundle (default: the one that ships)")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7_000_000)
    parser.add_argument("--phases", type=float, nargs="*", default=PHASES, help="beside end-systole")
    parser.add_argument("--json", type=Path, help="keep the figures")
    asked = parser.parse_args()
    from COFGeneratorLib.generator import load_bundle
    from COFGeneratorLib.resources import default_bundle
    from COFTrainingLib.phantom.cases import draw_case

    bundle, found = load_bundle(asked.bundle or default_bundle()), {}
    for n in range(asked.subjects):
        case = draw_case(asked.seed + n)
        chosen = {f"{phase:g}": round(phase * FRAMES) % FRAMES for phase in asked.phases}
        chosen["end-systole"] = int(np.argmin(case.true_function(FRAMES).lv_volume_ml))
        for name, frame in chosen.items():
            for row in measure(bundle, case, frame):
                found.setdefault((name, row.pop("told")), []).append(row)
    print(f"{HEADER}\n{'|---' * 10}|")
    table = []
    for (name, told), rows in found.items():
        values = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        table.append({
            "phase": name, "told": told, "subjects": len(rows),
            "ef_mae": np.abs(values["ef_error"]).mean(), "ef_bias": values["ef_error"].mean(),
            "edv_mae_percent": np.abs(values["edv_percent"]).mean(), "edv_bias_percent": values["edv_percent"].mean(),
            **{structure: np.nanmean(values[structure]) for structure in STRUCTURES},
            "folded_percent": values["folded_percent"].mean(),
        })  # fmt: skip
        said, digits = "yes" if told else "no", (1, 1, 1, 1, 3, 3, 3, 3)
        print(f"| {name} | {said} | " + " | ".join(
            f"{value:.{n}f}" for value, n in zip(list(table[-1].values())[3:], digits, strict=True)
        ) + " |")  # fmt: skip
    if asked.json:
        facts = {"seed": asked.seed, "subjects": asked.subjects, "frames": FRAMES, "model": bundle.model_id}
        asked.json.write_text(json.dumps({**facts, "rows": table}, indent=1, default=float) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
