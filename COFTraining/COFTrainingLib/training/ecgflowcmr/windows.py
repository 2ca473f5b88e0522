"""Batches of ECGs: whole records, or short windows around one of their cycles, with the cycles that lie inside."""

from collections.abc import Sequence

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.cycles import Cycles, boundaries, padded_bounds
from COFGeneratorLib.ecgflowcmr.model import MOST_CYCLES
from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_SAMPLES

from COFTrainingLib.training.ecgflowcmr.data import TRUTHS, Examples

LEAD_IN = (8, 40)
"""Tokens of a window before the R that it is cut around."""
EDGE_TOKENS = 6
"""Phase is not asked for this near a window's ends: half a QRS is no QRS."""
JITTER_TOKENS = 0.4
"""SD by which true cycles are moved, as those of the phase head are at inference."""


def true_cycles(examples: Examples) -> list[np.ndarray]:
    """Return the complete cycles of every ECG by its true phase, (n, 2) tokens each."""
    found = [boundaries(phase) for phase in examples.phase.float().numpy()]
    return [np.stack([at[:-1], at[1:]], axis=1) if len(at) > 1 else np.empty((0, 2)) for at in found]


def whole(examples: Examples, index: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
    """Return whole ECGs by index, ready for the loss."""
    index = torch.as_tensor(np.asarray(index))
    return {
        "signal": examples.signals[index].float(),
        "phase": examples.phase[index].float(),
        "known": examples.known[index].float(),
    }


def with_cycles(
    batch: dict[str, torch.Tensor], cycles: list[np.ndarray], truths: torch.Tensor, names: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """Add to a batch what the phenotype head needs: ``bounds``, ``real``, and the ``phenotypes`` (B, names).

    Cycles are (n, 2) tokens of each ECG; truths (B, 8) are in the order of ``TRUTHS``.
    """
    bounds, real = padded_bounds([Cycles(part) for part in cycles], MOST_CYCLES)
    if not bounds.shape[1]:  # none has a cycle: one that is not real
        bounds, real = torch.zeros(len(cycles), 1, 2), torch.zeros(len(cycles), 1, dtype=torch.bool)
    return {**batch, "bounds": bounds, "real": real, "phenotypes": truths[:, [TRUTHS.index(name) for name in names]]}


def cut(
    examples: Examples, index: np.ndarray, cycles: list[np.ndarray], samples: int, rng: np.random.Generator
) -> tuple[dict[str, torch.Tensor], list[np.ndarray]]:
    """Cut one window from each ECG of ``index`` (B,), around a random cycle of it.

    Returns the batch, and the cycles of each window that lie in it, (n, 2) tokens from its start, a little moved.
    """
    length, total = samples // TOKEN_SAMPLES, examples.phase.shape[2]
    parts: dict[str, list[torch.Tensor]] = {"signal": [], "phase": [], "known": []}
    inside = []
    for at in index:
        own = cycles[at]
        first = int(rng.integers(total - length + 1))
        if len(own):
            start, end = own[rng.integers(len(own))]
            first = max(int(start) - int(rng.integers(*LEAD_IN)), int(np.ceil(end)) + 2 - length)
        first = min(max(first, 0), total - length)
        last = first + length
        parts["signal"].append(examples.signals[at, :, first * TOKEN_SAMPLES : last * TOKEN_SAMPLES])
        parts["phase"].append(examples.phase[at, :, first:last])
        known = examples.known[at, first:last].clone()
        known[:EDGE_TOKENS] = known[-EDGE_TOKENS:] = 0
        parts["known"].append(known)
        own = own[(own[:, 0] >= first) & (own[:, 1] <= last - 1)] - first
        inside.append((own + JITTER_TOKENS * rng.standard_normal(own.shape)).clip(0.0, length - 1.0))
    return {name: torch.stack(values).float() for name, values in parts.items()}, inside
