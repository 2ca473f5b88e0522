"""What a study holds is listed, with what would be read, how to ask for the rest, and no word of the files."""

import json

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine
from COFGeneratorLib.anatomy.readers.study import list_acquisitions
from COFGeneratorLib.errors import AnatomyError

T, D, H, W = 6, 8, 16, 18


@pytest.fixture
def study(tmp_path, oblique, dicom_cine, save_dicom):
    """Return a study of a cine (series 1 … 8), a shorter one (30) and a localiser (40)."""
    cine = np.random.default_rng(0).integers(0, 900, (T, D, H, W)).astype(np.uint16)
    datasets = dicom_cine(cine, oblique)
    shorter = dicom_cine(cine[:, 2:6] + np.uint16(1000), oblique, one_series=True)
    for dataset in shorter:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.9.30", 30
        dataset.SeriesDescription = "second run"
    scout = dicom_cine(cine[:1, :2], oblique, one_series=True, timed=False)
    for dataset in scout:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.9.40", 40
        dataset.EchoTime = 7.0
    return save_dicom(tmp_path / "study", datasets + shorter + scout)


def test_acquisitions_are_listed_and_each_can_be_asked_for(study):
    first, second, *rest = list_acquisitions(study)
    assert (first.chosen, first.slices, first.phases, first.series) == (True, D, T, "1,2,3,4,5,6,7,8")
    assert (second.chosen, second.slices, second.series) == (False, 4, "30")
    assert [one.series for one in rest if one.why_not] == ["40"]
    np.testing.assert_array_equal(read_cine(study, series=first.series).frames, read_cine(study).frames)
    assert read_cine(study, series=second.series).frames.min() >= 1000


def test_the_command_lists_in_words_and_as_json_without_a_word_of_the_person(study, cof):
    words = cof("acquisitions", study)
    assert words.code == 0
    lines = words.out.splitlines()
    assert lines[0].startswith("* series 1 to 8 (cine, 8 slices × 6 phases)")
    assert "--series 30" in lines[1]
    assert lines[2].startswith("  series 40")
    assert "--series" not in lines[2]
    assert "ustermann" not in words.out
    told = json.loads(cof("acquisitions", study, "--json").out)
    assert [one["series"] for one in told] == ["1,2,3,4,5,6,7,8", "30", "40"]


def test_what_is_no_study_is_refused(tmp_path, cof):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(AnatomyError, match="another kind of file"):
        list_acquisitions(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    run = cof("acquisitions", tmp_path / "empty")
    assert run.code == 2
    assert "no files" in run.err


def test_a_window_gets_the_list_and_then_the_acquisition(study, cof, tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from types import SimpleNamespace

    from COFGeneratorLib.scene import standalone_scene
    from COFGeneratorLib.scene.study import LIST_FILE, load_acquisition
    from COFGeneratorLib.scene.volumes import ijk_to_ras_of, volume_array

    result = tmp_path / "job" / "study"
    assert cof("study", study, "--out", result).code == 0
    listed = json.loads((result / LIST_FILE).read_text())
    assert cof("study", study, "--out", result, "--series", listed[1]["series"]).code == 0
    cine = read_cine(study, series=listed[1]["series"])
    with standalone_scene() as scene:
        job = SimpleNamespace(folder=SimpleNamespace(result=tmp_path / "job"))
        volume = load_acquisition(job, scene, "second run")
        np.testing.assert_array_equal(volume_array(volume), cine.frames[0])
        np.testing.assert_allclose(ijk_to_ras_of(volume), cine.ijk_to_ras, atol=1e-4)
