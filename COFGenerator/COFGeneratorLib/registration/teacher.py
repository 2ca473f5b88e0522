"""The registration teacher: how an anchor moves to become each frame of its own cine (stage 1 of Chain of Flow)."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors.torch import save_file

from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import MotionError
from COFGeneratorLib.motion.fields import voxels_from_mm, warp
from COFGeneratorLib.registration.similarity import (
    confidence_map,
    correlation_loss,
    dice_loss,
    folding_loss,
    largest_field_loss,
    smoothness_loss,
)
from COFGeneratorLib.registration.teacher_grid import FINE, TeacherGrid, heart_centred_grid, scale_intensity
from COFGeneratorLib.registration.teacher_network import TeacherConfig, TeacherNetwork, displace, nodes_to_pixels
from COFGeneratorLib.weights import load_weights

LabelPair: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Probabilities of LV, myocardium and RV in the anchor (3, D, H, W) and in T frames (T, 3, D, H, W)."""


@dataclass(frozen=True)
class Refinement:
    """Instance optimisation: Adam on the velocity of a pair, from the network's answer (Balakrishnan 2019).

    Args:
        steps: Adam steps; 0 leaves the network's answer.
        step_mm: Learning rate, mm.
        reconstruction, segmentation, smoothness, largest_field: Weights, as in training.
        folding: Weight of what folds, or nearly does, between slices.
        prior: Weight of the squared departure from the network's answer, 1/mm², for hearts of the kind that the network
            was trained on: along the slices' normal images show little, and correlation alone moves there as it likes.
    """

    steps: int = 60
    step_mm: float = 0.5
    reconstruction: float = 1.0
    segmentation: float = 2.0
    smoothness: float = 0.1
    largest_field: float = 0.1
    folding: float = 100.0
    prior: float = 0.0


@dataclass(frozen=True)
class Registration:
    """Motion of one anchor towards T targets.

    Attributes:
        velocity_mm: (T, 3, D, h, w) stationary velocity at the grid's nodes, mm along its (k, j, i).
        displacement_mm: (T, 3, D, h, w) its exponential: pull, ``target(x) ≈ anchor(x + u)``.
        confidence: (T, D, H, W) 0…1 how well warped anchor and target agree around each pixel of the grid.
        grid: Where nodes and pixels lie.
        stack_shape, stack_to_ras: The anchor's own grid.
    """

    velocity_mm: torch.Tensor
    displacement_mm: torch.Tensor
    confidence: torch.Tensor
    grid: TeacherGrid
    stack_shape: tuple[int, int, int]
    stack_to_ras: np.ndarray

    def displacement_on_stack(self, frame: int) -> np.ndarray:
        """Return the displacement of a frame on the anchor's grid, (3, D, H, W) mm along its own (k, j, i)."""
        fine = self.fine_displacement_mm(frame)
        return self.grid.to_stack(fine, self.stack_shape, self.stack_to_ras)[0].numpy()

    def fine_displacement_mm(self, frame: int) -> torch.Tensor:
        """Return the displacement of a frame on nodes ``FINE`` times denser in-plane, (1, 3, D, FINE·h, FINE·w) mm.

        The velocity, not the displacement, is brought up by splines: where the exponential is taken nothing folds.
        """
        velocity = nodes_to_pixels(self.velocity_mm[frame : frame + 1].float(), FINE)
        return displace(velocity, self.grid.fine_mm)


class RegistrationTeacher:
    """A trained registration network with what is needed to use it on stacks."""

    def __init__(self, network: TeacherNetwork, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.config = network.config
        self.device = torch.device(device)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "RegistrationTeacher":
        """Load ``config.json`` and ``model.safetensors`` from a folder.

        Raises:
            MotionError: If a file is missing or does not fit.
        """
        folder = Path(folder)
        try:
            config = TeacherConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
            network = TeacherNetwork(config)
            network.load_state_dict(load_weights(folder / "model.safetensors"))
        except MotionError:
            raise
        except Exception as error:
            raise MotionError(
                f"A teacher is a folder with a config.json and a model.safetensors that fit; loading {folder} failed: "
                f"{error}. Train one with `cof train teacher`, or check the path."
            ) from error
        return cls(network, device)

    def save(self, folder: Path | str) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1), encoding="utf-8")

    def register(
        self,
        anchor: SaxStack,
        targets: np.ndarray,
        frame: HeartFrame | None = None,
        *,
        refinement: Refinement | None = None,
        anchor_labels: np.ndarray | None = None,
        target_labels: np.ndarray | None = None,
        batch: int = 4,
        progress: Callable[[int, int], None] | None = None,
    ) -> Registration:
        """Register an anchor to frames of its cine.

        Args:
            anchor: The anchor.
            targets: (T, D, H, W) frames on the anchor's grid.
            frame: The heart's frame, from the anchor's labels; without one the view is the stack's middle.
            refinement: Instance optimisation; None for the network alone.
            anchor_labels, target_labels: (3, D, H, W) and (T, 3, D, H, W) probabilities of LV, myocardium and RV of a
                segmentation network; where both are given, refinement also matches them.
            batch: Frames computed together.
            progress: Called with (frames done, frames).

        Raises:
            MotionError: If a target does not share the anchor's grid.
        """
        targets = np.asarray(targets, dtype=np.float32)
        if targets.ndim != 4 or targets.shape[1:] != tuple(anchor.shape) or not np.isfinite(targets).all():
            raise MotionError(
                f"Targets must be finite frames (T, {', '.join(map(str, anchor.shape))}) on the anchor's grid; found "
                f"{targets.shape}. Read them from the anchor's own cine."
            )
        grid = heart_centred_grid(self.config, anchor.shape, anchor.ijk_to_ras, frame)
        still = grid.from_stack(anchor.voxels[None])[0]
        moving = grid.from_stack(targets)
        still, moving = scale_intensity(still, still), scale_intensity(moving, still)
        labels = None
        if anchor_labels is not None and target_labels is not None:
            still_labels = grid.from_stack(anchor_labels)
            labels = still_labels, torch.stack([grid.from_stack(one) for one in target_labels])
        parts = []
        for first in range(0, len(targets), batch):
            pick = slice(first, first + batch)
            chosen = None if labels is None else (labels[0], labels[1][pick])
            parts.append(self._register(still, moving[pick], grid, refinement, chosen))
            if progress is not None:
                progress(min(first + batch, len(targets)), len(targets))
        velocity, displacement, confidence = (torch.cat(part) for part in zip(*parts, strict=True))
        return Registration(
            velocity_mm=velocity,
            displacement_mm=displacement,
            confidence=confidence,
            grid=grid,
            stack_shape=anchor.shape,
            stack_to_ras=anchor.ijk_to_ras,
        )

    def _register(
        self,
        still: torch.Tensor,
        moving: torch.Tensor,
        grid: TeacherGrid,
        refinement: Refinement | None,
        labels: LabelPair | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return velocity, displacement and confidence of some frames (T, D, H, W), on the processor."""
        count = len(moving)
        anchor = still.expand(count, 1, *grid.shape).to(self.device)
        target = moving[:, None].to(self.device)
        pitch = torch.full((count,), float(grid.spacing_mm[0]), device=self.device)
        with torch.no_grad():
            velocity = self.network(anchor, target, pitch)
        if refinement is not None and refinement.steps:
            if labels is not None:
                labels = labels[0].to(self.device), labels[1].to(self.device)
            velocity = self._refine(velocity, anchor, target, grid, refinement, labels)
        with torch.no_grad():
            displacement = displace(velocity, grid.node_mm)
            warped = warp(anchor, _movement(displacement, grid))
            confidence = confidence_map(warped, target)[:, 0]
        return velocity.cpu(), displacement.cpu(), confidence.cpu()

    def _refine(
        self,
        first: torch.Tensor,
        anchor: torch.Tensor,
        target: torch.Tensor,
        grid: TeacherGrid,
        settings: Refinement,
        labels: LabelPair | None,
    ) -> torch.Tensor:
        """Improve the velocities of some pairs by Adam on their own objective; at the rim of the view nothing moves."""
        first, window = first.detach(), self.network.window
        change = torch.zeros_like(first, requires_grad=True)
        optimizer = torch.optim.Adam([change], lr=settings.step_mm)
        for step in range(settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.step_mm * (1.0 - 0.9 * step / settings.steps)
            optimizer.zero_grad(set_to_none=True)
            velocity = first + window * change
            displacement = displace(velocity, grid.node_mm)
            source = (
                anchor if labels is None else torch.cat([anchor, labels[0].expand(len(anchor), -1, -1, -1, -1)], dim=1)
            )
            movement = _movement(displacement, grid)
            warped = warp(source, movement)
            loss = settings.reconstruction * correlation_loss(warped[:, :1], target)
            loss = loss + settings.smoothness * smoothness_loss(velocity, grid.node_mm)
            loss = loss + settings.largest_field * largest_field_loss(displacement)
            loss = loss + settings.folding * folding_loss(movement)
            loss = loss + settings.prior * (window * change).square().sum(dim=1).mean()
            if labels is not None:
                loss = loss + settings.segmentation * dice_loss(warped[:, 1:], labels[1])
            (len(anchor) * loss).backward()
            optimizer.step()
        return (first + window * change).detach()


def _movement(displacement_mm: torch.Tensor, grid: TeacherGrid) -> torch.Tensor:
    """Return the displacement in pixels of the grid from that in mm at the nodes."""
    return voxels_from_mm(nodes_to_pixels(displacement_mm), grid.spacing_mm)
