"""A real stack of which only the LV cavity is labelled (Sunnybrook): the segmenter that ships adds the rest."""

import json

import pytest
from COFTrainingLib.cli import main


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "source"), [("", "user+segmenter"), ("--labels-as-given", "user")])
@pytest.mark.usefixtures("read_outs_alone")
def test_a_cavity_s_contours_give_a_whole_heart_unless_told_otherwise(shared_data, tmp_path, flag, source):
    stack, record = shared_data / "mri" / "scd0003701", next((shared_data / "ecg").rglob("HR06004.hea"))
    words = (
        f"generate --anchor {stack / 'scd3701_ED.nii.gz'} --labels {stack / 'scd3701_ED_lvendo.nii.gz'} --quiet "
        f"--label-map lv=3 --ecg {record} --frames 4 {flag} --out {tmp_path / 'heart'}"
    )
    assert main(words.split()) == 0
    run = json.loads((tmp_path / "heart" / "run.json").read_text())
    report = json.loads((tmp_path / "heart" / "function.json").read_text())
    assert run["labels_from"] == source
    assert (report["rv_edv_ml"] is not None) == (source == "user+segmenter")
    assert report["edv_ml"] == pytest.approx(64.0, rel=0.05)  # the contours' own, whoever labelled the rest
