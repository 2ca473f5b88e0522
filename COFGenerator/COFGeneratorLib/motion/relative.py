"""Motion relative to another phase of the beat than the one that it was measured from.

With ``frame_t = heart ∘ φ_t`` (φ_t = id + exp(v_t), pull) an anchor of phase s is ``heart ∘ φ_s``, so that
``frame_t = anchor ∘ (φ_s⁻¹ ∘ φ_t)``. The inverse of an exponential is that of the negative velocity.
"""

import numpy as np
import torch

from COFGeneratorLib.motion.fields import compose, exponential, logarithm, periodic_matrix

SWEEPS = 6
"""Of the logarithm, which costs little more than v_t − v_s, the first order of Baker, Campbell and Hausdorff, and loses
less (``Testing/Benchmarks/relative_motion.py``)."""


def at_phase(fields: torch.Tensor, phase: float) -> torch.Tensor:
    """Return the field of any phase 0…1, (…, 1, 3, D, H, W), between equidistant ones (…, T, 3, D, H, W) of a beat."""
    weights = torch.as_tensor(periodic_matrix(fields.shape[-5], np.array([phase]))[0], dtype=fields.dtype)
    return torch.einsum("t,...tcdhw->...cdhw", weights.to(fields.device), fields).unsqueeze(-5)


def relative_displacement(displacement: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Return φ_s⁻¹ ∘ φ_t as displacements, voxels, of φ_t (T, 3, D, H, W) and φ_s⁻¹ (1, 3, D, H, W)."""
    return compose(inverse.expand_as(displacement), displacement)


def relative_velocity(velocity: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
    """Return velocities (T, 3, D, H, W) whose exponentials are φ_s⁻¹ ∘ φ_t at the grid's nodes.

    Args:
        velocity: (T, 3, D, H, W) of φ_t, voxels.
        anchor: (1, 3, D, H, W) of φ_s, voxels.
    """
    return logarithm(relative_displacement(exponential(velocity), exponential(-anchor)), SWEEPS)


def from_the_r_wave(velocity: torch.Tensor) -> torch.Tensor:
    """Return velocities (T, 3, D, H, W) from the R wave, the first phase, of those from any other anchor."""
    relative = relative_velocity(velocity, velocity[:1])
    relative[0] = 0.0
    return relative
