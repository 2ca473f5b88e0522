"""A cohort that cannot be evaluated says so at once, and an evaluation in which everything failed says why."""

import json
from dataclasses import replace

import pytest
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.manifest import Cohort, read_cohort, write_cohort
from COFTrainingLib.evaluation.evaluable import check_evaluable, lack


def without(cohort, role):
    """Return the subjects of a cohort without a role of files."""
    return [replace(s, files={name: file for name, file in s.files.items() if name != role}) for s in cohort.subjects]


@pytest.mark.parametrize(("role", "reason"), [("cine_labels", "no labels"), ("ecg", "no ECG"), ("nothing", "")])
def test_what_a_subject_lacks_is_named(tiny_cohort, role, reason):
    cohort = read_cohort(tiny_cohort)
    assert lack(cohort, without(cohort, role)[0]) == reason
    bare = replace(cohort.subjects[0], files={"ecg": "s0/ecg.hea", "labels": "s0/labels.seq.nrrd"})
    assert lack(cohort, bare) == "no cine"
    moved = replace(cohort.subjects[0], files={**cohort.subjects[0].files, "cine": "s0/gone.nrrd"})
    assert lack(cohort, moved) == "a file that is listed is not there"


def test_a_cohort_is_refused_only_where_nobody_can_be_evaluated(tiny_cohort):
    cohort = read_cohort(tiny_cohort)
    broken = without(cohort, "ecg")
    check_evaluable(cohort, [broken[0], *cohort.subjects[1:]])
    with pytest.raises(CohortError, match=r"no ECG \(4 of 4\)"):
        check_evaluable(cohort, broken)
    with pytest.raises(CohortError, match="at least one subject"):
        check_evaluable(cohort, [])


def test_the_command_refuses_before_any_work(tiny_cohort, tmp_path, capsys):
    cohort = read_cohort(tiny_cohort)
    header = replace(cohort.header, root=str(tiny_cohort))
    write_cohort(Cohort(tmp_path, header, tuple(without(cohort, "cine_labels"))))
    out = tmp_path / "report"
    assert main(["evaluate", "--cohort", str(tmp_path), "--out", str(out), "--quiet"]) == 2
    assert "no labels (4 of 4)" in capsys.readouterr().err
    assert not out.exists()


def test_where_all_results_fail_the_reason_is_on_the_terminal(tiny_cohort, tmp_path, capsys):
    cohort = read_cohort(tiny_cohort)
    damaged = [replace(subject, files=cohort.subjects[2].files) for subject in cohort.subjects]
    write_cohort(Cohort(tmp_path, replace(cohort.header, root=str(tiny_cohort)), tuple(damaged)))
    (tmp_path / "cines").mkdir()
    arguments = ["evaluate", "--cohort", str(tmp_path), "--out", str(tmp_path / "report"), "--no-model", "--quiet"]
    assert main([*arguments, "--predictions", f"x={tmp_path / 'cines'}"]) == 2
    said = capsys.readouterr().err
    assert "all 12 failed" in said  # three methods, four subjects
    assert not (tmp_path / "report" / "report.html").exists()
    rows = (tmp_path / "report" / "store" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert all("error" in json.loads(row) for row in rows)


def test_a_device_that_is_not_there_is_refused(tiny_cohort, tmp_path, capsys):
    arguments = ["evaluate", "--cohort", str(tiny_cohort), "--out", str(tmp_path / "report"), "--quiet"]
    assert main([*arguments, "--device", "cuda:63"]) == 2
    assert "--device cpu" in capsys.readouterr().err


def test_networks_go_to_the_device_that_is_asked_for(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from COFTrainingLib.evaluation.comparators import methods
    from COFTrainingLib.evaluation.comparators.models import further_methods, main_methods
    from COFTrainingLib.evaluation.plan import Plan

    moved = []
    model = SimpleNamespace(to=lambda device: moved.append(device), has_centre=False)
    monkeypatch.setattr(methods, "load_bundle", lambda folder: SimpleNamespace(model=model))
    methods.loaded.cache_clear()
    bundle = methods.bundle_of(Plan(None, ("a",), models=(("m", tmp_path),), device="meta"))
    methods.loaded.cache_clear()
    assert moved == ["meta"]
    made = [*main_methods("m", bundle, 0, False, "meta"), *further_methods("n", bundle, 0, "meta")]
    assert {method.device for method in made} == {"meta"}
