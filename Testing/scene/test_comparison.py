"""A generated cine beside a real one: closed forms of the figures, and the nodes that show them."""

import numpy as np
import pytest
from COFGeneratorLib.errors import FunctionError, SceneError
from COFGeneratorLib.function.agreement import agreement, on_grid
from COFGeneratorLib.scene import attributes, build_result, volumes
from COFGeneratorLib.scene.bootstrap import update_proxies
from COFGeneratorLib.scene.comparison import compare_with_real, why_not_comparable
from COFGeneratorLib.scene.tables import number_column


def add_real(scene, frames, matrix, labels=None, step_ms=40.0):
    """Return the browser of a real cine as Slicer loads one."""
    indices = attributes.index_strings(np.arange(len(frames)) * step_ms)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Real browser")
    cine = volumes.volume_sequence(scene, "Real", frames.astype(np.float32), indices, matrix)
    browser.SetAndObserveMasterSequenceNodeID(cine.GetID())
    if labels is not None:
        masks = volumes.volume_sequence(scene, "Real labels", labels, indices, matrix, labels=True)
        browser.AddSynchronizedSequenceNodeID(masks.GetID())
    update_proxies(browser)
    return browser


def test_a_cine_agrees_with_itself_and_not_with_a_still_one(a_cine):
    same = agreement(a_cine.frames, a_cine.frames, a_cine.anchor.ijk_to_ras, a_cine.labels, a_cine.labels)
    assert np.abs(same.difference).max() == 0.0
    assert same.error.max() == 0.0
    assert same.correlation.min() == pytest.approx(1.0)
    assert min(values.min() for values in same.dice.values()) == 1.0
    assert same.error_still[0] == 0.0
    assert same.error_still.max() > 0.005
    assert same.dice_still["lv"].min() < 0.95
    assert list(same.real_frame) == list(range(len(a_cine.frames)))


def test_intensity_scale_of_the_scanner_does_not_matter_and_phases_are_matched(a_cine):
    real = np.repeat(a_cine.frames, 2, axis=0) * 3.0 + 100.0
    found = agreement(a_cine.frames, real, a_cine.anchor.ijk_to_ras, a_cine.labels)
    assert np.abs(found.difference).max() < 1e-4
    assert list(found.real_frame) == list(range(0, 2 * len(a_cine.frames), 2))
    with pytest.raises(FunctionError, match="one grid"):
        agreement(a_cine.frames, real[:, 1:], a_cine.anchor.ijk_to_ras)


def test_another_grid_of_the_same_place_gives_the_same_voxels(a_cine):
    matrix = a_cine.anchor.ijk_to_ras
    turned, flipped = matrix.copy(), a_cine.frames[:, ::-1]
    turned[:3, 2] *= -1.0
    turned[:3, 3] = (matrix @ [0.0, 0.0, a_cine.frames.shape[1] - 1.0, 1.0])[:3]
    back = on_grid(flipped, turned, a_cine.frames.shape[1:], matrix, 1)
    assert np.abs(back - a_cine.frames).max() < 1e-2


def test_a_comparison_adds_difference_figures_and_curves(a_cine, scene):
    nodes = build_result(a_cine, scene, "P01")
    browser = add_real(scene, a_cine.frames[::2], a_cine.anchor.ijk_to_ras, a_cine.labels[::2])
    found = compare_with_real(scene, nodes, browser)
    assert found.difference.GetNumberOfDataNodes() == len(a_cine.frames)
    assert nodes.browser.GetProxyNode(found.difference).GetDisplayNode().GetLevel() == 0.0
    cells = {found.figures.GetCellText(row, 0): row for row in range(found.figures.GetNumberOfRows())}
    assert float(found.figures.GetCellText(cells["Dice LV cavity"], 1)) > 0.9
    error = next(row for words, row in cells.items() if "difference" in words)
    assert float(found.figures.GetCellText(error, 1)) < float(found.figures.GetCellText(error, 2))
    assert found.chart.GetNumberOfPlotSeriesNodes() == 4
    assert number_column(found.curves, "LV volume real")[0] == pytest.approx(
        (a_cine.labels[0] == 1).sum() * a_cine.anchor.voxel_volume_ml
    )


def test_what_cannot_be_compared_is_told_why(a_cine, scene):
    nodes = build_result(a_cine, scene, "P01")
    assert "Generate" in why_not_comparable(None, None)
    assert "real cine" in why_not_comparable(nodes, None)
    assert "itself" in why_not_comparable(nodes, nodes.browser)
    with pytest.raises(SceneError, match="itself"):
        compare_with_real(scene, nodes, nodes.browser)
    single = add_real(scene, a_cine.frames[:1], a_cine.anchor.ijk_to_ras)
    assert "more than one" in why_not_comparable(nodes, single)
