"""``cof generate`` end to end, on small untrained networks: files, facts, replacement, cancellation."""

import csv
import json
import signal

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cases.generate import phase_of
from COFTrainingLib.cli import main

FILES = {
    "cine.seq.nrrd",
    "motion.seq.nrrd",
    "labels.seq.nrrd",
    "scene.mrb",
    "function.json",
    "function.csv",
    "preview.png",
    "preview.gif",
    "run.json",
}


@pytest.fixture(scope="module")
def result(a_patient, a_bundle, tmp_path_factory):
    """Generate once; returns the result's folder."""
    folder = tmp_path_factory.mktemp("generated") / "heart"
    words = (
        f"generate --anchor {a_patient.anchor} --ecg {a_patient.ecg} --labels {a_patient.labels} --model {a_bundle} "
        f"--label-map lv=1,myo=2,rv=3 --frames 8 --samples 2 --seed 5 --device cpu --quiet --out {folder} "
        f"--events {folder.parent / 'events.jsonl'}"
    )
    assert main(words.split()) == 0
    return folder


@pytest.mark.slow
def test_all_contracted_files_are_written_and_nothing_else_lies_beside(result):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    assert {path.name for path in result.iterdir()} >= FILES
    assert {path.name for path in result.parent.iterdir()} == {"heart", "events.jsonl"}


def test_run_json_says_how_to_repeat_the_run(result):
    run = json.loads((result / "run.json").read_text())
    assert run["product"] == "ChainOfFlow"
    assert run["synthetic"] is True
    assert run["seed"] == 5
    assert run["samples"] == 2
    assert run["frames"] == 8
    assert run["device"] == "cpu"
    assert run["model"].startswith("tiny")
    assert len(run["weights_sha256"]) == 64
    assert {"anchor", "ecg", "labels"} == set(run["inputs"])
    assert all(len(facts["sha256"]) == 64 for facts in run["inputs"].values())
    assert {"reading", "loading", "ecg", "anatomy", "motion", "warp", "total"} <= set(run["timings_s"])
    assert run["timings_s"]["total"] >= max(run["timings_s"].values()) - 0.01
    assert {"torch", "numpy", "python", "ChainOfFlow"} <= set(run["versions"])
    assert run["peak_memory_mb"] > 50
    assert sorted(run["files"]) == sorted(path.name for path in result.iterdir())


def test_run_json_names_no_input_file_and_no_folder(result, a_patient, a_bundle):
    text = (result / "run.json").read_text()
    for path in (a_patient.folder, a_patient.anchor.name, a_patient.ecg.name, a_bundle.parent, result.parent):
        assert str(path) not in text.replace('"ecg.csv"', "")  # the result's own copy has that name too


def test_function_is_written_with_its_spread(result):
    content = json.loads((result / "function.json").read_text())
    assert len(content["lv_volume_ml"]) == 8
    assert content["samples"]["count"] == 2
    assert len(content["segments"]) == 17
    with (result / "function.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 8


def test_events_tell_stages_artifacts_and_the_end(result):
    events = [json.loads(line) for line in (result.parent / "events.jsonl").read_text().splitlines()]
    stages = [event["stage"] for event in events if event["event"] == "progress"]
    assert {"reading", "ecg", "anatomy", "motion", "warp", "writing"} <= set(stages)
    artifacts = {event["path"].rsplit("/", 1)[-1] for event in events if event["event"] == "artifact"}
    assert artifacts >= {"run.json", "preview.png", "function.json"}
    assert events[-1]["event"] == "done"


@pytest.mark.slow
def test_without_slicer_the_rest_is_written_and_the_gap_is_named(generate_words, cof, tmp_path, monkeypatch):
    from COFGeneratorLib.errors import SceneError
    from COFGeneratorLib.scene import bootstrap

    def missing():
        raise SceneError("needs the package 'slicer'; found none. Install it with: pip install slicer-core")

    monkeypatch.setattr(bootstrap, "import_slicer", missing)
    run = cof(*generate_words(out=tmp_path / "r"))
    assert run.code == 0, run
    assert "pip install slicer-core" in run.out
    assert not (tmp_path / "r" / "scene.mrb").exists()
    written = json.loads((tmp_path / "r" / "run.json").read_text())
    assert any("scene.mrb were not written" in text for text in written["warnings"])
    assert "EF" in run.out
    assert "research use only" in run.out


@pytest.mark.slow
@pytest.mark.usefixtures("read_outs_alone")
def test_the_phase_of_the_anchor_is_kept_in_run_json(generate_words, cof, tmp_path):
    assert cof(*generate_words(out=tmp_path / "r", anchor_phase=0.4)).code == 0
    run = json.loads((tmp_path / "r" / "run.json").read_text())
    assert run["anchor_phase_fraction"] == 0.375  # the nearest of eight frames
    assert "0.375 of the R–R" in run["anchor_phase"]
    assert any("38 % of the R–R" in warning for warning in run["warnings"])


@pytest.mark.parametrize(("words", "said"), [({"anchor_phase": 1.0}, "fraction"), ({"anchor_phase": "cine"}, "times")])
def test_a_phase_that_cannot_be_is_refused(generate_words, cof, tmp_path, words, said):
    run = cof(*generate_words(out=tmp_path / "r", **words))
    assert run.code == 2
    assert said in run.err
    assert not (tmp_path / "r").exists()


def test_the_phase_of_a_frame_is_read_off_its_cine():
    times = tuple(30.0 * n + 12.0 for n in range(25))
    stack = SaxStack(np.zeros((3, 4, 4)), np.eye(4), frame=10, frame_times_ms=times)
    assert phase_of(stack, "cine") == pytest.approx(0.4)
    assert phase_of(stack, None) == 0.0
    assert phase_of(stack, 0.3) == 0.3


def test_a_folder_with_other_files_is_not_touched(generate_words, cof, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    run = cof(*generate_words(out=tmp_path))
    assert run.code == 2
    assert "--overwrite" in run.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_refused(generate_words, cof, tmp_path):
    (tmp_path / "out").write_text("mine")
    run = cof(*generate_words(out=tmp_path / "out"))
    assert run.code == 2
    assert (tmp_path / "out").read_text() == "mine"


def test_a_request_to_stop_ends_the_run_and_leaves_nothing(generate_words, cof, tmp_path):
    job = tmp_path / "job"
    job.mkdir()
    (job / "cancel").touch()
    run = cof(*generate_words(out=tmp_path / "r", events=job / "events.jsonl"))
    assert run.code == 130
    assert not (tmp_path / "r").exists()
    assert json.loads((job / "events.jsonl").read_text().splitlines()[-1])["event"] == "cancelled"


def test_termination_cleans_up_like_a_request_to_stop(generate_words, cof, tmp_path, monkeypatch):
    import COFGeneratorLib.figures.preview as preview

    def terminated(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(preview, "write_preview", terminated)
    before = signal.getsignal(signal.SIGTERM)
    assert cof(*generate_words(out=tmp_path / "r")).code == 130
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.usefixtures("read_outs_alone")
def test_steps_that_change_nothing_are_said(generate_words, cof, tmp_path):
    assert cof(*generate_words(out=tmp_path / "r"), "--steps", 3).code == 0
    assert any("--samples" in text for text in json.loads((tmp_path / "r" / "run.json").read_text())["warnings"])


def test_an_internal_failure_gives_exit_code_1_and_a_log(generate_words, cof, tmp_path, monkeypatch):
    import COFGeneratorLib.figures.preview as preview

    def broken(*_):
        raise RuntimeError("a fault inside")

    monkeypatch.setattr(preview, "write_sheet", broken)
    run = cof(*generate_words(out=tmp_path / "r"))
    assert run.code == 1
    assert "a fault inside" in run.err
    assert "Traceback" not in run.err
    log = run.err.rsplit("Log: ", 1)[1].strip()
    with open(log, encoding="utf-8") as stream:
        assert "Traceback" in stream.read()
    assert not (tmp_path / "r").exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(generate_words, cof, tmp_path):
    (tmp_path / "file").write_text("")
    run = cof(*generate_words(out=tmp_path / "file" / "r"))
    assert run.code == 2
    assert "cannot be made" in run.err


def test_the_written_curve_is_that_of_the_labels(result, a_patient):
    import SimpleITK as sitk

    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(a_patient.labels)))
    voxel_ml = np.prod(sitk.ReadImage(str(a_patient.labels)).GetSpacing()) / 1000
    content = json.loads((result / "function.json").read_text())
    assert content["lv_volume_ml"][0] == pytest.approx((labels == 1).sum() * voxel_ml, rel=1e-4)
