"""The COFTraining panel with real child processes."""

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest
from COFGeneratorLib.jobs import JobRunner, find_jobs

LIBRARIES = [str(Path(__file__).resolve().parents[2] / name) for name in ("COFGenerator", "COFTraining")]

TRAINING = """
import sys, time
from COFGeneratorLib.jobs.events import job_events
with job_events(sys.argv[1]) as events:
    for step in range({steps}):
        events.progress("training", step, {steps})
        events.metric("loss", 1.0 / (step + 1), step)
        time.sleep(0.05)
    events.metric("score", 0.5, {steps})
"""


@pytest.fixture
def fake(monkeypatch, training):
    """Return ``fake(steps)``: from then on jobs of the panel run a tiny training instead of ``cof``."""

    def use(steps):
        def start(runs, kind, title, arguments, python=None, template="", device="auto"):
            runner = JobRunner(Path(runs) / "jobs" / f"job-{len(find_jobs(Path(runs) / 'jobs'))}")
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(LIBRARIES)}
            code = textwrap.dedent(TRAINING.format(steps=steps))
            runner.start([sys.executable, "-c", code, str(runner.folder.events)], kind=kind, title=title, env=env)
            start.asked.append(arguments)
            start.devices.append(device)
            return runner

        start.asked, start.devices = [], []
        monkeypatch.setattr(training.logic, "start", start)
        return start

    return use


def test_the_panel_says_what_is_missing(training):
    training.ui.runsPathEdit.currentPath = ""
    assert not training.ui.startButton.enabled
    assert "folder for runs" in training.ui.startButton.toolTip
    training.ui.runsPathEdit.currentPath = "/tmp/somewhere"
    assert training.ui.startButton.enabled
    training.ui.runNameEdit.text = "../up"
    assert "plain name" in training.ui.startButton.toolTip
    training.ui.runNameEdit.text = "run-2"
    training.ui.cohortPathEdit.currentPath = "/nowhere/at/all"
    assert "does not exist" in training.ui.startButton.toolTip


def test_the_flow_model_takes_an_ecg_run_or_trains_one(training, fake, tmp_path):
    training.ui.stageSelector.currentIndex = training.ui.stageSelector.findText("flow")
    assert training.ui.startButton.enabled
    training.ui.ecgRunPathEdit.currentPath = str(tmp_path / "gone")
    assert "ECG encoder" in training.ui.startButton.toolTip
    training.ui.ecgRunPathEdit.currentPath = str(tmp_path)
    start = fake(1)
    training.ui.startButton.click()
    assert start.asked[0][start.asked[0].index("--ecg") + 1] == str(tmp_path)


def test_a_training_is_started_with_the_chosen_options_and_its_curves_grow(training, fake, host):
    start = fake(12)
    training._parameterNode.configuration = "smoke"
    training.ui.startButton.click()
    assert start.asked[0][:2] == ["train", "flow"]
    assert start.asked[0][start.asked[0].index("--config") + 1] == "smoke"
    assert training.ui.stopButton.enabled
    assert not training.ui.startButton.enabled
    host.wait_for(lambda: training.ui.showCurvesButton.enabled)
    training.ui.showCurvesButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    assert "done" in training.ui.statusLabel.text
    assert training.view.curves.values["loss"][1] == [1.0 / (step + 1) for step in range(12)]
    assert "score 0.5" in training.ui.metricsLabel.text
    chart = next(item for name, item in host.calls if name == "ShowChartInLayout")
    assert chart.GetNumberOfPlotSeriesNodes() == 2


def test_a_training_goes_on_when_the_panel_is_closed_and_is_found_again(training, fake, host):
    fake(60)
    training.ui.startButton.click()
    host.wait_for(lambda: training.view.curves.values)
    runner = training.view.monitor.runner
    host.close("COFTraining")
    assert runner.poll().state == "running"
    again = host.open("COFTraining")
    assert again.ui.jobSelector.count == 1
    again.ui.attachButton.click()
    host.wait_for(lambda: len(again.view.curves.values.get("loss", ([], []))[0]) > 3)
    assert again.view.curves.values["loss"][1][0] == 1.0  # from its beginning
    again.ui.stopButton.click()
    host.wait_for(lambda: not again.view.monitor.active)
    assert again.ui.statusLabel.text == "Stopped."


def test_jobs_run_the_command_line_with_both_libraries(training, host):
    """The real ``cof`` starts, finds the training side and answers."""
    runner = training.logic.start(training.view.path("runsPathEdit"), "check", "Check", ["cohort", "check", "/nowhere"])
    assert runner.wait(90) == "failed"
    job = json.loads((runner.folder.root / "job.json").read_text())
    assert "COFTrainingLib" in "".join(os.listdir(Path(LIBRARIES[1])))
    assert job["argv"][1:4] == ["-m", "COFTrainingLib", "cohort"]
    assert "Traceback" not in runner.folder.log.read_text()
    assert "/nowhere" in runner.reason


def test_a_check_shows_its_ledger(training, fake, host, tmp_path):
    fake(2)
    training.ui.cohortPathEdit.currentPath = str(tmp_path)
    training.ui.checkButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    assert "in order" in training.ui.statusLabel.text


def test_a_table_is_imported_and_the_ledger_of_its_check_is_a_table(training, host, tmp_path):
    """The real command line: a table of three subjects, one of whom has no files."""
    training.ui.cohortPathEdit.currentPath = str(tmp_path / "cohort")
    assert not training.ui.importButton.enabled
    assert "Choose what to import" in training.ui.importButton.toolTip
    rows = ["id,anchor,ecg,person", "a,a.nrrd,a.csv,p1", "b,b.nrrd,b.csv,p2", "c,c.nrrd,c.csv,p3"]
    (tmp_path / "subjects.csv").write_text("\n".join(rows) + "\n")
    for name in "ab":
        (tmp_path / f"{name}.nrrd").write_text("no image")
        (tmp_path / f"{name}.csv").write_text("no ECG")
    training.ui.importPathEdit.currentPath = str(tmp_path / "subjects.csv")
    training.ui.importButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    assert (tmp_path / "cohort").is_dir(), training.view.job_view.log_text()
    training.ui.checkButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    table = training.ui.ledgerTable
    cells = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]
    assert ["listed", "3", "3 persons"] in cells, training.view.job_view.log_text()
    assert ["used", "0"] in [row[:2] for row in cells]
    assert {row[0] for row in cells} >= {"a", "b"}
    assert training.ui.cohortSummaryLabel.text == ""
    assert "cannot be used" in training.ui.statusLabel.text


def test_every_kind_of_import_of_the_command_line_is_offered(training):
    import argparse

    from COFTrainingLib.commands import cohort_options

    verbs = argparse.ArgumentParser().add_subparsers()
    cohort_options.add_import(verbs)
    flags = {option for group in verbs.choices["import"]._mutually_exclusive_groups for option in group._group_actions}
    offered = {training.ui.importKindSelector.itemData(n) for n in range(training.ui.importKindSelector.count)}
    assert offered == {option.dest for option in flags}


def test_an_existing_run_is_resumed_and_not_started_over(training, tmp_path):
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    training.view.refresh()
    assert not training.ui.startButton.enabled
    assert "Resume" in training.ui.startButton.toolTip
    assert training.ui.resumeButton.enabled


def test_every_named_configuration_and_every_network_can_be_chosen(training):
    from COFTrainingLib.commands.train import KINDS
    from COFTrainingLib.ui.stages import STAGES

    offered = {training.ui.configurationSelector.itemText(n) for n in range(training.ui.configurationSelector.count)}
    assert offered == {path.stem for path in Path(LIBRARIES[1], "COFTrainingLib", "configurations").glob("*.toml")}
    stages = {training.ui.stageSelector.itemText(n) for n in range(training.ui.stageSelector.count)}
    assert stages == {*KINDS, "ecgflowcmr"} == set(STAGES)


def test_knobs_become_a_configuration_of_what_was_changed(training, fake, tmp_path):
    from COFTrainingLib.training.configurations import read_configuration

    training._parameterNode.configuration = "smoke"
    training.ui.stageSelector.currentIndex = training.ui.stageSelector.findText("flow")
    training.ui.stepsSpinBox.value = 77
    training.ui.rateSpinBox.value = 0.0005
    start = fake(1)
    training.ui.startButton.click()
    file = start.asked[0][start.asked[0].index("--config") + 1]
    assert file == str(tmp_path / "runs" / "run-1.toml")
    changed, base = read_configuration("flow", file), read_configuration("flow", "smoke")
    assert changed.expected_loop.steps == changed.flow_loop.steps == 77
    assert changed.expected_loop.learning_rate == pytest.approx(0.0005)
    assert changed.subjects == base.subjects


def test_the_device_and_the_command_are_remembered_and_used(training, host, tmp_path):
    training.ui.deviceSelector.currentIndex = training.ui.deviceSelector.findData("cpu")
    training.ui.commandTemplateEdit.text = f"{sys.executable} {tmp_path / 'elsewhere.py'} {{shell}}"
    (tmp_path / "elsewhere.py").write_text(
        "import pathlib, subprocess, sys\n"
        "pathlib.Path(__file__).with_name('asked').write_text(sys.argv[1])\n"
        "sys.exit(subprocess.run(['/bin/sh', '-c', sys.argv[1]]).returncode)\n"
    )
    (tmp_path / "no cohort").mkdir()
    training.ui.cohortPathEdit.currentPath = str(tmp_path / "no cohort")
    training.ui.checkButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    assert (tmp_path / "asked").is_file(), training.ui.statusLabel.text + training.view.job_view.log_text()
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("env PYTHONPATH=")
    assert "'" + str(tmp_path / "no cohort") + "'" in asked  # a path with a space is one word for the other shell
    host.close("COFTraining")
    again = host.open("COFTraining")
    assert again.ui.deviceSelector.currentData == "cpu"
    assert "elsewhere.py" in again.ui.commandTemplateEdit.text


def test_a_command_without_a_place_for_the_job_is_refused():
    from COFGeneratorLib.errors import JobError
    from COFTrainingLib.ui.commands import out_of, through_template

    assert through_template("srun --gres=gpu:1 {command}", ["a b", "c"]) == ["srun", "--gres=gpu:1", "a b", "c"]
    assert through_template("ssh gpu1 {shell}", ["a b", "c"]) == ["ssh", "gpu1", "'a b' c"]
    assert out_of(["python", "--out", "a b"]) == out_of(["ssh", "gpu1", "python --out 'a b' x"]) == Path("a b")
    assert out_of(["python", "--out"]) == Path()
    for wrong in ("ssh gpu1", "ssh 'gpu1 {shell}"):
        with pytest.raises(JobError, match="command"):
            through_template(wrong, ["a"])


def test_samples_of_a_run_arrive_as_a_sequence_and_numbers_as_words(training, host, a_result):
    from COFTrainingLib.ui.curve_picture import metric_words

    code = (
        "import sys\nfrom COFGeneratorLib.jobs.events import job_events\n"
        "with job_events(sys.argv[1]) as events:\n"
        "    for step in range(3):\n        events.metric('loss', 1.0 / (step + 1), step)\n"
        "    events.metric('gpu_mb', 1234.0, 3)\n    events.artifact('cine.seq.nrrd')\n"
    )
    runner = JobRunner(training.view.path("runsPathEdit") / "jobs" / "with-samples")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(LIBRARIES)}
    runner.start([sys.executable, "-c", code, str(runner.folder.events), "--out", str(a_result)], env=env)
    training.view._watch(runner)
    host.wait_for(lambda: not training.view.monitor.active)
    assert list(training.view.preview.paths) == ["cine"]
    assert training.ui.sampleSelector.currentText == "cine"
    training.ui.showPreviewButton.click()
    browser = training.view.preview.browser
    assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 6
    assert "synthetic" in browser.GetName()
    assert ("showSequenceBrowser", browser) in host.calls
    assert "GPU 1234 MB" in training.ui.metricsLabel.text
    assert not training.ui.curvesLabel.pixmap.isNull()
    assert metric_words({"samples_per_s": 12.34, "loss": 0.5}) == "12.3 examples/s · loss 0.5"


def test_a_training_tells_throughput_and_memory_to_who_watches(tmp_path):
    from COFGeneratorLib.jobs.events import EventWriter
    from COFGeneratorLib.jobs.session import Session
    from COFTrainingLib.commands.listening import listener

    writer = EventWriter(tmp_path / "events.jsonl")
    hear = listener(Session(writer, quiet=True), "teacher", 10)
    told = {"loss": 0.5, "samples_per_s": 12.0, "peak_memory_mb": 900.0, "eta_s": 60.0}
    hear({"event": "progress", "step": 2, "of": 10, **told})
    hear({"event": "progress", "step": 3, "of": 10, **told, "peak_memory_mb": None})
    writer.close()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    metrics = [(event["name"], event["value"]) for event in events if event["event"] == "metric"]
    assert metrics == [
        ("loss", 0.5), ("samples_per_s", 12.0), ("peak_memory_mb", 900.0), ("loss", 0.5), ("samples_per_s", 12.0),
    ]  # fmt: skip


def test_the_panel_opens_on_flow_and_says_what_each_training_is_for(training):
    assert training.ui.stageSelector.currentText == "flow"
    said = set()
    for index in range(training.ui.stageSelector.count):
        training.ui.stageSelector.currentIndex = index
        said.add(training.ui.stageHelpLabel.text)
    assert len(said) == training.ui.stageSelector.count
    assert "" not in said


def test_the_stages_of_the_engine_without_an_anchor_are_trained_and_exported(training, fake, host, tmp_path):
    from COFTrainingLib.commands.train_ecgflowcmr import STAGES
    from COFTrainingLib.training.ecgflowcmr.settings import read_settings

    training.ui.stageSelector.currentIndex = training.ui.stageSelector.findText("ecgflowcmr")
    assert training.ui.planeStageSelector.isVisibleTo(training.parent)
    assert not training.ui.configurationSelector.isVisibleTo(training.parent)
    selector, named = training.ui.planeStageSelector, training.ui.planeConfigurationSelector
    assert {selector.itemText(n) for n in range(selector.count)} == {*STAGES, "all"}
    for index in range(named.count):
        read_settings(named.itemText(index))
    selector.currentIndex = selector.findText("vae")
    start = fake(1)
    training.ui.startButton.click()
    asked = start.asked[0]
    assert asked[:2] == ["train", "ecgflowcmr"]
    assert asked[asked.index("--config") + 1] == "ecgflowcmr-small"
    assert asked[asked.index("--stage") + 1] == "vae"
    host.wait_for(lambda: not training.view.monitor.active)
    (tmp_path / "runs" / "run-1").mkdir()
    training.ui.bundlePathEdit.currentPath = str(tmp_path / "bundle")
    training.ui.exportButton.click()
    assert start.asked[1][:2] == ["ecgflowcmr", "export"]


def test_an_evaluation_is_of_the_test_split_by_chosen_protocols_on_a_chosen_device(
    training, fake, host, tmp_path, a_model
):
    from COFTrainingLib.evaluation.protocols.registry import chosen

    training.ui.cohortPathEdit.currentPath = str(tmp_path)
    training.ui.bundlePathEdit.currentPath = str(a_model)
    start = fake(1)
    training.ui.evaluateButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    asked = start.asked[0]
    assert (asked[asked.index("--split") + 1], asked[asked.index("--protocol") + 1]) == ("test", "cheap")
    training.ui.splitSelector.currentIndex = training.ui.splitSelector.findText("all")
    training.ui.protocolSelector.currentIndex = training.ui.protocolSelector.findData("function")
    training.ui.evaluationDeviceSelector.currentIndex = training.ui.evaluationDeviceSelector.findData("cpu")
    training.ui.evaluateButton.click()
    asked = start.asked[1]
    assert (asked[asked.index("--split") + 1], asked[asked.index("--protocol") + 1]) == ("all", "function")
    assert start.devices == ["auto", "cpu"]
    for index in range(training.ui.protocolSelector.count):
        assert chosen([training.ui.protocolSelector.itemData(index)])


def test_a_job_sees_the_device_it_was_given():
    from COFTrainingLib.ui.commands import GPUS, training_environment

    assert training_environment({}, "cpu")[GPUS] == "-1"
    assert training_environment({}, "cuda:1")[GPUS] == "1"
    assert GPUS not in training_environment({})


def test_curves_have_axes_that_hold_them():
    from COFTrainingLib.ui.curve_picture import finite, scale_of

    wide, flat = scale_of([0.01, 1.0]), scale_of([2.0, 2.0])
    assert wide.log
    assert (wide.share(0.01), wide.share(0.1), wide.share(1.0)) == pytest.approx((0.0, 0.5, 1.0))
    assert wide.middle() == pytest.approx(0.1)
    assert not flat.log
    assert 0.0 <= flat.share(2.0) <= 1.0
    assert scale_of([-1.0, 3.0]).middle() == 1.0
    assert finite(([1, 2, 3], [0.5, float("nan"), 0.25])) == ([1, 3], [0.5, 0.25])
