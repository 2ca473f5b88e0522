"""From the predicted phase to complete R→R cycles, and each cycle to a fixed number of tokens."""

from dataclasses import dataclass

import numpy as np
import torch

from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_MS
from COFGeneratorLib.errors import EcgError

SHORTEST_RR_MS, LONGEST_RR_MS = 240.0, 2500.0
LEAST_TURN = 1.2 * np.pi
"""A cycle must advance the phase by this much between two boundaries, or one of them is a wobble."""
REACH = 4
"""Tokens on each side of a boundary that a line is fitted through: 64 ms, within which the phase is straight."""


@dataclass(frozen=True)
class Cycles:
    """Complete cycles of one record: (n, 2) start and end of each, in tokens (fractions; one token is 16 ms)."""

    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def rr_ms(self) -> np.ndarray:
        """(n,) length of each cycle, ms."""
        return np.diff(self.bounds, axis=1)[:, 0] * TOKEN_MS

    @property
    def r_ms(self) -> np.ndarray:
        """(m,) all boundaries from the start of the record, ms."""
        return np.unique(self.bounds) * TOKEN_MS


def boundaries(sin_cos: np.ndarray) -> np.ndarray:
    """Return where the phase, (2, N) sine and cosine of any positive scale, passes a whole turn, (m,) in tokens.

    The phase is 0 at R, so a boundary is where the unwrapped angle crosses a multiple of 2π upwards (where φ ∈ [0, 2π)
    wraps, not where atan2 does: that would be mid-diastole). Two boundaries without a turn between them are one.
    """
    sine, cosine = np.asarray(sin_cos, dtype=np.float64)
    rises = np.flatnonzero((sine[:-1] < 0) & (sine[1:] >= 0) & (cosine[:-1] + cosine[1:] > 0))
    if len(rises) == 0:
        return np.empty(0)
    at = np.array([_crossing(sine, cosine, int(rise)) for rise in rises])
    angle = np.unwrap(np.arctan2(sine, cosine))
    strength = np.hypot(cosine[rises], sine[rises])
    kept = [0]
    for index in range(1, len(at)):
        last = kept[-1]
        turn = angle[rises[index]] - angle[rises[last] + 1]
        apart_ms = (at[index] - at[last]) * TOKEN_MS
        if turn > LEAST_TURN and apart_ms >= SHORTEST_RR_MS:
            kept.append(index)
        elif strength[index] > strength[last]:
            kept[-1] = index
    return at[kept]


def _crossing(sine: np.ndarray, cosine: np.ndarray, rise: int) -> float:
    """Return where the angle is zero between tokens ``rise`` and ``rise + 1``.

    A line through the tokens before meets a line through those after it there: a single pair of tokens would hand on
    all of its noise, and one line through both sides is wrong where the rate changes, as the slope does then.
    """
    angle = np.arctan2(sine, cosine)
    found = []
    for part in (np.arange(max(rise + 1 - REACH, 0), rise + 1), np.arange(rise + 1, min(rise + 1 + REACH, len(sine)))):
        if len(part) < 2:
            continue
        at, wanted = part - part.mean(), angle[part]
        slope = float(at @ wanted) / float(at @ at)
        if slope > 0:
            found.append(np.clip(part.mean() - rise - wanted.mean() / slope, -1.0, 2.0))
    return rise + float(np.mean(found)) if found else rise + 0.5


def find_cycles(sin_cos: np.ndarray) -> Cycles:
    """Return every complete cycle between consecutive boundaries.

    Raises:
        EcgError: If there is none.
    """
    at = boundaries(sin_cos)
    pairs = np.stack([at[:-1], at[1:]], axis=1) if len(at) > 1 else np.empty((0, 2))
    rr = np.diff(pairs, axis=1)[:, 0] * TOKEN_MS
    pairs = pairs[(rr >= SHORTEST_RR_MS) & (rr <= LONGEST_RR_MS)]
    if len(pairs) == 0:
        raise EcgError(
            "At least one complete cycle from R to R is needed; the phase head found none. Use a longer or cleaner "
            "recording."
        )
    return Cycles(pairs)


def resample_cycles(features: torch.Tensor, bounds: torch.Tensor, count: int) -> torch.Tensor:
    """Resample cycles to a fixed number of tokens, as RoI Align does: linear interpolation at real positions.

    Token k of a cycle stands at phase k/count, so token 0 is at R and token k belongs to frame k of a cine.

    Args:
        features: (B, C, N) tokens of whole records.
        bounds: (B, M, 2) start and end of each cycle, in tokens; padding may hold anything within 0…N−1.
        count: Tokens a cycle.

    Returns:
        (B, M, count, C).
    """
    steps = torch.arange(count, device=features.device, dtype=features.dtype) / count
    start, end = bounds.to(features)[..., :1], bounds.to(features)[..., 1:]
    position = (start + steps * (end - start)).clamp(0, features.shape[2] - 1.001)
    below = position.floor().long()
    part = (position - below)[..., None]
    rows = features.transpose(1, 2)  # (B, N, C)
    flat = below.flatten(1)[..., None].expand(-1, -1, rows.shape[2])
    low = rows.gather(1, flat).view(*below.shape, -1)
    high = rows.gather(1, flat + 1).view(*below.shape, -1)
    return low + part * (high - low)


def padded_bounds(cycles: list[Cycles], most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cycles of several records as (B, M, 2) and which of them are real, (B, M) bool."""
    longest = min(max(len(item) for item in cycles), most)
    bounds = torch.zeros(len(cycles), longest, 2)
    real = torch.zeros(len(cycles), longest, dtype=torch.bool)
    for row, item in enumerate(cycles):
        chosen = item.bounds[:longest]
        bounds[row, : len(chosen)] = torch.from_numpy(chosen).float()
        real[row, : len(chosen)] = True
    return bounds, real
