"""Rendered stacks: the same for the same seed, and true to the analytic heart wherever they lie."""

import numpy as np
import pytest
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.shape import draw_shape
from COFTrainingLib.phantom.stacks import StackGeometry, draw_geometry, majority_labels, render_stack, sample_tissues
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.phantom.tissues import LABEL_OF_TISSUE, Tissue


def a_heart(seed):
    rng = np.random.default_rng(seed)
    physiology = draw_physiology(rng)
    return BeatingHeart(draw_shape(rng, physiology), physiology)


def points_in_heart_frame(stack, axes_ras, origin_ras):
    """Go from voxels through RAS to the heart: the way another program would."""
    k, j, i = np.indices(stack.shape)
    ras = np.stack([i, j, k], axis=-1) @ stack.ijk_to_ras[:3, :3].T + stack.ijk_to_ras[:3, 3]
    return (ras - origin_ras) @ axes_ras.T


@pytest.mark.slow
def test_the_same_seed_gives_the_same_stack_and_another_seed_another():
    heart = a_heart(1)
    stacks = [render_stack(heart, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert np.array_equal(stacks[0][0].voxels, stacks[1][0].voxels)
    assert np.array_equal(stacks[0][1], stacks[1][1])
    assert np.array_equal(stacks[0][0].ijk_to_ras, stacks[1][0].ijk_to_ras)
    different = stacks[2][0]
    assert different.shape != stacks[0][0].shape or not np.array_equal(different.voxels, stacks[0][0].voxels)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_majority_labels_a_stack_agree_with_the_analytic_heart_in_ras(seed):
    heart, rng = a_heart(seed), np.random.default_rng(seed)
    scene = Scene(rng, heart)
    drawn = draw_geometry(rng, scene)
    geometry = StackGeometry(drawn.shape, drawn.kji_to_heart, thickness_mm=0.01)  # thin slices, no breath-hold shifts
    stack, labels = render_stack(heart, rng, geometry=geometry, scene=scene)
    at_zero = geometry.ijk_to_ras(scene.axes_ras, np.zeros(3))
    assert np.allclose(stack.ijk_to_ras[:3, :3], at_zero[:3, :3])
    origin = stack.ijk_to_ras[:3, 3] - at_zero[:3, 3]
    expected = heart.label_at(points_in_heart_frame(stack, scene.axes_ras, origin))
    assert (labels == expected).mean() > 0.999


def test_matrices_are_oblique_right_or_left_handed_and_keep_the_spacing():
    heart = a_heart(2)
    handed = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = Scene(rng, heart)
        geometry = draw_geometry(rng, scene)
        matrix = geometry.ijk_to_ras(scene.axes_ras, np.zeros(3))
        unit = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
        assert np.allclose(unit.T @ unit, np.eye(3), atol=1e-10)
        assert 5 <= geometry.shape[0] <= 20
        assert 0.8 <= geometry.spacing_mm[1] <= 2.3
        assert geometry.spacing_mm[0] >= geometry.thickness_mm - 1e-9
        handed.add(np.sign(np.linalg.det(unit)))
    assert handed == {-1.0, 1.0}


@pytest.mark.slow
def test_lv_volume_of_fine_labels_is_the_analytic_volume():
    heart, rng = a_heart(3), np.random.default_rng(3)
    scene = Scene(rng, heart)
    matrix = np.diag([2.0, 1.5, 1.5, 1.0])
    matrix[:3, 3] = [-90.0, -75.0, -90.0]
    geometry = StackGeometry((95, 100, 120), matrix, thickness_mm=2.0)
    for time_ms in (0.0, heart.physiology.t_es_ms):
        tissues = sample_tissues(scene, geometry, time_ms, slab=1)
        volume = (majority_labels(tissues) == 1).sum() * 2.0 * 1.5 * 1.5 / 1000.0
        base_tilt_ml = 0.03 * heart.shape.edv_ml  # the tilted base plane trades a wedge above for one below
        assert abs(volume - heart.lv_volume_ml(time_ms)[0]) < 2.0 + base_tilt_ml


def test_papillary_muscles_belong_to_the_cavity_and_atria_to_the_background():
    assert LABEL_OF_TISSUE[Tissue.LV_PAPILLARY] == LABEL_OF_TISSUE[Tissue.LV_BLOOD] == 1
    assert LABEL_OF_TISSUE[Tissue.RV_TRABECULA] == 3
    assert LABEL_OF_TISSUE[[Tissue.LEFT_ATRIUM, Tissue.AORTIC_ROOT, Tissue.RV_WALL, Tissue.EPICARDIAL_FAT]].max() == 0


@pytest.mark.slow
def test_a_body_surrounds_the_heart():
    shares = np.zeros(len(Tissue))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = Scene(rng, a_heart(seed))
        matrix = np.diag([12.0, 3.0, 3.0, 1.0])
        matrix[:3, 3] = [-90.0, -190.0, -190.0]
        tissues = sample_tissues(scene, StackGeometry((14, 128, 128), matrix, thickness_mm=8.0), slab=1)
        shares += np.bincount(tissues.ravel(), minlength=len(Tissue)) > 0
    for tissue in (Tissue.LUNG, Tissue.LIVER, Tissue.SUBCUTANEOUS_FAT, Tissue.MUSCLE, Tissue.BONE, Tissue.LEFT_ATRIUM,
                   Tissue.AORTIC_ROOT, Tissue.DESCENDING_AORTA, Tissue.STOMACH_WALL, Tissue.CARTILAGE):  # fmt: skip
        assert shares[tissue] >= 3, tissue.name
