"""The assessor's overlap with the recorded labels beside the segmenter's, on the native grid; reported, without bars.

In evaluation the assessor judges where recorded labels say where the heart lies, so it is given that frame here; what
it makes of the frame that the segmenter finds stands beside it. Its independence of the segmenter is checked first.
"""

import importlib.util
import time
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.errors import ChainOfFlowError
from COFTrainingLib.evaluation.assessor import load_assessor, shipped_assessor
from COFTrainingLib.evaluation.independence import independence_problems

_spec = importlib.util.spec_from_file_location("real_hearts_common", Path(__file__).with_name("_common.py"))
_common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_common)

NAME = "assessor"
BARS: dict = {}
SOURCES = {"assessor": "assessor", "in_found_frame": "in the found frame", "segmenter": "segmenter"}


def measure(cases, options):
    """Return one row a labelled phase with Dice by source, their means, and why it is not independent, if it is not."""
    folder = options.assessor or shipped_assessor()
    if folder is None:
        print("No assessor lies in Resources/Models; train one with cof train assessor, or give one with --assessor.")
        return {"rows": [], "skipped": "no assessor"}, []
    assessor, segmenter = load_assessor(folder), _common.load_segmenter(options)
    model = options.segmenter or options.model or _common.ROOT / "Resources" / "Models" / "cof-plus"
    problems = independence_problems(folder, [model])
    print(f"{assessor.name}, beside {model}: " + ("; it ".join(problems) or "independent by its files"))
    print(f"{'':19s}" + "".join(f"{words:22s}" for words in SOURCES.values()))
    print(f"{'case':12s} {'phase':6s}" + 3 * f"{'LV':>5s} {'myo':>5s} {'RV':>5s}     " + "LV mL (truth)     s")
    rows = [_row(assessor, segmenter, case, phase) for case in cases for phase in _common.phases(case)]
    names = _common.NAMES.values()
    means = {
        source: {name: _mean([row[source][name] for row in rows if source in row]) for name in names}
        for source in SOURCES
    }
    print("means:", means)
    return {"rows": rows, "means": means, "assessor": assessor.described, "not_independent": problems}, []


def _row(assessor, segmenter, case, phase):
    stack, truth = _common.read_phase(case, phase)
    row = {"case": case["name"], "phase": phase}
    start = time.perf_counter()
    labels = assessor.label(stack, heart_frame_from_labels(truth, stack.ijk_to_ras))
    row["wall_s"] = round(time.perf_counter() - start, 2)
    row["assessor"] = _overlap(labels, truth, case)
    row["volume_ml"] = float((labels == 1).sum() * stack.voxel_volume_ml)
    row["truth_ml"] = float((truth == 1).sum() * stack.voxel_volume_ml)
    try:
        found = segmenter.segment(stack)
        row["in_found_frame"] = _overlap(assessor.label(stack, found.frame), truth, case)
        row["segmenter"] = _overlap(found.labels, truth, case)
    except ChainOfFlowError as error:
        row["error"] = str(error)
    print(_line(row))
    return row


def _line(row):
    unknown = dict.fromkeys(_common.NAMES.values(), float("nan"))
    dices = (row.get(source, unknown).values() for source in SOURCES)
    columns = "".join(" ".join(f"{value:5.3f}" for value in values) + "     " for values in dices)
    volumes = f"{row['volume_ml']:6.1f} ({row['truth_ml']:5.1f})"
    return f"{row['case']:12s} {row['phase']:6s}{columns}{volumes}  {row['wall_s']:5.2f}"


def _overlap(labels, truth, case):
    return {
        name: _common.dice(labels, truth, code) if name in case["label_map"] else float("nan")
        for code, name in _common.NAMES.items()
    }


def _mean(values):
    known = [value for value in values if np.isfinite(value)]
    return round(float(np.mean(known)), 3) if known else float("nan")
