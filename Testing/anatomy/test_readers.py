"""Reading stacks: SimpleITK writes, or raw bytes say what no library would; ours must agree or refuse."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.errors import AnatomyError


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha", ".mhd", ".hdr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_a_volume_comes_back_with_its_voxels_and_geometry(tmp_path, voxels, oblique, write_image, suffix, dtype):
    array = (voxels % 251).astype(dtype)
    path = write_image(tmp_path / f"sax{suffix}", array, oblique, compress=suffix in (".nrrd", ".mha"))
    stack = read_sax(path)
    np.testing.assert_array_equal(stack.voxels, array.astype(np.float32))
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=2e-4)
    np.testing.assert_allclose(stack.spacing_mm, (10.0, 1.4, 1.4), atol=1e-5)
    assert stack.frame_times_ms == ()
    assert len(stack.source_sha256) == 64


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_a_left_handed_stack_keeps_every_voxel_where_it_lies(tmp_path, voxels, oblique, write_image, suffix):
    left_handed = oblique.copy()
    left_handed[:3, 2] *= -1
    stack = read_sax(write_image(tmp_path / f"sax{suffix}", voxels, left_handed))
    here = stack.ijk_to_ras @ (3, 4, 2, 1)
    np.testing.assert_allclose(here, left_handed @ (3, 4, 2, 1), atol=1e-3)
    assert stack.voxels[2, 4, 3] == voxels[2, 4, 3]


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_the_chosen_frame_of_a_cine_is_read_with_all_times(tmp_path, voxels, oblique, write_image, suffix):
    cine = np.stack([voxels + 1000 * t for t in range(20)])
    path = write_image(tmp_path / f"cine{suffix}", cine, oblique, step_t=40.0, compress=suffix == ".mha")
    stack = read_sax(path, frame=13)
    np.testing.assert_array_equal(stack.voxels, cine[13])
    assert stack.frame == 13
    if suffix.startswith(".nii"):  # SimpleITK calls any time step seconds there, and 800 s is no heart beat
        assert any("ms" in warning for warning in stack.warnings)
    np.testing.assert_allclose(stack.frame_times_ms, 40.0 * np.arange(20), atol=1e-3)
    whole = read_cine(path)
    np.testing.assert_array_equal(whole.frames, cine)
    np.testing.assert_array_equal(whole.stack(13).voxels, stack.voxels)
    assert whole.source_sha256 == stack.source_sha256


def test_the_format_is_recognised_by_content_whatever_the_name(tmp_path, voxels, oblique, write_image):
    for written, named in ((".nrrd", "a.nii.gz"), (".nii.gz", "b.nrrd"), (".mha", "c.dat"), (".nii", "d")):
        path = write_image(tmp_path / f"x{written}", voxels, oblique).rename(tmp_path / named)
        np.testing.assert_array_equal(read_sax(path).voxels, voxels)


SPACE = "space: left-posterior-superior\nspace origin: (-31,22,47)\n"
VECTORS = "(-1.4,0,0) (0,-1.4,0) (0,0,10)"


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("unit", "factor"), [("ms", 1.0), ("s", 1e-3), ("", 1.0), ("", 1e-3)])
def test_a_slicer_sequence_is_read_with_its_list_axis_first_or_last(
    tmp_path, voxels, nrrd_bytes, encoding, first, unit, factor
):
    cine = np.stack([voxels + 1000 * t for t in range(20)])
    axis = 0 if first else 3
    vectors = f"none {VECTORS}" if first else f"{VECTORS} none"
    kinds = "list domain domain domain" if first else "domain domain domain list"
    values = " ".join(f"{45.0 * t * factor:g}" for t in range(20))
    stored = np.ascontiguousarray(np.moveaxis(cine, 0, -1)) if first else cine
    lines = (
        f"{SPACE}space directions: {vectors}\nkinds: {kinds}\n"
        f"axis {axis} index type:=numeric\naxis {axis} index values:={values}\naxis {axis} index units:={unit}"
    )
    path = tmp_path / "cine.seq.nrrd"
    path.write_bytes(nrrd_bytes(stored, lines, encoding))
    stack = read_sax(path, frame=7)
    np.testing.assert_array_equal(stack.voxels, cine[7])
    np.testing.assert_allclose(stack.frame_times_ms, 45.0 * np.arange(20), atol=1e-6)
    np.testing.assert_allclose(stack.ijk_to_ras[:3, 3], (31, -22, 47))
    np.testing.assert_allclose(stack.spacing_mm, (10, 1.4, 1.4))
    np.testing.assert_array_equal(read_cine(path).frames, cine)
    assert bool(unit) != any("no unit" in warning for warning in stack.warnings)


def test_the_units_field_and_multivolume_keys_of_nrrd_are_understood(tmp_path, voxels, nrrd_bytes):
    cine = np.stack([voxels] * 10)
    units = '"mm" "mm" "mm" "s"'
    values = ",".join(str(0.08 * t) for t in range(10))
    path = tmp_path / "a.nrrd"
    path.write_bytes(
        nrrd_bytes(
            cine,
            f"{SPACE}space directions: {VECTORS} none\nkinds: domain domain domain list\nunits: {units}\n"
            f"axis 3 index values:={values.replace(',', ' ')}",
        )
    )
    np.testing.assert_allclose(read_sax(path).frame_times_ms, 80.0 * np.arange(10), atol=1e-6)
    labels = ",".join(str(80.0 * t) for t in range(10))
    path.write_bytes(
        nrrd_bytes(
            np.ascontiguousarray(np.moveaxis(cine, 0, -1)),
            f"{SPACE}space directions: none {VECTORS}\nkinds: list domain domain domain\n"
            f"MultiVolume.FrameLabels:={labels}\nMultiVolume.FrameIdentifyingDICOMTagUnits:=ms",
        )
    )
    np.testing.assert_allclose(read_sax(path).frame_times_ms, 80.0 * np.arange(10), atol=1e-6)


@pytest.mark.parametrize(("space", "sign"), [("right-anterior-superior", 1), ("LAS", (-1, 1, 1)), ("LPS", (-1, -1, 1))])
def test_nrrd_spaces_become_ras(tmp_path, voxels, nrrd_bytes, space, sign):
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd_bytes(voxels, f"space: {space}\nspace origin: (1,2,3)\nspace directions: {VECTORS}"))
    np.testing.assert_allclose(read_sax(path).ijk_to_ras[:3, 3], np.multiply(sign, (1, 2, 3)))


def test_a_generated_cine_given_as_the_anchor_is_noticed(tmp_path, voxels, nrrd_bytes):
    lines = f"{SPACE}space directions: {VECTORS}\nkinds: domain domain domain"
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(voxels, lines))
    assert not any("synthetic" in warning for warning in read_sax(tmp_path / "a.nrrd").warnings)
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(voxels, f"{lines}\nCOF.seed:=0"))
    assert any("synthetic" in warning for warning in read_sax(tmp_path / "a.nrrd").warnings)


def test_a_nifti_sform_of_one_millimetre_yields_to_pixdim(tmp_path, voxels, nifti_bytes):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(voxels, pixdim=(1.5, 1.5, 10), sform=np.diag([-1.0, -1.0, 1.0, 1.0])[:3]))
    stack = read_sax(path)
    np.testing.assert_allclose(stack.spacing_mm, (10, 1.5, 1.5))
    np.testing.assert_allclose(np.sign(np.diag(stack.ijk_to_ras)), (-1, -1, 1, 1))
    assert "pixdim" in stack.warnings[0]


def test_a_nifti_pixdim_of_one_millimetre_yields_to_the_sform(tmp_path, voxels, nifti_bytes):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(voxels, pixdim=(1, 1, 1), sform=np.diag([-1.5, -1.5, 10.0, 1.0])[:3]))
    stack = read_sax(path)
    np.testing.assert_allclose(stack.spacing_mm, (10, 1.5, 1.5))
    assert "sform is used" in stack.warnings[0]


def test_nifti_lengths_in_metres_and_times_in_microseconds_are_converted(tmp_path, voxels, nifti_bytes):
    cine = np.stack([voxels] * 25)
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(cine, pixdim=(0.0015, 0.0015, 0.01, 33000.0), units=1 + 24, qform=True))
    stack = read_sax(path)
    np.testing.assert_allclose(stack.spacing_mm, (10, 1.5, 1.5), rtol=1e-5)
    np.testing.assert_allclose(stack.frame_times_ms, 33.0 * np.arange(25), rtol=1e-5)


def test_a_singleton_fourth_axis_is_no_cine(tmp_path, voxels, nifti_bytes):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(voxels, dim=[10, 12, 5, 1], pixdim=(1.5, 1.5, 10, 0.003), qform=True))
    stack = read_sax(path)
    assert stack.shape == (5, 12, 10)
    assert stack.frame_times_ms == ()
    with pytest.raises(AnatomyError, match=r"1 frame .*frame 1 was asked"):
        read_sax(path, frame=1)


def test_a_cine_without_frame_time_says_so(tmp_path, voxels, nifti_bytes):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(np.stack([voxels] * 30), pixdim=(1.5, 1.5, 10, 1.0), qform=True))
    stack = read_sax(path, frame=29)
    assert stack.frame_times_ms == ()
    assert any("frame time" in warning for warning in stack.warnings)


def test_nifti_intensities_are_scaled_and_big_endian_is_read(tmp_path, voxels, nifti_bytes):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(voxels, pixdim=(1.5, 1.5, 10), qform=True, slope=2.5))
    np.testing.assert_allclose(read_sax(path).voxels, 2.5 * voxels)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.5, 10))
    sitk.WriteImage(image, str(tmp_path / "b.mha"))
    header, body = (tmp_path / "b.mha").read_bytes().split(b"LOCAL\n")
    swapped = header.replace(b"MSB = False", b"MSB = True") + b"LOCAL\n" + voxels.astype(">i2").tobytes()
    (tmp_path / "b.mha").write_bytes(swapped)
    np.testing.assert_array_equal(read_sax(tmp_path / "b.mha").voxels, voxels)
    assert len(body) == voxels.nbytes


def test_every_real_file_reads_as_simpleitk_reads_it(shared_data, capfd):
    """The independent implementation agrees on every voxel and every corner, and nothing leaks to stderr."""
    paths = sorted(p for p in (shared_data / "mri").rglob("*") if p.name.endswith((".nii.gz", ".nrrd")))
    paths = [p for p in paths if "frame12" not in p.name]
    assert len(paths) > 12
    for path in paths:
        stack = read_sax(path)
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        if image.GetNumberOfComponentsPerPixel() > 1:
            array = array[..., 0]
        array = array[0] if array.ndim == 4 else array
        np.testing.assert_array_equal(stack.voxels, array.astype(np.float32), err_msg=path.name)
        n = image.GetDimension()
        direction = np.reshape(image.GetDirection(), (n, n))[:3, :3]
        lps = np.eye(4)
        lps[:3, :3], lps[:3, 3] = direction * image.GetSpacing()[:3], image.GetOrigin()[:3]
        np.testing.assert_allclose(stack.ijk_to_ras, np.diag([-1, -1, 1, 1]) @ lps, atol=1e-4, err_msg=path.name)
    assert capfd.readouterr().err == ""


REAL = {
    "bivme/bivme_sax_4d.nii.gz": ((6, 208, 256), (17.7, 1.406, 1.406), 25, 33.2),
    "ep-swine/ep_sax_4d_crop.nii.gz": ((16, 128, 128), (5, 0.82, 0.82), 20, 31.6),
    "ep-swine/ep_sax_crop.seq.nrrd": ((16, 128, 128), (5, 0.82, 0.82), 20, 31.6),
    "acdc-patient001/patient001_4d_crop.nii.gz": ((7, 95, 100), (10, 1.5625, 1.5625), 0, None),
    "acdc-patient001/patient001_frame01.nii.gz": ((10, 256, 216), (10, 1.5625, 1.5625), 0, None),
    "autofd/A_sa_ED.nii.gz": ((12, 123, 123), (10, 1.231, 1.231), 0, None),
    "scd0003701/scd3701_ED.nii.gz": ((4, 256, 256), (8, 1.367, 1.367), 0, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_stacks_have_the_sizes_that_their_description_states(shared_data, name):
    shape, spacing, n_times, step_ms = REAL[name]
    stack = read_sax(shared_data / "mri" / name)
    assert stack.shape == shape
    np.testing.assert_allclose(stack.spacing_mm, spacing, atol=5e-3)
    assert len(stack.frame_times_ms) == n_times
    if step_ms:
        assert np.median(np.diff(stack.frame_times_ms)) == pytest.approx(step_ms, abs=0.1)


def test_gzip_members_and_padding_are_read(tmp_path, voxels, nifti_bytes):
    whole = nifti_bytes(voxels, pixdim=(1.5, 1.5, 10), qform=True)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(whole[:700]) + gzip.compress(whole[700:]) + b"\0" * 64)
    np.testing.assert_array_equal(read_sax(path).voxels, voxels)


def test_a_sheared_stack_is_moved_straight_with_its_planes_in_place(tmp_path, nrrd_bytes, heart_labels, oblique):
    """Slices that each start 3 mm beside the last: straight afterwards, and the heart still where it was."""
    straight = oblique.copy()
    straight[:3, 3] = -straight[:3, :3] @ (45, 45, 5.5)
    sheared = straight.copy()
    sheared[:3, 2] += 3.0 * straight[:3, 0] / np.linalg.norm(straight[:3, 0])
    sheared[:3, 3] -= 5.5 * (sheared[:3, 2] - straight[:3, 2])
    heart = 100.0 * (heart_labels((12, 90, 90), sheared)[0] == 1)
    lps = np.diag([-1, -1, 1, 1]) @ sheared
    vectors = " ".join(f"({v[0]:.9f},{v[1]:.9f},{v[2]:.9f})" for v in lps[:3, :3].T)
    origin = ",".join(f"{x:.9f}" for x in lps[:3, 3])
    (tmp_path / "a.nrrd").write_bytes(
        nrrd_bytes(
            heart.astype(np.float32), f"space: LPS\nspace origin: ({origin})\nspace directions: {vectors}", "gzip"
        )
    )
    stack = read_sax(tmp_path / "a.nrrd")
    axes = stack.ijk_to_ras[:3, :3] / np.linalg.norm(stack.ijk_to_ras[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(stack.ijk_to_ras, straight, atol=1e-5)
    assert any("3.0 mm beside the last" in w for w in stack.warnings)
    expected = 100.0 * (heart_labels((12, 90, 90), straight)[0] == 1)
    assert np.abs(stack.voxels - expected).mean() < 0.5
    np.testing.assert_allclose(read_cine(tmp_path / "a.nrrd").frames[0], stack.voxels)


def test_the_image_half_of_a_pair_leads_to_its_header(tmp_path, voxels, oblique, write_image):
    write_image(tmp_path / "a.hdr", voxels, oblique)
    np.testing.assert_array_equal(read_sax(tmp_path / "a.img").voxels, voxels)


def test_a_label_map_given_as_the_anchor_is_noticed(tmp_path, oblique, heart_labels, write_image):
    labels = heart_labels((12, 90, 90), oblique)[0]
    labels[3:6, 20:40, 20:40] = 1
    stack = read_sax(write_image(tmp_path / "a.nrrd", labels, oblique))
    assert any("label maps" in w for w in stack.warnings)


@pytest.mark.parametrize("name", ["cine.seq.nrrd", "cine.nii.gz"])
def test_a_sequence_that_slicer_saved_is_read_with_its_times(tmp_path, voxels, oblique, name):
    """Slicer's own storage node writes; its NIfTI comes in seconds, its NRRD in ms."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    vtk = pytest.importorskip("vtk")
    from vtk.util.numpy_support import numpy_to_vtk

    cine = np.stack([voxels + 1000 * t for t in range(8)])
    scene = slicer.vtkMRMLScene()
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    matrix = vtk.vtkMatrix4x4()
    for row, column in np.ndindex(4, 4):
        matrix.SetElement(row, column, oblique[row, column])
    for t, frame in enumerate(cine):
        image = vtk.vtkImageData()
        image.SetDimensions(*voxels.shape[::-1])
        image.GetPointData().SetScalars(numpy_to_vtk(frame.ravel(), deep=1))
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetAndObserveImageData(image)
        volume.SetIJKToRASMatrix(matrix)
        sequence.SetDataNodeAtValue(volume, str(100 * t))
    storage = scene.AddNewNodeByClass(sequence.GetDefaultStorageNodeClassName(name))
    storage.SetFileName(str(tmp_path / name))
    assert storage.WriteData(sequence)
    stack = read_cine(tmp_path / name)
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=1e-5)
    np.testing.assert_allclose(stack.frame_times_ms, 100.0 * np.arange(8), atol=1e-3)
