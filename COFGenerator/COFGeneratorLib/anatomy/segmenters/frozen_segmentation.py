"""A frozen segmentation network whose gradients go through: any ``StackSegmenter`` here, asked in its own space.

Stage 1 of Chain of Flow warps an image and asks a segmentation network what it shows. The image is brought to the
network's pixel, intensities, order of axes and divisible size by differentiable steps, and the answer stays in that
space: both images of a pair are asked alike, and nothing has to be brought back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from COFGeneratorLib.anatomy.segmenters.foreign_monai import TURN, MonaiBundle, Turn
from COFGeneratorLib.anatomy.segmenters.foreign_nnunet import NnUnet
from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import ForeignSegmenter
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter, StackSegmenter
from COFGeneratorLib.anatomy.segmenters.segmenter_network import normalise
from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.errors import AnatomyError

VIEW_DIRECTIONS = {0: (2, -1), 1: (1, -1), 2: (0, -1)}
"""Where the axes (k, j, i) of a heart-centred view point, about: to the patient's inferior, posterior and left."""
FINEST_SHARE = 0.02
"""A network's spacing that differs from the image's by less is that of the image."""
Intensity = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class NetworkSpace:
    """What a network wants to be shown.

    Args:
        spacing_mm: Voxel along (k, j, i), NaN where the image's own is kept.
        divisor: Sizes along (k, j, i) are padded to multiples of these.
        intensity: Maps one image (D, H, W) to what the network was trained on.
        order: Which of (k, j, i) is each axis of the network's.
        flips: Axes of the network's that run against the view's.
        planar: Whether it sees single slices, which are then the first axis.
    """

    spacing_mm: tuple[float, float, float]
    divisor: tuple[int, int, int]
    intensity: Intensity
    order: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[int, ...] = ()
    planar: bool = False


class FrozenSegmentation(torch.nn.Module):
    """Probabilities of LV cavity, myocardium and RV cavity, with gradients to the image and none to the weights."""

    def __init__(
        self, network: torch.nn.Module, space: NetworkSpace, codes: dict[str, int], described: dict[str, Any]
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.space, self.codes, self.described = space, codes, described

    def train(self, mode: bool = True) -> "FrozenSegmentation":
        """Stay as it is: what is frozen is never trained."""
        return super().train(False)

    def forward(self, image: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
        """Return soft labels, (B, 3, d, h, w) of the network's own axes and pixels.

        Args:
            image: (B, 1, D, H, W) heart-centred views, base first, of any scale of intensities.
            spacing_mm: Voxel of the images along (k, j, i).
        """
        shown = self._shown(image, spacing_mm)
        if self.space.planar:
            slices = shown.movedim(2, 1).flatten(0, 1)  # (B·D, 1, h, w)
            logits = _answer(self.network(slices)).unflatten(0, (len(shown), shown.shape[2])).movedim(1, 2)
        else:
            logits = _answer(self.network(shown))
        probabilities = logits.float().softmax(dim=1)
        empty = probabilities.new_zeros(probabilities[:, :1].shape)
        parts = [probabilities[:, c : c + 1] if (c := self.codes.get(name)) is not None else empty for name in LABELS]
        return torch.cat(parts, dim=1)

    def _shown(self, image: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
        space = self.space
        ratio = [own / wanted for own, wanted in zip(spacing_mm, space.spacing_mm, strict=True)]
        scale = [1.0 if np.isnan(r) or abs(r - 1.0) < FINEST_SHARE else r for r in ratio]
        size = [max(round(n * s), 1) for n, s in zip(image.shape[2:], scale, strict=True)]
        if size != list(image.shape[2:]):
            image = interpolate(image.float(), size=size, mode="trilinear", align_corners=False)
        image = torch.stack([space.intensity(one[0]) for one in image])[:, None]
        more = [-n % d for n, d in zip(size, space.divisor, strict=True)]
        if any(more):
            sides = [side for extra in reversed(more) for side in (extra // 2, extra - extra // 2)]
            image = pad(image, sides, mode="replicate")
        image = image.permute(0, 1, *(2 + axis for axis in space.order))
        return image.flip([2 + axis for axis in space.flips]) if space.flips else image


def frozen_segmentation(segmenter: StackSegmenter, device: str | torch.device = "cpu") -> FrozenSegmentation:
    """Return the network of a segmenter, as ``load_segmenter`` gives it, frozen and differentiable.

    Raises:
        AnatomyError: If the segmenter's preprocessing cannot be differentiated.
    """
    if isinstance(segmenter, Segmenter):
        config = segmenter.fine_config
        space = NetworkSpace(
            (np.nan, config.spacing_mm, config.spacing_mm), (1, config.multiple, config.multiple),
            lambda image: normalise(image, torch.ones_like(image, dtype=torch.bool)),
        )  # fmt: skip
        found = FrozenSegmentation(segmenter.fine, space, dict(LABELS), {"kind": "ours, fine network"})
        return found.to(device)
    if isinstance(segmenter, ForeignSegmenter):
        network, codes = segmenter.network, segmenter.codes
        if isinstance(network, NnUnet):
            return FrozenSegmentation(*_of_nnunet(network), codes, segmenter.described).to(device)
        if isinstance(network, MonaiBundle):
            return FrozenSegmentation(network.network, _of_monai(network), codes, segmenter.described).to(device)
    raise AnatomyError(
        "Gradients go through a segmenter of ours, an nnU-Net v2 model or a MONAI bundle; found a "
        f'{type(segmenter).__name__}. Give one of them, or train with objective.segmentation_by = "labels".'
    )


def _of_nnunet(model: NnUnet) -> tuple[torch.nn.Module, NetworkSpace]:
    """Return the network of nnU-Net's predictor, its first fold, and the space of its plans."""
    predictor = model.predictor
    settings = predictor.configuration_manager
    forward = [int(axis) for axis in predictor.plans_manager.transpose_forward]
    schemes = list(settings.normalization_schemes)
    if schemes[0] not in NNUNET_INTENSITIES:
        raise AnatomyError(
            f"An nnU-Net model of MR images normalises by {' or '.join(NNUNET_INTENSITIES)}; found {schemes[0]}. "
            "Absolute intensities are not known here: give another model."
        )
    network = predictor.network
    network.load_state_dict(predictor.list_of_parameters[0])
    strides = np.prod(np.array(settings.pool_op_kernel_sizes), axis=0).astype(int).tolist()
    spacing = [float(step) for step in settings.spacing]
    planar = len(settings.patch_size) == 2
    if planar:  # slices are the first axis, and are not resampled
        strides, spacing = [1, *strides], [np.nan, *spacing[-2:]]
    wanted, steps = [np.nan] * 3, [1] * 3
    for place, axis in enumerate(forward):
        wanted[axis], steps[axis] = spacing[place], int(strides[place])
    space = NetworkSpace(
        (wanted[0], wanted[1], wanted[2]), (steps[0], steps[1], steps[2]), NNUNET_INTENSITIES[schemes[0]],
        (forward[0], forward[1], forward[2]), planar=planar,
    )  # fmt: skip
    return network, space


def _of_monai(bundle: MonaiBundle) -> NetworkSpace:
    """Return the space of a bundle's preprocessing: MONAI's axes are (i, j, k), and slices come last."""
    from monai import transforms

    spacing, order = [np.nan] * 3, [2, 1, 0]
    intensities: list[Intensity] = []
    flips: list[int] = []
    for step in bundle.transforms:
        if isinstance(step, Turn):
            order, flips = _turned(step.wanted)
        elif isinstance(step, transforms.Spacingd):
            pixdim = np.broadcast_to(np.asarray(step.spacing_transform.pixdim, dtype=float), 3)
            for place, axis in enumerate(order):
                spacing[axis] = float(pixdim[place]) if pixdim[place] > 0 else np.nan
        elif (made := _intensity(step)) is not None:
            intensities.append(made)
        elif not isinstance(step, transforms.SpatialPadd | transforms.DivisiblePadd | transforms.CropForegroundd):
            raise AnatomyError(
                f"Gradients go through {TURN}, Spacingd, padding and relative intensities of a MONAI bundle; found "
                f'{type(step).__name__}. Give another bundle, or train with objective.segmentation_by = "labels".'
            )

    def intensity(image: torch.Tensor) -> torch.Tensor:
        for one in intensities:
            image = one(image)
        return image

    divisor = [1 if bundle.planar and axis == 0 else MONAI_DIVISOR for axis in range(3)]
    order = [order[2], *order[:2]] if bundle.planar else order  # slices first
    flips = [(axis + 1) % 3 for axis in flips] if bundle.planar else flips
    return NetworkSpace(
        (spacing[0], spacing[1], spacing[2]), (divisor[0], divisor[1], divisor[2]), intensity,
        (order[0], order[1], order[2]), tuple(flips), bundle.planar,
    )  # fmt: skip


MONAI_DIVISOR = 16
"""Of sizes, for networks of MONAI of up to five levels."""


def _turned(wanted: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return the view's axes in the order of wanted directions, and which of them have to be flipped."""
    order: list[int] = []
    flips: list[int] = []
    for place, (world, sign) in enumerate(wanted):
        axis = next(axis for axis, (points, _) in VIEW_DIRECTIONS.items() if points == world)
        order.append(axis)
        if VIEW_DIRECTIONS[axis][1] != sign:
            flips.append(place)
    return order, flips


def _intensity(step: Any) -> Intensity | None:
    """Return a transform of relative intensities as a function of tensors; None where it is another."""
    from monai import transforms

    if isinstance(step, transforms.NormalizeIntensityd):
        return _z_score
    if isinstance(step, transforms.ScaleIntensityd):
        low, high = step.scaler.minv, step.scaler.maxv
        return lambda image: low + (high - low) * _unit(image)
    if isinstance(step, transforms.ScaleIntensityRangePercentilesd):
        scaler = step.scaler
        shares = torch.tensor([scaler.lower / 100.0, scaler.upper / 100.0])

        def by_percentiles(image: torch.Tensor) -> torch.Tensor:
            low, high = torch.quantile(image.detach().flatten()[:: max(image.numel() // 200_000, 1)], shares.to(image))
            scaled = scaler.b_min + (image - low) / (high - low).clamp(min=1e-6) * (scaler.b_max - scaler.b_min)
            return scaled.clamp(scaler.b_min, scaler.b_max) if scaler.clip else scaled

        return by_percentiles
    return None


def _z_score(image: torch.Tensor) -> torch.Tensor:
    still = image.detach()
    return (image - still.mean()) / still.std().clamp(min=1e-8)


def _unit(image: torch.Tensor) -> torch.Tensor:
    low, high = image.detach().amin(), image.detach().amax()
    return (image - low) / (high - low).clamp(min=1e-8)


NNUNET_INTENSITIES: dict[str, Intensity] = {
    "ZScoreNormalization": _z_score,
    "RescaleTo01Normalization": _unit,
    "NoNormalization": lambda image: image,
}


def _answer(found: Any) -> torch.Tensor:
    """Return a network's logits, of several answers (deep supervision) the finest."""
    return found[0] if isinstance(found, tuple | list) else found
