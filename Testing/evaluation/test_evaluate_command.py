"""`cof evaluate` on files: report, tables, failures by name, resuming, anyone's predictions."""

import csv
import json
import re

import numpy as np
import pytest
from COFTrainingLib.cli import main
from COFTrainingLib.evaluation.case_files import read_case
from COFTrainingLib.evaluation.comparators.copies import CopyAnchor
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evaluated(tiny_cohort, own_cines_as_predictions, tmp_path_factory):
    """One run of the command without a model: its folder."""
    out = tmp_path_factory.mktemp("evaluated") / "report"
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(out), "--no-model", "--quiet"]
    assert main([*arguments, "--predictions", f"perfect={own_cines_as_predictions}"]) == 0
    return out


def table(out, name):
    with (out / "tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return {row[0]: row for row in csv.reader(file)}


def test_a_perfect_prediction_has_no_error_and_a_copied_anchor_has(evaluated, read_json):
    numbers = read_json(evaluated / "metrics.json")["protocols"]["function"]
    assert numbers["perfect"]["ef_error_points"] == pytest.approx(0.0, abs=1e-5)
    assert numbers["perfect"]["curve_rmse_ml"] == pytest.approx(0.0, abs=1e-5)
    assert numbers["copy anchor"]["ef_error_points"] > 20
    assert float(table(evaluated, "anatomy_overlap")["perfect"][4]) == 1.0
    assert table(evaluated, "image")["perfect"][1].startswith("100.00")


def test_what_fails_is_a_named_row_and_costs_nothing_else(evaluated, read_json):
    failures = read_json(evaluated / "metrics.json")["failures"]
    named = {(row["subject"], row["method"]) for row in failures}
    assert {("s2", "perfect"), ("s2", "copy anchor"), ("s2", "reference"), ("s3", "perfect")} <= named
    assert ("s0", "perfect") not in named
    assert "expected" in next(r["error"] for r in failures if (r["subject"], r["method"]) == ("s3", "perfect")) or (
        "found none" in next(r["error"] for r in failures if (r["subject"], r["method"]) == ("s3", "perfect"))
    )
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "Results that could not be made" in page
    assert ">s2<" in page


def test_the_page_needs_no_network_and_keeps_published_numbers_apart(evaluated):
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "<script" not in page
    assert page.count("published, not measured here") >= 4
    assert 'name="viewport"' in page
    assert "@media print" in page
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_second_run_computes_nothing_again(evaluated, tiny_cohort, own_cines_as_predictions):
    store = evaluated / "store" / "results.jsonl"
    before = [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(evaluated), "--no-model", "--quiet"]
    assert main([*arguments, "--predictions", f"perfect={own_cines_as_predictions}"]) == 0
    after = [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]
    again = after[len(before) :]
    assert all("error" in row for row in again)  # only what failed is tried again
    assert {row["subject"] for row in again if row["method"] != "random sample"} == {"s2", "s3"}


def test_an_interrupted_line_is_dropped_and_made_again(evaluated, tiny_cohort, own_cines_as_predictions):
    store = evaluated / "store" / "results.jsonl"
    whole = store.read_bytes()
    kept = [line for line in whole.splitlines(keepends=True) if b'"copy anchor"' not in line or b'"s0"' not in line]
    cut = next(line for line in whole.splitlines(keepends=True) if b'"copy anchor"' in line and b'"s0"' in line)
    store.write_bytes(b"".join(kept) + cut[: len(cut) // 2])
    assert not Store(evaluated / "store").has("s0", "copy anchor", CINE, CopyAnchor.identity)
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(evaluated), "--no-model", "--quiet"]
    assert main([*arguments, "--predictions", f"perfect={own_cines_as_predictions}"]) == 0
    assert Store(evaluated / "store").has("s0", "copy anchor", CINE, CopyAnchor.identity)


def test_another_cohort_or_an_unknown_protocol_is_refused(evaluated, tiny_cohort, tmp_path, capsys):
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--no-model", "--predictions", f"x={tmp_path}"]
    assert main([*arguments, "--out", str(evaluated), "--subjects", "1"]) == 2
    assert "Choose another folder" in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "o"), "--protocol", "nonsense"]) == 2
    assert "cheap or all" in capsys.readouterr().err
    assert main(["evaluate", "--cohort", str(tiny_cohort), "--out", str(tmp_path / "p"), "--no-model"]) == 2


def test_a_case_is_read_from_its_cine_with_the_anchor_first(tiny_cohort):
    from dataclasses import replace

    from COFTrainingLib.cohort.manifest import read_cohort

    cohort = read_cohort(tiny_cohort)
    subject = cohort.subjects[0]
    case = read_case(cohort, subject)
    assert case.frames == 8
    assert case.rr_ms == pytest.approx(880.0)
    assert case.truth.source == "reference labels"
    assert case.truth.es_frame == pytest.approx(25.0, abs=1.0)  # of 50
    assert case.es == 4
    assert (case.near_labels > 0).sum() == (case.labels > 0).sum()
    later = read_case(cohort, replace(subject, facts={**subject.facts, "anchor_frame": 2}))
    assert np.array_equal(later.reference[0], case.reference[2])
    assert np.array_equal(later.reference_labels[-2], case.reference_labels[0])


def test_a_partner_is_never_the_subject_itself():
    plan = Plan(None, ("a", "b", "c"))
    assert all(plan.partner(name) != name for name in plan.subjects)
