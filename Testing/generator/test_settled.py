"""The EF that is asked is the EF that comes out: of both ventricles, whatever of the stack is there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.function import curves_from_sums, report_from_curves
from COFGeneratorLib.function.volumes import WALL_GROWTH
from COFGeneratorLib.generator.ejection_scale import FACTORS, next_factor, right_share
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.moving import volume_sums
from COFGeneratorLib.generator.native import native_motion
from COFGeneratorLib.generator.networks.grid import MotionGrid, anatomy_maps, label_fractions
from COFGeneratorLib.generator.settled import settled

GRID = MotionGrid(shape=(9, 24, 24), spacing_mm=(11.0, 5.0, 5.0), centre_mm=(0.0, 0.0, -10.0), phases=8)
SHAPE, SPACING = (10, 64, 64), (9.0, 1.8, 1.8)
STRENGTH = np.array([0.0, 0.5, 0.9, 1.0, 0.7, 0.4, 0.3, 0.1])


def a_heart(first=1, last=8):
    """Labels of two ventricles that taper from slice ``first`` to ``last``, and the geometry of their stack."""
    labels = np.zeros(SHAPE, np.uint8)
    j, i = (np.mgrid[:64, :64] - 31.5) * 1.8
    for k in range(first, last + 1):
        size = 1.0 - 0.6 * ((k - first) / 8.0) ** 2
        labels[k][np.hypot(j, i + 22.0) < 26 * size] = 3
        labels[k][np.hypot(j, i) < 30 * size] = 2
        labels[k][np.hypot(j, i) < 21 * size] = 1
    matrix = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    matrix[:3, 3] = -0.5 * (np.array(SHAPE[::-1]) - 1) * SPACING[::-1]
    return labels, matrix


def a_velocity() -> torch.Tensor:
    """A squeeze towards the LV's axis, with a base that comes down: (T, 3, D, H, W) in nodes."""
    k, j, i = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    reach = np.exp(-((np.hypot(j, i) / 45.0) ** 4))
    field = np.stack([-9.0 * np.clip((40 - k) / 80, 0, 1) * reach, 0.28 * j * reach, 0.28 * i * reach])
    nodes = field / np.array(GRID.spacing_mm)[:, None, None, None]
    return torch.tensor(STRENGTH[:, None, None, None, None] * nodes, dtype=torch.float32)


def ready_heart(labels, matrix):
    frame = HeartFrame(np.zeros(3), np.eye(3)[::-1].copy())
    fractions = label_fractions(labels)
    maps = torch.from_numpy(anatomy_maps(fractions, matrix, frame, GRID))[None]
    fine = torch.from_numpy(anatomy_maps(fractions, matrix, frame, GRID, 2, 2))
    return SimpleNamespace(labels=labels, frame=frame, maps=maps, fine_maps=fine, grid=GRID, fine_grid=GRID.refined(2))


@pytest.fixture(scope="module")
def model():
    return MotionModel(GRID, None, None, None)


def measured(model, labels, matrix, velocity, **options):
    stack = SaxStack(np.zeros(SHAPE, np.float32), matrix)
    motion = native_motion(model, velocity, ready_heart(labels, matrix), stack, 40)
    curves = curves_from_sums(volume_sums(motion, labels, **options), matrix)
    return report_from_curves(curves, np.arange(40) * 20.0, 800.0, 75.0, labels_from="user", folded_fraction=0.0)


def given(model, labels, matrix, wanted, **options):
    stack = SaxStack(np.zeros(SHAPE, np.float32), matrix)
    return settled(model, a_velocity(), ready_heart(labels, matrix), stack, wanted, **options)


@pytest.mark.parametrize("wanted", [0.10, 0.30, 0.55, 0.75])
def test_what_is_asked_comes_out_and_the_right_ventricle_stays_as_it_was(model, wanted):
    labels, matrix = a_heart()
    before = measured(model, labels, matrix, a_velocity())
    after = measured(model, labels, matrix, given(model, labels, matrix, wanted))
    assert after.ef_percent == pytest.approx(100 * wanted, abs=0.5)
    assert after.rv_ef_percent == pytest.approx(before.rv_ef_percent, abs=2.0)
    if wanted <= 0.3:  # this squeeze is no heart's: more of it takes away more wall than a correction may give back
        growth = after.myocardial_mass_g / after.myocardial_mass_g[0] - 1
        assert growth.min() > -0.06
        assert growth.max() < WALL_GROWTH[1] * wanted + 0.06


def test_the_right_ventricle_has_an_ef_of_its_own(model):
    labels, matrix = a_heart()
    after = measured(model, labels, matrix, given(model, labels, matrix, 0.5, wanted_rvef=0.25))
    assert after.ef_percent == pytest.approx(50.0, abs=0.5)
    assert after.rv_ef_percent == pytest.approx(25.0, abs=2.0)


def test_a_missing_base_is_not_made_up_by_motion_elsewhere(model):
    """The same heart without its upper three slices of ten: the motion that it is given is nearly the same."""
    whole, matrix = a_heart()
    short = whole.copy()
    cut = slice(3, None)
    shifted = matrix.copy()
    shifted[:3, 3] += 3 * matrix[:3, 2]
    stack = SaxStack(np.zeros(short[cut].shape, np.float32), shifted)
    ready = ready_heart(short[cut], shifted)
    velocity = settled(model, a_velocity(), ready, stack, 0.5)
    assert measured(model, whole, matrix, velocity).ef_percent == pytest.approx(50.0, abs=3.0)
    as_contours = settled(model, a_velocity(), ready, stack, 0.5, followed=False)
    assert measured(model, whole, matrix, as_contours).ef_percent > 53.0


def test_nothing_wanted_changes_nothing(model):
    labels, matrix = a_heart()
    assert torch.equal(given(model, labels, matrix, None, keep_wall=False), a_velocity())


def test_a_heart_without_a_right_ventricle_or_a_cavity_is_left_as_it_may(model):
    labels, matrix = a_heart()
    alone = np.where(labels == 3, 0, labels).astype(np.uint8)
    assert measured(model, alone, matrix, given(model, alone, matrix, 0.4)).ef_percent == pytest.approx(40.0, abs=0.5)
    empty = np.where(labels == 1, 0, labels).astype(np.uint8)
    assert torch.isfinite(given(model, empty, matrix, 0.4)).all()


def test_the_next_factor_is_right_for_a_uniform_squeeze_and_stays_within_bounds():
    factor, ejected = 1.0, 1.0 - np.exp(-0.6)
    for _ in range(6):
        factor = next_factor(factor, ejected, 0.3)
        ejected = 1.0 - np.exp(-0.6 * factor)
    assert ejected == pytest.approx(0.3, abs=1e-3)
    assert next_factor(1.0, 0.03, 0.8) == FACTORS[1]
    assert next_factor(0.1, 0.8, 0.05) == FACTORS[0]
    assert next_factor(0.7, 0.0, 0.5) == 0.7


def test_the_share_of_the_right_ventricle_rises_from_the_septum_to_its_free_wall():
    maps = torch.zeros(3, 5, 24, 24)
    maps[0, 1:4, 8:16, 12:18] = 1.0
    maps[2, 1:4, 8:16, 5:12] = 1.0
    share = right_share(maps, (11.0, 5.0, 5.0))
    assert share[2, 12, 13] == 0.0
    row = share[2, 12, 5:12]
    assert torch.all(row[:-1] >= row[1:])
    assert row[0] == 1.0
    assert row[-1] < 0.3
    assert share[2, 12, 20] < 0.3  # beside the lateral wall
    assert not right_share(maps * torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1, 1), (11.0, 5.0, 5.0)).any()
