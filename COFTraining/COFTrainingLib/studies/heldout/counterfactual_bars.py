"""Counterfactual ECGs on held-out phantoms, against their bars."""

import torch
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.counterfactuals import heart_rate_shift, infarct_territories

COUNTERFACTUAL_BARS = {
    "hr_shift_error_frames": ("<=", 1.5),
    "infarct_anterior_share": (">=", 0.6),
    "infarct_inferior_share": (">=", 0.6),
    "infarct_lateral_share": (">=", 0.6),
}


def run_counterfactuals(bundle: Bundle, subjects: int, seed: int) -> dict[str, float]:
    """Return all counterfactual figures."""
    with torch.inference_mode():
        return {**heart_rate_shift(bundle, subjects, seed), **infarct_territories(bundle, subjects, seed)}
