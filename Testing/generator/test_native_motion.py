"""Motion on the anchor's own grid: exact for what splines represent, the same in any orientation."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.generator.native import STILL_MM, NativeMotion
from COFGeneratorLib.generator.networks.grid import MotionGrid, anatomy_maps
from hypothesis import given, settings
from hypothesis import strategies as st

SPLINE_TOLERANCE_MM = 1e-4  # float32 weights of a field of millimetres
GRID = MotionGrid(shape=(6, 16, 16), spacing_mm=(20.0, 9.0, 9.0), centre_mm=(0.0, 0.0, 0.0), phases=4)


def rotation(angles):
    cx, cy, cz = np.cos(angles)
    sx, sy, sz = np.sin(angles)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return rz @ ry @ rx


def geometry(turn, spacing=(2.0, 2.0, 8.0), shape=(7, 30, 30), origin=(10.0, -20.0, 30.0)):
    """ijk → RAS of a stack whose centre lies at ``origin``."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(spacing)
    centre = (np.array(shape[::-1]) - 1) / 2
    matrix[:3, 3] = np.array(origin) - matrix[:3, :3] @ centre
    return matrix


def heart_frame(turn, origin=(10.0, -20.0, 30.0)):
    """Heart axes k, j, i along the stack's own k, j, i."""
    return HeartFrame(np.array(origin), turn[:, ::-1].T.copy())


def smooth_field(phases=4):
    """A field of cubic splines: zero at phase 0, and at the rim of the grid."""
    rng = np.random.default_rng(0)
    field = np.zeros((phases, 3, *GRID.shape))
    field[1:, :, :, 4:12, 4:12] = rng.normal(0.0, 2.0, (phases - 1, 3, GRID.shape[0], 8, 8))
    return field


def test_no_motion_returns_the_anchor_in_every_frame():
    volume = np.random.default_rng(0).normal(size=(1, 7, 30, 30)).astype(np.float32)
    native = NativeMotion(
        np.zeros((4, 3, *GRID.shape)), GRID, heart_frame(np.eye(3)), geometry(np.eye(3)), (7, 30, 30), 9
    )
    assert np.abs(native.warp_all(volume) - volume).max() < 1e-5
    assert np.array_equal(native.warp_all(volume)[0], volume)
    assert native.folded_fraction() == 0.0


def test_displacement_at_a_node_of_the_grid_is_the_node_s_value():
    turn = rotation((0.3, -0.2, 0.7))
    native_geometry = geometry(turn, spacing=(9.0, 9.0, 20.0), shape=(6, 16, 16))  # the stack is the motion grid itself
    field = smooth_field()
    native = NativeMotion(field, GRID, heart_frame(turn), native_geometry, (6, 16, 16), 4)
    expected = field * GRID.window(min(GRID.spacing_mm[1:]))
    for frame in range(4):
        assert np.abs(native.displacement_mm(frame) - expected[frame]).max() < SPLINE_TOLERANCE_MM


def test_one_frame_is_warped_as_all_are_whatever_order_its_voxels_lie_in():
    volume = np.random.default_rng(1).normal(size=(2, 7, 30, 30)).astype(np.float32)
    native = NativeMotion(smooth_field(), GRID, heart_frame(np.eye(3)), geometry(np.eye(3)), (7, 30, 30), 8)
    whole = native.warp_all(volume)[3]
    assert np.abs(whole - volume).max() > 0.1
    for one in (volume, np.asfortranarray(volume)):
        assert np.abs(native.warp_one(one, 3) - whole).max() < 1e-4


def test_motion_between_phases_is_periodic():
    native = NativeMotion(smooth_field(), GRID, heart_frame(np.eye(3)), geometry(np.eye(3)), (7, 30, 30), 40)
    steps = [np.abs(native.displacement_mm(t) - native.displacement_mm((t + 1) % 40)).max() for t in range(40)]
    assert steps[-1] < 2 * max(steps[:-1])  # the last step back to the anchor is no jump


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-3.0, 3.0)] * 3), st.tuples(*[st.booleans()] * 3))
def test_turned_and_flipped_stacks_move_alike_in_the_patient(angles, flips):
    """The same voxels under another affine: displacements agree in RAS mm."""
    turn, field, shape = rotation(angles), smooth_field(), (7, 30, 30)
    plain = geometry(turn)
    flipped, order = plain.copy(), [slice(None)] * 3
    for axis, flip in enumerate(flips):  # k, j, i
        if flip:
            column = 2 - axis
            flipped[:3, 3] += flipped[:3, column] * (shape[axis] - 1)
            flipped[:3, column] *= -1
            order[axis] = slice(None, None, -1)
    frame = heart_frame(turn)
    one = NativeMotion(field, GRID, frame, plain, shape, 4).displacement_mm(2)
    two = NativeMotion(field, GRID, frame, flipped, shape, 4).displacement_mm(2)
    signs = np.where(flips, -1.0, 1.0)[:, None, None, None]
    assert np.abs(one - (signs * two)[(slice(None), *order)]).max() < 1e-3


def test_a_sheared_stack_gets_the_same_motion_at_the_same_points():
    """Slices that step sideways, as some DICOM series do, cannot share one slice's weights."""
    shape = (7, 90, 90)
    straight = geometry(np.eye(3), shape=shape)
    sheared = straight.copy()
    sheared[0, 2] += 2.0  # every slice one pixel further along i
    field = smooth_field()
    one = NativeMotion(field, GRID, heart_frame(np.eye(3)), straight, shape, 4).displacement_mm(1)
    two = NativeMotion(field, GRID, heart_frame(np.eye(3)), sheared, shape, 4)
    field_voxels = two.displacement_voxels(1, 2)[0].numpy()
    back = np.einsum("ab,bkji->akji", np.linalg.inv(two.to_voxel.numpy()), field_voxels)  # heart mm again
    full = np.zeros((3, *shape))
    full[(slice(None), *two.box)] = back
    for k in range(7):
        assert np.abs(full[:, k, :, : 90 - k] - one[:, k, :, k:]).max() < 1.5 * STILL_MM


def test_anatomy_maps_keep_the_volume_of_a_ball():
    shape, spacing = (24, 60, 60), (3.0, 2.0, 2.0)
    matrix = geometry(np.eye(3), spacing=spacing[::-1], shape=shape)
    grid = MotionGrid(shape=(16, 40, 40), spacing_mm=(5.0, 3.0, 3.0), centre_mm=(0, 0, 0), phases=4)
    k, j, i = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    ball = ((k * 3.0) ** 2 + (j * 2.0) ** 2 + (i * 2.0) ** 2 < 30.0**2).astype(np.float32)
    maps = anatomy_maps(np.stack([ball, ball, ball]), matrix, heart_frame(np.eye(3)), grid)
    assert maps[0].sum() * 45.0 == pytest.approx(4 / 3 * np.pi * 30.0**3, rel=0.03)


def test_what_moves_is_kept_at_its_own_voxels_and_all_else_stays():
    shape = (7, 90, 90)
    motion = NativeMotion(smooth_field(), GRID, heart_frame(np.eye(3)), geometry(np.eye(3), shape=shape), shape, 4)
    assert len(motion.moving) < np.prod([part.stop - part.start for part in motion.box])
    dense = motion.displacement_mm(1).reshape(3, -1)
    at_moving = motion.of_moving(1, 2)[0].flatten(1).numpy() * motion.spacing_mm[:, None]
    assert np.allclose(dense[:, motion.moving], at_moving, atol=1e-6)
    assert not np.delete(dense, motion.moving, axis=1).any()
    corner = np.array([part.start for part in motion.box])[:, None]
    places = np.stack(np.unravel_index(motion.moving, shape))
    assert np.array_equal(motion.places.flatten(2)[0].numpy() + corner, places)
