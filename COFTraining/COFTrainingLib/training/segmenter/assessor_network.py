"""The network of the independent assessor, and its weights."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

DESCRIPTION, WEIGHTS = "assessor.json", "model.safetensors"


FORMAT = 1


FAMILY = "SegResNet"


@dataclass(frozen=True)
class AssessorNetwork:
    """Settings of the network and of its window.

    Args:
        filters: Channels of the finest level; each next one has twice as many.
        blocks: Residual blocks of every level on the way down. All but the deepest look at single slices.
        groups: Of the group normalisation.
        classes: Output classes.
        spacing_mm: Pixel size of the window.
        size: Pixels of the training window.
        window: Pixels of the window that is looked at; wider, so that a wide right ventricle fits.
    """

    filters: int = 16
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    groups: int = 8
    classes: int = 4
    spacing_mm: float = 2.0
    size: int = 80
    window: int = 96

    @property
    def multiple(self) -> int:
        """Sides of windows are multiples of this."""
        return 2 ** (len(self.blocks) - 1)

    @property
    def features(self) -> int:
        """Length of the feature vector: channels of the deepest level."""
        return self.filters * self.multiple

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "blocks": list(self.blocks)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "AssessorNetwork":
        """Return the settings stored by ``to_json``."""
        return cls(**{**values, "blocks": tuple(values["blocks"])})


def build_assessor(config: AssessorNetwork) -> torch.nn.Module:
    """Return MONAI's SegResNetDS: (B, 1, D, H, W) → logits (B, classes, D, H, W), for any number of slices.

    It is told a slice pitch of as many pixels as its deepest level joins: so slices are never made fewer, and the
    deepest level alone looks across them.
    """
    from monai.networks.nets import SegResNetDS

    return SegResNetDS(
        spatial_dims=3,
        init_filters=config.filters,
        in_channels=1,
        out_channels=config.classes,
        norm=("GROUP", {"num_groups": config.groups}),
        blocks_down=config.blocks,
        dsdepth=1,
        resolution=(float(config.multiple), 1.0, 1.0),
    )


def weights_sha256(folder: Path) -> str:
    """Return the checksum of an assessor's weights.

    Raises:
        OSError: If there are none.
    """
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
