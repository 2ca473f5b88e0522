"""The bundled synthetic patient without its labels: what a user sees first must be near its exact volumes."""

import importlib.util
from pathlib import Path

from COFGeneratorLib.anatomy import read_labels, read_sax

_spec = importlib.util.spec_from_file_location("real_hearts_common", Path(__file__).with_name("_common.py"))
_common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_common)

NAME = "demo_patient"
BARS = {"lv_percent": 8.0, "rv_percent": 12.0}
SAMPLE = _common.ROOT / "Resources" / "SampleData"
LABEL_MAP = {"lv": 1, "myo": 2, "rv": 3}


def measure(cases, options):
    """Return Dice and volumes of the three structures, and what is off by more than the bars; no case is looked at."""
    stack = read_sax(SAMPLE / "anchor.nrrd")
    truth = read_labels(SAMPLE / "labels.nrrd", stack, LABEL_MAP)
    found = _common.load_segmenter(options).segment(stack).labels
    figures, short = {}, []
    for code, name in _common.NAMES.items():
        found_ml, true_ml = (float((labels == code).sum() * stack.voxel_volume_ml) for labels in (found, truth))
        error = 100 * (found_ml / true_ml - 1)
        figures[name] = {"dice": round(_common.dice(found, truth, code), 3), "found_ml": round(found_ml, 1),
                         "true_ml": round(true_ml, 1), "error_percent": round(error, 1)}  # fmt: skip
        print(f"{name:4s}", figures[name])
        if abs(error) > BARS.get(f"{name}_percent", float("inf")):
            short.append(f"{name} volume off by {error:+.1f} %")
    return figures, short
