"""Labels and images under a motion in closed form: volumes, what a stack's end does, and what lies at its edges."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.generator.moving import moved_anchor, volume_sums
from COFGeneratorLib.generator.native import NativeMotion
from COFGeneratorLib.generator.networks.grid import MotionGrid

GRID = MotionGrid(shape=(9, 25, 25), spacing_mm=(10.0, 5.0, 5.0), centre_mm=(0.0, 0.0, 0.0), phases=4)
SHAPE, SPACING = (7, 64, 64), (8.0, 1.5, 1.5)
PHASES = np.array([0.0, 1.0, 0.6, 0.2])
HALF = PHASES[:, None, None, None, None]


def geometry(shape=SHAPE):
    matrix = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    matrix[:3, 3] = -0.5 * (np.array(shape[::-1]) - 1) * SPACING[::-1]
    return matrix


def squeeze(share: float, pull_k_mm: float = 0.0) -> np.ndarray:
    """Every point within 40 mm of the axis pulls from ``share`` further out, and from ``pull_k_mm`` along k: mm."""
    k, j, i = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    away = np.hypot(j, i)
    weight = np.clip((55.0 - away) / 15.0, 0.0, 1.0)
    return HALF * np.stack([pull_k_mm * weight + 0 * k, share * j * weight, share * i * weight])[None]


def moving(field, shape=SHAPE, frames=8):
    frame = HeartFrame(np.zeros(3), np.eye(3)[::-1].copy())  # the heart's k, j, i along the stack's own
    return NativeMotion(field, GRID, frame, geometry(shape), shape, frames)


def a_heart(slices=range(1, 6), shape=SHAPE, radius_mm=24.0):
    j, i = np.mgrid[: shape[1], : shape[2]] * 1.5 - 0.75 * (shape[1] - 1)
    away = np.hypot(j, i)
    labels = np.zeros(shape, np.uint8)
    for k in slices:
        labels[k][away < radius_mm] = 2
        labels[k][away < radius_mm - 8] = 1
    return labels


def test_a_squeeze_in_the_plane_changes_areas_by_its_square():
    labels = a_heart()
    sums = volume_sums(moving(squeeze(0.25)), labels)
    assert sums[0, 0] == (labels == 1).sum()
    assert sums[2, :2] / sums[0, :2] == pytest.approx([1 / 1.25**2, 1 / 1.25**2], rel=0.01)
    assert not sums[:, 2].any()


def test_tissue_that_leaves_over_the_stack_s_end_is_gone_and_none_comes_in():
    """A stack that ends within the ventricle: half a slice moves out below, and what lies above was never seen."""
    labels = a_heart(slices=range(7))
    motion = moving(squeeze(0.0, pull_k_mm=-4.0))
    followed, as_contours = volume_sums(motion, labels)[2, 0], volume_sums(motion, labels, followed=False)[2, 0]
    assert as_contours == pytest.approx((labels == 1).sum(), rel=1e-3)
    assert followed == pytest.approx((6.5 / 7) * (labels == 1).sum(), rel=0.005)


def test_a_heart_within_the_stack_has_one_volume_however_it_is_measured():
    labels = a_heart()
    motion = moving(squeeze(0.2, pull_k_mm=-4.0))
    assert np.allclose(volume_sums(motion, labels), volume_sums(motion, labels, followed=False))


def test_the_anchor_s_frame_is_the_anchor_and_volumes_are_those_of_the_sums():
    labels = a_heart()
    voxels = np.random.default_rng(0).uniform(0, 900, SHAPE).astype(np.float32)
    motion = moving(squeeze(0.2))
    frames, hard, curves = moved_anchor(SaxStack(voxels, geometry()), labels, motion)
    assert np.array_equal(frames[0], voxels)
    assert np.array_equal(hard[0], labels)
    assert frames.dtype == np.float32
    assert hard.dtype == np.uint8
    assert np.allclose(curves.lv_ml, volume_sums(motion, labels)[:, 0] * np.prod(SPACING) / 1000)
    assert (hard[2] == 1).sum() == pytest.approx(volume_sums(motion, labels)[2, 0], rel=0.02)
    outside = np.ones(SHAPE, bool)
    outside[motion.box] = False
    assert np.array_equal(frames[:, outside], np.repeat(voxels[outside][None], 8, axis=0))


def test_at_the_edge_of_a_small_picture_nothing_is_smeared():
    """A picture cut close around the heart, moved by a pull from beyond its edge: no two rows become alike."""
    shape = (7, 36, 64)
    voxels = np.random.default_rng(0).uniform(0, 900, shape).astype(np.float32)
    labels = a_heart(shape=shape, radius_mm=20.0)
    motion = moving(squeeze(0.35), shape)
    frames, _, _ = moved_anchor(SaxStack(voxels, geometry(shape)), labels, motion)
    u = motion.displacement_voxels(2, 3)[0, 1].numpy()
    rows = np.arange(motion.box[1].start, motion.box[1].stop)[:, None]
    assert (rows + u >= 0).all()
    assert (rows + u <= shape[1] - 1).all()
    assert motion.folded_fraction() == 0.0
    edge = frames[2, :, :3, 20:44]
    assert np.abs(np.diff(edge, axis=1)).mean() > 0.1 * np.abs(np.diff(voxels[:, :3, 20:44], axis=1)).mean()
    bent = moving(squeeze(0.35)).displacement_voxels(2, 3)[0, 1].abs().max()
    assert u.max() < float(bent)  # it was cut down


def test_memory_of_motion_does_not_grow_with_the_frames():
    few, many = moving(squeeze(0.2), frames=10), moving(squeeze(0.2), frames=200)
    assert few._phases.numel() == many._phases.numel()
    assert many.chunks()[-1][1] == 200
    assert [stop for _, stop in many.chunks()][:-1] == [start for start, _ in many.chunks()][1:]
