"""``--json``: what came out, on standard output and nothing else, for programs that call ``cof``."""

import json

import pytest


def test_an_ecg_is_told_as_json(cof, a_patient, tmp_path):
    run = cof("ecg", a_patient.ecg, "--out", tmp_path / "ecg", "--json")
    assert run.code == 0
    told = json.loads(run.out)
    assert told["hr_bpm"] == pytest.approx(70.0, abs=3.0)
    assert told["out"] == str(tmp_path / "ecg")
    assert {"leads", "fs_hz", "qrsd_ms", "warnings", "seconds"} <= set(told)
    assert json.loads((tmp_path / "ecg" / "ecg.json").read_text())["hr_bpm"] == told["hr_bpm"]


def test_a_bundle_is_told_as_json(cof, a_bundle):
    told = json.loads(cof("bundle", "verify", a_bundle, "--json").out)
    assert told["model"] == "tiny 0.0.1"
    assert len(told["weights_sha256"]) == 64
    assert json.loads(cof("bundle", "info", a_bundle, "--json").out)["name"] == "tiny"


def test_a_cohort_and_its_check_are_told_as_json(cof, tmp_path):
    made = cof("cohort", "synthesize", "--subjects", "4", "--seed", "0", "--manifest-only", "--out", tmp_path / "c",
               "--json")  # fmt: skip
    assert json.loads(made.out)["subjects"] == 4
    checked = cof("cohort", "check", tmp_path / "c", "--json")
    assert json.loads(checked.out)["ledger"]["subjects_listed"] == 4
    assert cof("cohort", "check", tmp_path / "c", "--json", tmp_path / "ledger.json").code == checked.code == 0
    assert json.loads((tmp_path / "ledger.json").read_text()) == json.loads(checked.out)


@pytest.mark.slow
def test_a_generated_heart_is_told_as_json(cof, generate_words, read_outs_alone, tmp_path):
    run = cof(*generate_words(), "--out", tmp_path / "heart", "--write", "function", "--json")
    assert run.code == 0
    told = json.loads(run.out)
    assert (
        told["function"]["ef_percent"] == json.loads((tmp_path / "heart" / "function.json").read_text())["ef_percent"]
    )
    assert "run.json" in told["files"]


def test_without_it_words_are_printed(cof, a_patient, tmp_path):
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(cof("ecg", a_patient.ecg, "--out", tmp_path / "ecg").out)
