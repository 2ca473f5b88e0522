"""The reference anatomy: the anchor's image in the heart's frame, the teacher's features of it, and who may learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.rea import ReferenceAnatomy, reference_grid, reference_image
from COFGeneratorLib.registration.teacher_network import TeacherConfig, TeacherNetwork

TEACHER = TeacherConfig(plane=(32, 32), pixel_mm=5.4, filters=(4, 8))
GRID = MotionGrid(shape=(8, 16, 16), spacing_mm=(12.0, 9.0, 9.0), phases=3)
SMALL = FlowConfig(widths=(8, 8, 8), heads=2, hidden=16, teacher=TEACHER, rea_channels=2, ecg_size=6)


def turned(stack: SaxStack, labels: np.ndarray) -> tuple[SaxStack, np.ndarray]:
    """Return the same patient stored apex first and with its rows upside down."""
    matrix = stack.ijk_to_ras.copy()
    for axis, column in ((0, 2), (1, 1)):
        matrix[:3, 3] += matrix[:3, column] * (stack.shape[axis] - 1)
        matrix[:3, column] *= -1
    flipped = np.ascontiguousarray(stack.voxels[::-1, ::-1])
    return SaxStack(flipped, matrix), np.ascontiguousarray(labels[::-1, ::-1])


def the_image(stack, labels, **options):
    frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
    return reference_image(stack, frame, GRID, TEACHER, **options)


def test_the_image_is_that_of_the_heart_however_its_file_is_stored(a_case):
    image = the_image(a_case.anchor, a_case.labels)
    assert image.shape == (8, 32, 32)
    other = the_image(*turned(a_case.anchor, a_case.labels))
    assert float((image - other).abs().max()) < 1e-3


def test_the_image_shows_the_cavity_where_the_motion_grid_has_it_and_nothing_beyond_the_stack(a_case):
    frame = heart_frame_from_labels(a_case.labels, a_case.anchor.ijk_to_ras)
    blood = SaxStack((a_case.labels == 1).astype(np.float32), a_case.anchor.ijk_to_ras)
    view = reference_grid(frame, a_case.anchor.ijk_to_ras, GRID, TEACHER)
    shown = view.from_stack(blood.voxels[None])[0].numpy()
    places = np.argwhere(shown > 0.5) @ view.kji_to_ras[:3, :3].T + view.kji_to_ras[:3, 3]
    assert np.linalg.norm(places.mean(axis=0) - frame.origin_ras) < 8.0  # half a slice: the grid is coarse
    image = the_image(a_case.anchor, a_case.labels)
    height = (np.arange(8) - 3.5) * 12.0 + GRID.centre_mm[0]
    ends = a_case.labels.shape[0] * float(a_case.anchor.spacing_mm[0])
    assert (image[height > ends] == 0).all()
    assert float(image.abs().amax(dim=(1, 2)).max()) > 0.5


def test_an_enlarged_grid_sees_a_large_heart_in_the_usual_size(a_case):
    larger = SaxStack(a_case.anchor.voxels, a_case.anchor.ijk_to_ras @ np.diag([1.3, 1.3, 1.3, 1.0]))
    usual, seen = the_image(a_case.anchor, a_case.labels), the_image(larger, a_case.labels, enlarged=1.3)
    assert float((usual - seen).abs().max()) < 0.05


def test_features_come_at_every_scale_and_are_those_that_registration_begins_with():
    torch.manual_seed(0)
    network = TeacherNetwork(TEACHER)
    image, pitch = torch.rand(2, 1, 5, 32, 32), torch.tensor([8.0, 10.0])
    levels = network.features(image, pitch)
    assert [tuple(level.shape) for level in levels] == [(2, 4, 5, 16, 16), (2, 8, 5, 8, 8)]
    assert all(torch.equal(a, b) for a, b in zip(levels, network.encode(image, image, pitch), strict=True))


@pytest.mark.parametrize("trained", [False, True])
def test_the_encoder_learns_only_where_it_may(trained):
    torch.manual_seed(0)
    rea = ReferenceAnatomy(GRID, TEACHER, 2, trained)
    seen = rea(torch.rand(2, 8, 32, 32))
    assert seen.shape == (2, 16, 16, 16)
    seen.square().mean().backward()
    assert rea.fuse.weight.grad.abs().sum() > 0
    assert all((weight.grad is not None) == trained for weight in rea.encoder.parameters())


def velocity(network: VelocityUNet, image: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    torch.nn.init.normal_(network.out.weight, std=0.1)
    pack, condition = torch.randn(1, 3, 32, 16, 16), torch.cat([torch.randn(1, 6), torch.ones(1, 1)], dim=1)
    maps, phases = torch.zeros(1, 3, 8, 16, 16), torch.arange(3) / 3
    return network(pack, torch.full((1,), 0.5), maps, condition, phases, image=image).detach()


def test_the_grey_values_of_the_anchor_reach_the_motion_and_not_without_rea():
    torch.manual_seed(0)
    image, noise = torch.rand(1, 8, 32, 32), torch.rand(1, 8, 32, 32)
    network = VelocityUNet(GRID, SMALL)
    assert (velocity(network, image) - velocity(network, noise)).abs().max() > 1e-3
    blind = VelocityUNet(GRID, replace(SMALL, anatomy="none"))
    assert torch.equal(velocity(blind, image), velocity(blind, noise))
    assert sum(p.numel() for p in blind.stem.parameters()) == sum(p.numel() for p in network.stem.parameters())


def test_a_network_that_needs_the_image_says_so():
    with pytest.raises(BundleError, match="looks at the anchor's image"):
        velocity(VelocityUNet(GRID, SMALL), None)


def test_a_configuration_is_the_same_after_a_bundle_has_stated_it():
    import json
    from dataclasses import asdict

    stated = json.loads(json.dumps(asdict(SMALL)))
    again = FlowConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()})
    assert again == SMALL
