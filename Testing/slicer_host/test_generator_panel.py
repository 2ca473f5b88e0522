"""The COFGenerator panel on real MRML, its real .ui file and real child processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


def state(panel):
    return panel.view.state.name


def run(host, panel):
    panel.ui.generateButton.click()
    host.wait_for(lambda: state(panel) != "RUNNING")


def test_the_panel_opens_and_every_parameter_has_its_widget(panel):
    assert set(panel._parameterNode.allParameters) == {
        widget.property("SlicerParameterName")
        for widget in panel.ui.__dict__.values()
        if widget.property("SlicerParameterName")
    }


def test_choices_go_both_ways_between_panel_and_scene(panel, inputs):
    anchor, _ = inputs()
    panel.ui.anchorSelector.setCurrentNode(anchor)
    assert panel._parameterNode.anchorVolume is anchor
    panel.ui.framesSpinBox.value = 24
    assert panel._parameterNode.frames == 24
    panel._parameterNode.seed = 7
    assert panel.ui.seedSpinBox.value == 7


def test_generate_can_be_pressed_only_with_valid_input_and_says_why_not(panel, inputs, host, a_model):
    button = panel.ui.generateButton
    panel.view.computer.add_model(str(a_model))
    assert not button.enabled
    assert "anchor" in button.toolTip
    anchor, ecg = inputs()
    panel._parameterNode.anchorVolume = anchor
    assert not button.enabled
    assert "ECG" in button.toolTip
    panel.ui.ecgPathEdit.currentPath = ecg + ".gone"
    assert not button.enabled
    assert "does not exist" in button.toolTip
    panel.ui.ecgPathEdit.currentPath = ecg
    panel.view.ecg.close()
    assert button.enabled
    moved = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    anchor.SetAndObserveTransformNodeID(moved.GetID())
    panel.view.refresh()
    assert not button.enabled
    assert "Harden" in button.toolTip
    assert panel.ui.statusLabel.text == button.toolTip  # said where it is seen, too


def test_missing_packages_are_named_and_block_generation(ready, tmp_path):
    needs = tmp_path / "needs.txt"
    needs.write_text("a-package-that-nobody-has>=9\n")
    ready.view.computer._requirements = needs
    ready.view.computer._show_packages()
    ready.view.refresh()
    assert not ready.ui.generateButton.enabled
    assert "a-package-that-nobody-has" in ready.ui.generateButton.toolTip
    assert ready.ui.installButton.enabled


def test_a_saved_scene_brings_choices_and_result_back(ready, host, tmp_path):
    ready._parameterNode.frames = 6
    run(host, ready)
    host.scene.SetRootDirectory(str(tmp_path))
    assert host.scene.WriteToMRB(str(tmp_path / "saved.mrb"))
    host.scene.Clear(0)
    assert ready.view.result.nodes is None
    assert host.scene.ReadFromMRB(str(tmp_path / "saved.mrb"), False)
    host.process_events()
    assert ready._parameterNode.frames == 6
    assert ready._parameterNode.anchorVolume.GetName() == "P01"
    nodes = ready.view.result.nodes
    assert nodes is not None
    assert nodes.cine.GetNumberOfDataNodes() == 6
    assert ready.ui.functionTableView.mrmlTableNode() is nodes.function


def test_a_saved_scene_holds_no_path_of_this_computer(ready, host, tmp_path):
    run(host, ready)
    (tmp_path / "root").mkdir()
    host.scene.SetRootDirectory(str(tmp_path / "root"))
    host.scene.SetURL(str(tmp_path / "root" / "scene.mrml"))
    host.scene.Commit()
    text = (tmp_path / "root" / "scene.mrml").read_text()
    assert str(tmp_path / "ecg.csv") not in text
    assert host.slicer.app.temporaryPath not in text


def test_a_segmentation_is_sent_along_with_its_mapping(ready, host):
    from COFGeneratorLib.scene import volumes

    labels = host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    codes = np.zeros((6, 40, 44), np.uint8)
    codes[1:5, 10:30, 10:30], codes[2:4, 15:25, 15:25], codes[2:4, 12:20, 32:40] = 2, 1, 3
    labels.SetAndObserveImageData(volumes.image_data(codes))
    labels.SetIJKToRASMatrix(volumes.matrix_to_vtk(np.diag([1.5, 1.5, 8.0, 1.0])))
    ready._parameterNode.anchorLabels = labels
    assert ready._parameterNode.labelMapping == "lv=1, myo=2, rv=3"
    ready.ui.labelMappingEdit.text = "lv=5"
    assert not ready.ui.generateButton.enabled
    assert "one of: 1, 2, 3" in ready.ui.generateButton.toolTip
    ready.ui.labelMappingEdit.text = "lv=1, myo=2"
    ready.ui.generateButton.click()
    argv = ready.view.generation.runner.folder.read(ready.view.generation.runner.folder.job)["argv"]
    assert argv[argv.index("--label-map") + 1] == "lv=1,myo=2"
    assert Path(argv[argv.index("--labels") + 1]).is_file()
    host.wait_for(lambda: state(ready) == "DONE")


def test_an_ecg_table_replaces_the_file_and_the_other_way_round(ready, host):
    run(host, ready)
    table = ready.view.result.nodes.ecg_12
    ready._parameterNode.ecgTable = table
    assert ready.view.ecg_path == ""
    assert ready.ui.generateButton.enabled
    run(host, ready)
    assert state(ready) == "DONE"
    one_lead = host.scene.AddNewNodeByClass("vtkMRMLTableNode", "One lead")
    one_lead.Copy(ready.view.result.nodes.ecg)
    ready._parameterNode.ecgTable = one_lead
    assert "12 leads" in ready.ui.generateButton.toolTip


def test_a_frame_of_a_cine_can_be_the_anchor(ready, host):
    run(host, ready)
    assert ready.ui.anchorFrameWidget.browser is None
    nodes = ready.view.result.nodes
    ready._parameterNode.anchorVolume = nodes.proxy("cine")
    assert ready.ui.anchorFrameWidget.browser is nodes.browser
    assert ready.ui.generateButton.enabled


def test_the_chart_line_follows_playback(ready, host):
    from COFGeneratorLib.scene.tables import number_column

    run(host, ready)
    nodes = ready.view.result.nodes
    nodes.browser.SetSelectedItemNumber(4)
    assert number_column(nodes.cursor, "time")[0] == pytest.approx(float(nodes.cine.GetNthIndexValue(4)), abs=1e-3)
    ready.ui.showChartButton.click()
    assert ("ShowChartInLayout", nodes.chart) in host.calls


def test_dropped_files_come_as_urls(ready):
    path = ready.view.ecg_path
    ready.ui.ecgPathEdit.currentPath = Path(path).as_uri()
    ready.view.ecg.close()
    assert ready.view.ecg_path == path
    assert ready.ui.generateButton.enabled


def test_the_logic_generates_without_a_panel(ready, host):
    events = []
    browser = ready.logic.generate(
        ready._parameterNode.anchorVolume, ready.view.ecg_path, frames=6, progressCallback=events.append
    )
    assert browser.IsA("vtkMRMLSequenceBrowserNode")
    assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 6
    assert {"progress", "done"} <= {event["event"] for event in events}


def test_the_logic_raises_what_went_wrong(ready, monkeypatch):
    from COFGeneratorLib.errors import JobError, SceneError

    node = ready._parameterNode
    with pytest.raises(SceneError, match="ECG file"):
        ready.logic.generate(node.anchorVolume, "/nowhere/ecg.xml")
    monkeypatch.setenv("COF_FAKE", "fail")
    with pytest.raises(JobError, match="LV cavity"):
        ready.logic.generate(node.anchorVolume, ready.view.ecg_path)


def test_the_ecg_is_read_in_a_child_process_and_described(panel, ecg_in_a_child, inputs, host, monkeypatch):
    """By a relative path, which is found although the child runs elsewhere."""
    _, ecg = inputs()
    monkeypatch.chdir(Path(ecg).parent)
    panel.ui.ecgPathEdit.currentPath = Path(ecg).name
    assert "Reading" in panel.ui.ecgSummaryLabel.text
    host.wait_for(lambda: "Reading" not in panel.ui.ecgSummaryLabel.text)
    assert "HR 71" in panel.ui.ecgSummaryLabel.text, panel.ui.ecgSummaryLabel.text
    assert not panel.ui.ecgPlotLabel.pixmap.isNull()


def test_a_file_that_is_no_ecg_is_explained(panel, ecg_in_a_child, tmp_path, host):
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague,")
    panel.ui.ecgPathEdit.currentPath = str(path)
    host.wait_for(lambda: "Reading" not in panel.ui.ecgSummaryLabel.text)
    assert panel.ui.ecgSummaryLabel.text
    assert panel.ui.ecgPlotLabel.pixmap.isNull() or not panel.view.ecg.facts


def test_this_computer_can_be_checked(panel, host):
    panel.ui.probeButton.click()
    assert not panel.ui.probeButton.enabled
    host.wait_for(lambda: panel.ui.probeButton.enabled)
    assert "torch" in panel.ui.dependenciesLabel.text
    names = [panel.ui.deviceSelector.itemData(index) for index in range(panel.ui.deviceSelector.count)]
    assert names[:2] == ["auto", "cpu"]


def test_choices_of_the_machine_are_remembered_outside_the_scene(panel, host, a_model):
    panel.view.computer.add_model(str(a_model))
    panel.ui.deviceSelector.currentIndex = panel.ui.deviceSelector.findData("cpu")
    assert panel.view.computer.environment()["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ or os.environ["CUDA_VISIBLE_DEVICES"] != "-1"
    host.close("COFGenerator")
    again = host.open("COFGenerator")
    assert again.view.computer.model == str(a_model)
    assert again.view.computer.device == "cpu"
    assert "Test model" in again.ui.modelCardLabel.text


def test_loading_a_module_is_light_and_opening_its_panel_is_free_of_torch():
    """In a process of its own, because other tests import torch into this one."""
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import host
stand_in = host.start()
for name in ("COFGenerator", "COFTraining"):
    stand_in.load(name)
seldom = {{"scipy", "pydicom", "wfdb", "PIL", "jinja2", "COFGeneratorLib.ui.generator_view"}}
print("LOADED", sorted(seldom & set(sys.modules)))
for name in ("COFGenerator", "COFTraining"):
    stand_in.open(name)
print("HEAVY", sorted({{"torch", "monai", "neurokit2", "SimpleITK", "matplotlib", "pandas"}} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "COFGenerator")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, env=environment, timeout=120
    )
    assert "LOADED []" in done.stdout
    assert "HEAVY []" in done.stdout
