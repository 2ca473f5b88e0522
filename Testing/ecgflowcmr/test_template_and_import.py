"""The anchor-free route's template, and UK Biobank's four-chamber cines."""

import io
import zipfile

import numpy as np
import pytest
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.ecgflowcmr.template_anchor import (
    REFERENCE,
    Person,
    draw_sizes,
    expected_sizes,
    parse_person,
    template_anchor,
)
from COFGeneratorLib.ecgflowcmr.template_stamp import WORDS, stamp_pictures
from COFGeneratorLib.errors import AnatomyError, CohortError
from COFTrainingLib.cohort.importers.ukbiobank_long_axis import import_long_axis, read_four_chamber
from COFTrainingLib.training.ecgflowcmr.cohort_clips import cohort_examples, resample
from COFTrainingLib.training.ecgflowcmr.settings import DataSettings

WOMAN = Person("f", 61.0, 165.0, 63.8)
"""Of the mean body surface, 1.71 m²."""


def test_a_usual_person_gets_the_populations_volumes_and_mass():
    sizes = expected_sizes(WOMAN, 2.5)
    assert sizes["edv_ml"] == pytest.approx(REFERENCE["f"]["edv"], rel=0.01)
    assert sizes["mass_g"][0] == pytest.approx(42.0 * 1.71, rel=0.01)
    made = template_anchor(WOMAN, 2.5)
    assert made.sizes["labelled_edv_ml"] == pytest.approx(124.0, rel=0.08)
    assert made.sizes["labelled_mass_g"] == pytest.approx(42.0 * 1.71, rel=0.12)
    assert "NOT the patient's" in made.anchor.warnings[0]
    assert made.anchor.voxels[made.labels == 1].mean() > 2 * made.anchor.voxels[made.labels == 2].mean()


def test_size_age_and_voltage_move_the_template_as_they_should():
    tall = expected_sizes(Person("f", 61.0, 185.0, 85.0), 2.5)
    old = expected_sizes(Person("f", 75.0, 165.0, 63.8), 2.5)
    loud = expected_sizes(WOMAN, 4.0)
    usual = expected_sizes(WOMAN, float("nan"))
    assert tall["edv_ml"][0] > 1.15 * usual["edv_ml"][0]
    assert old["edv_ml"][0] < usual["edv_ml"][0]
    assert loud["mass_g"][0] > usual["mass_g"][0] + 2.0
    assert loud["mass_g"][1] == usual["mass_g"][1] < 7.0 * 1.72


def test_draws_are_as_wide_as_the_population():
    sizes = expected_sizes(WOMAN, 2.5)
    volumes = np.array([draw_sizes(sizes, seed)["edv_ml"] for seed in range(400)])
    assert volumes.std() == pytest.approx(21.0, rel=0.1)
    assert volumes.mean() == pytest.approx(124.0, abs=4.0)
    large = template_anchor(WOMAN, 2.5, int(volumes.argmax()))
    assert large.sizes["labelled_edv_ml"] == pytest.approx(volumes.max(), rel=0.08)


def test_the_template_lies_as_hearts_lie():
    made = template_anchor(WOMAN, 2.5)
    frame = heart_frame_from_labels(made.labels, made.anchor.ijk_to_ras)
    assert not frame.mirrored
    assert frame.axes_ras[0] @ np.array([-0.62, 0.52, -0.59]) > 0.95


@pytest.mark.parametrize("text", ["x,60,170,70", "f,60,170", "m,12,150,40", "f,sixty,165,70"])
def test_what_is_no_grown_person_is_refused(text):
    with pytest.raises(AnatomyError):
        parse_person(text)


def test_an_anchor_and_a_template_exclude_each_other(cof, tmp_path):
    run = cof("generate", "--template", "f,60,165,70", "--anchor", "x.nii", "--ecg", "y.xml", "--out", tmp_path / "o")
    assert run.code == 2
    assert "--anchor as well" in run.err


def test_pictures_of_a_template_say_so(tmp_path):
    from PIL import Image

    Image.new("RGB", (800, 100), "black").save(tmp_path / "preview.png")
    frames = [Image.new("RGB", (400, 60), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "preview.gif", save_all=True, append_images=frames[1:], duration=[40, 80, 40])
    stamp_pictures(tmp_path)
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.height > 100
        assert np.asarray(sheet)[:28].max() > 200
    with Image.open(tmp_path / "preview.gif") as film:
        assert film.n_frames == 3
        assert WORDS.encode() in film.info["comment"]


def _dicom(description: str, number: int, frame: np.ndarray, series: str) -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SeriesDescription, image.SeriesInstanceUID, image.InstanceNumber = description, series, number
    image.TriggerTime, image.PixelSpacing = 20.0 * number, [1.8, 1.6]
    image.Rows, image.Columns = frame.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelData = 15, frame.astype(np.uint16).tobytes()
    stream = io.BytesIO()
    image.save_as(stream)
    return stream.getvalue()


@pytest.fixture
def downloads(tmp_path, repository):
    """Return a folder like a download: two visits with a cine, one of them with an ECG."""
    folder = tmp_path / "ukb"
    folder.mkdir()
    rng = np.random.default_rng(0)
    films = {name: rng.integers(0, 500, (6, 40, 50)) for name in ("2Ch", "4Ch")}
    for person in ("1000001", "1000002"):
        with zipfile.ZipFile(folder / f"{person}_20208_2_0.zip", "w") as archive:
            for name, film in films.items():
                for number in (3, 1, 0, 2, 5, 4):  # files come in any order
                    content = _dicom(f"CINE_segmented_LAX_{name}", number, film[number], f"1.2.{len(name)}.{name[0]}")
                    archive.writestr(f"{name}-{number}.dcm", content)
            archive.writestr("manifest.cvs", "not an image")
    return folder, films["4Ch"]


def test_the_four_chamber_series_is_found_among_the_long_axes(downloads):
    folder, film = downloads
    found = read_four_chamber(folder / "1000001_20208_2_0.zip")
    assert np.array_equal(found.frames, film)
    assert found.spacing_mm == (1.8, 1.6)
    (folder / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(AnatomyError, match="does not read"):
        read_four_chamber(folder / "bad.zip")


def test_an_import_pairs_visits_and_the_cohort_can_be_learned_from(downloads, shared_data, tmp_path):
    import shutil

    folder, _ = downloads
    shutil.copy(shared_data / "ecg" / "cardiosoft_ukb_layout.xml", folder / "1000001_20205_2_0.xml")
    cohort = import_long_axis(folder, tmp_path / "cohort")
    assert [subject.id for subject in cohort.used()] == ["1000001-2"]
    assert "no ECG" in next(s for s in cohort.subjects if s.person == "1000002").excluded
    subject = cohort.used()[0]
    data = DataSettings(grid=PlaneGrid("four-chamber", 10, 32, 2.5))
    examples = cohort_examples(cohort, subject.split, data)
    assert examples.clips.shape == (1, 10, 32, 32)
    assert examples.labels is None
    assert examples.known.sum() > 300
    with pytest.raises(CohortError, match="20208"):
        import_long_axis(tmp_path / "cohort", tmp_path / "other")


def test_resampling_keeps_places_and_wraps_time():
    rows = np.tile(np.arange(21.0)[:, None], (1, 21)).astype(np.float32)
    frames = np.stack([rows, rows + 100.0])
    out = resample(frames, (1.0, 1.0), np.array([10.0, 10.0]), PlaneGrid("sax", 4, 11, 1.0))
    assert out[0, :, 5] == pytest.approx(np.arange(5.0, 16.0))
    assert out[:, 5, 5] == pytest.approx([10.0, 60.0, 110.0, 60.0])
