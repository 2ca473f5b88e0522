"""Uniform cubic B-splines: coefficients through values at nodes, and their weights at any place.

With natural ends a spline through n nodes has n + 2 coefficients, one beyond either end.
"""

import numpy as np
import torch
from scipy.linalg import solve_banded


def coefficient_matrix(nodes: int) -> np.ndarray:
    """Return the (nodes + 2, nodes) matrix from values at unit-spaced nodes to coefficients, natural at both ends.

    A single node has four coefficients, all alike.
    """
    if nodes == 1:
        return np.ones((4, 1))
    bands = np.ones((3, nodes))
    bands[1] = 4.0
    bands[1, [0, -1]], bands[0, 1], bands[2, -2] = 6.0, 0.0, 0.0  # no curvature at an end: its coefficient is its value
    inner = solve_banded((1, 1), bands, 6.0 * np.eye(nodes))
    return np.vstack([2.0 * inner[0] - inner[1], inner, 2.0 * inner[-1] - inner[-2]])


def weights_at(position: torch.Tensor, nodes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which four coefficients count at positions (n,), clamped to 0…nodes − 1, and by how much, each (n, 4)."""
    position = position.clamp(0.0, nodes - 1.0)
    first = position.floor().clamp(max=max(nodes - 2.0, 0.0))
    t = position - first
    s = 1.0 - t
    weights = torch.stack([s**3, 3.0 * t**3 - 6.0 * t**2 + 4.0, 3.0 * s**3 - 6.0 * s**2 + 4.0, t**3], dim=-1) / 6.0
    return first.long()[:, None] + torch.arange(4, device=position.device), weights
