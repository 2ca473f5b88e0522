"""From a phantom subject to one training example of Stage 2: anatomy, velocities, volume sensitivities."""

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.generator.networks.grid import MotionGrid, anatomy_maps, label_fractions
from COFGeneratorLib.generator.networks.rea import reference_image
from COFGeneratorLib.motion.fields import logarithm, sample_at, spline_matrix, voxels_from_mm
from COFGeneratorLib.motion.volume_gradient import volume_sensitivity
from scipy.ndimage import gaussian_filter

from COFTrainingLib.phantom.subject import PhantomSubject, StackPlan, plan_stack
from COFTrainingLib.training.examples.cine_motion import MotionField, load_teacher
from COFTrainingLib.training.examples.phantom_cine import PhantomImages, anchor_and_motion
from COFTrainingLib.training.examples.seen import confidence_on, nodes_ras

REFINE = 2
"""Displacements are sampled this much finer in-plane, then fitted by least squares to the coarse spline: sampling at
the nodes alone loses 1–2 EF points."""
LOGARITHM_SWEEPS = 6
ANCHORS = ("ed", "any")
"""When anchors of training are taken: at the R wave (end-diastole), or at any phase of the beat."""
R_WAVE_SHARE = 0.25
"""Of anchors at any phase: most users have one of end-diastole."""
INVERSE_SWEEPS, INVERSE_STEP = 15, 0.6
"""Of the fixed point that inverts the anchor's motion. The step is below one, or strong right ventricles diverge."""
ROUGH_LABEL_SHARE = 0.5
"""Share of examples whose labels are distorted the way a segmenter's are."""


def draw_labels(subject: PhantomSubject, plan: StackPlan, rng: np.random.Generator, time_ms: float = 0.0) -> np.ndarray:
    """Return the anchor's labels (D, H, W) as a reader or a segmenter would draw them, at a time from the R wave.

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
    labels = subject.heart.label_at(points, time_ms)
    if rng.random() < 0.25:
        used = np.flatnonzero((labels > 0).any(axis=(1, 2)))
        if len(used) > 5:
            labels[used[0] if rng.random() < 0.5 else used[-1]] = 0
    return labels


def draw_anchor(rng: np.random.Generator) -> float:
    """Return when an anchor of any phase is taken, 0…1 of the beat."""
    return 0.0 if rng.random() < R_WAVE_SHARE else float(rng.random())


def displacement_on_grid(
    subject: PhantomSubject, to_phantom: np.ndarray, grid: MotionGrid, phases: np.ndarray, anchor: float = 0.0
) -> torch.Tensor:
    """Return exact displacements fitted to the motion grid, (P, 3, D, H, W) in grid voxels, at phases (P,).

    ``to_phantom`` (4, 4) leads from the estimated heart frame to the phantom's own coordinates, mm; ``anchor`` is the
    phase of the anchor that is moved.
    """
    rr_ms, nodes = subject.physiology.rr_ms, grid.points_mm(REFINE)

    def pull(points: np.ndarray, phase: float) -> np.ndarray:  # along the estimated frame's axes
        there = points @ to_phantom[:3, :3].T + to_phantom[:3, 3]
        return subject.heart.pull_mm(there, rr_ms * phase) @ to_phantom[:3, :3]

    exact = np.stack([pull(nodes, phase) for phase in phases])
    if anchor:
        back = -pull(nodes, anchor)
        for _ in range(INVERSE_SWEEPS):
            back -= INVERSE_STEP * (back + pull(nodes + back, anchor))
        exact += _sampled(back, nodes + exact, grid)  # φ_s⁻¹ after φ_t, as pull fields
    return voxels_from_mm(torch.as_tensor(fitted_to_grid(exact, grid), dtype=torch.float32), grid.spacing_mm)


def fitted_to_grid(exact: np.ndarray, grid: MotionGrid) -> np.ndarray:
    """Return the coarse spline fitted to displacements at ``grid.points_mm(REFINE)``, ending at the grid's rim.

    Displacements (T, D, H', W', 3) become (T, 3, D, H, W), mm along the heart's axes.
    """
    sizes = zip(grid.shape, exact.shape[1:4], strict=True)
    fits = [np.linalg.pinv(spline_matrix(nodes, np.linspace(0, nodes - 1, fine))) for nodes, fine in sizes]
    coarse = np.einsum("yb,tabcd->taycd", fits[1], exact, optimize=True)
    return np.einsum("xc,taycd->tdayx", fits[2], coarse, optimize=True) * grid.window()


def _sampled(field: np.ndarray, points: np.ndarray, grid: MotionGrid) -> np.ndarray:
    """Return a field (D, H', W', 3) at ``grid.points_mm(REFINE)``, linear, at points (T, D, H', W', 3), mm."""
    axes = grid.axes_mm(REFINE)
    first, step = np.array([axis[0] for axis in axes]), np.array([axis[1] - axis[0] for axis in axes])
    positions = torch.as_tensor(np.moveaxis((points - first) / step, -1, 1), dtype=torch.float32)
    channels = torch.as_tensor(np.moveaxis(field, -1, 0), dtype=torch.float32)
    return np.moveaxis(sample_at(channels.expand(len(points), -1, -1, -1, -1), positions).numpy(), 1, -1)


def registered_on_grid(field: MotionField, frame: HeartFrame, grid: MotionGrid) -> torch.Tensor:
    """Return a registration's displacements fitted to the motion grid, (T, 3, D, H, W) in grid voxels."""
    nodes = grid.points_mm(REFINE)
    along = field.at(nodes_ras(nodes, frame)) @ frame.axes_ras.T
    fitted = fitted_to_grid(along.reshape(-1, *nodes.shape), grid)
    return voxels_from_mm(torch.as_tensor(fitted, dtype=torch.float32), grid.spacing_mm)


def flow_example(
    subject: PhantomSubject,
    grid: MotionGrid,
    rng: np.random.Generator,
    anchor: str = "ed",
    images: PhantomImages | None = None,
) -> dict[str, np.ndarray]:
    """Return one training example on the motion grid of the *estimated* heart frame, as at inference.

    Keys: ``maps`` (3, D, H, W), ``velocity`` (T, 3, D, H, W) grid voxels; for the phases ``VOLUME_PHASES``:
    ``sensitivity`` (P, 3, 3, D, H, W) and ``deficit`` (P, 3), the true relative volume of LV, wall and RV less what
    the velocity gives through the coarse grid. With ``anchor = "any"`` also ``anchor`` (1,), the phase of the anchor;
    maps are those of that phase, velocities lead from it, and volumes are relative to the R wave's all the same. With
    ``images`` also ``image`` (D, h, w), the anchor as the reference anatomy takes it; and, where motion is the
    teacher's, ``confidence`` (T, D, H, W).
    """
    at = draw_anchor(rng) if anchor == "any" else 0.0
    rr_ms = subject.physiology.rr_ms
    plan = plan_stack(subject, rng)
    labels = draw_labels(subject, plan, rng, at * rr_ms)
    found = heart_frame_from_labels(labels, plan.ijk_to_ras)
    frame = jittered(found, rng)
    to_phantom = plan.ras_to_heart @ np.linalg.inv(frame.ras_to_heart())
    fractions = label_fractions(labels)
    maps = anatomy_maps(fractions, plan.ijk_to_ras, frame, grid)
    phases = np.arange(grid.phases) / grid.phases
    example: dict[str, np.ndarray] = {}
    field = None
    if images is not None:
        stack, field = anchor_and_motion(subject, plan, found, images, phases * rr_ms, at * rr_ms)
        example["image"] = reference_image(stack, frame, grid, load_teacher(images.teacher).config).numpy()
    if field is None:
        displacement = displacement_on_grid(subject, to_phantom, grid, phases, at)
    else:
        displacement = registered_on_grid(field, frame, grid)
        example["confidence"] = confidence_on(field, frame, grid.points_mm()).numpy()
    velocity = logarithm(displacement, LOGARITHM_SWEEPS)
    if not at:
        velocity[0] = 0.0
    chosen = volume_phases(grid, anchor)
    fine = torch.from_numpy(anatomy_maps(fractions, plan.ijk_to_ras, frame, grid, 2, 2))
    volumes, sensitivity = volume_sensitivity(velocity[chosen], fine)
    times = phases[chosen] * rr_ms
    heart = subject.heart
    true = np.stack(
        [
            heart.lv_volume_ml(times) / heart.lv_volume_ml(0.0),
            np.ones(len(times)),  # the wall is incompressible
            heart.rv_volume_ml(times) / heart.rv_volume_ml(0.0),
        ],
        axis=1,
    )
    example |= {"maps": maps, "velocity": velocity.numpy(), "sensitivity": sensitivity.numpy()}
    if anchor == "any":
        lv, rv = (volume(np.array([at * rr_ms, 0.0])) for volume in (heart.lv_volume_ml, heart.rv_volume_ml))
        share = np.array([lv[0] / lv[1], 1.0, rv[0] / rv[1]], dtype=np.float32)
        example["sensitivity"] = example["sensitivity"] * share.reshape(1, 3, 1, 1, 1, 1)
        example["anchor"], volumes = np.array([at], dtype=np.float32), volumes * torch.from_numpy(share)
    return {**example, "deficit": (true - volumes.numpy()).astype(np.float32)}


def volume_phases(grid: MotionGrid, anchor: str = "ed") -> list[int]:
    """Return the phases of the volume loss: about end-systole, where volumes matter, and one of filling.

    An anchor that is not of the R wave (``anchor = "any"``) has to be filled up to it as well.
    """
    found = {round(share * grid.phases) for share in (0.25, 0.34, 0.42, 0.5, 0.67)}
    return sorted(found | {0} if anchor == "any" else found)


def jittered(frame: HeartFrame, rng: np.random.Generator) -> HeartFrame:
    """Turn and shift the frame a little more than the labels' own errors do: a margin for real hearts."""
    angle = rng.normal(0.0, np.deg2rad(7.0))
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    axes = turn @ frame.axes_ras
    return HeartFrame(frame.origin_ras + axes.T @ rng.normal(0.0, (3.0, 1.5, 1.5)), axes)
