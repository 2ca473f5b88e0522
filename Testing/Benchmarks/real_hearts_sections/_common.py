"""What the sections share: reading cases, overlap, the shipped segmenter."""

from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy import read_labels, read_sax
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter

ROOT = Path(__file__).resolve().parents[3]
NAMES = {1: "lv", 2: "myo", 3: "rv"}


def phases(case: dict) -> list[str]:
    """Return the labelled phases of a case."""
    return [phase for phase in ("ed", "es") if phase in case]


def read_phase(case: dict, phase: str):
    """Return the stack and the labels (D, H, W) of a phase."""
    where = case[phase]
    stack = read_sax(case["image"], frame=where["frame"])
    return stack, read_labels(where["labels"], stack, case["label_map"])


def load_segmenter(options) -> Segmenter:
    """Return the segmenter asked for, or the shipped one."""
    if options.segmenter:
        return Segmenter.from_files(options.segmenter)
    shipped = sorted((ROOT / "Resources" / "Models").rglob("segmenter.json"))
    if not shipped:
        raise SystemExit("No segmenter lies in Resources/Models; give one with --segmenter.")
    return Segmenter.from_files(shipped[0].parent)


def dice(found: np.ndarray, truth: np.ndarray, code: int) -> float:
    """Return the 3-D Dice overlap of one label; NaN where the truth has none."""
    a, b = found == code, truth == code
    return float(2 * (a & b).sum() / (a.sum() + b.sum())) if b.any() else float("nan")
