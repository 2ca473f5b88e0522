"""Every slice of a DICOM stack counts, however it lies: jittered, after an odd gap, turned, tilted or beside others."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.anatomy.readers.lattice import between_planes, fit_lattice
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.errors import AnatomyError

SIDE, DEPTH = 72, 10
STEP_MM = 9.0
NONE = np.zeros(DEPTH)


@pytest.fixture(scope="module")
def base(oblique) -> np.ndarray:
    """Voxel → RAS mm of a stack around the heart of `heart_labels`, whose flat base lies between two slices."""
    matrix = oblique.copy()
    matrix[:3, :2] *= 2.0 / 1.4
    matrix[:3, 2] *= STEP_MM / 10.0
    matrix[:3, 3] = -matrix[:3, :3] @ ((SIDE - 1) / 2, (SIDE - 1) / 2, (DEPTH - 1) / 2 - 0.1)
    return matrix


@pytest.fixture(scope="module")
def lv_stack(base, heart_labels, dicom_dataset):
    """Return a maker of datasets of the LV cavity (1000) in slices that lie and are stored as asked."""

    def make(along_mm=NONE, tilt_deg=NONE, turn=lambda k: 0, series="7"):
        normal = base[:3, 2] / STEP_MM
        row = base[:3, 0] / 2.0
        datasets = []
        for k in range(DEPTH):
            plane = base.copy()
            angle = np.deg2rad(tilt_deg[k])
            down = np.cos(angle) * base[:3, 1] / 2.0 + np.sin(angle) * normal
            middle = base[:3] @ ((SIDE - 1) / 2, (SIDE - 1) / 2, k, 1.0) + along_mm[k] * normal
            plane[:3, :3] = np.stack([2.0 * row, 2.0 * down, np.cross(row, down)], axis=1)
            plane[:3, 3] = middle - plane[:3, :2] @ ((SIDE - 1) / 2, (SIDE - 1) / 2)
            labels = heart_labels((1, SIDE, SIDE), plane)[0][0]
            pixels = (1000 * (labels == 1) + 10 * (labels == 2)).astype(np.uint16)
            for _ in range(turn(k)):
                plane, pixels = turned_once(plane, pixels)
            lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ plane
            datasets.append(dicom_dataset(np.ascontiguousarray(pixels), lps, 0.0, 900.0, series, k + 1))
        return datasets

    return make


@pytest.fixture(scope="module")
def recorded(shared_data, dicom_dataset):
    """Return a maker of datasets of a labelled recording's LV cavity (1000), whole from base to apex, as `lv_stack`."""
    _, header = open_volume(shared_data / "mri" / "autofd" / "A_seg_sa_ED.nii.gz", "labels")
    cavity = read_frames(header, 0) == 1
    _, j, i = np.nonzero(cavity)
    box = (slice(None), slice(j.min() - 4, j.max() + 5), slice(i.min() - 4, i.max() + 5))
    cavity, origin = cavity[box].astype(float), np.array([box[2].start, box[1].start, 0.0, 1.0])
    step_mm = float(np.linalg.norm(header.ijk_to_ras[:3, 2]))

    def make(along_mm=NONE, turn=lambda k: 0):
        datasets = []
        for k in range(len(cavity)):
            off_mm = along_mm[min(k, DEPTH - 1)]
            level = min(max(k + off_mm / step_mm, 0.0), len(cavity) - 1.0)
            below = int(level)
            above = min(below + 1, len(cavity) - 1)
            share = (1.0 - level + below) * cavity[below] + (level - below) * cavity[above]
            plane = header.ijk_to_ras.copy()
            plane[:3, 3] = plane[:3] @ origin + (k + off_mm / step_mm) * plane[:3, 2]
            pixels = np.round(1000 * share).astype(np.uint16)
            for _ in range(turn(k)):
                plane, pixels = turned_once(plane, pixels)
            lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ plane
            datasets.append(dicom_dataset(np.ascontiguousarray(pixels), lps, 0.0, 900.0, "7", k + 1))
        return datasets

    return make


def turned_once(plane, pixels):
    """Return how an image is stored by 90° further: columns become rows, the first pixel moves to another corner."""
    out = plane.copy()
    out[:3, 3] = plane[:3, 3] + plane[:3, 0] * (pixels.shape[1] - 1)
    out[:3, [0, 1]] = np.stack([plane[:3, 1], -plane[:3, 0]], axis=1)
    return out, np.rot90(pixels)


def lv_ml(stack) -> float:
    """Volume of what is brighter than half of the cavity, partly filled voxels by their share."""
    return float(np.clip(stack.voxels / 1000.0, 0.0, 1.0).sum() * stack.voxel_volume_ml)


JITTER = np.where(np.arange(DEPTH) % 2, 1.2, 0.0)
GAP = np.where(np.arange(DEPTH) > 5, 3.2, 0.0)
LAYOUTS = {
    "jittered": ({"along_mm": JITTER}, "off an even distance"),
    "gapped": ({"along_mm": GAP}, "off an even distance"),
    "turned by 90°": ({"turn": lambda k: k % 2}, "turned by right angles"),
    "turned by 180°": ({"turn": lambda k: 2 * (k in (2, 5))}, "turned by right angles"),
    "fanned": ({"tilt_deg": np.linspace(-4.5, 4.5, DEPTH)}, "tilted"),
    "tilted once": ({"tilt_deg": np.where(np.arange(DEPTH) == 4, 1.0, 0.0)}, "tilted"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_heart_has_the_same_volume_however_its_slices_lie(tmp_path, lv_stack, save_dicom, layout):
    plain = read_sax(save_dicom(tmp_path / "plain", lv_stack()))
    assert not [w for w in plain.warnings if "slices" in w.lower() and "field" not in w]
    options, said = LAYOUTS[layout]
    other = read_sax(save_dicom(tmp_path / "other", lv_stack(**options)))
    assert other.shape[0] == DEPTH
    assert any(said in w for w in other.warnings)
    assert lv_ml(other) == pytest.approx(lv_ml(plain), rel=0.03)
    axes = other.ijk_to_ras[:3, :3] / np.linalg.norm(other.ijk_to_ras[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("layout", ["jittered", "gapped", "turned by 90°"])
def test_a_recorded_heart_has_the_same_volume_however_its_slices_lie(
    shared_data, tmp_path, recorded, save_dicom, layout
):
    plain = read_sax(save_dicom(tmp_path / "plain", recorded()))
    options, said = LAYOUTS[layout]
    other = read_sax(save_dicom(tmp_path / "other", recorded(**options)))
    assert any(said in w for w in other.warnings)
    assert lv_ml(plain) > 100.0
    assert lv_ml(other) == pytest.approx(lv_ml(plain), rel=0.03)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_slices_come_back_to_the_last_pixel(tmp_path, lv_stack, save_dicom, turns):
    plain = read_sax(save_dicom(tmp_path / "plain", lv_stack()))
    turned = read_sax(save_dicom(tmp_path / "turned", lv_stack(turn=lambda k: turns * (k in (1, 4, 8)))))
    np.testing.assert_array_equal(turned.voxels, plain.voxels)
    np.testing.assert_allclose(turned.ijk_to_ras, plain.ijk_to_ras, atol=1e-4)


def test_half_the_slices_gone_is_another_heart_and_is_refused(tmp_path, lv_stack, save_dicom):
    datasets = [one for k, one in enumerate(lv_stack()) if k not in (3, 4, 6)]
    with pytest.raises(AnatomyError, match="3 of 10 slices are missing"):
        read_sax(save_dicom(tmp_path / "d", datasets))


@pytest.mark.parametrize("change", [np.diag([0.97, 0.97]), np.array([[1.0, 0.0], [0.02, 1.0]])], ids=["scaled", "lean"])
def test_cosines_of_other_lengths_and_angles_are_brought_to_right_ones(tmp_path, lv_stack, save_dicom, change):
    datasets = lv_stack()
    for dataset in datasets:
        axes = np.reshape(np.array(dataset.ImageOrientationPatient, dtype=float), (2, 3))
        dataset.ImageOrientationPatient = [round(float(x), 6) for x in (change @ axes).ravel()]
    stack = read_sax(save_dicom(tmp_path / "d", datasets))
    axes = stack.ijk_to_ras[:3, :3] / np.linalg.norm(stack.ijk_to_ras[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(stack.ijk_to_ras[:3, :3], axis=0), (2.0, 2.0, STEP_MM), atol=1e-3)
    assert any("direction cosines" in w for w in stack.warnings)


def test_a_lattice_ignores_one_slice_that_lies_elsewhere_and_keeps_it():
    level = 8.0 * np.arange(9.0)
    level[4] += 2.5
    lattice = fit_lattice(level)
    assert lattice.depth == 9
    assert not lattice.even
    assert lattice.step_mm == pytest.approx(8.0)
    assert lattice.position[4] == pytest.approx(4 + 2.5 / 8.0)
    whole = fit_lattice(np.delete(8.0 * np.arange(9.0), [3]))
    assert whole.even
    assert whole.missing == (3,)


def test_between_planes_a_ramp_stays_a_ramp_and_a_slice_on_the_grid_is_copied():
    where = np.array([0.0, 1.3, 2.0, 2.8, 4.0])
    values = np.broadcast_to(where[:, None, None] * 10, (5, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(between_planes(values, where, 5)[:, 0, 0], 10.0 * np.arange(5), rtol=1e-6)
    exact = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(between_planes(exact, np.arange(4.0), 4), exact)


def test_short_stacks_and_lost_spacing_are_refused_unless_it_is_given(tmp_path, lv_stack, save_dicom, write_image):
    with pytest.raises(AnatomyError, match="at least 25 mm"):
        read_sax(save_dicom(tmp_path / "d", [*lv_stack()[:2], *lv_stack(along_mm=np.full(DEPTH, -3.0))[2:3]]))
    image = np.random.default_rng(0).integers(0, 900, (10, 40, 40)).astype(np.int16)
    oblique = np.array([[0.8, 0, 0.6, 9], [0, 1, 0, -4], [-0.6, 0, 0.8, 3], [0, 0, 0, 1.0]])
    path = write_image(tmp_path / "a.nii.gz", np.stack([image, image + 1]), oblique)
    for read in (read_sax, read_cine):
        with pytest.raises(AnatomyError, match=r"says 1×1×1 mm.*--spacing"):
            read(path)
    stack = read_sax(path, spacing_mm=(1.5, 1.4, 8.0))
    np.testing.assert_allclose(stack.spacing_mm, (8.0, 1.4, 1.5))
    np.testing.assert_allclose(stack.ijk_to_ras[:3, 3], oblique[:3, 3], atol=1e-5)
    np.testing.assert_array_equal(stack.voxels, image)
    assert any("taken as given" in w for w in stack.warnings)
    with pytest.raises(AnatomyError, match="three lengths"):
        read_sax(path, spacing_mm=(1.5, 8.0))
