"""Checks of a cohort: everything that would spoil a training is found, named and kept out."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib import read_sax
from COFGeneratorLib.ecg.record import EcgRecord
from COFTrainingLib.cohort.check import check_cohort, exclude_problems
from COFTrainingLib.cohort.manifest import Cohort, read_cohort, write_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions, write_ecg
from COFTrainingLib.cohort.synthetic.synthesis import synthesize
from COFTrainingLib.phantom.prevalence import NATURAL


@pytest.fixture
def copy(phantoms, tmp_path) -> Cohort:
    """Return a copy of the phantom cohort that a test may spoil."""
    shutil.copytree(phantoms.folder, tmp_path / "copy")
    return read_cohort(tmp_path / "copy")


def without_hashes(cohort: Cohort, **changes) -> Cohort:
    """Return the cohort as an importer writes it: without hashes, and with one field of the last subject changed."""
    subjects = [replace(subject, sha256={}) for subject in cohort.subjects]
    subjects[-1] = replace(subjects[-1], **changes)
    return replace(cohort, subjects=tuple(subjects))


def kinds(report, index=-1) -> list[str]:
    found = report.problems.get(report.cohort.subjects[index].id, [])
    return [kind for kind, _ in found]


def test_a_good_cohort_has_nothing_wrong(phantoms):
    report = check_cohort(phantoms)
    assert report.ok
    ledger = report.ledger()
    assert ledger["subjects_listed"] == ledger["subjects_used"] == 3
    assert ledger["excluded"] == {}
    assert ledger["with_files"] == {"anchor": 3, "ecg": 3, "labels": 3, "truth": 3}
    assert sum(ledger["splits"].values()) == 3


@pytest.mark.parametrize("role", ["anchor", "labels", "ecg"])
def test_a_missing_file_is_found_without_opening_anything(copy, role):
    copy.path(copy.subjects[-1], role).unlink()
    for read in (False, True):
        report = check_cohort(copy, read=read)
        assert kinds(report)[0] == "missing file"
        assert role in report.problems[copy.subjects[-1].id][0][1]


def test_a_missing_half_of_a_pair_is_found(copy):
    files = {role: path for role, path in copy.subjects[-1].files.items() if role != "ecg"}
    report = check_cohort(without_hashes(copy, files=files))
    assert "missing pair" in kinds(report)


def test_an_altered_file_is_found(copy):
    path = copy.path(copy.subjects[-1], "anchor")
    stack = read_sax(path)
    write_nrrd(path, stack.voxels.astype(np.int16) + np.int16(1), stack.ijk_to_ras)
    assert "altered file" in kinds(check_cohort(copy))


def test_a_truncated_file_is_found(copy):
    path = copy.path(copy.subjects[-1], "anchor")
    path.write_bytes(path.read_bytes()[:900])
    assert "unreadable" in kinds(check_cohort(without_hashes(copy)))


@pytest.mark.parametrize("factor", [0.02, 9.0])
def test_wrong_spacing_is_found(copy, factor):
    path = copy.path(copy.subjects[-1], "anchor")
    stack = read_sax(path)
    matrix = stack.ijk_to_ras.copy()
    matrix[:3, :3] *= factor
    write_nrrd(path, stack.voxels.astype(np.int16), matrix)
    copy.path(copy.subjects[-1], "labels").unlink()
    spoiled = without_hashes(copy, files={"anchor": copy.subjects[-1].files["anchor"]}, facts={})
    assert {"wrong spacing", "unreadable"} & set(kinds(check_cohort(spoiled)))


def test_spacing_that_differs_from_the_manifest_is_found(copy):
    facts = copy.subjects[-1].facts | {"spacing_mm": [14.0, 1.2, 1.2]}
    assert "wrong spacing" in kinds(check_cohort(without_hashes(copy, facts=facts)))


def test_labels_without_a_heart_are_found(copy):
    subject = copy.subjects[-1]
    stack = read_sax(copy.path(subject, "anchor"))
    write_nrrd(copy.path(subject, "labels"), np.zeros(stack.shape, np.uint8), stack.ijk_to_ras)
    assert {"unreadable", "unusable labels"} & set(kinds(check_cohort(without_hashes(copy))))


def test_a_short_ecg_is_found(copy, rng):
    path = copy.path(copy.subjects[-1], "ecg")
    write_ecg(path.parent, EcgRecord(rng.normal(0.0, 0.1, (12, 700)).astype(np.float32), 500.0))
    assert "ECG too short" in kinds(check_cohort(without_hashes(copy)))


def test_the_same_recording_twice_is_one_duplicate_though_the_files_differ(copy):
    first, last = copy.subjects[0], copy.subjects[-1]
    stack = read_sax(copy.path(first, "anchor"))
    target = copy.path(last, "anchor")
    write_nrrd(target, stack.voxels.astype(np.float32), stack.ijk_to_ras)  # another type: other bytes
    shutil.copyfile(copy.path(first, "labels"), copy.path(last, "labels"))
    facts = {"seed": last.facts["seed"], "label_map": last.facts["label_map"]}
    report = check_cohort(without_hashes(copy, facts=facts))
    assert kinds(report) == ["duplicate"]
    assert report.problems[last.id][0][1] == f"the same anchor as {first.id}"


def test_a_duplicate_across_splits_is_a_leak(copy):
    subjects = list(copy.subjects)
    subjects[-1] = replace(subjects[-1], split="test", facts=subjects[-1].facts | {"seed": subjects[0].facts["seed"]})
    subjects[0] = replace(subjects[0], split="train")
    report = check_cohort(replace(copy, subjects=tuple(subjects)), read=False)
    assert any("the same seed" in leak for leak in report.leaks)
    assert not report.ok


def test_two_visits_of_a_person_in_two_splits_are_a_leak(copy):
    subjects = [replace(subject, person="one", split="train") for subject in copy.subjects]
    subjects[-1] = replace(subjects[-1], split="valid")
    report = check_cohort(replace(copy, subjects=tuple(subjects)), read=False)
    assert report.leaks == ["person one is in train and valid"]


def test_a_cohort_that_shares_seeds_with_another_leaks(phantoms, tmp_path):
    first = phantoms.header.seed
    other = synthesize(tmp_path / "near", 3, first + 2, PhantomOptions(NATURAL), files=False)
    apart = synthesize(tmp_path / "far", 3, first + 3, PhantomOptions(NATURAL), files=False)
    assert len(check_cohort(phantoms, [other], read=False).leaks) == 1
    assert check_cohort(phantoms, [apart], read=False).ok


def test_exclusions_are_written_and_counted_by_reason(copy):
    copy.path(copy.subjects[-1], "ecg").unlink()
    report = check_cohort(copy)
    assert report.ledger()["excluded"] == {"missing file": 1}
    exclude_problems(report)
    again = check_cohort(read_cohort(copy.folder))
    assert again.ok
    assert again.ledger()["excluded"] == {"missing file": 1}
    assert again.ledger()["subjects_used"] == 2


def test_an_excluded_subject_is_not_looked_at_again(copy):
    subjects = (*copy.subjects[:-1], replace(copy.subjects[-1], excluded="consent withdrawn"))
    shutil.rmtree(copy.path(copy.subjects[-1], "anchor").parent)
    write_cohort(replace(copy, subjects=subjects))
    assert check_cohort(read_cohort(copy.folder)).ok


def test_the_commands_exit_with_2_and_say_what_is_wrong(copy, capsys, tmp_path):
    from COFTrainingLib.cli import main

    assert main(["cohort", "check", str(copy.folder), "--json", str(tmp_path / "found.json")]) == 0
    assert "used" in capsys.readouterr().out
    copy.path(copy.subjects[-1], "ecg").unlink()
    assert main(["cohort", "check", str(copy.folder), "--json", str(tmp_path / "found.json")]) == 2
    shown = capsys.readouterr()
    assert "missing file" in shown.out
    assert "--exclude" in shown.err
    assert json.loads((tmp_path / "found.json").read_text())["ledger"]["excluded"] == {"missing file": 1}
    assert main(["cohort", "check", str(copy.folder), "--exclude", "--quiet"]) == 0
    assert main(["cohort", "check", str(copy.folder), "--quiet"]) == 0
    assert main(["cohort", "check", str(copy.folder), "--against", str(copy.folder), "--no-read"]) == 2


def test_a_cohort_of_which_nothing_is_left_is_an_error(copy, capsys):
    from COFTrainingLib.cli import main

    for subject in copy.subjects:
        copy.path(subject, "ecg").unlink()
    assert main(["cohort", "check", str(copy.folder), "--exclude"]) == 2
    assert "none of phantom" in capsys.readouterr().err
    assert main(["cohort", "check", str(copy.folder)]) == 2
    assert check_cohort(read_cohort(copy.folder)).ledger()["excluded"] == {"missing file": 3}


def test_one_file_that_breaks_a_reader_is_one_finding(copy, monkeypatch):
    import COFGeneratorLib.ecg as ecg

    def surprise(path):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(ecg, "read_ecg", surprise)
    report = check_cohort(copy)
    assert all(("unreadable", "ZeroDivisionError: division by zero") in found for found in report.problems.values())
