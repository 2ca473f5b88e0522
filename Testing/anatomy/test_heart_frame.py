"""The heart's frame depends on the heart, not on how its stack is stored, turned or cut."""

import json

import numpy as np
import pytest
from COFGeneratorLib.anatomy import heart_frame_from_labels, read_labels, read_sax
from COFGeneratorLib.anatomy.geometry import flip
from COFGeneratorLib.errors import AnatomyError
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

SHAPE = (12, 80, 80)


def centred(matrix, spacing=(2.0, 2.0, 9.0)):
    out = np.eye(4)
    out[:3, :3] = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0) * spacing
    out[:3, 3] = -out[:3, :3] @ (40, 40, 5.5)
    return out


@pytest.fixture(scope="module")
def heart(oblique, heart_labels):
    """Labels (D, H, W), their geometry, and the frame they were drawn in."""
    matrix = centred(oblique)
    return (heart_labels(SHAPE, matrix)[0], matrix, heart_labels(SHAPE, matrix)[1])


def degrees_apart(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


def test_the_axes_point_to_apex_inferior_and_lateral(heart):
    labels, matrix, axes = heart
    frame = heart_frame_from_labels(labels, matrix)
    assert not frame.mirrored
    for found, true in zip(frame.axes_ras, axes, strict=True):
        assert degrees_apart(found, true) < 10
    inside = np.argwhere(labels == 1)
    mapped = inside @ frame.kji_to_heart(matrix)[:3, :3].T + frame.kji_to_heart(matrix)[:3, 3]
    np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-6)


@settings(max_examples=40)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    shift=st.tuples(*[st.floats(-200, 200)] * 3),
    flips=st.sets(st.sampled_from((0, 1, 2))),
    swap=st.booleans(),
)
def test_a_stored_order_that_is_told_in_the_header_changes_nothing(heart, angles, shift, flips, swap):
    """Turn and shift patient and header together, flip any axes, swap rows and columns: RAS answers follow."""
    labels, matrix, _ = heart
    frame = heart_frame_from_labels(labels, matrix)
    motion = np.eye(4)
    # The header's left–anterior–inferior hint votes too, and is wrong here: the labels must overrule it.
    motion[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    motion[:3, 3] = shift
    moved_labels, moved = labels, motion @ matrix
    for axis in flips:
        moved_labels, moved = flip(moved_labels, moved, axis)
    if swap:
        moved_labels, moved = np.swapaxes(moved_labels, 1, 2), moved[:, [1, 0, 2, 3]]
    again = heart_frame_from_labels(moved_labels, moved)
    np.testing.assert_allclose(again.axes_ras, frame.axes_ras @ motion[:3, :3].T, atol=1e-6)
    np.testing.assert_allclose(again.origin_ras, (motion @ [*frame.origin_ras, 1])[:3], atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_array_flipped_behind_the_headers_back_is_a_mirrored_heart(heart, axis):
    labels, matrix, _ = heart
    frame = heart_frame_from_labels(labels, matrix)
    lied = np.flip(labels, axis)
    again = heart_frame_from_labels(lied, matrix)
    assert again.mirrored
    # Every anatomical voxel has the same heart coordinates as before, though the header says otherwise.
    index = np.argwhere(labels == 1)[::97]
    there = index.copy()
    there[:, axis] = labels.shape[axis] - 1 - index[:, axis]
    before, after = frame.kji_to_heart(matrix), again.kji_to_heart(matrix)
    np.testing.assert_allclose(
        index @ before[:3, :3].T + before[:3, 3], there @ after[:3, :3].T + after[:3, 3], atol=1e-6
    )


def real_hearts(shared_data):
    cases = json.loads((shared_data / "real_cases.json").read_text())
    full = "mri/acdc-patient001/patient001_frame"
    cases.append(
        {
            "name": "acdc-full",
            "image": f"{full}01.nii.gz",
            "ed": {"labels": f"{full}01_gt.nii.gz"},
            "es": {"labels": f"{full}12_gt.nii.gz"},
            "label_map": {"lv": 3, "myo": 2, "rv": 1},
        }
    )
    for case in cases:
        for phase in ("ed", "es"):
            if phase in case:
                stack = read_sax(shared_data / case["image"], frame=case[phase].get("frame", 0))
                labels = read_labels(shared_data / case[phase]["labels"], stack, case["label_map"])
                yield case["name"], labels, stack.ijk_to_ras


APEX_AT_HIGH_SLICES = {"acdc-001": True, "acdc-full": True, "autofd": False, "bivme": False, "swine": False}
"""Which way each real stack runs, by looking at it."""


def test_base_and_apex_are_found_on_every_real_heart_and_under_array_flips(shared_data):
    for name, labels, matrix in real_hearts(shared_data):
        expected = next(v for k, v in APEX_AT_HIGH_SLICES.items() if name.startswith(k))
        for flipped in (False, True):
            frame = heart_frame_from_labels(labels[::-1] if flipped else labels, matrix)
            assert (frame.kji_to_heart(matrix)[0, 0] > 0) == (expected != flipped), name


def test_the_right_ventricle_lies_at_negative_i_on_every_real_heart(shared_data):
    for name, labels, matrix in real_hearts(shared_data):
        if not (labels == 3).any():
            continue
        to_heart = heart_frame_from_labels(labels, matrix).kji_to_heart(matrix)
        rv = to_heart @ [*np.argwhere(labels == 3).mean(axis=0), 1]
        assert rv[2] < -20, name
        assert abs(rv[1]) < 0.4 * abs(rv[2]), name


def test_files_that_lost_their_orientation_are_known_by_the_turn_of_the_right_ventricle(shared_data):
    """AutoFD's and ACDC's headers make mirrored patients; biv-me's scanner header and the rebuilt ACDC crop do not."""
    for name, labels, matrix in real_hearts(shared_data):
        assert heart_frame_from_labels(labels, matrix).mirrored == name.startswith(("autofd", "acdc-full")), name


def test_a_real_scanners_frame_agrees_with_the_patient(shared_data):
    """biv-me is oblique with a true header: apex left, anterior, inferior; lateral wall left and posterior."""
    for name, labels, matrix in real_hearts(shared_data):
        if name == "bivme":
            k, j, i = heart_frame_from_labels(labels, matrix).axes_ras
            assert (k * (-1, 1, -1) > 0.3).all()
            assert j[1] < 0
            assert j[2] < -0.5
            assert i[0] < -0.5


def test_the_frame_is_steady_under_a_segmenters_noise(shared_data):
    rng = np.random.default_rng(5)
    for name, labels, matrix in real_hearts(shared_data):
        frame = heart_frame_from_labels(labels, matrix)
        soft = [gaussian_filter((labels == c).astype(float), (0, 1.2, 1.2)) for c in range(4)]
        for _ in range(2):
            noise = [gaussian_filter(rng.normal(size=labels.shape), (0, 2, 2)) * 2.0 for _ in range(4)]
            noisy = np.argmax([s + n for s, n in zip(soft, noise, strict=True)], axis=0).astype(np.uint8)
            noisy[~np.isin(noisy, np.unique(labels))] = 0
            again = heart_frame_from_labels(noisy, matrix)
            assert degrees_apart(frame.axes_ras[0], again.axes_ras[0]) < 1e-3, name
            assert degrees_apart(frame.axes_ras[2], again.axes_ras[2]) < 10, name
            assert np.linalg.norm(frame.origin_ras - again.origin_ras) < 6, name


def test_missing_basal_or_apical_slices_turn_the_frame_little(shared_data):
    for name, labels, matrix in real_hearts(shared_data):
        frame = heart_frame_from_labels(labels, matrix)
        slices = np.flatnonzero((labels == 1).any(axis=(1, 2)))
        for kept in (slices[1:], slices[:-1]):
            part = np.zeros_like(labels)
            part[kept] = labels[kept]
            again = heart_frame_from_labels(part, matrix)
            assert degrees_apart(frame.axes_ras[0], again.axes_ras[0]) < 1e-3, name
            assert degrees_apart(frame.axes_ras[2], again.axes_ras[2]) < 10, name


def test_a_few_stray_voxels_called_right_ventricle_change_nothing(heart):
    labels, matrix, _ = heart
    lv_only = np.where(labels == 3, 0, labels).astype(np.uint8)
    frame = heart_frame_from_labels(lv_only, matrix)
    stray = lv_only.copy()
    stray[3:9, 2:4, 2:4] = 3
    np.testing.assert_allclose(heart_frame_from_labels(stray, matrix).axes_ras, frame.axes_ras)
    island = labels.copy()
    island[0, :6, :6] = 1
    np.testing.assert_allclose(heart_frame_from_labels(island, matrix).origin_ras, frame.origin_ras, atol=1e-9)


def test_an_lv_only_map_takes_the_patients_right_for_the_right_ventricle(heart):
    labels, matrix, axes = heart
    frame = heart_frame_from_labels(np.where(labels == 3, 0, labels), matrix)
    assert degrees_apart(frame.axes_ras[0], axes[0]) < 1e-3
    assert degrees_apart(frame.axes_ras[2], axes[2]) < 20


def test_an_empty_or_tiny_cavity_is_refused(heart):
    labels, matrix, _ = heart
    with pytest.raises(AnatomyError, match=r"at least 8 mL; found 0\.0 mL"):
        heart_frame_from_labels(np.zeros_like(labels), matrix)
    tiny = np.zeros_like(labels)
    tiny[5, 40:44, 40:44] = 1
    with pytest.raises(AnatomyError, match="left-ventricular cavity"):
        heart_frame_from_labels(tiny, matrix)
