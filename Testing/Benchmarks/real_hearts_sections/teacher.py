"""ED → ES on real pairs: the registration teacher, alone and refined, beside demons and no motion at all."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("teacher_pairs", Path(__file__).parents[1] / "teacher_pairs.py")
_pairs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_pairs)

NAME = "teacher"
REFINE_STEPS = _pairs.Refinement().steps
BARS = {
    "refined_dice": "at least that of demons",
    "ef_error_points": _pairs.LARGEST_EF_ERROR,
    "folded_percent": 0.0,
    "network_speed": "3 times that of demons",
}


def measure(cases, options):
    """Return the figures of every method on every pair of labelled phases, and what falls short."""
    bundle = options.model or _pairs.default_bundle()
    teacher = _pairs.find_teacher(Path(bundle))
    if teacher is None:
        return {"pairs": {}}, ["no teacher ships"]
    pairs = [_pairs.load_pair(case, Path()) for case in cases if "es" in case]
    segmenter = _pairs.shipped_segmenter(options.segmenter or Path(bundle) / "models" / "segmenter")
    results, short = _pairs.compare(pairs, _pairs.shipped_teacher(teacher), REFINE_STEPS, segmenter)
    return {"pairs": results}, short
