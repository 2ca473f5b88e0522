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
        def start(runs, kind, title, arguments, python=None):
            runner = JobRunner(Path(runs) / "jobs" / f"job-{len(find_jobs(Path(runs) / 'jobs'))}")
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(LIBRARIES)}
            code = textwrap.dedent(TRAINING.format(steps=steps))
            runner.start([sys.executable, "-c", code, str(runner.folder.events)], kind=kind, title=title, env=env)
            start.asked.append(arguments)
            return runner

        start.asked = []
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


def test_the_flow_model_asks_for_the_ecg_run(training, tmp_path):
    training.ui.stageSelector.currentIndex = training.ui.stageSelector.findText("flow")
    assert "ECG encoder" in training.ui.startButton.toolTip
    training.ui.ecgRunPathEdit.currentPath = str(tmp_path)
    assert training.ui.startButton.enabled


def test_a_training_is_started_with_the_chosen_options_and_its_curves_grow(training, fake, host):
    start = fake(12)
    training._parameterNode.configuration = "smoke"
    training.ui.startButton.click()
    assert start.asked[0][:2] == ["train", "teacher"]
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
    assert job["argv"][1:4] == ["-m", "COFGeneratorLib", "cohort"]
    assert "Traceback" not in runner.folder.log.read_text()
    assert "/nowhere" in runner.reason


def test_a_check_shows_its_ledger(training, fake, host, tmp_path):
    fake(2)
    training.ui.cohortPathEdit.currentPath = str(tmp_path)
    training.ui.checkButton.click()
    host.wait_for(lambda: not training.view.monitor.active)
    assert "in order" in training.ui.statusLabel.text


def test_an_existing_run_is_resumed_and_not_started_over(training, tmp_path):
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    training.view.refresh()
    assert not training.ui.startButton.enabled
    assert "Resume" in training.ui.startButton.toolTip
    assert training.ui.resumeButton.enabled


def test_every_named_configuration_and_every_network_can_be_chosen(training):
    from COFTrainingLib.commands.train import KINDS

    offered = {training.ui.configurationSelector.itemText(n) for n in range(training.ui.configurationSelector.count)}
    assert offered == {path.stem for path in Path(LIBRARIES[1], "COFTrainingLib", "configurations").glob("*.toml")}
    assert {training.ui.stageSelector.itemText(n) for n in range(training.ui.stageSelector.count)} == set(KINDS)
