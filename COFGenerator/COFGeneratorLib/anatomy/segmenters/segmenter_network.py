"""The segmenter's network and what it sees: a U-Net over a whole short-axis stack, fine in the plane, coarse across.

The upper levels look at each slice alone (1×3×3); the deeper ones join neighbouring slices (3×3×3), so that base and
apex are decided from the whole stack. The stack is never down-sampled across slices: any number of slices goes in.
"""

from dataclasses import asdict, dataclass

import torch

LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 99.0
"""Intensities are scaled so that these percentiles of the valid voxels become 0 and 1: fat and coil flare saturate."""
CLIP = (-0.25, 1.75)


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of one network.

    Args:
        filters: Channels of each level, finest first.
        flat_levels: How many of the upper levels look at single slices.
        classes: Output classes.
        spacing_mm: Pixel size it was trained at.
        size: Pixels of its training window.
    """

    filters: tuple[int, ...] = (16, 32, 64, 96, 128)
    flat_levels: int = 3
    classes: int = 4
    spacing_mm: float = 1.8
    size: int = 96

    @property
    def multiple(self) -> int:
        """Input height and width must be multiples of this."""
        return 2 ** (len(self.filters) - 1)

    def same_weights(self, other: "NetworkConfig") -> bool:
        """Return whether the weights of one network fit the other."""
        return (self.filters, self.flat_levels, self.classes) == (other.filters, other.flat_levels, other.classes)

    def to_json(self) -> dict:
        """Return the settings as plain JSON values."""
        return {**asdict(self), "filters": list(self.filters)}

    @classmethod
    def from_json(cls, values: dict) -> "NetworkConfig":
        """Return the settings stored by ``to_json``."""
        return cls(**{**values, "filters": tuple(values["filters"])})


def build_network(config: NetworkConfig) -> torch.nn.Module:
    """Return MONAI's DynUNet (after nnU-Net, Isensee et al. 2021): (B, 1, D, H, W) → logits (B, classes, D, H, W)."""
    from monai.networks.nets import DynUNet

    levels = len(config.filters)
    network = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=config.classes,
        kernel_size=[[1 if level < config.flat_levels else 3, 3, 3] for level in range(levels)],
        strides=[[1, 1, 1]] + [[1, 2, 2]] * (levels - 1),
        upsample_kernel_size=[[1, 2, 2]] * (levels - 1),
        filters=list(config.filters),
        norm_name=("INSTANCE", {"affine": True}),
        res_block=False,
    )
    for module in network.modules():  # in place: names and weights stay those of DynUNet
        if type(module) is torch.nn.Conv3d:
            module.__class__ = _Conv3d
        elif type(module) is torch.nn.InstanceNorm3d:
            module.__class__ = _InstanceNorm3d
    return network


class _Conv3d(torch.nn.Conv3d):
    """The same by oneDNN in inference on a CPU: for a batch of one torch may take a slower way of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not _inferred_on_cpu(x) or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        padding = self.padding
        assert not isinstance(padding, str)  # DynUNet gives numbers
        return torch.mkldnn_convolution(x, self.weight, self.bias, padding, self.stride, self.dilation, self.groups)


class _InstanceNorm3d(torch.nn.InstanceNorm3d):
    """The same as the batch norm of one stack in inference on a CPU: torch's own way moves all channels, twice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not _inferred_on_cpu(x) or len(x) != 1:
            return super().forward(x)
        return torch.nn.functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


def _inferred_on_cpu(x: torch.Tensor) -> bool:
    return torch.is_inference_mode_enabled() and x.device.type == "cpu" and x.dtype == torch.float32


def normalise(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Scale intensities (D, H, W) of one stack by robust percentiles; where not ``valid`` they get the low end."""
    values = images[valid]
    if values.numel() == 0:
        return torch.zeros_like(images)
    stride = max(values.numel() // 200_000, 1)
    low, high = (_percentile(values[::stride].float(), percent) for percent in (LOW_PERCENTILE, HIGH_PERCENTILE))
    scaled = ((images - low) / (high - low).clamp_min(1e-6)).clamp(*CLIP)
    return torch.where(valid, scaled, torch.zeros_like(scaled)) - 0.5


def _percentile(values: torch.Tensor, percent: float) -> torch.Tensor:
    """Return the value (n,) nearest to a percentile: without sorting all, as ``torch.quantile`` does."""
    return values.kthvalue(1 + round(percent / 100 * (len(values) - 1))).values
