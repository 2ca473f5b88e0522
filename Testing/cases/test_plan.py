"""``cof batch --plan``: what a batch will take, measured on one of its cases, and nothing done."""

from pathlib import Path

import pytest
from COFGeneratorLib.cases import plan
from COFGeneratorLib.cases.case import Outcome
from COFGeneratorLib.cases.plan import Plan, plan_batch
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.table import Case
from COFGeneratorLib.errors import ChainOfFlowError

GB = 10**9


def cases(*names):
    return [Case(name=name, anchor="a.nrrd", ecg="e.csv", row=row) for row, name in enumerate(names, start=2)]


def writes(size, asked):
    """Return what runs a case: it writes a result of that size, unless the case is a bad one."""

    def run(case, shared):
        asked.append((case.name, shared.out))
        if "bad" in case.name:
            return Outcome(case.name, "failed", "input", "The ECG is empty.")
        folder = Path(shared.out) / case.name
        folder.mkdir(parents=True)
        (folder / "cine").write_bytes(bytes(size))
        return Outcome(case.name, "done")

    return run


def test_one_case_is_run_twice_and_nothing_of_it_is_left(tmp_path):
    asked = []
    found = plan_batch(cases("a", "b", "c"), GenerateRequest(out=str(tmp_path / "out")), 2, writes(1000, asked))
    assert [name for name, _ in asked] == ["a", "a"]
    assert not any(Path(out).exists() for _, out in asked)
    assert not (tmp_path / "out").exists()
    assert (found.cases, found.done, found.row, found.size_bytes, found.workers) == (3, 0, 2, 1000, 2)
    assert found.free_bytes > 0


def test_what_has_a_result_is_not_planned_and_a_bad_case_is_passed_over(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text('{"product": "ChainOfFlow"}')
    asked = []
    found = plan_batch(cases("a", "bad", "c"), GenerateRequest(out=str(tmp_path)), 1, writes(10, asked))
    assert [name for name, _ in asked] == ["bad", "c", "c"]
    assert (found.left, found.row) == (2, 4)


def test_where_no_case_can_be_generated_the_reason_is_told(tmp_path):
    with pytest.raises(ChainOfFlowError, match=r"none of the first 2 could be\. The ECG is empty"):
        plan_batch(cases("bad1", "bad2"), GenerateRequest(out=str(tmp_path)), 1, writes(10, []))


def test_ten_thousand_cases_in_words():
    found = Plan(10_000, 1000, 2, cpu_s=4.0, wall_s=2.5, size_bytes=12_000_000, free_bytes=50 * GB, workers=4)
    said = "\n".join(found.lines())
    assert "9000 of 10000 cases are to do; 1000 have a result" in said
    assert "4.0 s of one core and 12.0 MB" in said
    assert "10.0 core-hours, 1.6 h with 4 workers, and 108.0 GB" in said
    assert "50.0 GB left: too little" in said
    assert "too little" not in "\n".join(Plan(10, 0, 2, 4.0, 2.5, 12_000_000, 50 * GB, 1).lines())


def test_the_command_tells_the_plan_and_writes_nothing(cof, a_patient, a_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "run_case", writes(2_000_000, []))
    table = tmp_path / "cases.csv"
    table.write_text(f"case,anchor,ecg\np1,{a_patient.anchor},{a_patient.ecg}\n", encoding="utf-8")
    run = cof("batch", "--table", table, "--out", tmp_path / "out", "--model", a_bundle, "--plan")
    assert run.code == 0, run
    assert "1 of 1 cases are to do" in run.out
    assert "2.0 MB" in run.out
    assert not (tmp_path / "out").exists()
