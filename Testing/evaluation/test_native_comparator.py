"""Comparators that are trained here: from the command to rows of the report, and never judged on whom they saw."""

import json
import shutil
from dataclasses import replace

import pytest
from COFGeneratorLib.errors import TrainingError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.manifest import read_cohort, write_cohort
from COFTrainingLib.training.comparators.comparator import comparator_facts, load_comparator

FAMILIES = ("latent-flow", "ecg-tokens")


@pytest.fixture(scope="session")
def split_cohort(tiny_cohort, tmp_path_factory):
    """The tiny cohort with a subject to train, one to validate and one to test on; the damaged one trains, too."""
    root = tmp_path_factory.mktemp("split") / "cohort"
    shutil.copytree(tiny_cohort, root)
    cohort = read_cohort(root)
    splits = dict(zip(("s0", "s1", "s2", "s3"), ("train", "valid", "train", "test"), strict=True))
    write_cohort(replace(cohort, subjects=tuple(replace(s, split=splits[s.id]) for s in cohort.subjects)))
    return root


@pytest.fixture(scope="session")
def runs(split_cohort, tmp_path_factory):
    """Return finished runs by family."""
    folder = tmp_path_factory.mktemp("comparators")
    for family in FAMILIES:
        assert main(["train", "comparator", "--config", f"{family}-smoke", "--cohort", str(split_cohort),
                     "--out", str(folder / family), "--quiet"]) == 0  # fmt: skip
    return {family: folder / family for family in FAMILIES}


def evaluated(split_cohort, runs, out, *more):
    """Run the evaluation of both; returns the exit code."""
    given = [word for run in runs.values() for word in ("--comparator", str(run))]
    return main(["evaluate", "--cohort", str(split_cohort), "--no-model", *given, "--protocol", "image", "--protocol",
                 "function", "--out", str(out), "--quiet", *more])  # fmt: skip


@pytest.mark.slow
def test_both_join_the_report_as_rows_with_their_budget_and_the_same_numbers_again(split_cohort, runs, tmp_path):
    found = []
    for name in ("one", "two"):
        assert evaluated(split_cohort, runs, tmp_path / name, "--split", "test") == 0
        found.append(json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8")))
    assert set(FAMILIES) <= found[0]["protocols"]["image"].keys()
    assert set(FAMILIES) <= found[0]["protocols"]["function"].keys()
    assert found[0]["protocols"] == found[1]["protocols"]
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "what they were given" in page
    assert "one of its kind was run (latent-flow" in page
    assert "one of its kind was run (ecg-tokens" in page


def test_whom_a_comparator_saw_it_is_not_judged_on(split_cohort, runs, tmp_path, capsys):
    assert evaluated(split_cohort, runs, tmp_path / "out") == 2
    assert "judged on people that it never saw" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_says_what_it_was_given_and_keeps_its_settings(split_cohort, runs, capsys):
    facts = comparator_facts(runs["latent-flow"])
    assert (facts["subjects"], facts["clips"]) == (1, 6)  # the damaged one is left out
    assert facts["steps"] == {"autoencoder": 4, "generator": 4}
    weights = (runs["latent-flow"] / "generator" / "model.safetensors").read_bytes()
    again = ["train", "comparator", "--cohort", str(split_cohort), "--out", str(runs["latent-flow"]), "--quiet"]
    assert main([*again, "--config", "latent-flow-smoke", "--resume"]) == 0
    assert (runs["latent-flow"] / "generator" / "model.safetensors").read_bytes() == weights
    assert main([*again, "--config", "ecg-tokens-smoke", "--resume"]) == 2
    assert "keeps its configuration" in capsys.readouterr().err
    assert main([*again, "--config", "latent-flow-smoke"]) == 2
    assert main(["train", "comparator", "--out", "x", "--quiet"]) == 2
    assert "--cohort DIR" in capsys.readouterr().err


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="finished run of `cof train comparator`"):
        load_comparator(tmp_path)
