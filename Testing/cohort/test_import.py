"""Importers: what they list, what they leave out and why, and that all visits of a person share a split."""

import csv
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.check import check_cohort
from COFTrainingLib.cohort.importers.acdc import import_acdc
from COFTrainingLib.cohort.importers.mnms import import_mnms
from COFTrainingLib.cohort.importers.table import import_table
from COFTrainingLib.cohort.importers.ukbiobank import import_ukbiobank
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.teacher.teacher_cohort import load_frames


def write_table(path, rows):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def recordings(phantoms, tmp_path):
    """Return a folder of files and a table of them, as a small lab would have it."""
    rows = []
    for number, subject in enumerate(phantoms.subjects):
        folder = tmp_path / "data" / f"case{number}"
        shutil.copytree(phantoms.path(subject, "anchor").parent, folder)
        name = f"case{number}"
        files = {role: f"{name}/{role}.nrrd" for role in ("anchor", "labels")} | {"ecg": f"{name}/ecg.hea"}
        facts = {"label_map": "lv=1,myo=2,rv=3", "centre": "north", "person": f"p{number // 2}"}
        rows.append({"id": name, **files, **facts})
    return tmp_path / "data", rows


def test_a_table_becomes_a_cohort_that_checks(recordings, tmp_path):
    data, rows = recordings
    cohort = import_table(write_table(data / "cases.csv", rows), tmp_path / "out", licence="local")
    assert [subject.id for subject in cohort.subjects] == ["case0", "case1", "case2"]
    assert cohort.subjects[0].split == cohort.subjects[1].split
    assert cohort.subjects[0].facts == {"label_map": {"lv": 1, "myo": 2, "rv": 3}, "centre": "north"}
    report = check_cohort(read_cohort(tmp_path / "out"))
    assert report.ok, report.problems
    assert report.ledger()["licence"] == "local"


def test_a_row_may_say_why_it_is_left_out(recordings, tmp_path):
    data, rows = recordings
    rows[1]["exclude"] = "arrhythmia during the scan"
    cohort = import_table(write_table(data / "cases.csv", rows), tmp_path / "out")
    assert check_cohort(cohort).ledger()["excluded"] == {"arrhythmia during the scan": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"anchor": "../elsewhere.nrrd"}, "within the cohort's root"),
        ({"label_map": "lv=x"}, "Row 2"),
        ({"anchor_frame": "first"}, "Row 2"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(recordings, tmp_path, change, words):
    data, rows = recordings
    rows[0] |= change
    with pytest.raises(CohortError, match=words):
        import_table(write_table(data / "cases.csv", rows), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"), [({"id": ""}, "row 2 of t.csv has none"), ({"id": "case1"}, "rows 2, 3 of t.csv")]
)
def test_rows_without_an_id_of_their_own_are_named(recordings, tmp_path, change, words):
    data, rows = recordings
    rows[0] |= change
    with pytest.raises(CohortError, match=words):
        import_table(write_table(data / "t.csv", rows), tmp_path / "out")


def test_a_table_from_a_spreadsheet_with_absolute_paths_is_read(recordings, tmp_path):
    data, rows = recordings
    rows = [{**row, "anchor": str(data / row["anchor"]), "label_map": ""} for row in rows]
    table = tmp_path / "elsewhere" / "t.csv"
    table.parent.mkdir()
    lines = [";".join(rows[0]), *(";".join(row.values()) for row in rows)]
    relative = [line.replace(";case", ";../data/case") for line in lines]  # from the table's folder to the data
    table.write_text("\n".join(relative) + "\n", encoding="utf-8-sig")
    cohort = read_cohort(import_table(table, tmp_path / "out").folder)
    assert cohort.path(cohort.subjects[0], "anchor") == data / "case0" / "anchor.nrrd"
    assert cohort.path(cohort.subjects[0], "ecg") == data / "case0" / "ecg.hea"
    assert check_cohort(cohort).ok


def test_a_table_without_the_needed_columns_is_refused(tmp_path):
    with pytest.raises(CohortError, match="id and anchor"):
        import_table(write_table(tmp_path / "t.csv", [{"case": "1", "mri": "x"}]), tmp_path / "out")


def test_uk_biobank_pairs_cine_and_ecg_of_the_same_visit(tmp_path):
    data = tmp_path / "ukb"
    for name in ("1000001_20209_2_0.zip", "1000001_20205_2_0.xml", "1000001_20209_3_0.zip", "1000001_20205_3_1.xml",
                 "1000001_20205_3_0.xml", "1000002_20209_2_0.zip", "1000003_20205_2_0.xml", "notes.txt"):  # fmt: skip
        path = data / name[:7] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    cohort = import_ukbiobank(data, tmp_path / "out")
    assert [subject.id for subject in cohort.used()] == ["1000001-2", "1000001-3"]
    assert len({subject.split for subject in cohort.used()}) == 1
    assert cohort.used()[1].files["ecg"].endswith("1000001_20205_3_0.xml")
    assert check_cohort(cohort, read=False).ledger()["excluded"] == {
        "no ECG of the same visit": 1,
        "no cine of the same visit": 1,
    }
    with pytest.raises(CohortError, match="20209"):
        import_ukbiobank(tmp_path / "out", tmp_path / "other")


def test_acdc_lists_both_labelled_frames(tmp_path):
    for number, missing in ((1, ""), (2, "_gt")):
        folder = tmp_path / "acdc" / f"patient00{number}"
        folder.mkdir(parents=True)
        (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\n")
        for name in ("_4d", "_frame01", "_frame01_gt", "_frame12", "_frame12_gt"):
            if not (missing and name == "_frame12_gt"):
                (folder / f"patient00{number}{name}.nii.gz").write_bytes(b"")
    cohort = import_acdc(tmp_path / "acdc", tmp_path / "out")
    first, second = cohort.subjects
    assert first.files["target_labels"] == "patient001/patient001_frame12_gt.nii.gz"
    assert (first.facts["ed_frame"], first.facts["es_frame"], first.facts["group"]) == (0, 11, "DCM")
    assert second.excluded == "no target labels"


def test_the_real_acdc_patient_imports_and_checks(shared_data, tmp_path):
    folder = tmp_path / "acdc" / "patient001"
    folder.mkdir(parents=True)
    for path in (shared_data / "mri" / "acdc-patient001").iterdir():
        (folder / path.name).symlink_to(path)
    if not (folder / "Info.cfg").exists():
        frames = sorted(p.name.split("_frame")[1][:2] for p in folder.glob("*_frame??.nii*"))
        (folder / "Info.cfg").write_text(f"ED: {int(frames[0])}\nES: {int(frames[-1])}\n")
    cohort = import_acdc(tmp_path / "acdc", tmp_path / "out")
    report = check_cohort(cohort)
    assert report.ok, (report.problems, cohort.subjects)
    assert report.findings["patient001"].spacing_mm == pytest.approx((10.0, 1.5625, 1.5625), abs=1e-3)


def test_the_import_command_says_how_many(recordings, tmp_path, capsys):
    data, rows = recordings
    table = write_table(data / "cases.csv", rows)
    assert main(["cohort", "import", "--table", str(table), "--out", str(tmp_path / "out"), "--split", "1,0,0"]) == 0
    assert "3 subjects (3 train, 0 valid, 0 test)" in capsys.readouterr().out
    assert main(["cohort", "import", "--acdc", str(data), "--out", str(tmp_path / "other")]) == 2
    assert "Info.cfg" in capsys.readouterr().err


def test_mnms_lists_both_labelled_frames_of_one_file(tmp_path):
    data = tmp_path / "OpenDataset"
    for code, files in (("A0S9V9", ("", "_gt")), ("B1S2V3", ("",))):
        (data / "Training" / "Labeled" / code).mkdir(parents=True)
        for kind in files:
            (data / "Training" / "Labeled" / code / f"{code}_sa{kind}.nii.gz").write_bytes(b"")
    (data / "information.csv").write_text(
        "External code,Vendor,ED,ES,Age\nA0S9V9,B,3,12,61\nB1S2V3,A,0,9,50\nC9C9C9,C,,,\nD4,C,1,2,40\n"
    )
    (data / "other.csv").write_text("name,value\nx,1\n")
    cohort = import_mnms(data, tmp_path / "out")
    reasons = {subject.id: subject.excluded for subject in cohort.subjects}
    assert reasons == {"A0S9V9": "", "B1S2V3": "no labels", "C9C9C9": "ED and ES frame not stated", "D4": "no image"}
    (subject,) = cohort.used()
    assert subject.files["anchor"] == subject.files["target"] == "Training/Labeled/A0S9V9/A0S9V9_sa.nii.gz"
    assert (subject.facts["anchor_frame"], subject.facts["target_frame"], subject.facts["vendor"]) == (3, 12, "B")
    with pytest.raises(CohortError, match="External code"):
        import_mnms(tmp_path / "out", tmp_path / "other")


def test_a_pair_of_frames_of_one_file_trains_the_teacher(tmp_path, rng):
    case = draw_case(8_500_001, (14.0, 3.2))
    folder = tmp_path / "data" / "A0"
    folder.mkdir(parents=True)
    times = np.array([0.0, 0.38]) * case.subject.physiology.rr_ms
    points = case.plan.heart_points()
    labels = np.stack([case.labels, case.subject.heart.label_at(points, float(times[1]))])
    images = np.stack([case.anchor.voxels, case.anchor.voxels + rng.normal(0, 1, case.anchor.shape)])
    for name, array in (("A0_sa", images), ("A0_sa_gt", labels)):
        image = sitk.JoinSeries([sitk.GetImageFromArray(frame.astype(np.float32)) for frame in array])
        sitk.WriteImage(_placed(image, case.anchor.spacing_mm), str(folder / f"{name}.nii.gz"))
    (tmp_path / "data" / "table.csv").write_text("External code,ED,ES\nA0,0,1\n")
    cohort = import_mnms(tmp_path / "data", tmp_path / "out")
    frames = load_frames(cohort, cohort.subjects[0], read_configuration("teacher", "smoke").network)
    volume = frames.labels[:, 0].sum(dim=(1, 2, 3))
    assert volume[1] < 0.85 * volume[0]


def _placed(image, spacing_mm):
    """Return a 4-D image with its spacing and an oblique direction, as scanners store hearts."""
    axes = draw_case(8_500_001, (14.0, 3.2)).anchor.ijk_to_ras
    image.SetSpacing([*map(float, spacing_mm[::-1]), 1.0])
    direction = np.eye(4)
    direction[:3, :3] = np.diag([-1, -1, 1]) @ axes[:3, :3] / spacing_mm[::-1]
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin([*(np.diag([-1, -1, 1]) @ axes[:3, 3]).tolist(), 0.0])
    return image


def test_labels_of_ones_own_join_the_cines_that_they_are_named_after(tmp_path):
    data, labels = tmp_path / "ukb", tmp_path / "segmentations" / "nnunet"
    data.mkdir()
    labels.mkdir(parents=True)
    for person in (1000001, 1000002):
        (data / f"{person}_20209_2_0.zip").write_bytes(b"")
        (data / f"{person}_20205_2_0.xml").write_bytes(b"")
    for name in ("1000001_20209_2_0.nii.gz", "1000009_20209_2_0.nii.gz", "1000002_20209_3_0.nii.gz", "readme.txt"):
        (labels / name).write_bytes(b"")
    cohort = import_ukbiobank(data, tmp_path / "out", labels=labels, label_map={"lv": 3, "myo": 2, "rv": 1})
    first, second = cohort.subjects
    assert cohort.path(first, "cine_labels") == labels / "1000001_20209_2_0.nii.gz"
    assert cohort.path(first, "cine") == data / "1000001_20209_2_0.zip"
    assert first.facts["label_map"]["lv"] == 3
    assert "cine_labels" not in second.files
    assert check_cohort(cohort, read=False).ok
    with pytest.raises(CohortError, match="named like 1234567_20209_2_0"):
        import_ukbiobank(data, tmp_path / "other", labels=data)


def test_labels_are_asked_for_where_they_belong(tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["cohort", "import", "--acdc", str(tmp_path), "--labels", str(tmp_path), *out]) == 2
    assert "belongs to --ukbiobank" in capsys.readouterr().err
    assert main(["cohort", "synthesize", "--subjects", "1", "--seed", "1", "--labels", *out]) == 2
    assert "--layout ukbiobank" in capsys.readouterr().err
