"""What a hurried user does: wrong files, deleted nodes, several results, scenes closed and opened at any moment."""

import sys

import numpy as np
import pytest
from COFGeneratorLib.scene import cardiac_layout as layout
from COFGeneratorLib.scene import surfaces
from COFGeneratorLib.scene.bootstrap import nodes_of_class

BUTTONS = ("showHeartButton", "showCineButton", "showChartButton", "show3dButton", "restoreViewsButton")


@pytest.fixture(autouse=True)
def complaints(host, monkeypatch):
    """Collect what slots raise, which Qt would only print; nothing may be left at the end of a test."""
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(repr(error)))
    host.layout_node.SetViewArrangement(host.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    yield raised
    assert raised == []


def run(host, panel):
    panel.ui.generateButton.click()
    host.wait_for(lambda: panel.view.state.name != "RUNNING")
    assert panel.view.state.name == "DONE", panel.ui.statusLabel.text
    return panel.view.result.nodes


def press_everything(host, panel):
    for name in BUTTONS:
        getattr(panel.ui, name).click()
    panel.ui.showLabelsCheckBox.click()
    panel.ui.showLabelsCheckBox.click()
    host.process_events()


def visible(host, nodes):
    return [bool(model.GetDisplayNode().GetVisibility()) for model in surfaces.surfaces_of(host.scene, nodes)]


def test_of_two_results_one_is_seen_and_heard_at_a_time(ready, host):
    first = run(host, ready)
    second = run(host, ready)
    assert first.browser is not second.browser
    assert visible(host, first) == [False] * 3
    assert visible(host, second) == [True] * 3
    assert not first.browser.GetPlaybackActive()
    ready.ui.resultSelector.setCurrentNode(first.browser)  # in the heart's views the choice is what is shown
    assert visible(host, first) == [True] * 3
    assert visible(host, second) == [False] * 3
    composite = host.slice_logics[layout.SHORT_AXIS].GetSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == first.proxy("cine").GetID()
    assert not second.browser.GetPlaybackActive()


def test_choosing_a_result_leaves_views_of_the_users_own_alone(ready, host):
    first = run(host, ready)
    run(host, ready)
    ready.ui.restoreViewsButton.click()
    mine = host.layout_node.GetViewArrangement()
    ready.ui.resultSelector.setCurrentNode(first.browser)
    assert host.layout_node.GetViewArrangement() == mine


@pytest.mark.parametrize("part", ["cine", "labels", "motion", "function", "volumes", "cursor", "chart", "beat", "ecg"])
def test_any_node_of_a_result_can_be_deleted(ready, host, part):
    nodes = run(host, ready)
    host.scene.RemoveNode(getattr(nodes, part))
    press_everything(host, ready)
    host.messages.clear()
    run(host, ready)
    press_everything(host, ready)
    assert host.messages == []


@pytest.mark.parametrize("part", ["cine", "labels", "surface"])
def test_what_is_shown_can_be_deleted_and_comes_back(ready, host, part):
    nodes = run(host, ready)
    shown = surfaces.surfaces_of(host.scene, nodes)[0] if part == "surface" else nodes.proxy(part)
    host.scene.RemoveNode(shown)
    host.process_events()
    press_everything(host, ready)
    ready.ui.showHeartButton.click()
    nodes.show_frame(2)
    assert host.messages == []
    assert nodes.proxy("cine") is not None
    assert nodes.proxy("labels") is not None
    assert not nodes.proxy("cine").GetDisplayNode().GetAutoWindowLevel()
    assert all(model is not None for model in surfaces.surfaces_of(host.scene, nodes))


def test_the_browser_of_a_result_can_be_deleted(ready, host):
    nodes = run(host, ready)
    host.scene.RemoveNode(nodes.browser)
    host.process_events()
    assert ready.view.result.nodes is None
    assert ready.ui.efValueLabel.text == ""
    press_everything(host, ready)
    run(host, ready)


def test_the_anchor_can_be_deleted_while_its_heart_is_generated(ready, host, monkeypatch):
    monkeypatch.setenv("COF_FAKE", "slow")
    ready.ui.generateButton.click()
    host.scene.RemoveNode(ready._parameterNode.anchorVolume)
    host.process_events()
    assert ready.view.state.name == "RUNNING"
    ready.ui.cancelButton.click()
    host.wait_for(lambda: ready.view.state.name != "RUNNING")
    assert not ready.ui.generateButton.enabled
    assert "volume" in ready.ui.generateButton.toolTip


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(64), b"1,2,3\n4,5,6\n", "ECG: naïve".encode()])
def test_a_wrong_file_as_ecg_is_said_and_blocks_nothing_else(ready, host, ecg_in_a_child, tmp_path, content):
    file = tmp_path / "wrong.csv"
    file.write_bytes(content)
    right = ready.ui.ecgPathEdit.currentPath
    ready.ui.ecgPathEdit.currentPath = str(file)
    host.wait_for(lambda: "Reading" not in ready.ui.ecgSummaryLabel.text)
    assert not ready.ui.generateButton.enabled
    assert ready.ui.ecgSummaryLabel.text in ready.ui.generateButton.toolTip
    assert "expected" in ready.ui.ecgSummaryLabel.text.lower() or "found" in ready.ui.ecgSummaryLabel.text.lower()
    ready.ui.ecgPathEdit.currentPath = str(tmp_path)  # a folder
    assert not ready.ui.generateButton.enabled
    ready.ui.ecgPathEdit.currentPath = right
    host.wait_for(lambda: "Reading" not in ready.ui.ecgSummaryLabel.text)
    run(host, ready)


def test_a_scene_is_saved_in_the_hearts_views_and_opened_again(ready, host, tmp_path):
    nodes = run(host, ready)
    host.scene.SetRootDirectory(str(tmp_path))
    assert host.scene.WriteToMRB(str(tmp_path / "saved.mrb"))
    count = len(surfaces.surfaces_of(host.scene, nodes))
    host.scene.Clear(0)
    assert host.scene.ReadFromMRB(str(tmp_path / "saved.mrb"), False)
    host.process_events()
    nodes = ready.view.result.nodes
    models = surfaces.surfaces_of(host.scene, nodes)
    assert len(models) == count
    ready.ui.showHeartButton.click()
    assert surfaces.surfaces_of(host.scene, nodes) == models
    widths = []
    for frame in (0, 3):
        nodes.show_frame(frame)
        bounds = np.zeros(6)
        next(model for model in models if "LV cavity" in model.GetName()).GetRASBounds(bounds)
        widths.append(bounds[1] - bounds[0])
    assert widths[1] < widths[0] - 4.0
    press_everything(host, ready)
    assert host.messages == []


def test_a_result_of_the_command_line_is_opened_in_the_panel(panel, host, a_result):
    assert host.scene.ReadFromMRB(str(a_result / "scene.mrb"), False)
    host.process_events()
    (browser,) = nodes_of_class(host.scene, "vtkMRMLSequenceBrowserNode")
    panel.ui.resultSelector.setCurrentNode(browser)
    panel.ui.showHeartButton.click()
    assert layout.is_shown(host.scene)
    assert "%" in panel.ui.efValueLabel.text
    press_everything(host, panel)
    assert host.messages == []
