"""The registration teacher on stacks: geometry of its view, exactness of the way back, refinement that finds motion."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import MotionError
from COFGeneratorLib.motion.fields import folded_fraction, voxels_from_mm, warp
from COFGeneratorLib.registration.teacher import Refinement, RegistrationTeacher
from COFGeneratorLib.registration.teacher_grid import FINE, heart_centred_grid, scale_intensity
from COFGeneratorLib.registration.teacher_network import TeacherConfig, TeacherNetwork, displace, nodes_to_pixels

CONFIG = TeacherConfig(plane=(32, 32), pixel_mm=4.0, filters=(4, 8))
SHAPE, SPACING = (5, 60, 64), (10.0, 2.0, 2.0)


def ijk_to_ras(shape=SHAPE, spacing=SPACING, turn_deg=20.0, flip=()) -> np.ndarray:
    """Return an oblique geometry, slices from base to apex; ``flip`` lists array axes stored the other way round."""
    k_axis = np.array([-0.62, 0.60, -0.50]) / np.linalg.norm([0.62, 0.60, 0.50])  # towards the apex of a patient
    i_axis = np.array([-0.70, -0.70, 0.10])
    i_axis -= k_axis * (k_axis @ i_axis)
    i_axis /= np.linalg.norm(i_axis)
    j_axis = np.cross(i_axis, k_axis)
    turn = np.deg2rad(turn_deg)
    i_axis, j_axis = np.cos(turn) * i_axis + np.sin(turn) * j_axis, np.cos(turn) * j_axis - np.sin(turn) * i_axis
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([i_axis, j_axis, k_axis], axis=1) * spacing[::-1]
    matrix[:3, 3] = (12.0, -30.0, 55.0)
    for axis in flip:
        matrix[:3, 3] += matrix[:3, 2 - axis] * (shape[axis] - 1)
        matrix[:3, 2 - axis] *= -1
    return matrix


def heart_labels(radius_mm=22.0, shape=SHAPE, spacing=SPACING, centre=(30, 34)) -> np.ndarray:
    """Return a tapering LV in a wall, an RV at low i, base at low k."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    y, x = (j - centre[0]) * spacing[1], (i - centre[1]) * spacing[2]
    taper = 1.0 - 0.09 * k
    r = np.hypot(x, y)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[(np.hypot(x + 30, y) < 26 * taper) & (k < 3)] = 3
    labels[r < (radius_mm + 9) * taper] = 2
    labels[r < radius_mm * taper] = 1
    return labels


def picture(labels: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    grey = np.array([0.35, 1.0, 0.15, 0.9])[labels]
    body = 0.1 * np.sin(np.arange(labels.shape[2]) / 3.0) + 0.1 * np.cos(np.arange(labels.shape[1]) / 4.0)[:, None]
    return gaussian_filter(grey + np.where(labels == 0, body, 0), (0, 0.8, 0.8)).astype(np.float32)


def a_stack(labels=None, matrix=None) -> SaxStack:
    labels = heart_labels() if labels is None else labels
    return SaxStack(1000.0 * picture(labels), ijk_to_ras() if matrix is None else matrix)


def a_teacher(config=CONFIG) -> RegistrationTeacher:
    torch.manual_seed(0)
    return RegistrationTeacher(TeacherNetwork(config))


def flipped(array: np.ndarray, axes) -> np.ndarray:
    return np.ascontiguousarray(np.flip(array, axes)) if axes else array


def test_an_untrained_network_proposes_no_motion():
    stack = a_stack()
    registration = a_teacher().register(stack, stack.voxels[None])
    assert float(registration.displacement_mm.abs().max()) < 0.01
    assert registration.velocity_mm.shape == (1, 3, 5, 16, 16)
    assert registration.confidence.shape == (1, 5, 32, 32)
    assert float(registration.confidence.max()) > 0.99


@pytest.mark.parametrize("slices", [1, 4, 10, 13])
def test_any_number_of_slices_goes_through_the_network(slices):
    image = torch.rand(2, 1, slices, 32, 32)
    velocity = a_teacher().network(image, image, torch.tensor([8.0, 17.0]))
    assert velocity.shape == (2, 3, slices, 16, 16)


def test_the_view_is_centred_on_the_heart_with_base_first_and_the_right_ventricle_at_low_i():
    for flip in ((), (0,), (1,), (0, 2)):
        labels = flipped(heart_labels(), flip)
        matrix = ijk_to_ras(flip=flip)
        grid = heart_centred_grid(CONFIG, SHAPE, matrix, heart_frame_from_labels(labels, matrix))
        seen = grid.from_stack(np.stack([labels == code for code in (1, 2, 3)]).astype(np.float32)).numpy()
        middle = [np.argwhere(channel > 0.5).mean(axis=0) for channel in seen]
        assert abs(middle[0][1] - 15.5) < 1.0
        assert abs((middle[0][2] - 15.5) * CONFIG.pixel_mm - 12.0) < 3.0  # the view's middle lies towards the RV
        assert middle[2][2] < middle[0][2] - 4
        assert seen[0, 0].sum() > seen[0, -1].sum()  # wide base, narrow apex


def test_a_flipped_copy_of_a_stack_gives_the_same_view():
    labels, image = heart_labels(), picture(heart_labels())
    views = []
    for flip in ((), (0,), (1,), (2,), (0, 1)):
        matrix = ijk_to_ras(flip=flip)
        frame = heart_frame_from_labels(flipped(labels, flip), matrix)
        views.append(heart_centred_grid(CONFIG, SHAPE, matrix, frame).from_stack(flipped(image, flip)[None]))
    for view in views[1:]:
        assert float((view - views[0]).abs().max()) < 2e-3


@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 2)])
def test_a_motion_in_mm_comes_back_to_the_stack_along_its_own_axes(flip):
    labels, matrix = flipped(heart_labels(), flip), ijk_to_ras(flip=flip)
    grid = heart_centred_grid(CONFIG, SHAPE, matrix, heart_frame_from_labels(labels, matrix))
    motion_ras = np.array([1.0, -2.0, 3.0])
    along_grid = np.linalg.inv(grid.kji_to_ras[:3, :3] / grid.spacing_mm) @ motion_ras
    fine = torch.as_tensor(along_grid, dtype=torch.float32).view(1, 3, 1, 1, 1).expand(1, 3, 5, 64, 64)
    on_stack = grid.to_stack(fine, SHAPE, matrix)[0].numpy()
    columns = matrix[:3, :3][:, ::-1] / np.linalg.norm(matrix[:3, :3][:, ::-1], axis=0)
    back = columns @ on_stack[:, 2, 30, 34]
    assert back == pytest.approx(motion_ras, abs=1e-4)


def test_a_smooth_motion_survives_the_way_to_the_stack():
    matrix = ijk_to_ras(turn_deg=0.0)
    grid = heart_centred_grid(CONFIG, SHAPE, matrix, None)
    k, j, i = np.meshgrid(np.arange(5), np.arange(16), np.arange(16), indexing="ij")
    to_stack = grid.kji_to_stack
    pixel = np.stack([k, 2 * j + 0.5, 2 * i + 0.5]).reshape(3, -1)
    stack_kji = (to_stack[:3, :3] @ pixel + to_stack[:3, 3:]).reshape(3, 5, 16, 16)

    def wave(kji):
        return 4.0 * np.sin(kji[1] / 9.0) * np.cos(kji[2] / 11.0) + 0.3 * kji[0]

    nodes = torch.as_tensor(np.stack([0 * k, wave(stack_kji), 0 * k]), dtype=torch.float32)[None]
    found = grid.to_stack(nodes_to_pixels(nodes, FINE), SHAPE, matrix)[0].numpy()
    axes = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    same_way = np.sign(grid.kji_to_ras[:3, 1] @ matrix[:3, 1])  # the heart's j may run against the stack's
    error = np.abs(same_way * found[1] - wave(np.stack(axes)))[:, 8:-8, 8:-8]
    assert error.max() < 0.08


def test_nodes_are_the_centres_of_their_pixel_blocks():
    line = torch.arange(8.0).view(1, 1, 1, 1, 8).expand(1, 1, 1, 8, 8)
    pixels = nodes_to_pixels(line)
    assert pixels.shape == (1, 1, 1, 16, 16)
    assert torch.allclose(pixels[0, 0, 0, 4, 1:-1], torch.arange(16.0)[1:-1] / 2 - 0.25, atol=1e-5)
    blocks = pixels.reshape(8, 2, 8, 2).mean(dim=(1, 3))
    assert torch.allclose(blocks[1:-1, 1:-1], line[0, 0, 0, 1:-1, 1:-1], atol=1e-5)


def test_refinement_finds_a_contraction_that_the_network_missed():
    still, moved = heart_labels(24.0), heart_labels(16.0)
    stack = a_stack(still)
    frame = heart_frame_from_labels(still, stack.ijk_to_ras)
    registration = a_teacher().register(
        stack, 1000.0 * picture(moved)[None], frame, refinement=Refinement(steps=40, step_mm=0.5, smoothness=0.1)
    )
    one_hot = torch.as_tensor(np.stack([still == code for code in range(4)]), dtype=torch.float32)
    field = voxels_from_mm(torch.as_tensor(registration.displacement_on_stack(0))[None], SPACING)
    warped = warp(one_hot[None], field)[0].numpy().argmax(axis=0)
    before, after = (
        2 * ((x == 1) & (moved == 1)).sum() / ((x == 1).sum() + (moved == 1).sum()) for x in (still, warped)
    )
    assert before < 0.65
    assert after > 0.80
    assert folded_fraction(field) == 0.0


def test_the_displacement_is_the_exponential_of_the_velocity():
    velocity = torch.zeros(1, 3, 5, 16, 16)
    velocity[:, 1] = 3.0
    assert torch.allclose(displace(velocity, (10.0, 8.0, 8.0)), velocity, atol=1e-4)
    assert torch.allclose(displace(velocity, torch.tensor([[10.0, 8.0, 8.0]])), velocity, atol=1e-4)


def test_a_saved_teacher_loads_to_the_same_answer(tmp_path):
    teacher, stack = a_teacher(), a_stack()
    torch.nn.init.normal_(teacher.network.velocity.weight, std=0.1)
    teacher.save(tmp_path / "teacher")
    again = RegistrationTeacher.load(tmp_path / "teacher")
    one, other = (t.register(stack, stack.voxels[None, ::-1]).velocity_mm for t in (teacher, again))
    assert torch.equal(one, other)
    assert float(one.abs().max()) > 0


def test_what_does_not_fit_is_named(tmp_path):
    stack = a_stack()
    with pytest.raises(MotionError, match=r"found \(1, 5, 60, 63\)"):
        a_teacher().register(stack, stack.voxels[None, :, :, :63])
    with pytest.raises(MotionError, match=r"config\.json"):
        RegistrationTeacher.load(tmp_path)
    with pytest.raises(MotionError, match="multiple of 4"):
        TeacherConfig(plane=(30, 32), filters=(4, 8))
    with pytest.raises(MotionError, match="multiples of 4"):
        TeacherConfig(filters=(6, 8))
    with pytest.raises(MotionError, match="Resample onto the teacher's grid"):
        a_teacher().network(torch.zeros(1, 1, 5, 32, 30), torch.zeros(1, 1, 5, 32, 30), torch.ones(1))


def test_intensities_are_scaled_by_the_anchor_alone():
    anchor = torch.linspace(0, 1000, 10_000)
    assert float(scale_intensity(anchor, anchor)[100]) == pytest.approx(0.0, abs=1e-3)
    assert float(scale_intensity(anchor, anchor)[9900]) == pytest.approx(1.0, abs=1e-3)
    assert torch.allclose(scale_intensity(7 * anchor + 5, 7 * anchor + 5), scale_intensity(anchor, anchor), atol=1e-4)
    assert float(scale_intensity(torch.tensor([1e9]), anchor)) == 1.5
