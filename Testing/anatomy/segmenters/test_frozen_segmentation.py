"""Segmentation networks asked in their own space, with gradients to the image: ours, nnU-Net, MONAI bundles."""

import types

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.segmenters.foreign_monai import MonaiBundle, Turn
from COFGeneratorLib.anatomy.segmenters.foreign_nnunet import NnUnet
from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import ForeignSegmenter
from COFGeneratorLib.anatomy.segmenters.frozen_segmentation import frozen_segmentation
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter
from COFGeneratorLib.anatomy.segmenters.segmenter_network import NetworkConfig, build_network
from COFGeneratorLib.errors import AnatomyError

CODES = {"lv": 3, "myo": 2, "rv": 1}
SPACING = (9.0, 2.7, 2.7)


class Watched(torch.nn.Module):
    """A network of one voxel that keeps what it was shown, and answers four classes."""

    def __init__(self, planar: bool = False) -> None:
        super().__init__()
        self.layer = (torch.nn.Conv2d if planar else torch.nn.Conv3d)(1, 4, 1)
        self.shown = None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shown = image
        return self.layer(image)


def nnunet(
    spacing, *, scheme="ZScoreNormalization", forward=(0, 1, 2), patch=(8, 64, 64), strides=((1, 1, 1), (1, 2, 2))
):
    """Return an nnU-Net segmenter as its package leaves it: a predictor with a plan, weights of two folds."""
    torch.manual_seed(0)
    network = Watched(planar=len(patch) == 2)
    settings = types.SimpleNamespace(
        spacing=spacing, normalization_schemes=[scheme], pool_op_kernel_sizes=strides, patch_size=patch
    )
    predictor = types.SimpleNamespace(
        network=network,
        list_of_parameters=[{key: value.clone() + 0.5 for key, value in network.state_dict().items()}],
        configuration_manager=settings,
        plans_manager=types.SimpleNamespace(transpose_forward=list(forward)),
    )
    model = object.__new__(NnUnet)
    model.predictor, model.names, model.described = predictor, {}, {"kind": "nnU-Net v2"}
    return ForeignSegmenter(model, CODES)


def monai(transforms, planar=False):
    bundle = object.__new__(MonaiBundle)
    bundle.transforms, bundle.planar, bundle.network = transforms, planar, Watched(planar)
    bundle.described = {"kind": "MONAI bundle"}
    return ForeignSegmenter(bundle, CODES)


def shown_to(segmenter, image):
    """Return what a segmenter's network is shown, and the soft labels."""
    frozen = frozen_segmentation(segmenter)
    soft = frozen(image, SPACING)
    return frozen.network.shown, soft


@pytest.fixture
def image():
    torch.manual_seed(1)
    return torch.rand(2, 1, 6, 32, 32, requires_grad=True)


def test_gradients_reach_the_image_and_no_weight(image):
    torch.manual_seed(0)
    config = NetworkConfig(filters=(4, 8, 8), flat_levels=1, spacing_mm=1.8)
    segmenter = Segmenter(build_network(config), build_network(config), config, config)
    frozen = frozen_segmentation(segmenter)
    soft = frozen(image, SPACING)
    assert soft.shape == (2, 3, 6, 48, 48)  # its pixel of 1.8 mm
    assert float(soft.detach().sum(dim=1).max()) <= 1.0 + 1e-6
    soft[:, 0].sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in frozen.parameters())
    assert not frozen.train().network.training


def test_an_nnunet_is_shown_its_spacing_intensities_and_order_of_axes(image):
    shown, soft = shown_to(nnunet((1.35, 9.0, 2.7), forward=(2, 0, 1), strides=((1, 1, 1), (2, 1, 2))), image)
    assert shown.shape == (2, 1, 64, 6, 32)  # (i, k, j), i twice as dense, and even
    assert float(shown[0].detach().mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(shown[0].detach().std()) == pytest.approx(1.0, abs=1e-3)
    assert soft.shape == (2, 3, 64, 6, 32)


def test_its_classes_are_ours_and_its_weights_the_first_folds(image):
    segmenter = nnunet((9.0, 2.7, 2.7))
    shown, soft = shown_to(segmenter, image)
    network = segmenter.network.predictor.network
    assert torch.equal(network.layer.bias, segmenter.network.predictor.list_of_parameters[0]["layer.bias"])
    classes = network.layer(shown).softmax(dim=1)
    assert torch.allclose(soft, classes[:, [3, 2, 1]], atol=1e-6)


def test_a_planar_nnunet_sees_slice_by_slice(image):
    shown, soft = shown_to(nnunet((2.7, 2.7), patch=(64, 64), strides=((1, 1), (2, 2))), image)
    assert shown.shape == (12, 1, 32, 32)
    assert soft.shape == (2, 3, 6, 32, 32)
    soft.sum().backward()
    assert image.grad.abs().sum() > 0


def test_a_monai_bundle_is_shown_its_axes_and_intensities(image):
    from monai.transforms import ScaleIntensityd, Spacingd

    steps = [
        Turn("RAS"),
        Spacingd(keys="image", pixdim=(1.35, 2.7, -1)),
        ScaleIntensityd(keys="image", minv=-1.0, maxv=1.0),
    ]
    shown, _ = shown_to(monai(steps), image)
    assert shown.shape == (2, 1, 64, 32, 16)  # (i, j, k), padded to 16 along the slices
    assert float(shown.detach().min()) == pytest.approx(-1.0)
    assert float(shown.detach().max()) == pytest.approx(1.0)
    steep = torch.arange(32.0).expand(1, 1, 6, 32, 32).clone()  # grows to the patient's left
    shown, _ = shown_to(monai(steps), steep)
    assert (torch.diff(shown[0, 0, :, 5, 8]) <= 1e-6).all()  # RAS grows to the right


def test_percentiles_of_a_monai_bundle_agree_with_monai(image):
    from monai.transforms import ScaleIntensityRangePercentilesd

    step = ScaleIntensityRangePercentilesd(keys="image", lower=5, upper=95, b_min=0.0, b_max=1.0, clip=True)
    shown, _ = shown_to(monai([step]), image[..., :16, :16])
    wanted = step({"image": image[0, :, :, :16, :16].detach()})["image"]
    found = shown[0].permute(0, 3, 2, 1)[:, 5:11]  # without what was padded along the slices
    assert float((found.detach() - torch.as_tensor(np.asarray(wanted))).abs().max()) < 1e-4


@pytest.mark.parametrize("segmenter", [nnunet((9.0, 2.7, 2.7), scheme="CTNormalization"), object()])
def test_what_cannot_be_differentiated_is_refused_in_words(segmenter):
    with pytest.raises(AnatomyError, match=r"normalises by|segmentation_by"):
        frozen_segmentation(segmenter)


def test_a_step_of_a_bundle_that_moves_voxels_elsewhere_is_refused():
    from monai.transforms import Resized

    with pytest.raises(AnatomyError, match="Resized"):
        frozen_segmentation(monai([Resized(keys="image", spatial_size=(32, 32, 32))]))
