"""DICOM short-axis cines in every disorder that scanners and archives export them in."""

import zipfile

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.errors import AnatomyError

T, D, H, W = 12, 6, 16, 20


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    """(T, D, H, W) in which every voxel differs from its neighbours in space and time."""
    t, k, j, i = np.meshgrid(*[np.arange(n) for n in (T, D, H, W)], indexing="ij")
    return (1000 * t + 100 * k + (7 * j + 3 * i) % 97).astype(np.uint16)


@pytest.mark.parametrize("one_series", [True, False])
def test_slices_and_phases_are_sorted_whatever_their_order_and_series(
    tmp_path, cine, oblique, dicom_cine, save_dicom, one_series
):
    stack = read_cine(save_dicom(tmp_path / "d", dicom_cine(cine, oblique, one_series=one_series)))
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=1e-4)
    np.testing.assert_allclose(stack.frame_times_ms, 900.0 * np.arange(T) / T, atol=1e-2)
    assert not [w for w in stack.warnings if "field of view" not in w]
    one = read_sax(tmp_path / "d", frame=5)
    np.testing.assert_array_equal(one.voxels, cine[5])
    assert one.frame == 5
    assert one.source_sha256 == stack.source_sha256


def test_the_name_and_order_of_files_do_not_change_the_fingerprint(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine[:3], oblique)
    first = read_sax(save_dicom(tmp_path / "a", datasets))
    second = read_sax(save_dicom(tmp_path / "b", datasets[::-1]))
    assert first.source_sha256 == second.source_sha256
    np.testing.assert_array_equal(first.voxels, second.voxels)


def test_the_gap_between_slices_counts_not_their_thickness(tmp_path, cine, oblique, dicom_cine, save_dicom):
    assert read_sax(save_dicom(tmp_path / "d", dicom_cine(cine[:2], oblique))).spacing_mm[0] == pytest.approx(10.0)


def test_each_slice_has_its_own_heart_rate(tmp_path, cine, oblique, dicom_cine, save_dicom):
    intervals = np.array([800, 850, 900, 900, 950, 1100.0])
    stack = read_cine(save_dicom(tmp_path / "d", dicom_cine(cine, oblique, rr_ms=intervals)))
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.frame_times_ms, 900.0 * np.arange(T) / T, atol=0.5)
    assert any("800 to 1100 ms" in w for w in stack.warnings)


def test_a_slice_with_other_phases_shows_its_nearest_image_and_none_is_blended(
    tmp_path, cine, oblique, dicom_cine, save_dicom
):
    datasets = dicom_cine(cine, oblique, keep=lambda k, t: k != 3)
    plane = oblique.copy()
    plane[:3, 3] += 3 * oblique[:3, 2]
    datasets += dicom_cine(cine[:10, 3:4], plane, rr_ms=900.0)
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    nearest = [int(np.argmin(np.minimum(abs(np.arange(10) / 10 - t / T), 1 - abs(np.arange(10) / 10 - t / T))))
               for t in range(T)]  # fmt: skip
    np.testing.assert_array_equal(stack.frames[:, 3], cine[nearest, 3])
    np.testing.assert_array_equal(stack.frames[:, 2], cine[:, 2])
    assert any("10 to 12 phases" in w for w in stack.warnings)


def test_missing_images_are_stood_in_for_and_counted(tmp_path, cine, oblique, dicom_cine, save_dicom):
    gone = {(2, 4), (2, 9), (5, 0)}
    stack = read_cine(save_dicom(tmp_path / "d", dicom_cine(cine, oblique, keep=lambda k, t: (k, t) not in gone)))
    assert len(stack.frames) == T
    assert any(w.startswith("3 missing images") for w in stack.warnings)
    assert stack.frames[4, 2, 0, 0] in cine[[3, 5], 2, 0, 0]
    full = [k for k in range(D) if k not in (2, 5)]
    np.testing.assert_array_equal(stack.frames[:, full], cine[:, full])


def test_a_missing_slice_between_others_is_filled_in_and_said(tmp_path, cine, oblique, dicom_cine, save_dicom):
    stack = read_cine(save_dicom(tmp_path / "d", dicom_cine(cine, oblique, keep=lambda k, t: k != 3)))
    assert stack.frames.shape == cine.shape
    np.testing.assert_allclose(stack.frames[:, 3], (cine[:, 2].astype(float) + cine[:, 4]) / 2)
    assert "Slice 3 is missing and is filled in with the mean of its neighbours." in stack.warnings
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=1e-4)
    with pytest.raises(AnatomyError, match="may be missing"):
        read_cine(save_dicom(tmp_path / "e", dicom_cine(cine, oblique, keep=lambda k, t: k not in (2, 3, 4))))


def test_a_slice_with_half_its_phases_at_the_end_is_left_out(tmp_path, cine, oblique, dicom_cine, save_dicom):
    stack = read_cine(save_dicom(tmp_path / "d", dicom_cine(cine, oblique, keep=lambda k, t: k > 0 or t < 6)))
    np.testing.assert_array_equal(stack.frames, cine[:, 1:])
    np.testing.assert_allclose(stack.ijk_to_ras[:3, 3], oblique[:3, 3] + oblique[:3, 2], atol=1e-4)
    assert any("lack more than a quarter" in w for w in stack.warnings)


def test_a_repeated_slice_gives_its_latest_full_acquisition(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine, oblique)
    plane = oblique.copy()
    plane[:3, 3] += 2 * oblique[:3, 2]
    for series, change in (("41", 30), ("42", 60)):
        again = dicom_cine(cine[:, 2:3] + np.uint16(change), plane, rr_ms=870.0)
        for dataset in again:
            dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.3.{series}", int(series)
        datasets += again
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(stack.frames[:, 2], cine[:, 2] + 60)
    assert any("acquired more than once" in w for w in stack.warnings)


def test_the_same_files_twice_are_counted_once(tmp_path, cine, oblique, dicom_cine, save_dicom):
    save_dicom(tmp_path / "d" / "a", dicom_cine(cine[:4], oblique, one_series=True))
    save_dicom(tmp_path / "d" / "b", dicom_cine(cine[:4], oblique, one_series=True))
    stack = read_cine(tmp_path / "d")
    np.testing.assert_array_equal(stack.frames, cine[:4])
    assert any("images repeat a slice and time" in w for w in stack.warnings)


def test_one_series_may_hold_one_phase_of_all_slices(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine, oblique)
    for dataset in datasets:
        dataset.SeriesInstanceUID = f"1.2.3.{dataset.InstanceNumber}"
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(stack.frames, cine)


def test_without_trigger_times_the_numbers_order_the_phases(tmp_path, cine, oblique, dicom_cine, save_dicom):
    stack = read_cine(save_dicom(tmp_path / "d", dicom_cine(cine, oblique, timed=False)))
    np.testing.assert_array_equal(stack.frames, cine)
    assert stack.frame_times_ms == ()
    assert any("neither trigger times nor a heart rate" in w for w in stack.warnings)
    datasets = dicom_cine(cine, oblique, timed=False)
    for dataset in datasets:
        dataset.HeartRate = 75
    stack = read_cine(save_dicom(tmp_path / "e", datasets))
    np.testing.assert_allclose(stack.frame_times_ms, 800.0 * np.arange(T) / T)


def test_rescale_slope_and_intercept_make_intensities(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine[:2], oblique)
    for dataset in datasets:
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -10
    np.testing.assert_allclose(read_sax(save_dicom(tmp_path / "d", datasets)).voxels, cine[0] * 0.5 - 10)


def enhanced(dataset_maker, cine, ijk_to_ras, rr_ms=900.0):
    """One enhanced multi-frame file, frames shuffled, places and times in functional groups."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
    n_times, depth = cine.shape[:2]
    order = np.random.default_rng(3).permutation(n_times * depth)
    groups, pixels = [], []
    for number in order:
        t, k = divmod(int(number), depth)
        plane, sync, group = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = [round(float(x), 6) for x in lps[:3, 3] + k * lps[:3, 2]]
        sync.NominalCardiacTriggerDelayTime, sync.RRIntervalTimeNominal = t / n_times * rr_ms, rr_ms
        group.PlanePositionSequence, group.CardiacSynchronizationSequence = Sequence([plane]), Sequence([sync])
        groups.append(group)
        pixels.append(cine[t, k])
    dataset = dataset_maker(np.stack(pixels), lps)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient, measures.PixelSpacing = dataset.ImageOrientationPatient, dataset.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "InstanceNumber"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    return dataset


def test_an_enhanced_multi_frame_file_is_a_cine(tmp_path, cine, oblique, dicom_dataset):
    path = tmp_path / "enhanced.dcm"
    enhanced(dicom_dataset, cine, oblique).save_as(path, enforce_file_format=True)
    stack = read_cine(path)
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=1e-4)
    np.testing.assert_allclose(stack.frame_times_ms, 900.0 * np.arange(T) / T, atol=1e-2)


def test_frames_that_state_only_when_they_were_taken_are_put_in_order(tmp_path, cine, oblique, dicom_dataset):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    dataset = enhanced(dicom_dataset, cine, oblique)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        sync, content = group.CardiacSynchronizationSequence[0], Dataset()
        micro = round(1000 * sync.NominalCardiacTriggerDelayTime)
        content.FrameReferenceDateTime = f"20260102100000.{micro:06d}+0100"
        del sync.NominalCardiacTriggerDelayTime
        group.FrameContentSequence = Sequence([content])
    path = tmp_path / "enhanced.dcm"
    dataset.save_as(path, enforce_file_format=True)
    stack = read_cine(path)
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.frame_times_ms, 900.0 * np.arange(T) / T, atol=1e-2)


def test_frames_without_a_place_in_a_file_of_many_are_said(tmp_path, cine, oblique, dicom_dataset):
    dataset = enhanced(dicom_dataset, cine, oblique)
    for group in dataset.PerFrameFunctionalGroupsSequence[:2]:
        del group.PlanePositionSequence
    path = tmp_path / "enhanced.dcm"
    dataset.save_as(path, enforce_file_format=True)
    assert "2 DICOM images state no position in the patient and were left out." in read_cine(path).warnings


def test_run_length_encoded_pixels_are_decoded(tmp_path, cine, oblique, dicom_cine, save_dicom):
    from pydicom.uid import RLELossless

    datasets = dicom_cine(cine[:2, :4], oblique)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read_cine(save_dicom(tmp_path / "d", datasets)).frames, cine[:2, :4])


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "JPEGLS"])
def test_losslessly_compressed_pixels_are_decoded(tmp_path, cine, oblique, dicom_cine, save_dicom, compressor):
    """GDCM compresses the pixels that pydicom's writer placed."""
    import pydicom
    import SimpleITK as sitk

    folder = save_dicom(tmp_path / "d", dicom_cine(cine[:2, :4], oblique))
    for path in folder.iterdir():
        packed = tmp_path / "packed.dcm"
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        sitk.WriteImage(image, str(packed), useCompression=True, compressor=compressor, imageIO="GDCMImageIO")
        theirs, ours = pydicom.dcmread(packed), pydicom.dcmread(path)
        assert theirs.file_meta.TransferSyntaxUID.is_compressed
        ours.PixelData, ours.file_meta.TransferSyntaxUID = theirs.PixelData, theirs.file_meta.TransferSyntaxUID
        ours["PixelData"].VR = "OB"
        ours.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(read_cine(folder).frames, cine[:2, :4])


def test_slices_beside_one_another_are_moved_straight(tmp_path, oblique, dicom_dataset, save_dicom):
    """A stack planned with a shear: each slice starts 2.8 mm (two pixels) further along its rows than the last."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ oblique
    image = np.random.default_rng(0).integers(0, 500, (20, 40)).astype(np.uint16)
    datasets = []
    for k in range(5):
        plane = lps.copy()
        plane[:3, 3] += k * lps[:3, 2] + 2 * (k - 2) * lps[:3, 0]
        datasets.append(dicom_dataset(np.roll(image, -2 * (k - 2), axis=1), plane, series=str(k + 1)))
    stack = read_sax(save_dicom(tmp_path / "d", datasets))
    for k in range(5):
        np.testing.assert_allclose(stack.voxels[k, :, 6:-6], image[:, 6:-6], atol=0.5)
    assert any("beside one another" in w for w in stack.warnings)
    axes = stack.ijk_to_ras[:3, :3] / np.linalg.norm(stack.ijk_to_ras[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)


def test_a_slice_with_other_pixels_is_resampled_onto_the_usual_ones(tmp_path, oblique, dicom_dataset, save_dicom):
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ oblique
    ramp = (10 * np.arange(40)[None, :] + 4 * np.arange(32)[:, None]).astype(np.uint16)
    datasets = []
    for k in range(5):
        plane, pixels = lps.copy(), ramp
        plane[:3, 3] += k * lps[:3, 2]
        if k == 2:  # half the pixels, twice as large: their centres lie half a small pixel further
            plane[:3, 3] += 0.5 * (lps[:3, 0] + lps[:3, 1])
            plane[:3, :2] *= 2
            pixels = ramp.reshape(16, 2, 20, 2).mean(axis=(1, 3)).astype(np.uint16)
        datasets.append(dicom_dataset(pixels, plane, series=str(k + 1)))
    stack = read_sax(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_allclose(stack.voxels[2, 2:-2, 2:-2], ramp[2:-2, 2:-2], atol=1.0)
    np.testing.assert_array_equal(stack.voxels[3], ramp)
    assert any("differ in pixels" in w for w in stack.warnings)


def test_long_axis_views_velocity_images_and_reports_beside_the_stack_are_left_out(
    tmp_path, cine, oblique, dicom_cine, dicom_dataset, save_dicom
):
    long_axis = oblique.copy()
    long_axis[:3, :3] = oblique[:3, [2, 1, 0]] * (0.14, 1, 5)
    velocity = dicom_cine(cine, oblique)
    for dataset in velocity:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "P"]
        dataset.SeriesInstanceUID += ".9"
    report = dicom_dataset(cine[0, 0], oblique)
    report.Modality = "SR"
    datasets = [*dicom_cine(cine, oblique), *dicom_cine(cine[:, :1], long_axis), *velocity, report]
    folder = save_dicom(tmp_path / "d", datasets)
    (folder / "notes.txt").write_text("nothing")
    stack = read_cine(folder)
    np.testing.assert_array_equal(stack.frames, cine)
    assert any("velocity" in w for w in stack.warnings)
    assert any("Left out: series 1 (cine, 1 slice × 12 phases): 1 slice" in w for w in stack.warnings)


def test_the_sunnybrook_files_make_the_four_slices_that_have_both_phases(shared_data):
    """Ten unordered files; the first and the last slice have one of the two phases."""
    folder = shared_data / "mri" / "scd0003701"
    stack = read_cine(folder)
    assert stack.frame_times_ms == pytest.approx((348.0, 929.0))
    for frame, name in ((0, "ES"), (1, "ED")):
        expected = read_sax(folder / f"scd3701_{name}.nii.gz")
        np.testing.assert_array_equal(stack.frames[frame], expected.voxels)
        np.testing.assert_allclose(stack.ijk_to_ras, expected.ijk_to_ras, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(stack.ijk_to_ras[:3, :3], axis=0), (1.3672, 1.3672, 8.0), atol=1e-3)


def zipped(folder, path, extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"1.3.12.2.{file.name}.dcm")
        for name, content in extra:
            archive.writestr(name, content)
    return path


def test_a_uk_biobank_zip_is_read_in_place(tmp_path, cine, oblique, dicom_cine, save_dicom):
    folder = save_dicom(tmp_path / "d", dicom_cine(cine, oblique))
    before = set(tmp_path.iterdir())
    path = zipped(folder, tmp_path / "1234567_20209_2_0.zip", [("manifest.csv", "filename,patientid\na,1\n")])
    stack = read_cine(path)
    np.testing.assert_array_equal(stack.frames, cine)
    assert set(tmp_path.iterdir()) - before == {path}
    np.testing.assert_array_equal(read_sax(path, frame=3).voxels, cine[3])


def test_what_is_planted_about_a_person_reaches_no_output_and_no_message(
    tmp_path, cine, oblique, dicom_cine, save_dicom, private, capfd, caplog
):
    words = {word for value in private.values() for word in value.replace("^", " ").split()} - {"SAX", "Cor"}
    folder = save_dicom(tmp_path / "d", dicom_cine(cine, oblique, keep=lambda k, t: k != 3 and (k, t) != (1, 1)))
    said = []
    for stack in (read_sax(folder), read_cine(folder)):
        said += [repr(stack), *stack.warnings]
    long_axis = save_dicom(tmp_path / "l", dicom_cine(cine[:, :1], oblique))
    with pytest.raises(AnatomyError) as error:
        read_sax(long_axis)
    said.append(str(error.value))
    for path in sorted(folder.iterdir())[:3]:  # damaged: pydicom's own complaints quote what they find
        path.write_bytes(path.read_bytes()[:600])
    said += read_cine(folder).warnings
    assert any("3 DICOM files" in text for text in said)
    captured = capfd.readouterr()
    said += [captured.out, captured.err, caplog.text]
    assert not [word for word in words if any(word in text for text in said)]
