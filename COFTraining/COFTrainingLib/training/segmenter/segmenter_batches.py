"""Training batches of the segmenter: a new contrast, orientation, crop and artefact at every use of a tissue map."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.segmenters.segmenter_network import normalise
from torch.nn import functional

from COFTrainingLib.phantom.appearance import draw_acquisition, form_images, smooth_noise
from COFTrainingLib.phantom.stacks import majority_labels
from COFTrainingLib.phantom.tissues import TISSUE_COUNT
from COFTrainingLib.training.segmenter.segmenter_cache import TissueCache


@dataclass(frozen=True)
class BatchConfig:
    """How stacks are varied.

    Args:
        scale: ``"fine"`` (heart-centred, nearly upright) or ``"coarse"`` (whole chest, any orientation).
        batch: Stacks a batch.
        slices: Smallest and largest number of slices of a batch's stacks.
        size, spacing_mm: Window given to the network.
        seed: Of everything random.
        turn_deg: Standard deviation of the in-plane rotation of upright stacks.
        any_turn: Share of stacks turned by any angle; ``mirror``: share mirrored and/or apex first.
        shift_mm: Largest displacement of the window, each axis.
        zoom: Largest relative change of size, both ways.
        bend_mm: Largest standard deviation of the smooth in-plane deformation.
        crop: Share of stacks with a tight field of view; ``away``: share whose window misses the heart; ``heartless``:
            share that shows random shapes of the same tissues and no heart.
    """

    scale: str
    batch: int = 2
    slices: tuple[int, int] = (5, 10)
    size: int = 96
    spacing_mm: float = 1.8
    seed: int = 0
    turn_deg: float = 20.0
    any_turn: float = 0.1
    mirror: float = 0.1
    shift_mm: float = 18.0
    zoom: float = 0.2
    bend_mm: float = 3.0
    crop: float = 0.35
    away: float = 0.03
    heartless: float = 0.02


def coarse_batches(**changes: Any) -> BatchConfig:
    """Return the settings of the coarse network's batches."""
    settings = {
        "size": 80,
        "spacing_mm": 4.5,
        "any_turn": 1.0,
        "mirror": 0.5,
        "shift_mm": 70.0,
        "zoom": 0.3,
        "away": 0.05,
        "heartless": 0.06,
    }
    return BatchConfig("coarse", **{**settings, **changes})


class SegmenterBatches:
    """Makes the batch of a step; the same one for the same step and seed."""

    def __init__(self, cache: TissueCache, config: BatchConfig) -> None:
        self.cache, self.config = cache, config
        self._slices = np.array([cache.slices(n) for n in range(len(cache))])

    def __call__(self, step: int) -> dict:
        """Return ``image`` (B, 1, D, H, W) float32 and ``label`` (B, D, H, W) int64."""
        config = self.config
        rng = np.random.default_rng((config.seed, step))
        low, high = config.slices
        depth = int(rng.integers(low, min(high, self._slices.max()) + 1))
        fitting = np.flatnonzero(self._slices >= depth)
        subjects = rng.choice(fitting, config.batch)
        images, labels = zip(*(self._one(rng, int(subject), depth) for subject in subjects), strict=True)
        names = [f"subject {subject}" for subject in subjects]
        return {"image": torch.stack(images)[:, None], "label": torch.stack(labels), "names": names}

    def _one(self, rng: np.random.Generator, subject: int, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        stack = self.cache.stack(self.config.scale, subject)
        spare = len(stack) - depth
        step = 2 if len(stack) >= 2 * depth - 1 and rng.random() < 0.3 else 1
        first = int(rng.integers(0, len(stack) - step * (depth - 1))) if spare else 0
        tissues = torch.from_numpy(np.array(stack[first : first + step * (depth - 1) + 1 : step]))
        if rng.random() < self.config.mirror:
            tissues = tissues.flip(0)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        heartless = rng.random() < self.config.heartless
        if heartless:
            tissues = random_shapes(generator, tissues.shape)
        spacing = self.cache.spacing_mm(self.config.scale)
        image = form_images(tissues, draw_acquisition(rng), spacing, generator)
        label = torch.from_numpy(majority_labels(tissues.numpy()))
        if heartless:
            label = torch.zeros_like(label)
        grid, inside = self._grid(rng, generator, depth, tissues.shape[-1] * spacing)
        image = functional.grid_sample(image[:, None], grid, align_corners=False)[:, 0]
        label = functional.grid_sample(label[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
        image = normalise(image, inside)
        if rng.random() < 0.3:  # display curves and reconstructions bend the scale
            image = (image + 0.5).clamp_min(0).pow(float(np.exp(rng.normal(0.0, 0.25)))) - 0.5
        return image, torch.where(inside, label, torch.zeros_like(label)).long()

    def _grid(
        self, rng: np.random.Generator, generator: torch.Generator, depth: int, extent_mm: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sampling grid (D, H, W, 2) in [−1, 1] and where the window lies in the field of view."""
        config = self.config
        line = (torch.arange(config.size) + 0.5 - config.size / 2) * config.spacing_mm
        y, x = torch.meshgrid(line, line, indexing="ij")
        points = torch.stack([x, y], dim=-1)  # (H, W, 2) mm
        inside = _field_of_view(rng, points) if rng.random() < config.crop else torch.ones_like(x, dtype=torch.bool)
        any_turn = rng.random() < config.any_turn
        angle = rng.uniform(0, 2 * np.pi) if any_turn else np.deg2rad(rng.normal(0.0, config.turn_deg))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if rng.random() < config.mirror:
            turn[:, 0] *= -1.0
        shear = np.eye(2) + rng.normal(0.0, 0.05, (2, 2))
        scale = np.exp(rng.uniform(-1, 1) * np.log1p(config.zoom))
        matrix = torch.as_tensor(turn @ shear * scale, dtype=torch.float32)
        shift = rng.uniform(-1, 1, 2) * config.shift_mm
        if rng.random() < config.away:
            direction = rng.uniform(0, 2 * np.pi)
            shift = np.array([np.cos(direction), np.sin(direction)]) * (0.5 * config.size * config.spacing_mm + 75.0)
        points = points @ matrix.T + torch.as_tensor(shift, dtype=torch.float32)
        breath = torch.as_tensor(rng.normal(0.0, rng.choice([0.0, 1.0, 2.0]), (depth, 1, 1, 2)), dtype=torch.float32)
        bend = torch.randn((1, 2, 6, 6), generator=generator) * float(rng.uniform(0.0, config.bend_mm))
        bend = functional.interpolate(bend, size=(config.size,) * 2, mode="bicubic", align_corners=True)
        points = points[None] + bend.permute(0, 2, 3, 1) + breath  # (D, H, W, 2)
        seen = (points.abs() < extent_mm / 2).all(dim=-1)
        return points / (extent_mm / 2), inside[None] & seen


def random_shapes(generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Return tissues (D, S, H, W) uint8 of random smooth shapes: pictures like a scan's that hold no heart."""
    depth, slab, height, width = shape
    cells = int(torch.randint(3, 16, (1,), generator=generator))
    fields = torch.stack([smooth_noise(generator, (depth, height, width), (3, cells, cells)) for _ in range(6)])
    codes = torch.randint(0, TISSUE_COUNT, (6,), generator=generator).to(torch.uint8)
    return codes[fields.argmax(dim=0)][:, None].expand(depth, slab, height, width).contiguous()


def _field_of_view(rng: np.random.Generator, points: torch.Tensor) -> torch.Tensor:
    """Return where a tight, turned field of view of 130–230 mm covers points (H, W, 2)."""
    angle = rng.uniform(0, np.pi)
    half = rng.uniform(65, 115, 2)
    middle = rng.normal(0.0, 12.0, 2)
    axis = torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32)
    offset = points - torch.as_tensor(middle, dtype=torch.float32)
    along, across = offset @ axis, offset @ torch.stack([-axis[1], axis[0]])
    return (along.abs() < half[0]) & (across.abs() < half[1])
