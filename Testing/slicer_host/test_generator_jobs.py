"""Generations that the COFGenerator panel starts: real child processes, progress, cancelling, failures, reloads."""

import sys
from pathlib import Path

import pytest
from COFGeneratorLib.jobs import process


def state(panel):
    return panel.view.state.name


def run(host, panel):
    panel.ui.generateButton.click()
    host.wait_for(lambda: state(panel) != "RUNNING")


def test_a_generation_runs_in_a_child_process_and_its_result_beats(ready, host):
    ready._parameterNode.frames = 6
    ready._parameterNode.seed = 11
    ready.ui.generateButton.click()
    assert state(ready) == "RUNNING"
    assert ready.ui.cancelButton.enabled
    assert not ready.ui.generateButton.enabled
    assert not ready.ui.inputsCollapsibleButton.enabled
    argv = ready.view.generation.runner.folder.read(ready.view.generation.runner.folder.job)["argv"]
    host.wait_for(lambda: state(ready) != "RUNNING")
    assert state(ready) == "DONE", ready.ui.statusLabel.text
    browser = ready._parameterNode.resultBrowser
    assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 6
    assert browser.GetPlaybackActive()
    assert browser.GetName() == "P01 synthetic cine browser"
    assert argv[argv.index("--seed") + 1] == "11"
    assert argv[argv.index("--frames") + 1] == "6"
    assert argv[argv.index("--model") + 1].endswith("a-model")
    assert ready.ui.functionTableView.mrmlTableNode() is browser.GetNodeReference("COF.Function")
    assert ready.ui.playWidget.browser is browser
    assert ("showSequenceBrowser", browser) in host.calls
    assert "This heart is a ring." in ready.ui.statusLabel.text
    assert ready.ui.inputsCollapsibleButton.enabled
    assert not ready.ui.cancelButton.enabled


def job_folders(host):
    """Return the folders of generations under the application's temporary path, which outlives a panel."""
    return set((Path(host.slicer.app.temporaryPath) / "cof").glob("generate-*"))


def test_nothing_of_the_job_stays_on_disk_and_the_result_does_not_need_it(ready, host):
    before = job_folders(host)  # failed jobs of other panels keep theirs, for their logs
    ready.ui.generateButton.click()
    assert job_folders(host) - before, "the job had no folder to leave behind"
    host.wait_for(lambda: state(ready) != "RUNNING")
    assert job_folders(host) == before
    sequence = ready._parameterNode.resultBrowser.GetMasterSequenceNode()
    assert sequence.GetStorageNode() is None


def test_a_second_run_gives_a_second_result(ready, host):
    run(host, ready)
    first = ready._parameterNode.resultBrowser
    run(host, ready)
    assert ready._parameterNode.resultBrowser is not first
    ready.ui.resultSelector.setCurrentNode(first)
    assert ready.view.result.nodes.browser is first
    assert ready.ui.resultSelector.currentText == first.GetName()


def test_progress_is_shown_in_words(ready, host, monkeypatch):
    monkeypatch.setenv("COF_FAKE", "slow")
    ready.ui.generateButton.click()
    host.wait_for(lambda: "Generating motion" in ready.ui.statusLabel.text)
    host.wait_for(lambda: "left" in ready.ui.statusLabel.text)
    assert ready.ui.progressBar.visible or not ready.parent.visible
    ready.ui.cancelButton.click()
    host.wait_for(lambda: state(ready) != "RUNNING")
    assert ready.ui.statusLabel.text == "Stopped."
    assert ready._parameterNode.resultBrowser is None
    assert ready.ui.generateButton.enabled


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX process groups")
def test_cancel_ends_the_whole_tree_of_a_job_that_does_not_listen(ready, host, monkeypatch):
    monkeypatch.setenv("COF_FAKE", "deaf")
    ready.ui.generateButton.click()
    pids_file = ready.view.generation.runner.folder.root / "pids"
    host.wait_for(lambda: pids_file.is_file() and len(pids_file.read_text().split()) == 2)
    pids = [int(pid) for pid in pids_file.read_text().split()]
    ready.view.generation.runner.cancel(grace_s=0.3)
    host.wait_for(lambda: state(ready) != "RUNNING")
    host.wait_for(lambda: not any(process.start_time(pid) for pid in pids))


def test_closing_the_scene_stops_the_job_and_leaves_a_working_panel(ready, host, inputs, monkeypatch):
    monkeypatch.setenv("COF_FAKE", "slow")
    ready.ui.generateButton.click()
    runner = ready.view.generation.runner
    host.wait_for(lambda: runner.state == "running")
    pid = runner.pid
    host.scene.Clear(0)
    assert process.start_time(pid) is None
    assert state(ready) == "EMPTY"
    assert ready._parameterNode is not None
    assert ready._parameterNode.resultBrowser is None
    monkeypatch.delenv("COF_FAKE")
    ready._parameterNode.anchorVolume, _ = inputs()
    run(host, ready)
    assert state(ready) == "DONE"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("fail", "A heart in view needs an LV cavity; found none. Check the volume."),
        ("crash", "exit code 3"),
        ("partial", "without making"),
    ],
)
def test_a_failure_is_shown_with_what_to_do_and_keeps_its_log(ready, host, monkeypatch, behaviour, words):
    monkeypatch.setenv("COF_FAKE", behaviour)
    run(host, ready)
    assert state(ready) == "FAILED"
    assert words in ready.ui.statusLabel.text
    assert ready.ui.openFolderButton.enabled
    assert ready.ui.generateButton.enabled  # it can be tried again
    monkeypatch.delenv("COF_FAKE")
    run(host, ready)
    assert state(ready) == "DONE"


def test_leaving_the_module_does_not_stop_the_job(ready, host):
    ready.ui.generateButton.click()
    ready.exit()
    host.wait_for(lambda: state(ready) != "RUNNING")
    ready.enter()
    assert state(ready) == "DONE"
    assert ready._parameterNode.resultBrowser is not None


def test_reloading_the_module_stops_the_job_and_gives_a_new_panel(ready, host, monkeypatch):
    monkeypatch.setenv("COF_FAKE", "slow")
    ready.ui.generateButton.click()
    runner = ready.view.generation.runner
    host.wait_for(lambda: runner.state == "running")
    host.slicer.util.reloadScriptedModule("COFGenerator")
    assert process.start_time(runner.pid) is None
    new = host.shown["COFGenerator"]
    assert new is not ready
    assert new._parameterNode.anchorVolume is not None
