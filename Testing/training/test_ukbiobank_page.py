"""The commands of the UK Biobank page, walked as written on a fake tree."""

import csv
import json

import pytest
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.evaluation.report.papers import eligibility
from support.documented_way import commands, run_commands
from support.once import made_once

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def walked(repository, tmp_path_factory):
    """Return the folder in which every line was run."""
    page = (repository / "Resources" / "Docs" / "uk-biobank.md").read_text(encoding="utf-8")

    def walk(folder):
        codes = run_commands(folder, commands(page, "On a fake tree"))
        assert set(codes.values()) == {0}, codes

    return made_once(tmp_path_factory, "uk-biobank", walk)


def test_the_assessor_is_trained_on_recordings_without_the_benchmark_s_people(walked):
    audit = json.loads((walked / "run" / "assessor" / "disjoint.json").read_text(encoding="utf-8"))
    assert audit["persons"] == {"source": 6, "overlap": 2, "left": 4}
    described = json.loads((walked / "run" / "assessor" / "assessor" / "assessor.json").read_text(encoding="utf-8"))
    assert described["trained_on"] == "recorded, labelled cines of annotated"
    assert described["persons"] == {"train": 2, "valid": 2}
    assert described["subject_seeds"] == []
    assert "UK Biobank" in described["licence"]


def test_every_network_says_whose_data_it_learnt_from(walked):
    told = json.loads((walked / "run" / "segmenter" / "recorded_training.json").read_text(encoding="utf-8"))
    assert told["manifest_sha256"] == read_cohort(walked / "ukb").fingerprint()
    metadata = json.loads((walked / "ukb-model" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["segmenter"]["trained_on"].startswith("recorded, labelled cines of")
    assert (walked / "run" / "ecg" / "people.json").is_file()


def test_the_report_has_the_assessor_on_all_frames(walked):
    with (walked / "report" / "tables" / "assessor.csv").open(encoding="utf-8") as file:
        arms = [row[0] for row in csv.reader(file)]
    assert {"ukb", "latent-flow", "ecg-tokens"} <= set(arms)
    assert "all frames of each cine" in (walked / "report" / "report.html").read_text(encoding="utf-8")


def test_every_method_of_the_papers_is_listed_with_what_keeps_it_out():
    rows = {row[0]: row[2] for row in eligibility(()).rows}
    assert {"CardiacFlow", "SADM", "LFDM", "ECHOPulse"} <= rows.keys()
    assert all(words.startswith("not run: ") and len(words) > 20 for words in rows.values())
