"""The independent assessor in `cof evaluate`: both arms alike, its own error beside, refused where not independent."""

import csv
import json

import numpy as np
import pytest
import torch
from COFTrainingLib.cli import main
from COFTrainingLib.evaluation.assessor import Assessment
from COFTrainingLib.evaluation.protocols import assessor_table
from COFTrainingLib.evaluation.store import Store
from COFTrainingLib.training.segmenter.assessor_network import AssessorNetwork, build_assessor, weights_sha256
from safetensors.torch import save_file

NETWORK = AssessorNetwork(filters=8, blocks=(1, 1), window=32)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """An assessor that knows nothing, with all that its folder has to state."""
    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(0)
    save_file(build_assessor(NETWORK).state_dict(), folder / "model.safetensors")
    described = {"format": 1, "family": "SegResNet", "network": NETWORK.to_json(), "subject_seeds": [],
                 "weights_sha256": weights_sha256(folder)}  # fmt: skip
    (folder / "assessor.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


class ByBrightness:
    """Reads tiny phantoms by their grey levels, and every cavity too small by a voxel in each frame but the first."""

    def assess(self, frames, ijk_to_ras, frame):
        levels = np.array([40, 200, 90, 190])
        found = np.abs(np.asarray(frames, dtype=float)[..., None] - 4.0 - levels).argmin(axis=-1).astype(np.uint8)
        return Assessment(found, found.reshape(len(found), -1)[:, :5].astype(np.float32))


@pytest.fixture(name="predicted")
def _predicted(own_cines_as_predictions):
    return own_cines_as_predictions


@pytest.mark.slow
def test_both_arms_are_read_by_the_same_network(tiny_cohort, predicted, untrained, tmp_path, monkeypatch):
    monkeypatch.setattr("COFTrainingLib.evaluation.run.load_assessor", lambda folder, device: ByBrightness())
    out = tmp_path / "report"
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(out), "--no-model", "--quiet"]
    arguments += ["--predictions", f"perfect={predicted}", "--assessor", str(untrained)]
    assert main([*arguments, "--protocol", "assessor"]) == 0
    with (out / "tables" / "assessor.csv").open(encoding="utf-8") as file:
        table = {row[0]: row for row in csv.reader(file)}
    assert float(table["perfect"][2].split()[0]) == pytest.approx(0.0, abs=1e-6)  # the same images, the same reading
    assert float(table["copy anchor"][2].split()[0]) > 20
    own = next(row for name, row in table.items() if name.startswith("the assessor in recorded images"))
    assert 0.0 <= float(own[2].split()[0]) < 3.0
    rows = {row["subject"]: row for row in Store(out / "store").rows("assessor")}
    assert set(rows) == {"s0", "s1", "s3"}  # the damaged one costs its own row
    assert rows["s0"]["frames"] == list(range(8))
    assert rows["s0"]["of"] == 8
    assert "all frames of each cine" in (out / "report.html").read_text(encoding="utf-8")
    assert rows["s0"]["recorded"]["dice_macro"] > 0.98


def test_an_untrained_network_runs_through_the_whole_protocol(tiny_cohort, predicted, untrained, tmp_path):
    out = tmp_path / "report"
    arguments = [
        "evaluate",
        "--cohort",
        str(tiny_cohort),
        "--out",
        str(out),
        "--no-model",
        "--quiet",
        "--subjects",
        "1",
    ]
    arguments += ["--predictions", f"perfect={predicted}", "--assessor", str(untrained)]
    assert main([*arguments, "--protocol", "assessor"]) == 0
    row = next(Store(out / "store").rows("assessor"))
    assert row["methods"]["perfect"]["lv_ml"] == row["recorded"]["lv_ml"]
    assert len(row["recorded"]["features"]) == NETWORK.features


def test_an_assessor_that_has_met_the_subjects_is_refused(tiny_cohort, predicted, untrained, tmp_path):
    folder = tmp_path / "met"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((untrained / "model.safetensors").read_bytes())
    described = json.loads((untrained / "assessor.json").read_text(encoding="utf-8"))
    del described["subject_seeds"]  # it does not say whom it has met
    (folder / "assessor.json").write_text(json.dumps(described), encoding="utf-8")
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(tmp_path / "report"), "--no-model", "--quiet"]
    arguments += ["--predictions", f"perfect={predicted}"]
    assert main([*arguments, "--assessor", str(folder)]) != 0
    assert not (tmp_path / "report" / "report.html").exists()


def test_read_outs_are_the_largest_and_smallest_volume():
    assert assessor_table.read_outs([100.0, 60.0, 40.0, 80.0]) == {"ef_points": 60.0, "esv_ml": 40.0, "sv_ml": 60.0}
    assert assessor_table.read_outs([0.0, 0.0])["ef_points"] == 0.0
    made = {"lv_ml": [100.0, 50.0], "dice_lv": 0.9, "dice_macro": None}
    error = assessor_table.compare(made, [40.0, 100.0], [0, 5], 10)
    assert error["es_frames"] == pytest.approx(25.0)  # half a cycle of ten
    assert error["ef_points"] == pytest.approx(10.0)
    assert error["curve_rmse_ml"] == pytest.approx(np.sqrt((60.0**2 + 50.0**2) / 2))
    assert np.isnan(error["dice_macro"])


def test_fewer_frames_are_ed_es_and_what_lies_between(tiny_cohort):
    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.evaluation.case_files import read_case

    cohort = read_cohort(tiny_cohort)
    case = read_case(cohort, cohort.subjects[0])
    assert assessor_table.assessed_frames(case) == list(range(8))
    assert assessor_table.assessed_frames(case, 99) == list(range(8))
    assert assessor_table.assessed_frames(case, 2) == [0, case.es]
    assert assessor_table.assessed_frames(case, 4) == [0, 2, 4, 6]  # ES is frame 4 of 8
    assert assessor_table.every_image(case).image_frames == list(range(8))


def test_sub_sampling_is_said_in_the_report(tiny_cohort, predicted, untrained, tmp_path, monkeypatch):
    monkeypatch.setattr("COFTrainingLib.evaluation.run.load_assessor", lambda folder, device: ByBrightness())
    out = tmp_path / "report"
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(out), "--no-model", "--quiet"]
    arguments += ["--predictions", f"perfect={predicted}", "--assessor", str(untrained), "--protocol", "assessor"]
    assert main([*arguments, "--assessor-subjects", "1", "--assessor-frames", "3"]) == 0
    assert "1 of 4 subjects, at most 3 frames" in (out / "report.html").read_text(encoding="utf-8")
    assert [row["subject"] for row in Store(out / "store").rows("assessor")] == ["s0"]


def test_arms_are_paired_subject_by_subject_with_holm_over_the_five():
    def errors(shift):
        return {f"s{n}": dict.fromkeys(assessor_table.FAMILY, 1.0 + 0.1 * n + shift) for n in range(8)}

    other = errors(0.5)
    del other["s7"]
    table = assessor_table.paired({"main": errors(0.0), "other": other}, "main")
    assert len(table.rows) == 5
    assert all(row[2] == "7 / 7" for row in table.rows)
    assert float(table.rows[0][5]) == pytest.approx(2 / 2**7, abs=5e-4)
    assert float(table.rows[0][6]) == pytest.approx(10 / 2**7, abs=5e-4)  # five times the raw one
