"""A study is sorted into acquisitions before planes are built: the short-axis cine alone is read, the rest is named."""

import re

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.anatomy.readers.dicom_fields import kind_by_words, view_by_words
from COFGeneratorLib.errors import AnatomyError

T, D, H, W = 12, 8, 16, 18
FOREIGN = 60_000


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    """(T, D, H, W) in which every voxel differs from its neighbours in space and time."""
    t, k, j, i = np.meshgrid(*[np.arange(n) for n in (T, D, H, W)], indexing="ij")
    return (1000 * t + 100 * k + (7 * j + 3 * i) % 97).astype(np.uint16)


def shifted(matrix, steps):
    """Return the geometry moved along its slices."""
    out = matrix.copy()
    out[:3, 3] += steps * matrix[:3, 2]
    return out


@pytest.fixture
def foreign(oblique, dicom_cine):
    """Return a maker of a series of another kind on planes of the stack, without a word about what it is."""

    def make(number, planes, n_images, first=0.0, every_ms=None, ge_part=None, **values):
        out = []
        for plane in planes:
            images = np.full((n_images, 1, H, W), FOREIGN + number, np.uint16)
            out += dicom_cine(images, shifted(oblique, plane + first), one_series=True)
        for count, dataset in enumerate(out):
            dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.9.{number}", number
            dataset.SeriesDescription = ""
            if ge_part is not None:
                dataset.private_block(0x43, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", ge_part)
            if every_ms is not None:
                dataset.TriggerTime = 300 + every_ms * (count % n_images)
            for keyword, value in values.items():
                setattr(dataset, keyword, value(count % n_images) if callable(value) else value)
        return out

    return make


KINDS = {
    "perfusion, one trigger time": ({"planes": (1, 3, 5), "n_images": 40, "every_ms": 0}, "perfusion"),
    "perfusion, trigger grows": ({"planes": (1, 3, 5), "n_images": 40, "every_ms": 900}, "perfusion"),
    "T1 mapping": (
        {"planes": (0, 2, 4, 6), "n_images": 11, "every_ms": 0, "InversionTime": lambda n: 100 + 80 * n},
        "T1 mapping",
    ),
    "T2 mapping": (
        {"planes": (0, 2, 4, 6), "n_images": 9, "every_ms": 0, "EchoTime": lambda n: 2.0 + 5 * n},
        "T2 mapping",
    ),
    "tagging": ({"planes": (1, 3, 5), "n_images": 14, "SeriesDescription": "Tagging grid"}, "tagging"),
    "tagging, not named": ({"planes": (1, 3, 5), "n_images": 14}, "covers 40 mm, not 70"),
    "late enhancement between": (
        {"planes": range(D), "n_images": 1, "first": 0.5, "every_ms": 0, "SeriesDescription": "LGE PSIR"},
        "late enhancement",
    ),
    "single images between": ({"planes": range(D), "n_images": 1, "first": 0.5, "every_ms": 0}, "no cine"),
    "real part": (
        {"planes": range(D), "n_images": T, "ImageType": ["ORIGINAL", "PRIMARY", "R", "FFE"]},
        r"complex images \(real part\)",
    ),
    "real part, as GE tells it": ({"planes": range(D), "n_images": T, "ge_part": 2}, r"complex images \(real part\)"),
    "inversion recovery, not named": (
        {"planes": range(D), "n_images": 1, "every_ms": 0, "InversionTime": 300},
        "late enhancement or other images with an inversion pulse",
    ),
    "real time": ({"planes": range(D), "n_images": 60, "every_ms": 40}, "runs on over several beats"),
    "DENSE": ({"planes": (1, 3), "n_images": 14, "SeriesDescription": "DENSE_x"}, "displacement or strain encoding"),
    "stress": ({"planes": range(D), "n_images": T, "SeriesDescription": "cine stress"}, "another run"),
    "flow": ({"planes": (2,), "n_images": 20, "SeriesDescription": "Flow venc 150"}, "phase contrast"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("one_series", [True, False])
def test_another_series_on_the_same_planes_changes_no_voxel_and_is_named(
    tmp_path, cine, oblique, dicom_cine, save_dicom, foreign, kind, one_series
):
    options, said = KINDS[kind]
    datasets = dicom_cine(cine, oblique, one_series=one_series)
    stack = read_cine(save_dicom(tmp_path / "d", datasets + foreign(60, **options)))
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.ijk_to_ras, oblique, atol=1e-4)
    told = next(w for w in stack.warnings if w.startswith("Read: series"))
    assert f"cine, {D} slices × {T} phases" in told
    assert re.search(f"Left out: series 60 .*{said}", told)


@pytest.mark.parametrize("kind", [name for name in KINDS if name.startswith(("perf", "T1", "T2", "real part", "inv"))])
def test_alone_they_are_refused_by_name(tmp_path, save_dicom, foreign, kind):
    options, said = KINDS[kind]
    with pytest.raises(AnatomyError, match=said):
        read_sax(save_dicom(tmp_path / "d", foreign(60, **options)))


def test_a_series_is_chosen_by_number_uid_or_description(tmp_path, cine, oblique, dicom_cine, save_dicom):
    stress = dicom_cine(cine + np.uint16(40), oblique, one_series=True)
    for dataset in stress:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.9.31", 31
        dataset.SeriesDescription = "SAX cine stress"
    folder = save_dicom(tmp_path / "d", dicom_cine(cine, oblique, one_series=True) + stress)
    np.testing.assert_array_equal(read_cine(folder).frames, cine)
    for series in ("31", "1.2.9.31", "sax CINE stress", "stress"):
        np.testing.assert_array_equal(read_cine(folder, series=series).frames, cine + np.uint16(40))
    np.testing.assert_array_equal(read_sax(folder, 3, series="7").voxels, cine[3])
    with pytest.raises(AnatomyError, match=r"not there, found are the numbers 7, 31"):
        read_cine(folder, series="99")


def test_a_series_is_no_choice_in_another_kind_of_file(tmp_path, cine, oblique, write_image):
    path = write_image(tmp_path / "a.nrrd", cine[0].astype(np.int16), oblique)
    with pytest.raises(AnatomyError, match=r"DICOM folder or zip; a\.nrrd is another kind"):
        read_sax(path, series="5")


@pytest.mark.parametrize(
    ("keyword", "said"), [("PatientID", "one patient; found those of 2 patients"), ("StudyInstanceUID", "one study")]
)
def test_two_persons_or_studies_in_one_folder_are_refused(
    tmp_path, cine, oblique, dicom_cine, save_dicom, keyword, said
):
    datasets = dicom_cine(cine, oblique)
    for number, dataset in enumerate(datasets):
        dataset.StudyInstanceUID = "1.2.3"
        setattr(dataset, keyword, "1.2.3.4" if number % (T * D) < T else "1.2.3.5")
    with pytest.raises(AnatomyError, match=said) as refused:
        read_sax(save_dicom(tmp_path / "d", datasets))
    assert "1.2.3" not in str(refused.value)


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "PatientName"])
def test_persons_without_a_number_are_told_apart_too(tmp_path, cine, oblique, dicom_cine, save_dicom, keyword):
    datasets = dicom_cine(cine, oblique)
    for number, dataset in enumerate(datasets):
        dataset.StudyInstanceUID, dataset.PatientID = "1.2.3", ""
        setattr(dataset, keyword, "19500101" if number < T else "19600101")
    with pytest.raises(AnatomyError, match="one patient; found those of 2 patients"):
        read_sax(save_dicom(tmp_path / "d", datasets))


def test_mosaics_are_refused_by_name(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine, oblique)
    for dataset in datasets:
        dataset.ImageType, dataset.SeriesDescription = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "cine sax"
    with pytest.raises(AnatomyError, match="a mosaic of several slices"):
        read_sax(save_dicom(tmp_path / "d", datasets))


def test_words_tell_techniques_and_views_and_nothing_of_a_name():
    for text, kind in (
        ("sax lge psir", "late enhancement"), ("molli pre", "T1 mapping"), ("t2 map sax", "T2 mapping"),
        ("fl2d tag", "tagging"), ("cine tagging", "tagging"), ("dyn first pass", "perfusion"),
        ("cine post perf", ""), ("cine sa b7", ""), ("montag freitag de la plate", ""), ("4d flow", "phase contrast"),
    ):  # fmt: skip
        assert kind_by_words(text) == kind, text
    for text, view in (
        ("cine lvot", "an outflow-tract view"),
        ("tf2d 4ch", "a four-chamber view"),
        ("sax 2ch", ""),
        ("kurze achse lvot", ""),
    ):  # fmt: skip
        assert view_by_words(text) == view, text


def test_an_outflow_cine_is_called_what_it_is(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(cine[:, :1], oblique)
    for dataset in datasets:
        dataset.SeriesDescription = "CINE_LVOT_1"
    with pytest.raises(AnatomyError, match="an outflow-tract view"):
        read_sax(save_dicom(tmp_path / "d", datasets))
