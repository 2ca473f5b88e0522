"""Cines without ECGs: their function is measured, an ECG is made to fit it, and the manifest says so everywhere."""

import json
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.case_list import read_case_list
from COFTrainingLib.cohort.check import check_cohort
from COFTrainingLib.cohort.frame_labels import doubted, told_apart
from COFTrainingLib.cohort.importers.measured_cines import import_measured
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.cohort.measured_cine import ejected_percent, measure_cine
from COFTrainingLib.cohort.synthesised_ecg import MeasuredHeart, ecg_for, physiology_of

WEAK = MeasuredHeart(22.0, 840.0, "DCM", 30.0, 70.0)


@pytest.fixture(scope="module")
def acdc_list(shared_data):
    return shared_data / "acdc_cases.json"


@pytest.fixture
def two_readers(acdc_list, tmp_path):
    """Return a list of two hearts whose both frames a reader has labelled."""
    rows = [row for row in json.loads(acdc_list.read_text()) if row["name"] in ("acdc-002", "acdc-010")]
    for row in rows:
        row["image"] = str(acdc_list.parent / row["image"])
        for phase in ("ed", "es"):
            row[phase]["labels"] = str(acdc_list.parent / row[phase]["labels"])
    path = tmp_path / "two.json"
    path.write_text(json.dumps(rows))
    return path


def test_an_ecg_fits_the_heart_it_is_made_for():
    record, again = ecg_for(WEAK, 5), ecg_for(WEAK, 5)
    assert np.array_equal(record.signal_mv, again.signal_mv)
    assert not np.array_equal(record.signal_mv, ecg_for(WEAK, 6).signal_mv)
    assert analyse_ecg(record).rr_ms == pytest.approx(840.0, rel=0.02)
    patient = physiology_of(WEAK, 5)
    assert (patient.ef, patient.rr_ms, patient.rv_ef, patient.lv_mass_index) == (0.22, 840.0, 0.30, 70.0)
    assert patient.cardiomyopathy
    assert not patient.atrial_fibrillation
    healthy = physiology_of(MeasuredHeart(62.0, 840.0, "NOR"), 5)
    assert patient.contractility > healthy.contractility + 1.0  # a larger one is weaker: what the ECG shows


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [("HCM", "hypertrophy", True), ("MINF", "infarct_territory", "anterior"), ("RV", "rv_load", "pressure")],
)
def test_a_diagnosis_settles_what_the_ecg_shows(group, field, value):
    assert getattr(physiology_of(MeasuredHeart(50.0, 900.0, group), 1), field) == value
    assert getattr(physiology_of(MeasuredHeart(50.0, 900.0, "NOR"), 1), field) != value


def test_grey_values_tell_labels_of_the_cavity_from_labels_of_the_wall():
    labels = np.zeros((2, 30, 30), dtype=np.uint8)
    labels[:, 5:25, 5:25], labels[:, 10:20, 10:20] = 2, 1
    image = np.where(labels == 1, 200.0, 60.0) + np.random.default_rng(0).normal(0.0, 5.0, labels.shape)
    assert told_apart(image, labels) == pytest.approx(1.0)
    assert told_apart(-image, labels) == pytest.approx(0.0)
    assert told_apart(np.zeros(labels.shape), labels) == pytest.approx(0.5)  # ties
    too_large = np.where(labels == 2, 1, labels)
    too_large[:, 5:25, 5:8] = 2
    assert not doubted(image, labels, image, labels)
    assert doubted(image, labels, image, too_large)
    assert np.isnan(told_apart(image, np.zeros_like(labels)))


def test_function_is_that_of_the_reader_s_labels(two_readers):
    first, second = read_case_list(two_readers)
    found = measure_cine(first, segmenter="")
    assert found.labels_from == "reader"
    assert found.heart.ef_percent == pytest.approx(26.1, abs=0.1)
    assert found.es_phase == pytest.approx(11 / 30)
    assert found.heart.lv_mass_index == pytest.approx(72, abs=30)
    assert measure_cine(second, "").heart.ef_percent < 12.0
    with pytest.raises(CohortError, match="--segmenter"):
        measure_cine(replace(first, es_labels=None), "")
    with pytest.raises(CohortError, match="99"):
        measure_cine(replace(first, es_frame=99), "")
    with pytest.raises(CohortError, match="between 5 and 85"):
        measure_cine(replace(first, es_labels=first.ed_labels, es_frame=first.ed_frame), "")
    assert np.isnan(ejected_percent(np.zeros(3), 1))


def test_the_command_makes_a_cohort_that_says_its_ecgs_are_synthesised(two_readers, acdc_list, tmp_path, capsys):
    data, out = acdc_list.parent / "mri" / "acdc-cines", tmp_path / "out"
    assert main(["cohort", "import-acdc", str(data), "--cases", str(two_readers), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "ECGs are synthesised" in said
    assert "CC BY-NC-SA" in said
    cohort = read_cohort(out)
    assert cohort.header.ecg == "synthesised"
    for subject in cohort.used():
        assert (subject.facts["ecg"], subject.facts["function_from"]) == ("synthesised", "reader")
        assert 5.0 < subject.facts["ef_percent"] < 30.0
        assert analyse_ecg(read_ecg(cohort.path(subject, "ecg"))).rr_ms == pytest.approx(900.0, rel=0.02)
    report = check_cohort(cohort)
    assert report.ok, report.problems
    assert any("synthesised" in line for line in report.lines())
    # one ECG for all is noticed
    borrowed = replace(cohort, subjects=tuple(
        replace(one, files={**one.files, "ecg": cohort.subjects[0].files["ecg"]}) for one in cohort.subjects
    ))  # fmt: skip
    assert any("the same ecg" in words for found in check_cohort(borrowed).problems.values() for _, words in found)


def test_without_an_ecg_function_stands_in_its_place(two_readers, acdc_list, tmp_path):
    data = acdc_list.parent / "mri" / "acdc-cines"
    cohort = import_measured("acdc", data, tmp_path / "out", cases=two_readers, ecg="none")
    assert cohort.header.ecg == "none"
    assert all("ecg" not in subject.files and subject.facts["ef_percent"] > 0 for subject in cohort.used())
    assert check_cohort(cohort).ok
    with pytest.raises(CohortError, match="lie in the folder"):
        import_measured("acdc", tmp_path, tmp_path / "other", cases=two_readers)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"es": {}}, "entry 1"), ({"image": "absent.nii.gz"}, "absent.nii.gz"), ({"label_map": [1]}, "entry 1")],
)
def test_a_list_that_cannot_be_used_is_named(tmp_path, change, words):
    (tmp_path / "cine.nii.gz").write_bytes(b"")
    row = {"name": "a", "image": "cine.nii.gz", "ed": {"frame": 0}, "es": {"frame": 3}}
    path = tmp_path / "list.json"
    path.write_text(json.dumps([row]))
    assert read_case_list(path)[0].es_frame == 3
    path.write_text(json.dumps([row | change]))
    with pytest.raises(CohortError, match=words):
        read_case_list(path)
    path.write_text("{}")
    with pytest.raises(CohortError, match="list of objects"):
        read_case_list(path)


def test_info_files_name_the_cines_of_acdc_and_a_table_those_of_mnms(tmp_path):
    from COFTrainingLib.cohort.importers import acdc, mnms

    folder = tmp_path / "acdc" / "patient001"
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nWeight: 95.0\n")
    for name in ("_4d", "_frame01_gt"):
        (folder / f"patient001{name}.nii.gz").write_bytes(b"")
    (case,) = acdc.listed_patients(tmp_path / "acdc")
    assert (case.ed_frame, case.es_frame, case.group, case.es_labels) == (0, 11, "DCM", None)
    assert case.ed_labels is not None
    assert case.body_surface_m2 == pytest.approx(2.18, abs=0.03)

    patient = tmp_path / "mnms" / "A0"
    patient.mkdir(parents=True)
    for kind in ("", "_gt"):
        (patient / f"A0_sa{kind}.nii.gz").write_bytes(b"")
    (tmp_path / "mnms" / "table.csv").write_text("External code,ED,ES,Pathology,Height\nA0,3,12,ARV,170\nB1,0,9,NOR,\n")
    (case,) = mnms.listed_patients(tmp_path / "mnms")
    assert (case.ed_frame, case.es_frame, case.group, case.height_cm) == (3, 12, "RV", 170.0)
    assert case.ed_labels == case.es_labels == patient / "A0_sa_gt.nii.gz"
