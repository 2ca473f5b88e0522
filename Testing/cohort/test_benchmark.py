"""The public benchmark: its fixed splits, and the command from a folder of cines to the report."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.benchmark import FACT, as_benchmark, benchmark_name, split_of
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject, read_cohort


def subject(name, cine="x_4d.nii.gz"):
    return Subject(name, name, "train", {"cine": cine})


def test_acdc_s_splits_are_its_own_test_set_and_four_of_each_diagnosis():
    splits = [split_of("acdc", subject(f"patient{n:03d}")) for n in range(1, 151)]
    assert Counter(splits) == {"train": 80, "test": 50, "valid": 20}
    assert set(splits[100:]) == {"test"}
    assert [sum(split == "valid" for split in splits[20 * g : 20 * g + 20]) for g in range(5)] == [4] * 5
    assert split_of("acdc", subject("acdc-018")) == "valid"  # a list may name them otherwise
    with pytest.raises(CohortError, match="which is in none"):
        split_of("acdc", subject("patient151"))


def test_mnms_splits_are_its_folders():
    assert split_of("mnms", subject("A0S9V9", "OpenDataset/Testing/A0S9V9/A0S9V9_sa.nii.gz")) == "test"
    assert split_of("mnms", subject("A1", "Training/Labeled/A1/A1_sa.nii.gz")) == "train"
    with pytest.raises(CohortError, match="folders"):
        split_of("mnms", subject("A1", "elsewhere/A1_sa.nii.gz"))


def test_a_cohort_becomes_the_benchmark_in_its_manifest(tmp_path):
    made = as_benchmark(Cohort(tmp_path, CohortHeader("x", "acdc"), (subject("patient101"),)), "acdc")
    again = read_cohort(tmp_path)
    assert again.used("test")[0].id == "patient101"
    assert again.header.settings[FACT] == {"kind": "acdc", "version": "1"}
    assert again.header.name == made.header.name == benchmark_name("acdc")


def test_another_data_set_in_the_folder_is_refused(tmp_path, capsys):
    as_benchmark(Cohort(tmp_path / "cohort", replace(CohortHeader("x", "acdc")), (subject("patient101"),)), "acdc")
    assert main(["benchmark", "mnms", str(tmp_path), "--out", str(tmp_path), "--quiet"]) == 2
    assert "Choose another --out" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_goes_from_a_folder_to_the_report_and_again(shared_data, tmp_path, monkeypatch):
    from COFTrainingLib.cohort import labelling

    rows = [row for row in json.loads((shared_data / "acdc_cases.json").read_text()) if row["name"] == "acdc-010"]
    for row in rows:
        row["image"] = str(shared_data / row["image"])
        for phase in ("ed", "es"):
            row[phase]["labels"] = str(shared_data / row[phase]["labels"])
    (tmp_path / "one.json").write_text(json.dumps(rows))
    labelled = []
    make = labelling.label_cohort
    monkeypatch.setattr(labelling, "label_cohort", lambda *a, **o: labelled.append(1) or make(*a, **o))
    arguments = ["benchmark", "acdc", str(shared_data / "mri"), "--cases", str(tmp_path / "one.json"), "--smoke",
                 "--library", "0", "--protocol", "function", "--out", str(tmp_path / "out"), "--quiet"]  # fmt: skip
    assert main(arguments) == 0
    first = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert main(arguments) == 0
    second = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert first["protocols"] == second["protocols"]
    assert len(labelled) == 1  # what is labelled stays
    cohort = read_cohort(tmp_path / "out" / "cohort")
    assert cohort.header.ecg == "synthesised"
    assert 5.0 < cohort.subjects[0].facts["ecg_ef_percent"] < 85.0
