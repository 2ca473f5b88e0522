"""The assessor: a second network that labels cines, for evaluation alone.

What a generator's own segmenter says of the generator's cines proves little, for both may err alike. The assessor is of
another family (MONAI's SegResNet, Myronenko 2018), has other weights and has met other synthetic patients; that this is
so is checked by ``evaluation/independence.py``. It labels recorded and generated frames in the same way: a window about
the heart, upright and base first, each frame normalised by itself, slices never resampled.

    assessor = load_assessor(folder)                         # or shipped_assessor(), which may be None
    labels = assessor.label(stack, frame)                    # (D, H, W) uint8 on the stack's own grid
    vector = assessor.features(stack, frame)                 # (d,) float32, for Fréchet distances
    both = assessor.assess(frames, stack.ijk_to_ras, frame)  # of all (T, D, H, W) frames of a cine at once

``frame`` is where the heart lies (``heart_frame_from_labels`` of the recorded labels, or ``Segmentation.frame``); give
the same one to a recorded cine and to those generated from it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.segmenters.clean_labels import clean_labels
from COFGeneratorLib.anatomy.segmenters.segmenter_network import normalise
from COFGeneratorLib.anatomy.segmenters.slice_windows import SliceWindow
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.resources import models_folders
from COFGeneratorLib.weights import load_weights

from COFTrainingLib.training.segmenter.assessor_network import (
    DESCRIPTION,
    FAMILY,
    FORMAT,
    WEIGHTS,
    AssessorNetwork,
    build_assessor,
    weights_sha256,
)

TOWARDS_RV_MM = 14.0
"""The window's middle lies this far from the centre of the LV cavity, so that both ventricles are in it."""
FRAMES_AT_ONCE = 4
SMALL = 20480
"""Torch convolves one 3-D image of at most that many channels × slices × rows by a method that is three times slower on
a thread (ATen's ``use_mkldnn``); two of them go the fast way."""


@dataclass(frozen=True)
class Assessment:
    """What the assessor makes of T frames.

    Attributes:
        labels: (T, D, H, W) uint8 on the frames' own grid: 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity; all 0
            where no heart is seen.
        features: (T, d) float32, the deepest level averaged over the window.
    """

    labels: np.ndarray
    features: np.ndarray


class Assessor:
    """A trained assessor; see the module's head for how it is used.

    Args:
        network: (B, 1, D, H, W) → logits (B, 4, D, H, W), as ``build_assessor`` makes it.
        config: Its settings.
        described: Content of ``assessor.json``: provenance for reports.
        folder: Where it lies, for ``evaluation.independence``; None for one made in memory.
        device: Where it runs.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        config: AssessorNetwork,
        described: dict[str, Any] | None = None,
        folder: Path | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.config, self.described, self.folder = config, dict(described or {}), folder

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"assessor ({FAMILY}, {self.described.get('weights_sha256', '')[:8] or 'untrained'})"

    def label(self, stack: SaxStack, frame: HeartFrame) -> np.ndarray:
        """Return labels (D, H, W) uint8 of one stack on its own grid; all 0 where no heart is seen."""
        return self.assess(stack.voxels[None], stack.ijk_to_ras, frame).labels[0]

    def features(self, stack: SaxStack, frame: HeartFrame) -> np.ndarray:
        """Return the feature vector (d,) float32 of one stack, d ≤ 128."""
        return self.assess(stack.voxels[None], stack.ijk_to_ras, frame).features[0]

    @torch.inference_mode()
    def assess(self, frames: np.ndarray, ijk_to_ras: np.ndarray, frame: HeartFrame) -> Assessment:
        """Label all frames of a cine and return their features.

        Args:
            frames: (T, D, H, W), any intensity unit; each frame is normalised by itself.
            ijk_to_ras: (4, 4) their geometry, of any orientation and handedness.
            frame: The heart's frame, the same for all frames.
        """
        window, shape = self.window(ijk_to_ras, frame), frames.shape[1:]
        spacing_mm = np.linalg.norm(np.asarray(ijk_to_ras)[:3, :3], axis=0)[::-1].copy()
        labels, features = [], []
        for first in range(0, len(frames), FRAMES_AT_ONCE):
            cuts = [window.cut(voxels, ijk_to_ras) for voxels in frames[first : first + FRAMES_AT_ONCE]]
            images = torch.stack([normalise(image, inside) for image, inside in cuts])[:, None]
            logits, vectors = self._look(images.to(self.device))
            features.append(vectors)
            for heart in logits.float().softmax(dim=1)[:, 1:].cpu():
                native = window.put_back(heart, ijk_to_ras, shape)
                most, best = native.max(dim=0)
                found = torch.where(most > 1.0 - native.sum(dim=0), best + 1, 0).to(torch.uint8).numpy()
                labels.append(clean_labels(found, spacing_mm))
        return Assessment(np.stack(labels), torch.cat(features).numpy())

    def window(self, ijk_to_ras: np.ndarray, frame: HeartFrame) -> SliceWindow:
        """Return the window about a heart: upright, base first, with both ventricles in it."""
        backwards = float(frame.axes_ras[0] @ np.asarray(ijk_to_ras)[:3, 2]) < 0
        centre = frame.origin_ras - TOWARDS_RV_MM * frame.axes_ras[2]
        size = (self.config.window, self.config.window)
        return SliceWindow(centre, frame.axes_ras[1], frame.axes_ras[2], size, self.config.spacing_mm, backwards)

    def _look(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (B, 4, D, h, w) and features (B, d) of one pass."""
        seen: list[torch.Tensor] = []

        def keep(_module: torch.nn.Module, _inputs: Any, levels: list[torch.Tensor]) -> None:
            seen.append(levels[-1].float().mean(dim=(2, 3, 4)).cpu())

        count = len(images)
        if count == 1 and self.config.filters * images.shape[2] * images.shape[3] <= SMALL:
            images = images.expand(2, -1, -1, -1, -1)
        hook = self.network.encoder.register_forward_hook(keep)
        try:
            return self.network(images)[:count], seen[0][:count]
        finally:
            hook.remove()


def load_assessor(folder: Path | str, device: str = "cpu") -> Assessor:
    """Load ``assessor.json`` and ``model.safetensors`` of a folder that training wrote; nothing is unpickled.

    Raises:
        BundleError: If a file is missing, altered, or does not fit.
    """
    from safetensors import SafetensorError

    folder = Path(folder)
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if described["format"] != FORMAT or described["family"] != FAMILY:
            raise ValueError(f"format {described['format']!r} of the family {described['family']!r}")
        config = AssessorNetwork.from_json(described["network"])
        found = weights_sha256(folder)
        if found != described["weights_sha256"]:
            raise ValueError(f"{WEIGHTS} of SHA-256 {found[:12]}… for {described['weights_sha256'][:12]}…")
        network = build_assessor(config)
        network.load_state_dict(load_weights(folder / WEIGHTS))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(
            f"An assessor's folder needs {DESCRIPTION} (format {FORMAT}, {FAMILY}) and {WEIGHTS} that fit together; in "
            f"{folder} reading failed: {error}. Train one with cof train assessor, or copy the folder again."
        ) from error
    return Assessor(network, config, described, folder, device)


def shipped_assessor() -> Path | None:
    """Return the folder of the assessor that ships with the product, or None where none does."""
    places = (folder / "assessor" for folder in models_folders())
    return next((place for place in places if (place / DESCRIPTION).is_file()), None)
