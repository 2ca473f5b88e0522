"""The segmenter: finds the heart in a short-axis stack of any orientation and labels it.

A coarse pass over the whole view finds the ventricles and thereby the heart's frame; a fine pass then sees the heart
centred, upright and base first, whatever way the file was stored.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from COFGeneratorLib.anatomy.geometry import positions_ras
from COFGeneratorLib.anatomy.heart_frame import HeartFrame, heart_frame_from_labels
from COFGeneratorLib.anatomy.roi import MARGIN_MM, Roi, check_heart_in, check_on_stack, shown_ras
from COFGeneratorLib.anatomy.segmenters.clean_labels import clean_labels, level_base
from COFGeneratorLib.anatomy.segmenters.segmenter_network import NetworkConfig, build_network, normalise
from COFGeneratorLib.anatomy.segmenters.slice_windows import SliceWindow, whole_view
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError

FINE_PIXELS = 112
"""Side of the fine window: a little more than what was trained with, so that a wide right ventricle fits."""
FINE_LOOKS_DEG = (-20.0, 20.0)
"""The fine network looks at the heart turned by these angles, one standard deviation of its training's either way, and
what it sees is averaged: one look alone errs a little more everywhere."""
LARGEST_COARSE_PIXELS = 128
COARSE_SCALES = (1.0, 0.75, 1.3)
"""The whole view is looked at with pixels of these multiples of the coarse network's, until one look is ``SURE``."""
SURE = 0.93
"""Mean probability of the heart's voxels in a coarse look after which no other scale is looked at."""
SAME_WAY_DEG = 45.0
"""Two coarse looks whose frames are turned by less against each other see the heart the same way round."""
MIN_CONFIDENCE = 0.6
"""Mean probability of the heart's voxels below which a find is refused; real hearts have 0.8 and more."""
MIN_WALL_SHARE = 0.15
"""A heart's wall has at least this share of its cavity's volume, however dilated."""
MIN_TAPER, TAPER_SLICES = 0.06, 6
"""A ventricle tapers: the coefficient of variation of its area over that many slices. A tube is no heart."""
SETTLED_MM, SETTLED_DEG = 8.0, 15.0
"""A second fine pass is made where the first one moves the heart's frame by more."""


@dataclass(frozen=True)
class Segmentation:
    """Labels of a stack and how sure they are.

    Args:
        labels: (D, H, W) uint8, 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.
        probabilities: (4, D, H, W) float32, of the same classes, before the clean-up of ``labels``.
        frame: The heart's frame; its origin is the centre of the LV cavity.
        confidence: Mean probability of the labelled heart, 0…1.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    frame: HeartFrame
    confidence: float


class StackSegmenter(Protocol):
    """What any segmenter must offer, so that a user's own network can take this one's place."""

    def segment(self, stack: SaxStack, roi: Roi | None = None) -> Segmentation:
        """Return the labels of a stack; of the heart in the region of interest where one is given."""
        ...


class Segmenter:
    """The segmenter of this product: two networks, (B, 1, D, H, W) → (B, 4, D, H, W) logits, with their settings."""

    def __init__(
        self,
        coarse: torch.nn.Module,
        fine: torch.nn.Module,
        coarse_config: NetworkConfig,
        fine_config: NetworkConfig,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.coarse, self.fine = (network.to(self.device).eval() for network in (coarse, fine))
        self.coarse_config, self.fine_config = coarse_config, fine_config

    @classmethod
    def from_files(cls, folder: Path | str, device: str = "cpu") -> "Segmenter":
        """Load ``segmenter.json``, ``coarse.safetensors`` and ``fine.safetensors``; nothing is unpickled.

        Raises:
            AnatomyError: If a file is missing or does not fit.
        """
        from safetensors import SafetensorError

        from COFGeneratorLib.weights import load_weights

        folder = Path(folder)
        try:
            described = json.loads((folder / "segmenter.json").read_text(encoding="utf-8"))
            configs = {scale: NetworkConfig.from_json(described[scale]) for scale in ("coarse", "fine")}
            networks = {scale: build_network(config) for scale, config in configs.items()}
            for scale, network in networks.items():
                network.load_state_dict(load_weights(folder / f"{scale}.safetensors"))
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise AnatomyError(
                "A segmenter folder needs segmenter.json, coarse.safetensors and fine.safetensors that fit together; "
                f"in {folder} reading failed: {error}. Copy the folder again from its bundle."
            ) from error
        return cls(networks["coarse"], networks["fine"], configs["coarse"], configs["fine"])._laid_out(device)

    def to(self, device: str | torch.device) -> "Segmenter":
        """Move both networks to a device, in place; windows are cut and put back there too."""
        return self if self.device == torch.device(device) else self._laid_out(device)

    def _laid_out(self, device: str | torch.device) -> "Segmenter":
        self.device = torch.device(device)
        # channels side by side, as a CPU's vector instructions want them: three fifths of the time
        layout = torch.channels_last_3d if self.device.type == "cpu" else torch.contiguous_format
        for network in (self.coarse, self.fine):
            network.to(self.device, memory_format=layout)
        return self

    def segment(self, stack: SaxStack, roi: Roi | None = None) -> Segmentation:
        """Label a stack of any orientation, handedness and slice order; hearts outside ``roi`` are not looked at.

        Raises:
            AnatomyError: If no heart is in view, or none in the region of interest.
        """
        if roi is not None:
            check_on_stack(roi, stack.shape, stack.ijk_to_ras)
        frame, centre = self._localise(stack, roi)
        for _ in range(2):
            probabilities = self._fine_pass(stack, frame, centre)
            labels = level_base(clean_labels(probabilities.argmax(axis=0).astype(np.uint8), stack.spacing_mm))
            confidence = confidence_of(probabilities, labels)
            found, found_centre = self._frame(labels, stack, confidence)
            settled = _close(frame, found, centre, found_centre)
            frame, centre = found, found_centre
            if settled:
                break
        if roi is not None:
            check_heart_in(roi, labels, stack.ijk_to_ras, "segmenter")
        return Segmentation(labels, probabilities, frame, confidence)

    def follow(self, stack: SaxStack, found: Segmentation, frames: np.ndarray) -> np.ndarray:
        """Return the probabilities of LV, myocardium and RV in other frames of a cine that was segmented at one.

        Nothing is searched for: the fine network looks where the heart was found, once a frame. Frames are (T, D, H, W)
        on the stack's grid, probabilities (T, 3, D, H, W) float32.
        """
        centre = _middle(found.labels, stack.ijk_to_ras, found.frame)
        out = np.empty((len(frames), 3, *stack.shape), dtype=np.float32)
        for one, frame in zip(out, frames, strict=True):
            one[:] = self._fine_pass(SaxStack(frame, stack.ijk_to_ras), found.frame, centre, looks=(0.0,))[1:]
        return out

    def _localise(self, stack: SaxStack, roi: Roi | None) -> tuple[HeartFrame, np.ndarray]:
        """Return the heart's frame and middle as seen most surely of several looks at the whole view.

        Hearts of children and of heart failure differ twofold in size; looks at several scales find both. Of three, one
        may take the apex for the base: a look that no other sees the same way round counts after those that agree.
        """
        found: list[tuple[float, tuple[HeartFrame, np.ndarray]]] = []
        refusals: list[AnatomyError] = []
        far = None if roi is None else ~roi.mask(stack.shape, stack.ijk_to_ras, MARGIN_MM)
        for scale in COARSE_SCALES:
            probabilities = self._coarse_pass(stack, scale)
            if far is not None:
                probabilities[1:, far] = 0.0
                probabilities[0, far] = 1.0
            labels = clean_labels(probabilities.argmax(axis=0).astype(np.uint8), stack.spacing_mm)
            confidence = confidence_of(probabilities, labels)
            try:
                found.append((confidence, self._frame(labels, stack, confidence)))
            except AnatomyError as error:
                refusals.append(error)
                continue
            if confidence >= SURE:
                break
        if found:
            frames = [frame for _, (frame, _) in found]
            alike = [one for one in found if sum(_turn_deg(one[1][0], frame) < SAME_WAY_DEG for frame in frames) > 1]
            return max(alike or found, key=lambda one: one[0])[1]
        if roi is not None:
            raise AnatomyError(
                f"The region of interest should hold a heart; around {shown_ras(roi.centre_ras)} none was found. Move "
                f"the box to the heart, enlarge it, or leave it out. ({refusals[0]})"
            )
        raise refusals[0]

    def _coarse_pass(self, stack: SaxStack, scale: float = 1.0) -> np.ndarray:
        config = self.coarse_config
        spacing, limits = scale * config.spacing_mm, (config.size, LARGEST_COARSE_PIXELS)
        window = whole_view(stack.shape, stack.ijk_to_ras, spacing, config.multiple, limits)
        return self._predict(self.coarse, window, stack)

    def _fine_pass(
        self, stack: SaxStack, frame: HeartFrame, centre: np.ndarray, looks: Sequence[float] = FINE_LOOKS_DEG
    ) -> np.ndarray:
        """Return the mean probabilities (4, D, H, W) float32 of looks at the heart, each turned by an angle."""
        backwards = float(frame.axes_ras[0] @ stack.ijk_to_ras[:3, 2]) < 0
        size = int(np.ceil(FINE_PIXELS / self.fine_config.multiple) * self.fine_config.multiple)
        row, column = frame.axes_ras[1:]
        seen = []
        for angle in np.deg2rad(looks):
            cos, sin = np.cos(angle), np.sin(angle)
            turned = cos * row + sin * column, cos * column - sin * row
            window = SliceWindow(centre, *turned, (size, size), self.fine_config.spacing_mm, backwards)
            seen.append(self._predict(self.fine, window, stack))
        return np.mean(seen, axis=0)

    def _predict(self, network: torch.nn.Module, window: SliceWindow, stack: SaxStack) -> np.ndarray:
        """Return the probabilities (4, D, H, W) float32 on the stack's grid."""
        image, inside = window.cut(stack.voxels, stack.ijk_to_ras, self.device)
        with torch.inference_mode():
            probabilities = network(normalise(image, inside)[None, None]).float().softmax(dim=1)[0]
            native = window.put_back(probabilities[1:], stack.ijk_to_ras, stack.shape)
            background = (1.0 - native.sum(dim=0, keepdim=True)).clamp_min(0.0)
            return torch.cat([background, native]).cpu().numpy()

    def _frame(self, labels: np.ndarray, stack: SaxStack, confidence: float) -> tuple[HeartFrame, np.ndarray]:
        """Return the heart's frame and the middle of its extent.

        Raises:
            AnatomyError: If the labels are not those of a heart.
        """
        cavity, wall = int((labels == 1).sum()), int((labels == 2).sum())
        if confidence < MIN_CONFIDENCE or wall < MIN_WALL_SHARE * cavity:
            raise AnatomyError(
                f"A heart in view should be found with a confidence of {MIN_CONFIDENCE:.2f} or more and have a wall of "
                f"at least {100 * MIN_WALL_SHARE:.0f} % of its cavity; found confidence {confidence:.2f}, cavity "
                f"{cavity * stack.voxel_volume_ml:.0f} mL, wall {wall * stack.voxel_volume_ml:.0f} mL. Check that the "
                "volume is a short-axis stack of the heart, or give labels or an ROI."
            )
        area = (labels == 1).sum(axis=(1, 2))
        area = area[area > 0]
        if len(area) >= TAPER_SLICES and area.std() < MIN_TAPER * area.mean():
            raise AnatomyError(
                f"A heart's cavity should taper along the stack; what was found has the same area in {len(area)} "
                "slices, like a vessel or one picture repeated. Check that the volume is a short-axis stack."
            )
        frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
        return frame, _middle(labels, stack.ijk_to_ras, frame)


def confidence_of(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean probability (4, D, H, W) of what is labelled as heart (D, H, W); 0 where nothing is."""
    heart = labels > 0
    if not heart.any():
        return 0.0
    return float(np.take_along_axis(probabilities, labels[None].astype(np.int64), axis=0)[0][heart].mean())


def _middle(labels: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame) -> np.ndarray:
    """Return the middle of the heart's extent along its own axes, RAS mm."""
    along = (positions_ras(labels, ijk_to_ras) - frame.origin_ras) @ frame.axes_ras.T
    low, high = np.percentile(along, [1, 99], axis=0)
    return frame.origin_ras + (0.5 * (low + high)) @ frame.axes_ras


def _close(before: HeartFrame, after: HeartFrame, centre: np.ndarray, new_centre: np.ndarray) -> bool:
    return bool(_turn_deg(before, after) <= SETTLED_DEG and np.linalg.norm(new_centre - centre) <= SETTLED_MM)


def _turn_deg(one: HeartFrame, other: HeartFrame) -> float:
    """Return the largest angle between the same axes of two frames."""
    return float(np.degrees(np.arccos(np.clip((one.axes_ras * other.axes_ras).sum(axis=1), -1, 1))).max())


@lru_cache(maxsize=2)
def own_segmenter(folder: str) -> Segmenter:
    """Load a segmenter of ours once a process."""
    return Segmenter.from_files(folder)
