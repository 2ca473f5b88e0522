"""Vector fields on a voxel grid: exponential, warp, composition, inverse, Jacobian, and interpolation.

Inside this file displacements are in voxels, components ordered (k, j, i) like the axes, and *pull*:
``warped(x) = image(x + u(x))``. Millimetres are converted at the border (``voxels_from_mm``).
Tensors are (B, C, D, H, W); fields have C = 3.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from scipy.interpolate import CubicSpline, make_interp_spline
from torch.nn.functional import grid_sample

from COFGeneratorLib.errors import MotionError
from COFGeneratorLib.motion.constants import constant

SQUARINGS = 5
"""2^5 steps, each by the midpoint rule: 0.003 mm off for a beating heart, where 2^7 steps of Euler are 0.07 mm off."""
Spacing: TypeAlias = Sequence[float] | np.ndarray | torch.Tensor
"""Distance of neighbours along (k, j, i), mm."""


def _check_field(field: torch.Tensor, name: str) -> None:
    if field.ndim != 5 or field.shape[1] != 3:
        raise MotionError(
            f"{name} must have shape (B, 3, D, H, W); found {tuple(field.shape)}. "
            "Put the components (k, j, i) on axis 1."
        )


def identity_positions(
    shape: Sequence[int], device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return the voxel positions of a grid, (1, 3, D, H, W), components (k, j, i)."""
    axes = [torch.arange(n, device=device, dtype=dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample_at(
    image: torch.Tensor, positions: torch.Tensor, mode: str = "bilinear", padding: str = "border"
) -> torch.Tensor:
    """Sample (B, C, D, H, W) at voxel positions (B, 3, D', H', W'); ``mode`` is ``"bilinear"`` or ``"nearest"``."""
    steps = tuple(2.0 / max(n - 1, 1) for n in image.shape[2:])  # a singleton axis has one position only
    scale = constant(steps, positions.dtype, image.device).view(1, 3, 1, 1, 1)
    grid = (positions * scale - 1.0).flip(1).movedim(1, -1)  # grid_sample wants (x, y, z) last
    return grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=True)


def sample_slices(image: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Sample as ``sample_at`` does by default, faster on a CPU: within two slices, and between them.

    torch vectorises the 2-D sampler alone, so the slices are laid under each other as one tall image. Positions lose
    about 1e-4 voxels to the length of that image. Elsewhere one pass of the 3-D sampler is the faster.

    Args:
        image: (B, C, D, H, W).
        positions: (B, 3, D', H', W') voxels.
    """
    if image.device.type != "cpu":
        return sample_at(image, positions)
    batch, channels, depth, height, width = image.shape
    k, j, i = positions.unbind(1)
    k = k.clamp(0.0, depth - 1.0)
    lower = k.floor().clamp_(max=max(depth - 2.0, 0.0))
    row = 2.0 / max(depth * height - 1, 1)
    across = (i * (2.0 / max(width - 1, 1))).sub_(1.0)
    down = torch.add(j.clamp(0.0, height - 1.0), lower, alpha=height).mul_(row).sub_(1.0)
    places = torch.complex(across, down).flatten(1, 2)  # as a stack of both, at a tenth of its time
    tall = image.reshape(batch, channels, depth * height, width)
    below, above = (
        grid_sample(tall, torch.view_as_real(at), padding_mode="border", align_corners=True)
        for at in (places, places + 1j * height * row)
    )
    share = (k - lower).flatten(1, 2)[:, None]
    mixed = torch.lerp(below, above, share) if below.requires_grad else below.lerp_(above, share)
    return mixed.view(batch, channels, *positions.shape[2:])


def warp(
    image: torch.Tensor, displacement: torch.Tensor, mode: str = "bilinear", padding: str = "border"
) -> torch.Tensor:
    """Return ``image(x + u(x))``.

    Args:
        image: (B, C, D, H, W).
        displacement: (B, 3, D, H, W), voxels.
        mode: ``"bilinear"`` for images and soft labels, ``"nearest"`` for hard labels.
        padding: ``"border"`` or ``"zeros"`` outside the image.

    Raises:
        MotionError: If the shapes do not match.
    """
    _check_field(displacement, "A displacement")
    if image.shape[2:] != displacement.shape[2:] or image.shape[0] not in (1, displacement.shape[0]):
        raise MotionError(
            f"Image and displacement must share batch and grid; found {tuple(image.shape)} and "
            f"{tuple(displacement.shape)}. Resize the displacement in mm first."
        )
    image = image.expand(displacement.shape[0], *image.shape[1:])
    identity = identity_positions(displacement.shape[2:], displacement.device, displacement.dtype)
    return sample_at(image, identity + displacement, mode, padding)


def compose(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the field w with ``image(x + w) = warp(warp(image, first), second)``: w = second + first(x + second)."""
    return second + warp(first, second)


def exponential(velocity: torch.Tensor, squarings: int = SQUARINGS) -> torch.Tensor:
    """Return the displacement of a stationary velocity, by scaling and squaring with border padding.

    The first step is taken by the midpoint rule: its error falls with the square of the step. Border padding (not
    zeros) keeps folds away from the edge.
    """
    _check_field(velocity, "A velocity")
    identity = identity_positions(velocity.shape[2:], velocity.device, velocity.dtype)
    step = velocity / 2**squarings
    displacement = sample_slices(step, identity + 0.5 * step)
    for _ in range(squarings):
        displacement = sample_slices(displacement, identity + displacement).add_(displacement)
    return displacement


def logarithm(displacement: torch.Tensor, iterations: int = 8) -> torch.Tensor:
    """Return a stationary velocity whose exponential is the displacement at the grid's nodes.

    Fixed point v ← v + (u − exp(v)); converges for the diffeomorphisms of a beating heart on a coarse grid.
    """
    _check_field(displacement, "A displacement")
    velocity = displacement.clone()
    for _ in range(iterations):
        velocity = velocity + (displacement - exponential(velocity))
    return velocity


def jacobian_determinant(displacement: torch.Tensor) -> torch.Tensor:
    """Return det(I + ∇u), (B, D, H, W), of a displacement in voxels; central differences, one-sided at the edge.

    An axis with a single voxel contributes no derivative.
    """
    _check_field(displacement, "A displacement")
    rows = []
    for axis in range(3):
        along = displacement.shape[2 + axis] > 1
        gradient = torch.gradient(displacement, dim=2 + axis)[0] if along else torch.zeros_like(displacement)
        gradient[:, axis] += 1.0
        rows.append(gradient.unbind(1))  # d(component 0, 1, 2)/d(axis)
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)  # written out: linalg.det is slow here


def folded_fraction(displacement: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Return the fraction of voxels with det(I + ∇u) ≤ 0, over all frames; within ``mask`` (D, H, W) where given."""
    folded = jacobian_determinant(displacement) <= 0
    if mask is None:
        return float(folded.float().mean())
    inside = mask.bool().expand_as(folded)
    return float(folded[inside].float().mean()) if bool(inside.any()) else 0.0


def voxels_from_mm(displacement_mm: torch.Tensor, spacing_mm: Spacing) -> torch.Tensor:
    """Convert a field (B, 3, D, H, W) along the grid's axes from mm to voxels; ``spacing_mm`` is (k, j, i)."""
    return displacement_mm / _along_axes(spacing_mm, displacement_mm)


def mm_from_voxels(displacement: torch.Tensor, spacing_mm: Spacing) -> torch.Tensor:
    """Convert a field (B, 3, D, H, W) along the grid's axes from voxels to mm; ``spacing_mm`` is (k, j, i)."""
    return displacement * _along_axes(spacing_mm, displacement)


def _along_axes(spacing_mm: Spacing, field: torch.Tensor) -> torch.Tensor:
    """Return a spacing so that it meets the components of a field, (1, 3, 1, 1, 1)."""
    if isinstance(spacing_mm, torch.Tensor):
        return spacing_mm.to(field).view(1, 3, 1, 1, 1)
    return constant(tuple(map(float, spacing_mm)), field.dtype, field.device).view(1, 3, 1, 1, 1)


def spline_matrix(nodes: int, positions: np.ndarray) -> np.ndarray:
    """Return the (len(positions), nodes) matrix of natural cubic-spline interpolation through unit-spaced nodes.

    Positions beyond the ends are clamped: a motion field goes on as it ends. Fewer than four nodes fall back to the
    highest spline degree they allow.
    """
    positions = np.clip(np.asarray(positions, dtype=float), 0.0, nodes - 1.0)
    if nodes == 1:
        return np.ones((len(positions), 1))
    if nodes < 4:
        return make_interp_spline(np.arange(nodes), np.eye(nodes), k=1)(positions)
    return make_interp_spline(np.arange(nodes), np.eye(nodes), k=3, bc_type="natural")(positions)


def along_axis(field: torch.Tensor, matrix: np.ndarray | torch.Tensor, axis: int) -> torch.Tensor:
    """Return a field with its ``n`` values along an axis replaced by the ``m`` that a matrix (m, n) makes of them."""
    weights = torch.as_tensor(matrix, dtype=field.dtype, device=field.device)
    if axis == field.ndim - 1:
        return field @ weights.T
    rows = weights @ field.flatten(axis + 1)  # no axis is moved, which would take longer than the product
    return rows.view(*field.shape[:axis], -1, *field.shape[axis + 1 :])


def resize(field: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Resize (B, C, D, H, W) to another grid over the same extent (corner to corner) by cubic splines.

    Values are kept, so give millimetres; a field in voxels must be rescaled by the caller.
    """
    for axis, size in enumerate(shape):
        nodes = field.shape[2 + axis]
        if nodes != size:
            field = along_axis(field, spline_matrix(nodes, np.linspace(0.0, nodes - 1.0, size)), 2 + axis)
    return field


def periodic_matrix(phases: int, positions: np.ndarray) -> np.ndarray:
    """Return the (len(positions), phases) matrix of periodic cubic-spline interpolation at phases 0…1 of the cycle."""
    knots = np.arange(phases + 1) / phases
    values = np.vstack([np.eye(phases), np.eye(phases)[:1]])
    return CubicSpline(knots, values, bc_type="periodic")(np.mod(np.asarray(positions, dtype=float), 1.0))
