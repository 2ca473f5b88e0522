"""Cines of one plane through a phantom: mid-ventricular short axis, or four chambers (atria of ``GreatVessels``)."""

from dataclasses import replace

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.errors import CohortError

from COFTrainingLib.phantom.appearance import draw_acquisition, form_images
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.stacks import StackGeometry, majority_labels
from COFTrainingLib.phantom.subject import PhantomSubject
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.phantom.varied_shape import TabulatedShape

PLANES = ("sax", "four-chamber")
THICKNESS_MM = 6.0
GREY_PERCENTILES = (0.5, 99.5)


def plane_geometry(heart: BeatingHeart, grid: PlaneGrid, rng: np.random.Generator) -> StackGeometry:
    """Plan one plane as an operator would, with a few millimetres and degrees of freedom.

    Short axis: across the long axis at 45 % of its length, anterior wall up, RV on the left. Four chambers: through the
    long axis and the RV, slightly inferior towards the atria, apex up, RV on the left.

    Raises:
        CohortError: If the plane is not known.
    """
    shape, size, pixel = heart.shape, grid.size, grid.pixel_mm
    turn, tilt = rng.normal(0.0, np.deg2rad(4.0), 2)
    if grid.plane == "sax":
        normal, rows, columns = np.array([1.0, 0, 0]), np.array([0, np.cos(turn), -np.sin(turn)]), None
        columns = np.cross(rows, normal)
        columns = columns if columns[2] > 0 else -columns
        centre = np.array([0.45 * shape.length_mm - shape.centroid_z_mm, 0.0, -0.3 * shape.rv_depth_mm])
    elif grid.plane == "four-chamber":
        rows = np.array([-1.0, 0.16 + tilt, 0.0])  # downwards: from the apex to the base, a little inferior
        rows /= np.linalg.norm(rows)
        columns = np.array([0.0, -np.sin(0.12 + turn), np.cos(0.12 + turn)])
        columns -= rows * (columns @ rows)
        columns /= np.linalg.norm(columns)
        normal = np.cross(rows, columns)
        base = np.array([-shape.centroid_z_mm, 0.05 * shape.radius_mm, -0.3 * shape.rv_depth_mm])
        centre = base + 0.22 * shape.length_mm * np.array([1.0, 0, 0])
    else:
        raise CohortError(f"A plane is one of {', '.join(PLANES)}; found {grid.plane!r}. Name one of them.")
    centre = centre + rng.normal(0.0, 2.0) * rows + rng.normal(0.0, 2.0) * columns
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([normal * THICKNESS_MM, rows * pixel, columns * pixel], axis=1)
    matrix[:3, 3] = centre - (matrix[:3, 1] + matrix[:3, 2]) * (size - 1) / 2
    return StackGeometry((1, size, size), matrix, THICKNESS_MM)


def render_plane(
    subject: PhantomSubject, grid: PlaneGrid, body: int = 0, slab: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Take a cine of one plane over one R–R, frame 0 at R.

    Args:
        subject: The subject.
        grid: Plane, frames, matrix, pixel size.
        body: Seed of a body and scan (contrast, coil) that subjects share; 0 gives each its own.
        slab: Samples through the slice's thickness.

    Returns:
        (T, H, W) uint8 grey levels (percentiles of the whole cine on 0…255) and (T, H, W) uint8 true labels
        (0 background, 1 LV cavity, 2 myocardium, 3 RV cavity; atria are background).
    """
    seed = subject.seed
    rng = np.random.default_rng([body or seed, 8])
    heart = BeatingHeart(TabulatedShape(subject.heart.shape), subject.physiology)
    scene = Scene(rng, heart)
    geometry = plane_geometry(heart, grid, np.random.default_rng([seed, 18]))
    acquisition = draw_acquisition(rng, "bssfp", clean=True)
    still = replace(
        acquisition, noise=0.0, contrast=replace(acquisition.contrast, texture=0.25 * acquisition.contrast.texture)
    )
    offsets = ((np.arange(slab) + 0.5) / slab - 0.5) * geometry.thickness_mm
    points = np.concatenate([geometry.points(0, offset).reshape(-1, 3) for offset in offsets])
    around = scene.body_at(points)
    noise = torch.Generator().manual_seed(seed % 2**31 + 1)
    frames, labels = [], []
    for time_ms in np.arange(grid.frames) / grid.frames * subject.physiology.rr_ms:
        tissue = scene.tissue_at(points, float(time_ms), body=around).reshape(1, slab, grid.size, grid.size)
        image = form_images(torch.from_numpy(tissue), still, grid.pixel_mm, torch.Generator().manual_seed(seed % 2**31))
        real, imaginary = torch.randn((2, *image.shape), generator=noise) * acquisition.noise
        frames.append((((image + real) ** 2 + imaginary**2).sqrt())[0].numpy())
        labels.append(majority_labels(tissue)[0])
    return to_grey(np.stack(frames)), np.stack(labels)


def to_grey(cine: np.ndarray) -> np.ndarray:
    """Return a cine (T, H, W) as uint8, its percentiles ``GREY_PERCENTILES`` over all frames at 0 and 255."""
    low, high = np.percentile(cine, GREY_PERCENTILES)
    return np.clip(np.rint((cine - low) / max(high - low, 1e-6) * 255.0), 0, 255).astype(np.uint8)
