"""A result in the panel and on the desktop: EF first, the heart's own views, what if, other labels, a study."""

import json
import shutil

import numpy as np
import pytest
from COFGeneratorLib.scene import cardiac_layout as layout

TALL_PX, WIDE_PX = 900, 420


def run(host, panel, button=None):
    (button or panel.ui.generateButton).click()
    argv = panel.view.generation.runner.folder.read(panel.view.generation.runner.folder.job)["argv"]
    host.wait_for(lambda: panel.view.state.name != "RUNNING")
    assert panel.view.state.name == "DONE", panel.ui.statusLabel.text
    return argv


@pytest.fixture
def stated(a_result, tmp_path, monkeypatch):
    """Let generations give a result whose EF has an interval and a note, and whose strain is known."""
    folder = tmp_path / "stated"
    shutil.copytree(a_result, folder)
    facts = json.loads((folder / "function.json").read_text())
    facts |= {
        "ef_percent": 55.4, "ef_interval_percent": [48.6, 61.2], "ef_statement": "widened",
        "ef_notes": ["Calibrated on <synthetic> patients."],
        "strain": {"es_circumferential_percent": -21.34, "es_radial_percent": None},
    }  # fmt: skip
    (folder / "function.json").write_text(json.dumps(facts))
    monkeypatch.setenv("COF_FAKE_RESULT", str(folder))


@pytest.fixture(autouse=True)
def users_layout(host):
    """Begin each test with a layout of the user's."""
    host.layout_node.SetViewArrangement(host.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)


def test_a_result_opens_in_the_hearts_views_and_the_users_come_back(ready, host):
    mine = host.layout_node.GetViewArrangement()
    assert not ready.ui.restoreViewsButton.enabled
    run(host, ready)
    assert host.layout_node.GetViewArrangement() == layout.LAYOUT
    nodes = ready.view.result.nodes
    for tag in (layout.SHORT_AXIS, layout.HORIZONTAL, layout.VERTICAL):
        composite = host.slice_logics[tag].GetSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == nodes.proxy("cine").GetID()
        assert composite.GetLabelVolumeID() == nodes.proxy("labels").GetID()
    ready.ui.showLabelsCheckBox.checked = False
    assert host.slice_logics[layout.SHORT_AXIS].GetSliceCompositeNode().GetLabelVolumeID() is None
    ready.ui.restoreViewsButton.click()
    assert host.layout_node.GetViewArrangement() == mine
    assert not ready.ui.restoreViewsButton.enabled
    ready.ui.showHeartButton.click()
    assert host.layout_node.GetViewArrangement() == layout.LAYOUT
    assert ready.ui.restoreViewsButton.enabled
    host.scene.Clear(0)  # nothing is left to show
    assert host.layout_node.GetViewArrangement() == mine


def test_the_ejection_fraction_stands_first_and_is_seen_without_scrolling(ready, host, stated):
    run(host, ready)
    ready.parent.resize(WIDE_PX, TALL_PX)
    ready.parent.show()
    host.process_events(200)
    words = ready.ui.efValueLabel.text
    assert "55 %" in words
    assert "49 – 61 %" in words
    assert "Calibrated on &lt;synthetic&gt; patients." in ready.ui.efNotesLabel.text
    assert "with reserve" in ready.ui.efNotesLabel.text
    assert ready.ui.efNotesLabel.text.startswith("Synthetic")
    bottom = ready.ui.efNotesLabel.mapTo(ready.parent, ready.ui.efNotesLabel.rect.bottomLeft()).y()
    assert bottom < TALL_PX
    table = ready.ui.functionTableView
    assert not table.verticalScrollBar().visible
    assert table.height >= sum(table.rowHeight(row) for row in range(table.model().rowCount()))
    shown = {table.model().index(row, 0).data(): table.model().index(row, 1).data()
             for row in range(table.model().rowCount())}  # fmt: skip
    assert shown["Circumferential strain"] == "-21.3"
    assert "Radial strain" not in shown


def test_sample_patient_and_generate_come_before_all_that_is_seldom_needed(panel):
    order = ["sampleButton", "anchorSelector", "ecgPathEdit", "generateButton", "efValueLabel", "functionTableView",
             "compareCollapsibleButton", "modelCollapsibleButton", "advancedCollapsibleButton"]  # fmt: skip
    panel.parent.resize(WIDE_PX, TALL_PX)
    panel.parent.show()
    places = [getattr(panel.ui, name).mapTo(panel.parent, getattr(panel.ui, name).rect.topLeft()).y() for name in order]
    assert places == sorted(places)


def test_the_panel_opens_with_two_clicks_to_the_sample_patients_heart(panel, host, a_model):
    panel.view.computer.add_model(str(a_model))
    panel.ui.sampleButton.click()
    assert panel.ui.generateButton.enabled, panel.ui.generateButton.toolTip
    run(host, panel)
    assert host.layout_node.GetViewArrangement() == layout.LAYOUT


def test_what_if_asks_for_another_heart_and_another_draw(ready, host):
    host.wait_for(lambda: ready.view.ecg.facts)
    assert ready.ui.hrSpinBox.specialValueText == "the ECG's, 71 bpm"
    ready.ui.efSpinBox.value = 35
    argv = run(host, ready, ready.ui.whatIfButton)
    assert argv[argv.index("--ef") + 1] == "35"
    assert "--draw" not in argv
    argv = run(host, ready, ready.ui.drawAnotherButton)
    assert "--draw" in argv
    assert argv[argv.index("--seed") + 1] == "0"
    argv = run(host, ready, ready.ui.drawAnotherButton)
    assert argv[argv.index("--seed") + 1] == "1"
    ready.ui.engineSelector.currentIndex = ready.ui.engineSelector.findText("ECG alone")
    assert not ready.ui.whatIfBox.isVisibleTo(ready.parent)


def test_labels_that_the_model_found_are_corrected_in_the_segment_editor(ready, host):
    assert not ready.ui.editLabelsButton.enabled
    run(host, ready)
    assert ready.ui.editLabelsButton.enabled
    ready.ui.editLabelsButton.click()
    assert host.messages == []
    node = ready._parameterNode.anchorLabels
    assert node.IsA("vtkMRMLSegmentationNode")
    segments = node.GetSegmentation()
    names = [segments.GetNthSegment(index).GetName() for index in range(segments.GetNumberOfSegments())]
    assert names == ["LV cavity", "LV myocardium", "RV cavity"]
    assert ("selectModule", "SegmentEditor") in host.calls
    assert ("setSegmentationNode", node) in host.calls
    assert ("setSourceVolumeNode", ready._parameterNode.anchorVolume) in host.calls
    assert ready._parameterNode.labelMapping == "lv=LV cavity, myo=LV myocardium, rv=RV cavity"
    argv = run(host, ready)
    assert argv[argv.index("--label-map") + 1] == "lv=1,myo=2,rv=3"


def test_a_label_map_with_codes_of_its_own_keeps_what_they_mean(ready, host):
    from COFGeneratorLib.scene import volumes

    labels = host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "ACDC labels")
    codes = np.zeros((6, 40, 44), np.uint8)
    codes[1:5, 10:30, 10:30], codes[2:4, 15:25, 15:25], codes[2:4, 12:20, 32:40] = 2, 3, 1
    labels.SetAndObserveImageData(volumes.image_data(codes))
    labels.SetIJKToRASMatrix(volumes.matrix_to_vtk(np.diag([1.5, 1.5, 8.0, 1.0])))
    ready._parameterNode.anchorLabels = labels
    ready.ui.labelMappingEdit.text = "lv=3, myo=2, rv=1"
    ready.ui.editLabelsButton.click()
    assert host.messages == []
    segmentation = ready._parameterNode.anchorLabels.GetSegmentation()
    values = {segmentation.GetNthSegment(index).GetName(): segmentation.GetNthSegment(index).GetLabelValue()
              for index in range(segmentation.GetNumberOfSegments())}  # fmt: skip
    assert values == {"LV cavity": 3, "LV myocardium": 2, "RV cavity": 1}


def test_an_acquisition_of_a_study_is_chosen_and_becomes_the_anchor(panel, host, monkeypatch):
    from COFGeneratorLib.anatomy import CineStack
    from COFGeneratorLib.errors import SceneError
    from COFGeneratorLib.jobs import JobState
    from COFGeneratorLib.scene import study

    asked = []
    listed = [
        {"name": "series 7 (cine, 6 slices × 4 phases)", "series": "7", "why_not": ""},
        {"name": "series 9 (perfusion)", "series": "9", "why_not": "perfusion, no plain cine"},
    ]

    def start(runner, command, *, out, **_options):
        asked.append(command)
        folder = runner.folder.result / out
        folder.mkdir(parents=True)
        if "--series" in command:
            frames = np.random.default_rng(0).integers(0, 900, (4, 6, 40, 44)).astype(np.float32)
            study.write_acquisition(
                CineStack(frames, np.diag([1.5, 1.5, 8.0, 1.0]), (0.0, 200.0, 400.0, 600.0)), folder
            )
        else:
            (folder / study.LIST_FILE).write_text(json.dumps(listed))
        runner.state = JobState.SUCCEEDED
        return runner

    monkeypatch.setattr(study, "start_child", start)
    assert not panel.ui.acquisitionSelector.isVisibleTo(panel.parent)
    panel.view.study.open(str(host.modules["COFGenerator"]))
    host.wait_for(lambda: panel.ui.acquisitionSelector.count == 1)
    assert panel.ui.acquisitionSelector.isVisibleTo(panel.parent)
    panel.ui.loadAcquisitionButton.click()
    host.wait_for(lambda: panel._parameterNode.anchorVolume is not None)
    assert asked[1][-2:] == ["--series", "7"]
    assert panel._parameterNode.anchorVolume.GetName() == "series 7"
    assert panel.ui.anchorFrameWidget.isVisibleTo(panel.parent)  # it is a frame of a cine
    with pytest.raises(SceneError, match="none at '/nowhere'"):
        panel.logic.startStudy("/nowhere")
