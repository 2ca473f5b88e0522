"""From a phantom subject to one training example of Stage 2: anatomy maps, velocities, volume sensitivities."""

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.generator.grid import MotionGrid, anatomy_maps, label_fractions
from COFGeneratorLib.motion.fields import logarithm, spline_matrix, voxels_from_mm
from COFGeneratorLib.motion.volume_gradient import volume_sensitivity
from scipy.ndimage import gaussian_filter

from COFTrainingLib.phantom.subject import PhantomSubject, StackPlan, plan_stack

REFINE = 2
"""Displacements are sampled this much finer in-plane, then fitted by least squares to the coarse spline: sampling at
the nodes alone loses 1–2 EF points."""
LOGARITHM_SWEEPS = 6
ROUGH_LABEL_SHARE = 0.5
"""Share of examples whose labels are distorted the way a segmenter's are."""


def draw_labels(subject: PhantomSubject, plan: StackPlan, rng: np.random.Generator) -> np.ndarray:
    """Return the anchor's labels (D, H, W) as a reader or a segmenter would draw them.

    Half of them are exact; the other half have contours that wander by a millimetre or two from slice to slice, and
    may miss the most basal or apical slice.
    """
    points = plan.heart_points()
    if rng.random() < ROUGH_LABEL_SHARE:
        depth, height, width = plan.shape
        pixel = np.linalg.norm(plan.ijk_to_ras[:3, 0])
        noise = rng.standard_normal((2, depth, height, width))
        sigma = rng.uniform(6.0, 14.0) / pixel
        wander = gaussian_filter(noise, (0, 0, sigma, sigma)) * sigma * 2 * np.sqrt(np.pi) * rng.uniform(0.3, 1.6)
        points = points.copy()
        points[..., 1] += wander[0]
        points[..., 2] += wander[1]
    labels = subject.heart.label_at(points)
    if rng.random() < 0.25:
        used = np.flatnonzero((labels > 0).any(axis=(1, 2)))
        if len(used) > 5:
            labels[used[0] if rng.random() < 0.5 else used[-1]] = 0
    return labels


def displacement_on_grid(
    subject: PhantomSubject, to_phantom: np.ndarray, grid: MotionGrid, phases: np.ndarray
) -> torch.Tensor:
    """Return exact displacements fitted to the motion grid, (P, 3, D, H, W) in grid voxels.

    Args:
        subject: The subject.
        to_phantom: (4, 4) from the estimated heart frame to the phantom's own coordinates, mm.
        grid: The motion grid.
        phases: (P,) phases 0…1 of the cycle.
    """
    points = grid.points_mm(REFINE) @ to_phantom[:3, :3].T + to_phantom[:3, 3]
    rr_ms = subject.physiology.rr_ms
    exact = np.stack([subject.heart.pull_mm(points, rr_ms * phase) for phase in phases])
    exact = exact @ to_phantom[:3, :3]  # back to the estimated frame's axes: the inverse rotation
    return voxels_from_mm(torch.as_tensor(fitted_to_grid(exact, grid), dtype=torch.float32), grid.spacing_mm)


def fitted_to_grid(exact: np.ndarray, grid: MotionGrid) -> np.ndarray:
    """Return the coarse spline fitted to displacements at ``grid.points_mm(REFINE)``, ending at the grid's rim.

    Args:
        exact: (T, D, H', W', 3) mm along the heart's axes.
        grid: The motion grid.

    Returns:
        (T, 3, D, H, W) mm.
    """
    sizes = zip(grid.shape, exact.shape[1:4], strict=True)
    fits = [np.linalg.pinv(spline_matrix(nodes, np.linspace(0, nodes - 1, fine))) for nodes, fine in sizes]
    coarse = np.einsum("yb,tabcd->taycd", fits[1], exact, optimize=True)
    return np.einsum("xc,taycd->tdayx", fits[2], coarse, optimize=True) * grid.window()


def flow_example(subject: PhantomSubject, grid: MotionGrid, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return one training example on the motion grid of the *estimated* heart frame, as at inference.

    Keys: ``maps`` (3, D, H, W), ``velocity`` (T, 3, D, H, W) grid voxels; for the phases ``VOLUME_PHASES``:
    ``sensitivity`` (P, 3, 3, D, H, W) and ``deficit`` (P, 3), the true relative volume of LV, wall and RV less what
    the velocity gives through the coarse grid.
    """
    plan = plan_stack(subject, rng)
    labels = draw_labels(subject, plan, rng)
    frame = jittered(heart_frame_from_labels(labels, plan.ijk_to_ras), rng)
    to_phantom = plan.ras_to_heart @ np.linalg.inv(frame.ras_to_heart())
    fractions = label_fractions(labels)
    maps = anatomy_maps(fractions, plan.ijk_to_ras, frame, grid)
    phases = np.arange(grid.phases) / grid.phases
    velocity = logarithm(displacement_on_grid(subject, to_phantom, grid, phases), LOGARITHM_SWEEPS)
    velocity[0] = 0.0
    chosen = volume_phases(grid)
    fine = torch.from_numpy(anatomy_maps(fractions, plan.ijk_to_ras, frame, grid, 2, 2))
    volumes, sensitivity = volume_sensitivity(velocity[chosen], fine)
    times = phases[chosen] * subject.physiology.rr_ms
    heart = subject.heart
    true = np.stack(
        [
            heart.lv_volume_ml(times) / heart.lv_volume_ml(0.0),
            np.ones(len(times)),  # the wall is incompressible
            heart.rv_volume_ml(times) / heart.rv_volume_ml(0.0),
        ],
        axis=1,
    )
    return {
        "maps": maps,
        "velocity": velocity.numpy(),
        "sensitivity": sensitivity.numpy(),
        "deficit": (true - volumes.numpy()).astype(np.float32),
    }


def volume_phases(grid: MotionGrid) -> list[int]:
    """Return the phases of the volume loss: about end-systole, where volumes matter, and one of filling."""
    return sorted({round(share * grid.phases) for share in (0.25, 0.34, 0.42, 0.5, 0.67)})


def jittered(frame: HeartFrame, rng: np.random.Generator) -> HeartFrame:
    """Turn and shift the frame a little more than the labels' own errors do: a margin for real hearts."""
    angle = rng.normal(0.0, np.deg2rad(7.0))
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    axes = turn @ frame.axes_ras
    return HeartFrame(frame.origin_ras + axes.T @ rng.normal(0.0, (3.0, 1.5, 1.5)), axes)
