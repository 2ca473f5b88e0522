"""What the COFGenerator panel offers beyond a generation: beats, region, registration, saving, comparing, 3-D."""

import json
from pathlib import Path

import numpy as np
import pytest


def run(host, panel):
    panel.ui.generateButton.click()
    asked = panel.view.generation.runner
    argv = asked.folder.read(asked.folder.job)["argv"]
    host.wait_for(lambda: panel.view.state.name != "RUNNING")
    assert panel.view.state.name == "DONE", panel.ui.statusLabel.text
    return argv


def press(host, widget, x, y):
    from PySide6 import QtCore, QtGui, QtWidgets

    at = QtCore.QPointF(x, y)
    event = QtGui.QMouseEvent(
        QtCore.QEvent.MouseButtonPress, at, at, QtCore.Qt.LeftButton, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier
    )
    QtWidgets.QApplication.sendEvent(widget, event)
    host.process_events()


def real_cine(host, frames, matrix, unit="ms", labels=None):
    """Add a real cine as Slicer loads one; return its browser."""
    from COFGeneratorLib.scene import attributes, volumes
    from COFGeneratorLib.scene.bootstrap import update_proxies

    indices = attributes.index_strings(np.arange(len(frames)) * 40.0)
    sequence = volumes.volume_sequence(host.scene, "Real", frames.astype(np.int16), indices, matrix)
    sequence.SetIndexUnit(unit)
    browser = host.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Real browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    if labels is not None:
        masks = volumes.volume_sequence(host.scene, "Real labels", labels, indices, matrix, labels=True)
        browser.AddSynchronizedSequenceNodeID(masks.GetID())
    update_proxies(browser)
    return browser


def test_a_beat_is_chosen_by_a_click_or_a_number_and_drives_the_generation(ready, host):
    host.wait_for(lambda: ready.view.ecg.plot is not None)
    plot, beats = ready.view.ecg.plot, ready.view.ecg.beats
    assert len(beats) == 12
    assert "chosen by the analysis" in ready.ui.ecgSummaryLabel.text
    before = ready.ui.ecgPlotLabel.pixmap.toImage()
    width = ready.ui.ecgPlotLabel.pixmap.width()
    for wanted in (4, 9):
        middle_ms = beats[wanted]["r_ms"] + 0.5 * beats[wanted]["rr_ms"]
        press(host, ready.ui.ecgPlotLabel, 30 + (width - 34) * middle_ms / 10000.0, plot.height - 30)
        assert ready._parameterNode.beat == wanted
        assert ready.ui.beatSpinBox.value == wanted
        assert f"Beat {wanted} (of 0 to 10)" in ready.ui.ecgSummaryLabel.text
    assert ready.ui.ecgPlotLabel.pixmap.toImage() != before
    press(host, ready.ui.ecgPlotLabel, 100, 20)  # a lead, not the rhythm strip
    assert ready._parameterNode.beat == 9
    argv = run(host, ready)
    assert argv[argv.index("--beat") + 1] == "9"
    ready.ui.beatSpinBox.value = -1
    assert "--beat" not in run(host, ready)


def test_when_the_anchor_was_taken_is_said_to_the_generation(ready, host):
    assert ready.ui.anchorPhaseSpinBox.value == 0
    assert "--anchor-phase" not in run(host, ready)
    ready.ui.anchorPhaseSpinBox.value = 35
    assert ready._parameterNode.anchorPhase == 35
    argv = run(host, ready)
    assert argv[argv.index("--anchor-phase") + 1] == "0.35"


def test_a_draw_and_what_the_user_knows_are_said_to_the_generation(ready, host):
    argv = run(host, ready)
    assert not {"--draw", "--no-draw", "--ef", "--hr"} & set(argv)
    ready.ui.drawCheckBox.checked = True
    ready.ui.efSpinBox.value = 35
    ready.ui.hrSpinBox.value = 80
    argv = run(host, ready)
    assert "--draw" in argv
    assert (argv[argv.index("--ef") + 1], argv[argv.index("--hr") + 1]) == ("35", "80")


def test_a_beat_that_the_record_does_not_have_is_told(ready, host):
    host.wait_for(lambda: ready.view.ecg.plot is not None)
    ready._parameterNode.beat = 11  # the last R peak starts no whole beat
    assert not ready.ui.generateButton.enabled
    assert "no whole beat 11" in ready.ui.generateButton.toolTip


def test_an_ecg_table_is_drawn_too(ready, host):
    run(host, ready)
    ready._parameterNode.ecgTable = ready.view.result.nodes.ecg  # one lead, in SlicerHeart's layout
    assert ready.ui.generateButton.enabled, ready.ui.generateButton.toolTip
    host.wait_for(lambda: ready.view.ecg.plot is not None or ready.view.ecg.problem)
    assert ready.view.ecg.problem == ""
    assert not ready.ui.ecgPlotLabel.pixmap.isNull()


def test_a_region_of_interest_is_sent_along(ready, host):
    roi = host.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Heart")
    roi.SetXYZ(30.0, 30.0, 20.0)
    roi.SetRadiusXYZ(20.0, 20.0, 20.0)
    ready.ui.roiSelector.setCurrentNode(roi)
    argv = run(host, ready)
    assert "--roi=10.00,50.00,10.00,50.00,0.00,40.00" in argv


def test_a_dropped_file_becomes_the_ecg(panel, inputs, host):
    from PySide6 import QtCore, QtGui, QtWidgets

    _, ecg = inputs()
    mime = QtCore.QMimeData()
    mime.setUrls([QtCore.QUrl.fromLocalFile(ecg)])
    target = panel.ui.inputsCollapsibleButton
    arguments = (QtCore.Qt.CopyAction, mime, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier)
    enter = QtGui.QDragEnterEvent(QtCore.QPoint(5, 40), *arguments)
    QtWidgets.QApplication.sendEvent(target, enter)
    assert enter.isAccepted()
    QtWidgets.QApplication.sendEvent(target, QtGui.QDropEvent(QtCore.QPointF(5, 40), *arguments))
    assert panel.view.ecg_path == ecg
    text = QtCore.QMimeData()
    text.setText("no file")
    refused = QtGui.QDragEnterEvent(
        QtCore.QPoint(5, 40), QtCore.Qt.CopyAction, text, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier
    )
    refused.ignore()
    QtWidgets.QApplication.sendEvent(target, refused)
    assert not refused.isAccepted()


def test_the_motion_of_a_real_cine_is_measured_without_an_ecg(panel, host, a_model):
    rng = np.random.default_rng(1)
    browser = real_cine(host, rng.integers(0, 900, (8, 6, 40, 44)), np.diag([1.5, 1.5, 8.0, 1.0]))
    panel.view.computer.add_model(str(a_model))
    panel._parameterNode.anchorVolume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    assert not panel.ui.generateButton.enabled
    panel.ui.registerCheckBox.checked = True
    assert panel._parameterNode.registerReal
    assert panel.ui.generateButton.enabled, panel.ui.generateButton.toolTip
    assert "real cine" in panel.ui.generateButton.text
    browser.SetSelectedItemNumber(3)
    argv = run(host, panel)
    assert argv[argv.index("--anchor-frame") + 1] == "3"
    assert float(argv[argv.index("--rr") + 1]) == pytest.approx(320.0)  # eight frames of 40 ms
    assert "--ecg" not in argv
    # A generated cine has known motion.
    panel._parameterNode.anchorVolume = panel.view.result.nodes.proxy("cine")
    assert "known already" in panel.ui.generateButton.toolTip


def test_a_real_cine_without_times_needs_an_ecg_for_its_cycle(panel, host, inputs, a_model):
    _, ecg = inputs()
    browser = real_cine(host, np.random.default_rng(1).integers(0, 900, (4, 6, 40, 44)), np.eye(4), unit="")
    panel.view.computer.add_model(str(a_model))
    panel._parameterNode.anchorVolume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    panel.ui.registerCheckBox.checked = True
    assert "how long" in panel.ui.generateButton.toolTip
    panel.ui.ecgPathEdit.currentPath = ecg
    host.wait_for(lambda: panel.view.ecg.facts)
    argv = run(host, panel)
    assert float(argv[argv.index("--rr") + 1]) == pytest.approx(850.0, abs=5.0)


def test_the_bullseye_shows_the_segments_of_the_result(ready, host, monkeypatch, a_result, tmp_path):
    import shutil

    from COFGeneratorLib.function.regional import SEGMENT_NAMES

    run(host, ready)
    assert not ready.ui.bullseyePlotLabel.isVisibleTo(ready.parent)  # this result measured no segments
    richer = tmp_path / "richer"
    shutil.copytree(a_result, richer)
    facts = json.loads((richer / "function.json").read_text())
    facts["segments"] = [
        {"segment": n + 1, "name": name, "excursion_mm": float(n), "thickening_percent": None}
        for n, name in enumerate(SEGMENT_NAMES)
    ]
    (richer / "function.json").write_text(json.dumps(facts))
    monkeypatch.setenv("COF_FAKE_RESULT", str(richer))
    run(host, ready)
    assert ready.ui.bullseyePlotLabel.isVisibleTo(ready.parent)
    inward = ready.ui.bullseyePlotLabel.pixmap.toImage()
    ready.ui.bullseyeSelector.currentIndex = 1
    assert ready.ui.bullseyePlotLabel.pixmap.toImage() != inward


def test_colours_of_the_bullseye_follow_the_value():
    from COFGeneratorLib.ui.bullseye import HIGH, LOW, MIDDLE, UNKNOWN, colour_of

    assert [colour_of(value, 0.0, 10.0) for value in (0.0, 5.0, 10.0, 99.0, -1.0)] == [LOW, MIDDLE, HIGH, HIGH, LOW]
    assert colour_of(None, 0.0, 10.0) == UNKNOWN


def test_the_surfaces_beat_with_the_images(ready, host):
    from COFGeneratorLib.scene.surfaces import surfaces_of

    run(host, ready)  # the cardiac views show them
    nodes = ready.view.result.nodes
    models = surfaces_of(host.scene, nodes)
    assert {model.GetName().split("synthetic ")[1] for model in models} == {"LV cavity", "LV myocardium", "RV cavity"}
    cavity = next(model for model in models if "LV cavity" in model.GetName())
    widths = []
    for frame in (0, 3):
        nodes.show_frame(frame)
        bounds = [0.0] * 6
        cavity.GetRASBounds(bounds)
        widths.append(bounds[1] - bounds[0])
    assert widths[0] == pytest.approx(26.0, abs=4.0)  # the ring's cavity has a radius of 13 mm
    assert widths[1] < widths[0] - 4.0
    ready.ui.show3dButton.click()
    assert surfaces_of(host.scene, nodes) == models


def test_a_result_is_saved_where_the_user_says(ready, host, tmp_path, monkeypatch):
    from COFGeneratorLib.ui import generator_view

    assert not ready.ui.saveResultButton.enabled
    run(host, ready)
    for ending in (".seq.nrrd", ".nii.gz", ".mrb", ".gif"):
        path = tmp_path / "saved" / f"heart{ending}"
        monkeypatch.setattr(generator_view, "ask_where_to_save", lambda nodes, path=path: str(path))
        ready.ui.saveResultButton.click()
        assert path.is_file()
        assert path.name in ready.ui.statusLabel.text
    monkeypatch.setattr(generator_view, "ask_where_to_save", lambda nodes: "")
    ready.ui.saveResultButton.click()


def test_a_result_is_compared_with_a_real_cine(ready, host):
    from COFGeneratorLib.scene.saving import cine_array

    run(host, ready)
    nodes = ready.view.result.nodes
    assert not ready.ui.compareButton.enabled
    assert "Choose a real cine" in ready.ui.compareButton.toolTip
    matrix = np.diag([1.5, 1.5, 8.0, 1.0])
    browser = real_cine(host, cine_array(nodes.cine), matrix, labels=cine_array(nodes.labels))
    ready.ui.realSelector.setCurrentNode(browser)
    assert ready.ui.compareButton.enabled
    ready.ui.compareButton.click()
    found = ready.view.comparison.nodes
    assert found.agreement.error.max() == 0.0
    assert ready.ui.comparisonTableView.mrmlTableNode() is found.figures
    assert ("ShowChartInLayout", found.chart) in host.calls
    ready.ui.showDifferenceButton.click()
    layers = [layers for name, layers in host.calls if name == "setSliceViewerLayers"][-1]
    assert layers["background"] is nodes.browser.GetProxyNode(found.difference)
    ready.ui.realSelector.setCurrentNode(None)
    assert ready.view.comparison.nodes is None


def test_only_models_that_take_an_anchor_are_offered(host, tmp_path):
    from COFGeneratorLib.ui.computer_view import needs_no_anchor

    for name, content in (("a", {"cof": {"engine": "ecgflowcmr"}}), ("b", {"cof": {"grid": 1}}), ("c", {})):
        folder = Path(tmp_path, name, "configs")
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps(content))
    assert [needs_no_anchor(tmp_path / name) for name in "abcd"] == [True, False, False, False]


def click_chart(host, series, row):
    """Tell a selected point as ``qMRMLPlotView`` does: IDs of series, and of each the rows that are selected."""
    import vtk

    ids, rows, selections = vtk.vtkStringArray(), vtk.vtkIdTypeArray(), vtk.vtkCollection()
    ids.InsertNextValue(series.GetID())
    rows.InsertNextValue(row)
    selections.AddItem(rows)
    host.plot_view.dataSelected.emit(ids, selections)


def test_a_click_on_the_volume_curve_shows_that_frame(ready, host):
    run(host, ready)
    nodes = ready.view.result.nodes
    chart = nodes.chart
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    by_name = {node.GetName(): node for node in series}
    volume, cursor, ecg = (by_name[name] for name in ("LV volume", "shown frame", "ECG lead II (scaled)"))
    click_chart(host, volume, 2)
    assert nodes.browser.GetSelectedItemNumber() == 2  # the cardiac views hold the chart
    ready.ui.showChartButton.click()
    ready.ui.showChartButton.click()
    click_chart(host, volume, 3)
    assert nodes.browser.GetSelectedItemNumber() == 3
    assert not nodes.browser.GetPlaybackActive()
    click_chart(host, cursor, 0)
    assert nodes.browser.GetSelectedItemNumber() == 3
    click_chart(host, volume, nodes.cine.GetNumberOfDataNodes())  # the point that closes the cycle
    assert nodes.browser.GetSelectedItemNumber() == 0
    rows = nodes.beat.GetNumberOfRows()
    click_chart(host, ecg, rows // 2)
    assert nodes.browser.GetSelectedItemNumber() == 3  # half of six frames
    host.scene.Clear(0)
    click_chart(host, volume, 1)


def a_plane_model(folder):
    """Return a folder that looks like a bundle of the engine without an anchor."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text('{"name": "Plane", "cof": {"engine": "ecgflowcmr"}}')
    return str(folder)


def test_the_other_engine_needs_no_anchor_and_says_whose_anatomy_it_is_not(panel, inputs, host, tmp_path):
    anchor, ecg = inputs()
    panel._parameterNode.anchorVolume = anchor
    panel.ui.ecgPathEdit.currentPath = ecg
    usual = panel.view.computer.model
    assert not panel.ui.engineNoteLabel.isVisibleTo(panel.parent)
    panel.ui.engineSelector.currentIndex = panel.ui.engineSelector.findText("ECG alone")
    assert panel._parameterNode.engine == "ECG alone"
    assert panel.ui.engineNoteLabel.isVisibleTo(panel.parent)
    assert "NOT the patient's" in panel.ui.engineNoteLabel.text
    assert not panel.ui.anchorSelector.enabled
    assert "No anchor is needed" in panel.ui.anchorSelector.toolTip
    panel._parameterNode.anchorVolume = None
    assert panel.view.computer.model is None  # none ships
    assert not panel.ui.generateButton.enabled
    for words in (panel.ui.generateButton.toolTip, panel.ui.modelCardLabel.text, panel.ui.modelSelector.toolTip):
        assert "Train one in the module COFTraining" in words
    panel.view.computer.add_model(usual)
    assert "other engine" in panel.ui.modelCardLabel.text
    panel.view.computer.add_model(a_plane_model(tmp_path / "plane"))
    assert "Plane" in panel.ui.modelCardLabel.text
    assert panel.ui.generateButton.enabled, panel.ui.generateButton.toolTip
    argv = run(host, panel)
    assert "--anchor" not in argv
    assert argv[argv.index("--engine") + 1] == "ecgflowcmr"
    assert argv[argv.index("--model") + 1] == str(tmp_path / "plane")
    assert panel._parameterNode.resultBrowser.GetName() == "ECG alone synthetic cine browser"
    panel._parameterNode.engine = "Chain of Flow"
    assert panel.view.computer.model == usual
    assert panel.ui.anchorSelector.enabled
    assert "anchor" in panel.ui.generateButton.toolTip
