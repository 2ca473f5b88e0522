"""Labels come onto the anchor's grid with the right codes, or are refused with a reason."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import SaxStack, read_labels, read_sax
from COFGeneratorLib.anatomy.geometry import flip
from COFGeneratorLib.errors import AnatomyError

SHAPE = (12, 128, 128)


@pytest.fixture(scope="module")
def anchor(oblique) -> SaxStack:
    matrix = oblique.copy()
    matrix[:3, 3] = -matrix[:3, :3] @ (64, 64, 5)
    return SaxStack(np.random.default_rng(0).normal(size=SHAPE), matrix)


@pytest.fixture(scope="module")
def heart(anchor, heart_labels) -> np.ndarray:
    return heart_labels(SHAPE, anchor.ijk_to_ras)[0]


def recode(labels, lv=3, myo=2, rv=1):
    return np.array([0, lv, myo, rv], np.uint8)[labels]


def volumes(labels, stack):
    return [float((labels == code).sum() * stack.voxel_volume_ml) for code in (1, 2, 3)]


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_codes_are_mapped_and_the_same_grid_is_copied_exactly(tmp_path, anchor, heart, write_image, suffix):
    path = write_image(tmp_path / f"seg{suffix}", recode(heart), anchor.ijk_to_ras)
    labels = read_labels(path, anchor)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, heart)
    path = write_image(tmp_path / f"seg{suffix}", recode(heart, 1, 2, 4), anchor.ijk_to_ras)
    np.testing.assert_array_equal(read_labels(path, anchor, {"lv": 1, "myo": 2, "rv": 4}), heart)
    np.testing.assert_array_equal(read_labels(path, anchor, {"lv": 1}), heart == 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_file_with_another_storage_order_gives_the_same_labels(tmp_path, anchor, heart, write_image, axis):
    flipped, matrix = flip(recode(heart), anchor.ijk_to_ras, axis)
    path = write_image(tmp_path / "seg.nrrd", np.ascontiguousarray(flipped), matrix)
    np.testing.assert_array_equal(read_labels(path, anchor), heart)


def test_a_taller_and_finer_label_grid_keeps_the_volumes(tmp_path, anchor, heart, heart_labels, write_image):
    matrix = anchor.ijk_to_ras.copy()
    matrix[:3, :2] *= 0.5
    matrix[:3, 3] -= 3 * matrix[:3, 2]
    fine = heart_labels((18, 256, 256), matrix)[0]
    labels = read_labels(write_image(tmp_path / "seg.nii.gz", recode(fine), matrix), anchor)
    np.testing.assert_allclose(volumes(labels, anchor), volumes(heart, anchor), rtol=0.02)
    assert (labels != heart).mean() < 0.01


def test_a_4d_file_gives_the_anchors_frame_unless_told_otherwise(tmp_path, anchor, heart, write_image):
    frames = np.zeros((6, *SHAPE), np.uint8)
    frames[2] = frames[4] = recode(heart)
    frames[4, :, :64] = 0
    path = write_image(tmp_path / "seg.nrrd", frames, anchor.ijk_to_ras)
    third = SaxStack(anchor.voxels, anchor.ijk_to_ras, frame=2)
    np.testing.assert_array_equal(read_labels(path, third), heart)
    assert (read_labels(path, third, frame=4) != 0).sum() < (heart != 0).sum()
    with pytest.raises(AnatomyError, match=r"frame 0; that frame is empty, labelled are frames 2, 4"):
        read_labels(path, anchor)
    with pytest.raises(AnatomyError, match=r"frames \(0 to 5\); frame 9"):
        read_labels(path, anchor, frame=9)


def test_codes_that_are_not_in_the_file_are_named(tmp_path, anchor, heart, write_image):
    path = write_image(tmp_path / "seg.nrrd", recode(heart, 1, 2, 4), anchor.ijk_to_ras)
    with pytest.raises(AnatomyError, match=r"expects LV cavity = 3; the file holds the codes 1, 2, 4"):
        read_labels(path, anchor, {"lv": 3, "myo": 2})


@pytest.mark.parametrize(
    "bad", [{}, {"myo": 2}, {"lv": 0}, {"lv": 1, "rv": 1}, {"lv": 1.5}, {"lv": 1, "la": 2}, {"lv": True}, {"lv": "one"}]
)
def test_label_maps_that_mean_nothing_are_refused(tmp_path, anchor, heart, write_image, bad):
    path = write_image(tmp_path / "seg.nrrd", recode(heart), anchor.ijk_to_ras)
    with pytest.raises(AnatomyError, match="label map gives distinct"):
        read_labels(path, anchor, bad)


@pytest.mark.parametrize("swap", [(2, 3, 1), (1, 2, 3), (3, 1, 2)])
def test_swapped_codes_are_noticed(tmp_path, anchor, heart, write_image, swap):
    path = write_image(tmp_path / "seg.nrrd", recode(heart), anchor.ijk_to_ras)
    with pytest.raises(AnatomyError, match="enclosed by the myocardium"):
        read_labels(path, anchor, dict(zip(("lv", "myo", "rv"), swap, strict=True)))


def test_a_map_that_contradicts_the_shape_is_refused_with_the_one_that_fits(tmp_path, anchor, heart, write_image):
    path = write_image(tmp_path / "seg.nrrd", recode(heart, 1, 2, 4), anchor.ijk_to_ras)
    for codes in (None, {"lv": 4, "myo": 1, "rv": 2}):
        with pytest.raises(AnatomyError, match="fits --label-map lv=1,myo=2,rv=4"):
            read_labels(path, anchor, codes)


def test_our_own_files_have_our_own_codes(tmp_path, anchor, heart, write_image, nifti_bytes):
    plain = write_image(tmp_path / "seg.nrrd", heart, anchor.ijk_to_ras).read_bytes()
    head, body = plain.split(b"\n\n", 1)
    (tmp_path / "ours.nrrd").write_bytes(head + b"\nCOF.synthetic:=1\n\n" + body)
    np.testing.assert_array_equal(read_labels(tmp_path / "ours.nrrd", anchor), heart)
    marked = bytearray(nifti_bytes(heart.astype(np.int16), sform=anchor.ijk_to_ras, pixdim=anchor.spacing_mm[::-1]))
    marked[148:179] = b"synthetic, made by ChainOfFlow\0"
    (tmp_path / "ours.nii").write_bytes(marked)
    np.testing.assert_array_equal(read_labels(tmp_path / "ours.nii", anchor), heart)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_dicom_segmentation_is_read_by_the_names_of_its_segments(tmp_path, anchor, heart, kind):
    segmentation(heart, anchor.ijk_to_ras, kind).save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_labels(tmp_path / "seg.dcm", anchor), heart)
    np.testing.assert_array_equal(read_labels(tmp_path, anchor), heart)
    with pytest.raises(AnatomyError, match="Leave --label-map out"):
        read_labels(tmp_path / "seg.dcm", anchor, {"lv": 3})


def segmentation(heart, ijk_to_ras, kind):
    """Return a DICOM segmentation: three segments with names, empty frames left out, in no order."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.pixels import pack_bits
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :2], axis=0)
    out = Dataset()
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out.SOPClassUID = out.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    out.SOPInstanceUID = out.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    out.Modality, out.SegmentationType = "SEG", kind
    out.SegmentSequence = pydicom.Sequence()
    for number, name in ((1, "Right ventricle"), (2, "LV cavity"), (3, "Myocardium")):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, name
        out.SegmentSequence.append(segment)
    code = {1: 3, 2: 1, 3: 2}  # of the heart, by segment
    planes = [k for k in range(len(heart)) if heart[k].any()][::-1]
    frames = (
        [(0, k) for k in planes]
        if kind == "LABELMAP"
        else [(n, k) for n in code for k in planes if (heart[k] == code[n]).any()]
    )
    groups, pixels = pydicom.Sequence(), []
    for number, k in frames:
        group, place, which = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [round(float(x), 6) for x in lps[:3, 3] + k * lps[:3, 2]]
        which.ReferencedSegmentNumber = number
        group.PlanePositionSequence = pydicom.Sequence([place])
        if kind != "LABELMAP":
            group.SegmentIdentificationSequence = pydicom.Sequence([which])
        groups.append(group)
        pixels.append(np.array([0, 2, 3, 1], np.uint8)[heart[k]] if kind == "LABELMAP" else heart[k] == code[number])
    shared, axes, measures = Dataset(), Dataset(), Dataset()
    axes.ImageOrientationPatient = [round(float(x), 8) for x in (lps[:3, :2] / spacing).T.ravel()]
    measures.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = (
        pydicom.Sequence([axes]),
        pydicom.Sequence([measures]),
    )
    out.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    out.PerFrameFunctionalGroupsSequence = groups
    out.NumberOfFrames, (out.Rows, out.Columns) = len(frames), heart.shape[1:]
    out.SamplesPerPixel, out.PhotometricInterpretation, out.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    out.BitsAllocated, out.BitsStored, out.HighBit = bits, bits, bits - 1
    stack = np.stack(pixels).astype(np.uint8) * (200 if kind == "FRACTIONAL" else 1)
    out.MaximumFractionalValue = 200
    out.PixelData = pack_bits(stack, pad=True) if bits == 1 else stack.tobytes() + b"\0" * (stack.size % 2)
    return out


def test_intensities_are_no_labels(tmp_path, anchor, write_image):
    path = write_image(tmp_path / "image.nrrd", anchor.voxels, anchor.ijk_to_ras)
    with pytest.raises(AnatomyError, match="whole numbers"):
        read_labels(path, anchor)


def test_labels_elsewhere_and_implausible_volumes_are_refused(tmp_path, anchor, heart, write_image):
    away = anchor.ijk_to_ras.copy()
    away[:3, 3] += 150.0
    path = write_image(tmp_path / "seg.nrrd", recode(heart), away)
    with pytest.raises(AnatomyError, match="lie inside"):
        read_labels(path, anchor)
    for scale in (0.2, 3.0):
        matrix = anchor.ijk_to_ras @ np.diag([scale, scale, scale, 1])
        path = write_image(tmp_path / "seg.nrrd", recode(heart), matrix)
        with pytest.raises(AnatomyError, match="should measure"):
            read_labels(path, anchor)


def test_real_labels_measure_what_their_description_states(shared_data):
    mri = shared_data / "mri"

    def lv_ml(image, labels, label_map, frame=0):
        stack = read_sax(mri / image, frame=frame)
        return volumes(read_labels(mri / labels, stack, label_map), stack)[0]

    autofd = {"lv": 1, "myo": 2, "rv": 4}
    for name, edv in (("A", 188), ("B", 208), ("C", 156)):
        found = lv_ml(f"autofd/{name}_sa_ED.nii.gz", f"autofd/{name}_seg_sa_ED.nii.gz", autofd)
        assert found == pytest.approx(edv, abs=1.0)
    acdc = {"lv": 3, "myo": 2, "rv": 1}
    for stem, images, ef in (
        ("patient001", [("patient001_frame01.nii.gz", 0), ("patient001_frame12.nii.gz", 0)], 23.7),
        ("patient001_4d_crop", [("patient001_4d_crop.nii.gz", 0), ("patient001_4d_crop.nii.gz", 11)], 22.3),
    ):
        ed, es = (
            lv_ml(f"acdc-patient001/{image}", f"acdc-patient001/{stem}_frame{name}_gt.nii.gz", acdc, frame)
            for (image, frame), name in zip(images, ("01", "12"), strict=True)
        )
        assert 100 * (ed - es) / ed == pytest.approx(ef, abs=0.1)
    bivme = ("bivme/bivme_sax_4d.nii.gz", "bivme/bivme_sax_4d_label_from_guidepoints.nii.gz", acdc)
    assert lv_ml(*bivme, frame=24) == pytest.approx(162, abs=1)
    assert lv_ml(*bivme, frame=9) == pytest.approx(50, abs=1)
    swine = ("ep-swine/ep_sax_4d_crop.nii.gz", "ep-swine/ep_sax_4d_crop_lvlabel.nii.gz", {"lv": 3, "myo": 2})
    assert lv_ml(*swine, frame=1) == pytest.approx(80, abs=1)
    assert lv_ml(*swine, frame=11) == pytest.approx(56, abs=1)


def test_the_autofd_heart_lies_three_slices_higher_in_its_label_file(shared_data):
    mri = shared_data / "mri" / "autofd"
    codes = {"lv": 1, "myo": 2, "rv": 4}
    stack = read_sax(mri / "A_sa_ED.nii.gz")
    labels = read_labels(mri / "A_seg_sa_ED.nii.gz", stack, codes)
    taller = read_sax(mri / "A_seg_sa_ED.nii.gz")
    own = read_labels(mri / "A_seg_sa_ED.nii.gz", taller, codes)
    np.testing.assert_array_equal(labels, own[3:15])
