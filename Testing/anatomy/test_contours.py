"""Contours of cvi42 become the labels of the DICOM images that they were drawn on, wherever these lie."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_labels, read_sax
from COFGeneratorLib.errors import AnatomyError
from support.cvi42_writer import workspace
from support.dicom_writer import dicom_cine
from support.fuzzing.images import ROW, TO_RAS

COLUMN = TO_RAS[:3, 1] / 3.7
CENTRE_PX = (14.0, 12.0)
ENDO_MM, EPI_MM, RV_MM = 22.4, 32.3, 20.2
SHAPE = (3, 5, 24, 26)


@pytest.fixture
def study(tmp_path, save_dicom):
    """Return a maker of an examination: folder, datasets of slices by frame, one of them stored turned if asked."""

    def make(turned: int | None = None):
        cine = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.uint16)
        datasets = dicom_cine(cine, TO_RAS)
        for dataset in datasets[: len(datasets) if turned is not None else 0]:
            if int(dataset.SeriesNumber) == turned + 1:
                _turn(dataset)
        return save_dicom(tmp_path / "study", list(datasets)), datasets

    return make


def _turn(dataset) -> None:
    """Store an image turned by 90°: what was its last column becomes its first row."""
    pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    row, column = np.array(dataset.ImageOrientationPatient).reshape(2, 3)
    step = float(dataset.PixelSpacing[1])
    dataset.ImagePositionPatient = (
        np.array(dataset.ImagePositionPatient) + row * step * (pixels.shape[1] - 1)
    ).tolist()
    dataset.ImageOrientationPatient = [*column.tolist(), *(-row).tolist()]
    dataset.PixelSpacing = dataset.PixelSpacing[::-1]
    turned = np.rot90(pixels)
    dataset.Rows, dataset.Columns = turned.shape
    dataset.PixelData = turned.tobytes()


def drawn(datasets, frame: int, slices=range(SHAPE[1])) -> dict:
    """Return contours of circles, fixed in the patient, in the pixels of each image as it is stored."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    found = {}
    for dataset in datasets:
        k = int(dataset.SeriesNumber) - 1
        if int(dataset.InstanceNumber) - 1 != frame or k not in slices:
            continue
        centre = (TO_RAS @ [*CENTRE_PX, k, 1.0])[:3]
        named = {}
        for name, radius, shift in (
            ("saendocardialContour", ENDO_MM, 0.0), ("saepicardialContour", EPI_MM, 0.0),
            ("sarvendocardialContour", RV_MM, -(EPI_MM + RV_MM)), ("sapapilMuscContour0001", 4.0, 0.0),
        ):  # fmt: skip
            around = np.outer(np.cos(angles), ROW) + np.outer(np.sin(angles), COLUMN)
            ras = centre + shift * ROW + radius * around
            lps = ras * [-1.0, -1.0, 1.0] - np.array(dataset.ImagePositionPatient)
            row, column = np.array(dataset.ImageOrientationPatient).reshape(2, 3)
            down, across = (float(step) for step in dataset.PixelSpacing)
            named[name] = np.stack([lps @ row / across, lps @ column / down], axis=1)
        found[str(dataset.SOPInstanceUID)] = named
    return found


def expected(slices=range(SHAPE[1])) -> np.ndarray:
    """Return the labels that the circles are, by distance."""
    k, j, i = np.indices(SHAPE[1:])
    x, y = (i - CENTRE_PX[0]) * 3.8, (j - CENTRE_PX[1]) * 3.7
    labels = np.zeros(SHAPE[1:], np.uint8)
    labels[np.hypot(x + EPI_MM + RV_MM, y) < RV_MM] = 3
    labels[np.hypot(x, y) < EPI_MM] = 2
    labels[np.hypot(x, y) < ENDO_MM] = 1
    return labels * np.isin(k, list(slices))


def write(tmp_path, text: str):
    path = tmp_path / "Mustermann.cvi42wsx"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("turned", [None, 2])
def test_contours_are_the_labels_of_their_images(tmp_path, study, turned):
    folder, datasets = study(turned)
    anchor = read_sax(folder, 1)
    path = write(tmp_path, workspace(drawn(datasets, 1) | drawn(datasets, 0, slices=[0])))
    labels = read_labels(path, anchor)
    if turned is None:
        np.testing.assert_array_equal(labels, expected())
    assert [int((labels == code).sum()) for code in (1, 2, 3)] == [int((expected() == c).sum()) for c in (1, 2, 3)]
    assert (labels != expected()).mean() < 0.002
    np.testing.assert_array_equal(read_labels(path, read_cine(folder).stack(1)), labels)


def test_slices_without_contours_stay_without_labels(tmp_path, study):
    folder, datasets = study()
    labels = read_labels(write(tmp_path, workspace(drawn(datasets, 0, slices=range(1, 4)))), read_sax(folder))
    np.testing.assert_array_equal(labels, expected(range(1, 4)))


def test_what_cannot_be_right_is_refused_in_words_that_name_nobody(tmp_path, study, write_image):
    folder, datasets = study()
    anchor = read_sax(folder, 2)
    good = workspace(drawn(datasets, 0) | drawn(datasets, 1))
    uid = str(datasets[0].SOPInstanceUID)
    bomb = good.replace("<Workspace", '<!DOCTYPE x [<!ENTITY a "aa">]><Workspace', 1)
    other = workspace({"1.2.3.4": drawn(datasets, 0)[uid]})
    long = workspace({uid: {"saendocardialContour": np.ones((6000, 2))}})
    for text, said in (
        (good, "drawn are those of the frames 0, 1"), (bomb, "entities"), (good[:-300], "cut off"),
        (other, "of one examination"), (good.replace("<Point:x>", "<Point:x>Mustermann", 1), "pairs of numbers"),
        (good.replace(">4<", ">0<"), "pairs of numbers"), (good.replace(">4<", ">nan<"), "pairs of numbers"),
        (long, "at most 5,000 points"), (good + "x" * 9, "cut off"),
    ):  # fmt: skip
        with pytest.raises(AnatomyError, match=said) as refused:
            read_labels(write(tmp_path, text), anchor)
        assert "Mustermann" not in str(refused.value)
    path = write(tmp_path, good)
    with pytest.raises(AnatomyError, match="Leave --label-map out"):
        read_labels(path, anchor, {"lv": 1})
    volume = np.random.default_rng(0).integers(0, 900, SHAPE[1:]).astype(np.int16)
    plain = read_sax(write_image(tmp_path / "a.nrrd", volume, TO_RAS))
    with pytest.raises(AnatomyError, match="the anchor is another kind of file"):
        read_labels(path, plain)


def test_a_workspace_as_deep_or_as_large_as_none_is_refused(tmp_path, study):
    folder, datasets = study()
    anchor = read_sax(folder)
    good = workspace(drawn(datasets, 0))
    deep = good.replace("<Hash:item", "<Hash:item>" * 200 + "<Hash:item", 1)
    with pytest.raises(AnatomyError, match="100 deep"):
        read_labels(write(tmp_path, deep), anchor)
    many = good.replace("<Point:x>", "<a/>" * 300_000 + "<Point:x>", 1)
    with pytest.raises(AnatomyError, match="more"):
        read_labels(write(tmp_path, many), anchor)
