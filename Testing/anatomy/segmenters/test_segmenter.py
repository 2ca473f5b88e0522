"""The segmenter's passes, with networks that read the answer off the image, and with the shipped ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.roi import Roi
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter
from COFGeneratorLib.anatomy.segmenters.segmenter_network import NetworkConfig, build_network, normalise
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.shape import draw_shape
from COFTrainingLib.phantom.stacks import StackGeometry, render_stack
from COFTrainingLib.phantom.surroundings import Scene

GREY = (0.0, 0.5, 0.25, 0.8)
"""Intensity of background, LV cavity, myocardium and RV cavity in the drawn images."""


class ReadsGrey(torch.nn.Module):
    """A network that knows the labels because the image shows them: it tests everything but learning."""

    def forward(self, image):
        grey = torch.tensor(GREY).reshape(1, 4, 1, 1, 1)
        return -300.0 * (image + 0.5 - grey / max(GREY)) ** 2


def a_phantom(seed=0):
    rng = np.random.default_rng(seed)
    physiology = draw_physiology(rng)
    drawn = draw_shape(rng, physiology, "normal")
    heart = BeatingHeart(drawn, physiology)
    scene = Scene(rng, heart)
    matrix = np.diag([9.0, 1.6, 1.6, 1.0])
    matrix[:3, 3] = [-65.0, -88.0, -110.0]
    geometry = StackGeometry((13, 110, 128), matrix, thickness_mm=8.0)
    stack, labels = render_stack(heart, rng, geometry=geometry, kind="bssfp", scene=scene)
    return stack, labels, scene


@pytest.fixture(scope="module")
def a_drawing():
    stack, labels, _ = a_phantom()
    return SaxStack(np.asarray(GREY)[labels], stack.ijk_to_ras), labels


@pytest.fixture(scope="module")
def a_segmenter():
    coarse, fine = NetworkConfig(spacing_mm=4.5), NetworkConfig(spacing_mm=1.6)
    return Segmenter(ReadsGrey(), ReadsGrey(), coarse, fine)


@pytest.fixture(scope="module")
def the_shipped_segmenter(repository):
    shipped = sorted((repository / "Resources" / "Models").rglob("segmenter.json"))
    if not shipped:
        pytest.skip("no model is bundled in this tree")
    return Segmenter.from_files(shipped[0].parent)


def flipped(stack, axis):
    matrix, column = stack.ijk_to_ras.copy(), 2 - axis
    matrix[:3, 3] += matrix[:3, column] * (stack.shape[axis] - 1)
    matrix[:3, column] *= -1
    return SaxStack(np.flip(stack.voxels, axis), matrix)


def overlap(a, b, code):
    return 2 * ((a == code) & (b == code)).sum() / ((a == code).sum() + (b == code).sum())


def test_both_passes_bring_labels_back_to_the_native_grid(a_segmenter, a_drawing):
    stack, labels = a_drawing
    found = a_segmenter.segment(stack)
    assert found.labels.shape == stack.shape
    assert found.probabilities.shape == (4, *stack.shape)
    assert found.probabilities.sum(axis=0) == pytest.approx(1.0, abs=1e-4)
    for code in (1, 2, 3):
        assert overlap(found.labels, labels, code) > 0.9
    k, j, i = np.nonzero(labels == 1)
    centre = stack.ijk_to_ras @ [i.mean(), j.mean(), k.mean(), 1.0]
    assert np.linalg.norm(found.frame.origin_ras - centre[:3]) < 2.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_file_with_its_matrix_gives_the_same_heart(a_segmenter, a_drawing, axis):
    stack, _ = a_drawing
    straight, other = a_segmenter.segment(stack), a_segmenter.segment(flipped(stack, axis))
    assert (np.flip(other.labels, axis) == straight.labels).mean() > 0.999
    assert np.linalg.norm(other.frame.origin_ras - straight.frame.origin_ras) < 0.5
    assert np.abs(other.frame.axes_ras - straight.frame.axes_ras).max() < 0.02


@pytest.mark.parametrize("scale", [0.01, 1.0, 4000.0])
def test_the_unit_of_intensity_does_not_matter(a_segmenter, a_drawing, scale):
    stack, labels = a_drawing
    found = a_segmenter.segment(SaxStack(stack.voxels * scale + 7 * scale, stack.ijk_to_ras))
    assert overlap(found.labels, labels, 1) > 0.9


class SeesAGhost(ReadsGrey):
    """Takes one corner of what it is shown for a cavity, wherever in the chest that is."""

    def forward(self, image):
        logits = super().forward(image)
        logits[:, 1, :, :20, :20] = 300.0
        return logits


def test_what_one_look_alone_sees_is_not_labelled(a_segmenter, a_drawing):
    stack, labels = a_drawing
    found = a_segmenter.segment(stack)
    haunted = Segmenter(ReadsGrey(), SeesAGhost(), a_segmenter.coarse_config, a_segmenter.fine_config)
    passed = [
        haunted._fine_pass(stack, found.frame, found.frame.origin_ras, looks)
        for looks in ((-20.0,), (20.0,), (-20.0, 20.0))
    ]
    assert np.allclose(passed[2], 0.5 * (passed[0] + passed[1]), atol=1e-6)
    far = labels == 0
    ghosts = [int(((one.argmax(axis=0) == 1) & far).sum()) for one in passed]
    assert min(ghosts[:2]) > 500
    assert ghosts[2] < 0.35 * min(ghosts[:2])  # where the corners of both looks overlap


def test_a_look_that_takes_the_apex_for_the_base_is_outvoted_however_sure_it_is(a_segmenter, a_drawing, monkeypatch):
    stack, _ = a_drawing
    right, real = a_segmenter.segment(stack).frame, Segmenter._coarse_pass
    once_wrong = iter([False, True, False])

    def looks(self, stack, scale):
        seen = real(self, stack, 1.0)
        if next(once_wrong):
            return seen[:, ::-1].copy()  # base and apex exchanged
        return 0.9 * seen + 0.025  # less sure than the wrong one

    monkeypatch.setattr("COFGeneratorLib.anatomy.segmenters.segmenter.SURE", 1.1)
    monkeypatch.setattr(Segmenter, "_coarse_pass", looks)
    frame, _ = a_segmenter._localise(stack, None)
    assert (frame.axes_ras * right.axes_ras).sum(axis=1).min() > 0.9


def test_inference_on_a_cpu_gives_what_the_network_gives():
    network = build_network(NetworkConfig(filters=(8, 12, 16), flat_levels=2)).eval()
    laid_out = build_network(NetworkConfig(filters=(8, 12, 16), flat_levels=2)).eval()
    laid_out.load_state_dict(network.state_dict())
    laid_out.to(memory_format=torch.channels_last_3d)
    stack = torch.randn(1, 1, 5, 24, 16, generator=torch.Generator().manual_seed(0))
    learning = network(stack).detach()
    with torch.inference_mode():
        for one in (network, laid_out):
            assert torch.allclose(one(stack), learning, atol=1e-4)


def test_an_roi_elsewhere_leaves_no_heart(a_segmenter, a_drawing):
    stack, _ = a_drawing
    here = a_segmenter.segment(stack).frame.origin_ras
    assert np.allclose(a_segmenter.segment(stack, Roi(here + 5.0, (90, 90, 90))).frame.origin_ras, here, atol=1.0)
    with pytest.raises(AnatomyError, match="must overlap the stack"):
        a_segmenter.segment(stack, Roi(here + 300.0, (90, 90, 90)))
    corner = stack.ijk_to_ras[:3, 3]
    with pytest.raises(AnatomyError, match="should hold a heart"):
        a_segmenter.segment(stack, Roi(corner, (8, 8, 8)))


def test_an_empty_stack_is_refused(a_segmenter):
    with pytest.raises(AnatomyError, match="give labels or an ROI"):
        a_segmenter.segment(SaxStack(np.zeros((6, 64, 64)), np.diag([1.5, 1.5, 8.0, 1.0])))


def test_normalisation_ignores_what_is_not_in_view():
    image = torch.rand(3, 40, 40)
    valid = torch.zeros_like(image, dtype=torch.bool)
    valid[:, 10:, 10:] = True
    other = torch.where(valid, image, torch.full_like(image, 1e6))
    assert torch.equal(normalise(image, valid), normalise(other, valid))
    assert torch.allclose(normalise(image, valid), normalise(3 * image + 5, valid), atol=1e-5)


def test_any_number_of_slices_goes_through_the_network():
    network = build_network(NetworkConfig(filters=(4, 6, 8), flat_levels=2)).eval()
    for depth in (1, 2, 5, 9):
        assert network(torch.zeros(1, 1, depth, 32, 32)).shape == (1, 4, depth, 32, 32)


@pytest.mark.parametrize("missing", ["segmenter.json", "fine.safetensors"])
def test_an_incomplete_folder_is_named(tmp_path, missing):
    for name in {"segmenter.json", "fine.safetensors", "coarse.safetensors"} - {missing}:
        Path(tmp_path, name).write_text("{}", encoding="utf-8")
    with pytest.raises(AnatomyError, match="segmenter folder needs"):
        Segmenter.from_files(tmp_path)


@pytest.mark.slow
def test_the_shipped_segmenter_labels_a_phantom_and_its_mirror_image(the_shipped_segmenter):
    stack, labels, _ = a_phantom(3)
    found = the_shipped_segmenter.segment(stack)
    assert overlap(found.labels, labels, 1) > 0.8  # the phantom's LV ends at a plane, a reader's with a slice
    turned = the_shipped_segmenter.segment(flipped(flipped(stack, 0), 1))
    assert overlap(np.flip(turned.labels, (0, 1)), found.labels, 1) > 0.95


@pytest.mark.slow
def test_the_shipped_segmenter_refuses_what_is_not_a_heart(the_shipped_segmenter):
    rng = np.random.default_rng(0)
    geometry = np.diag([1.6, 1.6, 10.0, 1.0])
    stack, labels, _ = a_phantom(3)
    body = np.repeat(stack.voxels[:1], len(labels), axis=0) + 0.01 * rng.rayleigh(1.0, stack.shape)
    assert not (labels[0] == 1).any()
    for voxels in (rng.rayleigh(1.0, (10, 128, 128)), np.zeros((8, 96, 96)), body):
        with pytest.raises(AnatomyError, match="heart"):
            the_shipped_segmenter.segment(SaxStack(voxels, geometry))
