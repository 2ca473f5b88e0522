"""``cof batch``: every row is accounted for, finished cases stay, a bad one costs itself only."""

import csv
import json
import os
from functools import partial

import pytest
from COFGeneratorLib.cases import case as batch_case
from COFGeneratorLib.cases.case import run_cases
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.request_hash import request_hash
from COFGeneratorLib.cases.table import Case, read_table
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs.events import JobCancelled
from COFGeneratorLib.results.folder import ResultFolder


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def table(a_patient, tmp_path):
    """Return a function that writes a table of cases beside the patient's files' absolute paths."""

    def write(*rows, header="case,anchor,ecg,labels,label_map"):
        files = {
            "anchor": a_patient.anchor,
            "ecg": a_patient.ecg,
            "labels": a_patient.labels,
            "codes": "lv=1,myo=2,rv=3",
        }
        path = tmp_path / "cases.csv"
        path.write_text("\n".join([header, *(row.format(**files) for row in rows)]) + "\n", encoding="utf-8")
        return path

    return write


GOOD = '{anchor},{ecg},{labels},"{codes}"'


@pytest.fixture
def quick(monkeypatch):
    """Replace generation by the writing of a tiny result, and count how often it is asked for."""
    asked = []

    def write(request, current, command, bundle=None, facts=None):
        asked.append(request)
        if "broken" in request.out:
            raise RuntimeError("a fault inside")
        with ResultFolder(request.out, request.overwrite) as folder:
            (folder / "function.json").write_text(json.dumps({"ef_percent": 55.0, "edv_ml": 150.0}))
            (folder / "run.json").write_text(json.dumps({"product": "ChainOfFlow", "files": [], **facts}))

    monkeypatch.setattr(batch_case, "generate_into", write)
    return asked


def test_a_folder_counts_by_its_content_and_a_header_with_its_voxels(tmp_path):
    def hashed(**files):
        return batch_case.request_hash(GenerateRequest(anchor=str(tmp_path / files["anchor"]), model=str(tmp_path)))

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    for folder, names in (("a", ("1", "2")), ("b", ("x", "y")), ("c", ("1", "2"))):
        (tmp_path / folder).mkdir()
        for name, content in zip(names, ("one", "two" if folder != "c" else "other"), strict=True):
            (tmp_path / folder / name).write_text(content)
    assert hashed(anchor="a") == hashed(anchor="b") != hashed(anchor="c")
    header = (
        "NDims = 3\nDimSize = 4 4 3\nElementSpacing = 2 2 9\nElementType = MET_UCHAR\nElementDataFile = other.raw\n"
    )
    (tmp_path / "v.mhd").write_text(header)
    (tmp_path / "other.raw").write_bytes(bytes(48))
    before = hashed(anchor="v.mhd")
    (tmp_path / "other.raw").write_bytes(bytes(47) + b"1")
    assert hashed(anchor="v.mhd") != before


@pytest.mark.slow
def test_a_batch_generates_every_case_with_the_real_pipeline(cof, table, a_bundle, tmp_path):
    path = table("a," + GOOD, "b,nowhere.nrrd,{ecg},,")
    words = ("batch", "--table", path, "--out", tmp_path / "out", "--model", a_bundle, "--frames", 8, "--device", "cpu")
    run = cof(*words)
    assert run.code == 2, run
    assert (tmp_path / "out" / "a" / "preview.png").is_file()
    assert not (tmp_path / "out" / "b").exists()
    assert [row["case"] for row in rows_of(tmp_path / "out" / "summary.csv")] == ["a"]
    assert float(rows_of(tmp_path / "out" / "summary.csv")[0]["edv_ml"]) > 50
    (failure,) = rows_of(tmp_path / "out" / "failures.csv")
    assert failure["case"] == "b"
    assert failure["kind"] == "input"
    assert "1 of 2 cases have a result" in run.out


def test_finished_cases_are_kept_and_changed_ones_done_again(cof, table, quick, a_bundle, tmp_path):
    words = ("batch", "--table", table("a," + GOOD, "b," + GOOD), "--out", tmp_path / "out", "--model", a_bundle)
    assert cof(*words).code == 0
    assert len(quick) == 2
    again = cof(*words)
    assert len(quick) == 2
    assert "(2 from before)" in again.out
    assert len(rows_of(tmp_path / "out" / "summary.csv")) == 2
    changed = cof(*words, "--seed", 9)
    assert changed.code == 2
    assert "--overwrite" in changed.out
    assert "(0 from before)" in cof(*words, "--seed", 9, "--overwrite").out
    assert [row["ef_percent"] for row in rows_of(tmp_path / "out" / "summary.csv")] == ["55.0", "55.0"]


def test_an_own_seed_and_a_changed_file_make_another_request(a_patient, a_bundle, tmp_path):
    shared = GenerateRequest(seed=3, device="cpu", model=str(a_bundle))
    ecg = tmp_path / "ecg.csv"
    ecg.write_bytes(a_patient.ecg.read_bytes())

    def request(**changes):
        case = Case(**{"name": "a", "anchor": str(a_patient.anchor), "ecg": str(ecg)} | changes)
        return request_hash(case.request(shared))

    first = request()
    assert request(name="renamed") == first
    assert request(seed=0) != first
    assert request(seed=3) == first
    assert request(anchor_frame=1) != first
    assert request(anchor_phase=0.4) != first
    assert request(frames=24) != first
    assert request(ef_percent=40.0) != first
    assert request(hr_bpm=90.0) != first
    ecg.write_text(ecg.read_text().replace("0.", "1.", 1))
    assert request() != first


def test_an_internal_failure_gives_exit_code_1_and_the_rest_runs(cof, table, quick, a_bundle, tmp_path):
    path = table("broken," + GOOD, "b," + GOOD)
    run = cof("batch", "--table", path, "--out", tmp_path / "out", "--model", a_bundle)
    assert run.code == 1
    (failure,) = rows_of(tmp_path / "out" / "failures.csv")
    assert failure == {
        "row": "1", "case": "broken", "kind": "internal", "message": "RuntimeError: a fault inside",
    }  # fmt: skip
    assert [row["case"] for row in rows_of(tmp_path / "out" / "summary.csv")] == ["b"]


def test_bad_rows_become_failures(cof, table, quick, a_bundle, tmp_path):
    path = table(
        "a,{anchor},,,", 'b,{anchor},{ecg},{labels},"lv=x"', "../c,{anchor},{ecg},,", "d," + GOOD,
    )  # fmt: skip
    run = cof("batch", "--table", path, "--out", tmp_path / "out", "--model", a_bundle)
    assert run.code == 2
    failures = {row["case"]: row["message"] for row in rows_of(tmp_path / "out" / "failures.csv")}
    assert "column ecg" in failures["a"]
    assert "lv=x" in failures["b"]
    assert set(failures) == {"a", "b"}
    assert {row["case"] for row in rows_of(tmp_path / "out" / "summary.csv")} == {"../c", "d"}
    assert {path.name for path in tmp_path.iterdir()} == {"cases.csv", "out"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns anchor, ecg"),
        ("anchor,ecg\n", "at least one case"),
        ("anchor,heart\na,b\n", "needs the columns anchor, ecg"),
        ("anchor,ecg,colour\na,b,c\n", "may have"),
        ("anchor,ecg,ecg\na,b,c\n", "each once"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_before_anything_is_made(cof, a_bundle, tmp_path, text, message):
    (tmp_path / "cases.csv").write_text(text)
    run = cof("batch", "--table", tmp_path / "cases.csv", "--out", tmp_path / "out", "--model", a_bundle)
    assert run.code == 2
    assert message in run.err
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_refused_once_not_once_a_case(cof, table, tmp_path):
    run = cof("batch", "--table", table("a," + GOOD), "--out", tmp_path / "out", "--model", tmp_path)
    assert run.code == 2
    assert not (tmp_path / "out").exists()


def test_region_and_beat_are_read_from_the_table(tmp_path):
    path = tmp_path / "cases.csv"
    rows = [
        "anchor,ecg,roi,beat",
        'a,b,"-60,40,-50,50,-90,10",3',
        "a,b,-60 40 -50 50 -90 10,4.2s",
        "a,b,1 2 3,x",
        "a,b,,",
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    first, second, wrong, none = read_table(path)
    assert first.roi == second.roi == (-60.0, 40.0, -50.0, 50.0, -90.0, 10.0)
    assert (first.beat, second.beat) == (3, 4.2)
    assert "six numbers" in wrong.problem
    assert (none.roi, none.beat, none.problem) == (None, None, "")


def test_the_phase_of_the_anchor_is_read_from_the_table(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("anchor,ecg,anchor_phase\na,b,0.4\na,b,cine\na,b,1.5\na,b,\n", encoding="utf-8")
    fraction, cine, wrong, none = read_table(path)
    assert (fraction.anchor_phase, cine.anchor_phase, none.anchor_phase) == (0.4, "cine", None)
    assert "fraction of the R–R" in wrong.problem


def test_a_spreadsheet_table_with_byte_order_mark_and_spaces_is_read(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_bytes("\ufeffcase, anchor ,ecg\nx, a.nrrd , b.csv \n".encode())
    (case,) = read_table(path)
    assert (case.name, case.anchor, case.ecg) == ("x", str(tmp_path / "a.nrrd"), str(tmp_path / "b.csv"))


def test_wfdb_samples_belong_to_their_header(a_bundle, tmp_path):
    for name in ("x.hea", "x.dat", "anchor.nrrd"):
        (tmp_path / name).write_text(name)
    case = Case("a", str(tmp_path / "anchor.nrrd"), str(tmp_path / "x.hea"))
    request = case.request(GenerateRequest(model=str(a_bundle)))
    first = request_hash(request)
    (tmp_path / "x.dat").write_text("other samples")
    assert request_hash(request) != first


ODD_CELLS = (
    "\x00", "a\x07b", "9" * 5000, "1e999", "nan", "-1", "²", "٣", "=1+1", "x" * 200_000, "1,2,3,4,5,6,7", "\udcff",
    "999999999999", "inf inf inf inf inf inf", "lv=99999999999999999999,myo=2", "4.2h", "0" * 100,
)  # fmt: skip


@pytest.mark.parametrize(
    "column", ["anchor", "ecg", "labels", "label_map", "anchor_frame", "anchor_phase", "roi", "beat", "frames",
               "samples", "seed", "ef_percent", "hr_bpm"],
)  # fmt: skip
def test_one_odd_cell_is_at_most_one_failed_row(tmp_path, column):
    path = tmp_path / "cases.csv"
    for odd in ODD_CELLS:
        content = {"case": "odd", "anchor": "a.nrrd", "ecg": "e.csv"} | {column: odd}
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            writer = csv.writer(stream)
            writer.writerow(content)
            writer.writerow(content.values())
            writer.writerow({**dict.fromkeys(content, ""), "case": "good", "anchor": "a.nrrd", "ecg": "e.csv"}.values())
        cases = read_table(path)
        assert len(cases) == 2
        assert (cases[1].name, cases[1].problem) == ("good", "")
        assert cases[0].problem or column in ("anchor", "ecg", "labels", "label_map", "roi") or odd == "0" * 100
        json.dumps(cases[0].problem).encode("utf-8")  # can be written down


def test_a_cell_too_many_and_a_quote_left_open_are_one_failed_row_each(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text('case,anchor,ecg\na,b,c\nlong,b,c,d\nshort\nopen,"b,c\n', encoding="utf-8")
    good, long, short, opened = read_table(path)
    assert good.problem == ""
    assert "4 cells for 3 columns" in long.problem
    assert "column anchor" in short.problem
    assert opened.problem


def test_names_are_made_safe_without_collision_and_each_folder_is_told(cof, table, quick, a_bundle, tmp_path):
    rest = "," + GOOD
    path = table(
        *(f"{name}{rest}" for name in ("../c", "X", "x", "x", "nul", "summary.csv", ".h", "a/b", "a:b", "a_b"))
    )
    run = cof("batch", "--table", path, "--out", tmp_path / "out", "--model", a_bundle)
    assert run.code == 0, run
    rows = rows_of(tmp_path / "out" / "summary.csv")
    assert [row["case"] for row in rows] == ["../c", "X", "x", "x", "nul", "summary.csv", ".h", "a/b", "a:b", "a_b"]
    folders = [row["folder"] for row in rows]
    assert len({name.casefold() for name in folders}) == 10
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == sorted(folders)
    assert (folders[1], folders[9]) == ("X", "a_b")
    assert f"'../c' (row 1) has the folder {folders[0]}" in run.out


def test_nothing_in_a_table_is_run_by_a_spreadsheet(cof, table, quick, a_bundle, tmp_path):
    rows = [f"{name},{{anchor}},{{ecg}},," for name in ("=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2+3")]
    cof("batch", "--table", table(*rows), "--out", tmp_path / "out", "--model", a_bundle)
    cells = [row["case"] for row in rows_of(tmp_path / "out" / "summary.csv")]
    assert len(cells) == 4
    assert all(cell.startswith("'") for cell in cells)


def test_failures_name_rows_and_no_file_of_a_person(cof, table, a_bundle, tmp_path):
    folder = tmp_path / "Mustermann^Erika"
    folder.mkdir()
    (folder / "Mustermann.nrrd").write_text("no image")
    (folder / "O'Brien.csv").write_text("no ecg")
    path = table(
        f"one,{folder}/Mustermann.nrrd,{{ecg}},,", f"two,{{anchor}},{folder}/O'Brien.csv,,",
        f"three,{folder}/Absent.nrrd,{{ecg}},,", f"four,{folder},{{ecg}},,",
    )  # fmt: skip
    events = tmp_path / "events.jsonl"
    run = cof("batch", "--table", path, "--out", tmp_path / "out", "--model", a_bundle, "--events", events)
    assert run.code == 2, run
    assert [row["row"] for row in rows_of(tmp_path / "out" / "failures.csv")] == ["1", "2", "3", "4"]
    said = run.out + run.err + events.read_text() + (tmp_path / "out" / "failures.csv").read_text()
    assert len(said) > 500
    for word in ("Mustermann", "Erika", "O'Brien", "Brien", "Absent"):
        assert word not in said


@pytest.mark.parametrize("stop", [KeyboardInterrupt, JobCancelled])
def test_a_stopped_batch_says_what_stands_and_has_its_tables(cof, table, quick, a_bundle, tmp_path, monkeypatch, stop):
    path = table(*(f"{name},{GOOD}" for name in "abcd"))
    write = batch_case.generate_into

    def stopped_at_c(request, *rest, **more):
        if request.out.endswith("c"):
            raise stop
        write(request, *rest, **more)

    monkeypatch.setattr(batch_case, "generate_into", stopped_at_c)
    words = ("batch", "--table", path, "--out", tmp_path / "out", "--model", a_bundle)
    run = cof(*words)
    assert run.code == 130
    assert "2 of 4 cases have a result" in run.out
    assert [row["case"] for row in rows_of(tmp_path / "out" / "summary.csv")] == ["a", "b"]
    monkeypatch.setattr(batch_case, "generate_into", write)
    assert "4 of 4 cases have a result (2 from before)" in cof(*words).out


WORK = """
import os
from COFGeneratorLib.cases.case import Outcome

def work(case, here):
    if case.name == "deadly" and os.getpid() != here:
        os._exit(9)
    return Outcome(case.name, "done", summary={"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")})
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a work function that other processes can import."""
    (tmp_path / "batch_work_for_tests.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    import batch_work_for_tests

    return batch_work_for_tests.work


def test_workers_share_the_cases_and_a_dying_one_takes_only_its_own(work):
    cases = [Case(name, "", "") for name in ("a", "deadly", "b", "c")]
    outcomes = {outcome.name: outcome for outcome in run_cases(partial(work, here=os.getpid()), cases, workers=2)}
    assert set(outcomes) == {"a", "deadly", "b", "c"}
    assert outcomes["deadly"].kind == "internal"
    assert "died" in outcomes["deadly"].message
    assert all(outcomes[name].state == "done" for name in "abc")
    assert all(outcomes[name].summary["pid"] != os.getpid() for name in "abc")


def test_one_worker_runs_in_this_process(work):
    (outcome,) = run_cases(partial(work, here=os.getpid()), [Case("a", "", "")], workers=1)
    assert outcome.summary["pid"] == os.getpid()


def test_a_scheduler_without_dask_or_address_is_a_clear_error(work):
    with pytest.raises(ChainOfFlowError, match=r"dask|reaching it failed"):
        list(run_cases(partial(work, here=0), [Case("a", "", "")], scheduler="nowhere-at-all"))


def test_a_row_has_options_region_and_beat_of_its_own(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(
        "case,anchor,ecg,roi,beat,frames,samples,seed\n"
        'one,a.nrrd,e.csv,"-90,10,-40.5,60,-50,70",4.2s,24,3,7\n'
        "two,a.nrrd,e.csv,,3,,,\n"
        "bad roi,a.nrrd,e.csv,1 2 3,,,,\n"
        "bad frames,a.nrrd,e.csv,,,2,,\n"
    )
    one, two, bad_roi, bad_frames = read_table(path)
    assert one.roi == (-90.0, 10.0, -40.5, 60.0, -50.0, 70.0)
    assert one.beat == 4.2
    shared = GenerateRequest(frames=30, samples=2, seed=1)
    assert [one.request(shared).frames, one.request(shared).samples, one.request(shared).seed] == [24, 3, 7]
    assert [two.request(shared).frames, two.request(shared).samples, two.request(shared).seed] == [30, 2, 1]
    assert (two.beat, two.roi) == (3, None)
    assert isinstance(two.beat, int)
    assert "six numbers" in bad_roi.problem
    assert "at least 4 frames" in bad_frames.problem
