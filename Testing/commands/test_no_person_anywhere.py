"""Names that stand in files, folders and paths reach nothing that commands write for others, damaged inputs included.

What holds the paths themselves, a table of cases and a cohort's manifest, stays with the data; all else is searched.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from COFTrainingLib.cohort.nrrd import write_nrrd
from support.ecg_writers import PERSON
from support.fuzzing.images import TO_RAS, heart

PERSONS = ("Mustermann", "PID-4711", *PERSON.values())
NAME = "Mustermann PID-4711"
FRAMES = 8

pytestmark = pytest.mark.slow


def found_below(folder, but=()) -> list[str]:
    """Return planted words in files and names below a folder; archives are not searched, see `test_no_person`."""
    out = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() and path.name not in but else b""
        out += [f"{word} in {path.name}" for word in PERSONS if word.encode() in content or word in path.name]
    return out


def nothing_said(run, events) -> bool:
    """Return whether terminal and events name nobody."""
    said = run.out + run.err + events.read_text(encoding="utf-8")
    return not [word for word in PERSONS if word in said]


@pytest.fixture(scope="module")
def planted(a_patient, tmp_path_factory):
    """Return a folder whose name, and the names of whose files, are a person's; some of them are damaged."""
    folder = tmp_path_factory.mktemp("data") / NAME
    folder.mkdir()
    for kind, source in (("anchor", a_patient.anchor), ("labels", a_patient.labels), ("ecg", a_patient.ecg)):
        shutil.copy(source, folder / f"{NAME} {kind}{source.suffix}")
    (folder / f"{NAME} damaged.nrrd").write_bytes(a_patient.anchor.read_bytes()[:900])
    (folder / f"{NAME} damaged.csv").write_text("# fs_hz: 500\nI,II\n1,x\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def cohort_table(planted):
    """Return a table of four subjects with cines of a beating heart; the last one's is damaged."""
    rows, labels = [], np.stack([heart()] * FRAMES)
    for t in range(FRAMES):
        inner = (labels[t] == 1) & (np.hypot(*(np.indices(labels.shape[2:]) - [[[12]], [[14]]])) > 6 - 3 * (t == 3))
        labels[t][inner] = 2
    for n in range(4):
        noise = np.random.default_rng(n).integers(0, 9, labels.shape)
        cine = (np.array([40, 200, 90, 190])[labels] + noise).astype(np.int16)
        write_nrrd(planted / f"{NAME}{n}.seq.nrrd", cine, TO_RAS, np.arange(FRAMES) * 100.0)
        write_nrrd(planted / f"{NAME}{n} l.seq.nrrd", labels, TO_RAS, np.arange(FRAMES) * 100.0)
        rows.append(f'p{n},p{n},{NAME}{n}.seq.nrrd,{NAME}{n} l.seq.nrrd,{NAME} ecg.csv,"lv=1,myo=2,rv=3"')
    (planted / f"{NAME}3.seq.nrrd").write_bytes(b"NRRD0005\nMustermann: x\n\n")
    path = planted.parent / "subjects.csv"
    rows = [",".join([*row.split(",")[:2], *(f"{NAME}/{cell}" for cell in row.split(",")[2:5]), *row.split(",")[5:]])
            for row in rows]  # fmt: skip
    path.write_text("\n".join(["id,person,cine,cine_labels,ecg,label_map", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def cohort(cohort_table, tmp_path_factory):
    from COFTrainingLib.cohort.importers.table import import_table
    from COFTrainingLib.cohort.splits import SplitRule

    folder = tmp_path_factory.mktemp("cohort") / "c"
    import_table(cohort_table, folder, splits=SplitRule(0.5, 0.3, 0.2))
    return folder


def test_batch_and_export(cof, planted, a_bundle, tmp_path):
    rows = [
        f"a,{NAME} anchor.nrrd,{NAME} ecg.csv,{NAME} labels.nrrd", f"b,{NAME} absent.nrrd,{NAME} ecg.csv,",
        f"c,{NAME} damaged.nrrd,{NAME} ecg.csv,", f"d,{NAME} anchor.nrrd,{NAME} damaged.csv,",
        f"e,{NAME} anchor.nrrd,{NAME} ecg.csv,{NAME} damaged.nrrd", f"f,{NAME} ecg.csv,{NAME} anchor.nrrd,",
    ]  # fmt: skip
    table = planted / "cases.csv"
    header = "case,anchor,ecg,labels,label_map"
    table.write_text("\n".join([header, *(f'{row},"lv=1,myo=2,rv=3"' for row in rows)]) + "\n", encoding="utf-8")
    out, events = tmp_path / "out", tmp_path / "events.jsonl"
    how = ("--model", a_bundle, "--frames", 4, "--device", "cpu", "--write", "cine,labels,function,nifti,csv")
    run = cof("batch", "--table", table, "--out", out, *how, "--events", events)
    assert run.code == 2, run.err
    assert (out / "a" / "run.json").is_file()
    assert found_below(out) == []
    assert nothing_said(run, events)
    named = tmp_path / NAME
    (out / "a").rename(named)
    for form in ("nifti", "dicom", "csv", "mesh"):
        exported = tmp_path / form
        run = cof("export", named, "--to", form, "--out", exported, "--events", tmp_path / f"{form}.jsonl")
        assert run.code == 0, run.err
        assert found_below(exported) == []
        assert nothing_said(run, tmp_path / f"{form}.jsonl")


def test_events_name_files_within_the_result_not_where_it_lies(cof, generate_words, read_outs_alone, tmp_path):
    events = tmp_path / "events.jsonl"
    run = cof(*generate_words(frames=4), "--out", tmp_path / NAME, "--events", events)
    assert run.code == 0, run.err
    told = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    assert {"run.json", "function.json"} <= {event["path"] for event in told if event["event"] == "artifact"}
    assert not [word for word in PERSONS if word in events.read_text(encoding="utf-8")]


def test_register(cof, planted, cohort_table, tmp_path):
    files = ("--cine", planted / f"{NAME}0.seq.nrrd", "--labels", planted / f"{NAME}0 l.seq.nrrd")
    how = ("--label-map", "lv=1,myo=2,rv=3", "--teacher", "demons", "--events", tmp_path / "events.jsonl")
    run = cof("register", *files, *how, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    assert found_below(tmp_path / "out") == []
    assert nothing_said(run, tmp_path / "events.jsonl")


def test_cohorts_and_their_checks(cof, cohort_table, tmp_path):
    out, events = tmp_path / "c", tmp_path / "events.jsonl"
    run = cof("cohort", "import", "--table", cohort_table, "--out", out, "--events", events)
    assert run.code == 0, run.err
    assert found_below(out, but=("cohort.jsonl",)) == []
    assert nothing_said(run, events)
    run = cof("cohort", "check", out, "--json", tmp_path / "found.json", "--events", tmp_path / "check.jsonl")
    assert run.code == 2  # one is damaged
    assert "p3" in (tmp_path / "found.json").read_text(encoding="utf-8")
    assert not [word for word in PERSONS if word in (tmp_path / "found.json").read_text(encoding="utf-8")]
    assert nothing_said(run, tmp_path / "check.jsonl")


def test_evaluate(cof, cohort, tmp_path):
    predictions = tmp_path / NAME
    predictions.mkdir()
    (predictions / "p0.nii.gz").write_bytes(b"Mustermann")
    words = ["evaluate", "--cohort", cohort, "--out", tmp_path / "out", "--no-model", "--protocol", "function"]
    run = cof(*words, "--predictions", f"other={predictions}", "--events", tmp_path / "events.jsonl")
    assert run.code == 0, run.err
    assert "p3" in (tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")
    assert found_below(tmp_path / "out") == []
    assert nothing_said(run, tmp_path / "events.jsonl")


def test_training_and_what_it_writes_for_tensorboard(cof, cohort, tmp_path):
    (tmp_path / "few.toml").write_text(
        'base = "smoke"\n[teacher.loop]\nsteps = 2\ncheckpoint_every = 2\n[teacher.pairs]\nbatch = 1\n'
    )
    words = ["train", "teacher", "--cohort", cohort, "--config", tmp_path / "few.toml", "--device", "cpu"]
    run = cof(*words, "--out", tmp_path / "run", "--events", tmp_path / "events.jsonl")
    assert nothing_said(run, tmp_path / "events.jsonl")
    assert run.code in (0, 2), run.err  # a damaged subject may end it, in words
    assert found_below(tmp_path / "run") == []


SETTINGS = Path(__file__).parents[1] / "support" / "killed_trainings.toml"


@pytest.mark.parametrize("kind", ["segmenter", "assessor", "ecg", "flow"])
def test_every_kind_of_training(cof, cohort, tmp_path, kind):
    settings, events = tmp_path / "few.toml", tmp_path / "events.jsonl"
    settings.write_text(SETTINGS.read_text(encoding="utf-8") + '\n[flow.cines]\nsource = "demons"\n', encoding="utf-8")
    words = ["train", kind, "--cohort", cohort, "--config", settings, "--device", "cpu", "--threads", "1"]
    run = cof(*words, "--out", tmp_path / "run", "--events", events)
    assert run.code in (0, 2), run.err  # a damaged subject may end it, in words
    assert nothing_said(run, events)
    assert found_below(tmp_path / "run") == []


def test_bundles_pages_and_the_demonstration(cof, a_bundle, tmp_path, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    bundle, out, events = tmp_path / NAME / "bundle", tmp_path / "heart", tmp_path / "demo.jsonl"
    shutil.copytree(a_bundle, bundle)
    for verb in ("info", "verify"):
        run = cof("bundle", verb, bundle)
        assert run.code == 0, run.err
        assert not [word for word in PERSONS if word in run.out + run.err]
    parts = ("--frames", 4, "--device", "cpu", "--write", "cine,function,preview,page")
    run = cof("demo", "--out", out, "--model", bundle, *parts, "--events", events)
    assert run.code == 0, run.err
    assert found_below(out) == []
    assert nothing_said(run, events)
    out.rename(tmp_path / NAME / "heart")
    run = cof("view", tmp_path / NAME / "heart")
    assert run.code == 0, run.err
    assert [address.rpartition("/")[2] for address in opened] == ["viewer.html"]
    assert not [word for word in PERSONS if word in run.out + run.err]
