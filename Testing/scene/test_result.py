"""A generated cine as MRML nodes: times, display, motion, tables, names."""

import numpy as np
import pytest
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene import attributes, build_result, find_results, tables, volumes
from COFGeneratorLib.scene.bootstrap import update_proxies
from COFGeneratorLib.scene.motion import (
    MAX_GRID_ERROR_MM,
    QUANTUM_MM,
    STILL_MM,
    UNIT_MM,
    displacement_at,
    fit_motion_grid,
)
from scipy.interpolate import RegularGridInterpolator

GEOMETRY_TOLERANCE_MM = 1e-6
"""Matrices are copied, not computed."""

EDGE = (slice(1, -1), slice(2, -2), slice(2, -2))
"""Slicer fills what a transform brings in from outside the image with zero, so the rim is left out."""


@pytest.fixture
def nodes(a_cine, scene):
    return build_result(a_cine, scene, "P01")


def test_every_sequence_has_the_same_index_strings_in_ms(nodes, a_cine):
    expected = [f"{time:.3f}" for time in a_cine.time_ms]
    for sequence in (nodes.cine, nodes.labels, nodes.motion):
        assert [sequence.GetNthIndexValue(n) for n in range(sequence.GetNumberOfDataNodes())] == expected
        assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "ms")


def test_cine_plays_at_the_heart_rate_and_is_not_edited_in_place(nodes, a_cine):
    assert nodes.browser.GetPlaybackRateFps() == pytest.approx(len(a_cine.frames) * 1000.0 / a_cine.rr_ms)
    assert nodes.browser.GetMasterSequenceNode() is nodes.cine
    for sequence in (nodes.cine, nodes.labels, nodes.motion):
        assert not nodes.browser.GetSaveChanges(sequence)
        assert nodes.browser.GetProxyNode(sequence) is not None


def test_frames_keep_the_anchor_geometry_and_frame_zero_is_the_anchor(nodes, a_cine):
    for frame in range(len(a_cine.frames)):
        volume = nodes.cine.GetNthDataNode(frame)
        assert np.abs(volumes.ijk_to_ras_of(volume) - a_cine.anchor.ijk_to_ras).max() < GEOMETRY_TOLERANCE_MM
        assert np.abs(volumes.volume_array(volume) - a_cine.frames[frame]).max() <= 0.5  # rounded to whole grey levels
    assert np.array_equal(volumes.volume_array(nodes.cine.GetNthDataNode(0)), a_cine.anchor.voxels)


def test_intensities_that_are_not_whole_numbers_stay_float(make_cine, scene):
    cine = make_cine(integer=False)
    nodes = build_result(cine, scene)
    stored = volumes.volume_array(nodes.cine.GetNthDataNode(3))
    assert stored.dtype == np.float32
    assert np.array_equal(stored, cine.frames[3])


def test_window_and_level_stay_while_browsing(nodes):
    display = nodes.proxy("cine").GetDisplayNode()
    before = display.GetWindow(), display.GetLevel()
    nodes.show_frame(4)
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindow(), display.GetLevel()) == before


def test_labels_are_a_label_map_with_named_colours(nodes, a_cine):
    nodes.show_frame(3)
    proxy = nodes.proxy("labels")
    assert proxy.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert np.array_equal(volumes.volume_array(proxy), a_cine.labels[3])
    colours = proxy.GetDisplayNode().GetColorNode()
    assert [colours.GetColorName(code) for code in range(4)] == [
        "background",
        "LV cavity",
        "LV myocardium",
        "RV cavity",
    ]


@pytest.mark.parametrize("left_handed", [False, True])
def test_hardening_the_motion_on_the_anchor_gives_the_cine(make_cine, oblique_geometry, scene, left_handed):
    import slicer

    cine = make_cine(ijk_to_ras=oblique_geometry(left_handed=left_handed), amplitude_mm=5.0, integer=False)
    nodes = build_result(cine, scene)
    error_mm = float(nodes.motion.GetAttribute("COF.motion_grid_error_mm"))
    assert error_mm <= MAX_GRID_ERROR_MM
    frame = 4
    anchor = slicer.vtkMRMLScalarVolumeNode()
    scene.AddNode(anchor)
    anchor.SetAndObserveImageData(volumes.image_data(cine.anchor.voxels))
    anchor.SetIJKToRASMatrix(volumes.matrix_to_vtk(cine.anchor.ijk_to_ras))
    nodes.show_frame(frame)
    anchor.SetAndObserveTransformNodeID(nodes.proxy("motion").GetID())
    anchor.HardenTransform()
    # Slicer enlarges a volume whose content a transform might move out; the grid itself stays where it is.
    assert np.abs(volumes.ijk_to_ras_of(anchor) - cine.anchor.ijk_to_ras).max() < 1e-3
    same_grid = tuple(slice(0, size) for size in cine.anchor.shape)
    hardened, expected = volumes.volume_array(anchor)[same_grid][EDGE], cine.frames[frame][EDGE]
    # An error of position turns into one of intensity through the steepest gradient of the anchor.
    spacing = cine.anchor.spacing_mm
    gradient = np.stack(
        [np.abs(np.diff(cine.anchor.voxels, axis=axis)).max() / step for axis, step in enumerate(spacing)]
    )
    assert np.abs(hardened - expected).max() <= (error_mm + QUANTUM_MM) * gradient.sum()
    assert np.abs(cine.frames[frame] - cine.frames[0])[EDGE].max() > 20 * np.abs(hardened - expected).max()


def test_motion_is_in_ras_mm_and_pulls(make_cine, oblique_geometry, scene):
    cine = make_cine(ijk_to_ras=oblique_geometry())
    nodes = build_result(cine, scene)
    frame, voxel = 4, (2, 26, 25)
    ijk = np.array([voxel[::-1]], float)
    ras = ijk @ cine.anchor.ijk_to_ras[:3, :3].T + cine.anchor.ijk_to_ras[:3, 3]
    axes = cine.anchor.ijk_to_ras[:3, :3] / np.linalg.norm(cine.anchor.ijk_to_ras[:3, :3], axis=0)
    moved_kji_mm = cine.displacement_mm(frame)[(slice(None), *voxel)]
    expected = axes @ moved_kji_mm[::-1]
    found = displacement_at(nodes.motion.GetNthDataNode(frame), ras)[0]
    assert np.linalg.norm(expected) > 2.0
    assert found == pytest.approx(expected, abs=MAX_GRID_ERROR_MM)


def test_motion_grid_keeps_to_its_error_and_shrinks_smooth_fields():
    k, j, i = np.meshgrid(np.arange(10.0), np.arange(96.0), np.arange(96.0), indexing="ij")
    heart = np.exp(-((j - 50.0) ** 2 + (i - 44.0) ** 2) / (2 * 14.0**2)) * np.exp(-((k - 5.0) ** 2) / 8.0)
    heart *= np.clip((46.0 - np.hypot(j - 50.0, i - 44.0)) / 12.0, 0.0, 1.0)
    field = np.stack([2.0 * heart, 8.0 * heart * (j - 50.0) / 20.0, 8.0 * heart * (i - 44.0) / 20.0])
    grid = fit_motion_grid(lambda frame: field * np.sin(np.pi * frame / 6.0), 6)
    assert grid.stride > 1
    assert grid.vectors[0].size < 0.3 * field.size
    assert 0.0 < grid.error_mm <= MAX_GRID_ERROR_MM
    axes = [
        start + step * np.arange(count)
        for start, step, count in zip(grid.start, (1, grid.stride, grid.stride), grid.vectors.shape[1:4], strict=True)
    ]
    inside = [slice(max(nodes[0], 0), min(nodes[-1] + 1, size)) for nodes, size in zip(axes, k.shape, strict=True)]
    points = np.stack([k, j, i], axis=-1)[tuple(inside)]
    restored = RegularGridInterpolator(axes, grid.vectors[3].astype(float) * UNIT_MM)(points)
    worst = np.abs(restored - np.moveaxis(field, 0, -1)[tuple(inside)]).max()
    assert worst == pytest.approx(grid.error_mm, abs=UNIT_MM)


def test_a_heart_that_does_not_move_needs_no_grid(scene):
    grid = fit_motion_grid(lambda frame: np.full((3, 4, 8, 8), STILL_MM / 2), 3)
    assert not grid.vectors.any()


def test_motion_that_is_not_finite_is_refused():
    with pytest.raises(SceneError, match="finite"):
        fit_motion_grid(lambda frame: np.full((3, 2, 4, 4), np.nan), 2)


def test_tables_and_chart_show_the_function_report(nodes, a_cine):
    rows = {
        nodes.function.GetCellText(row, 0): (nodes.function.GetCellText(row, 1), nodes.function.GetCellText(row, 2))
        for row in range(nodes.function.GetNumberOfRows())
    }
    assert rows["LV ejection fraction"] == (f"{a_cine.function.ef_percent:.1f}", "%")
    assert rows["LV end-diastolic volume"] == (f"{a_cine.function.edv_ml:.1f}", "mL")
    assert nodes.volumes.GetColumnUnitLabel("time") == "ms"
    lv_ml = tables.number_column(nodes.volumes, "LV volume")
    assert lv_ml[:-1] == pytest.approx(a_cine.function.lv_volume_ml)
    assert lv_ml[-1] == lv_ml[0]  # the cycle closes
    names = [nodes.chart.GetNthPlotSeriesNode(n).GetName() for n in range(nodes.chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["LV volume", "RV volume", "shown frame", "ECG lead II (scaled)"]
    assert nodes.chart.GetYAxisRange()[1] > 1.3 * max(a_cine.function.lv_volume_ml)  # the legend covers no curve


def test_the_chart_cursor_follows_the_shown_frame(nodes, a_cine):
    nodes.show_frame(5)
    assert tables.number_column(nodes.cursor, "time") == pytest.approx([a_cine.time_ms[5]] * 2)


def test_intervals_of_several_draws_are_shown(a_cine, scene):
    from dataclasses import replace

    other = replace(a_cine.function, ef_percent=a_cine.function.ef_percent + 4.0)
    nodes = build_result(replace(a_cine, samples=(a_cine.function, other)), scene)
    row = next(
        row
        for row in range(nodes.function.GetNumberOfRows())
        if nodes.function.GetCellText(row, 0) == "LV ejection fraction"
    )
    low, high = (float(text) for text in nodes.function.GetCellText(row, 3).split(" – "))
    assert low < a_cine.function.ef_percent + 2.0 < high


def test_ecg_is_found_by_the_role_of_slicerheart_and_by_our_own(nodes, a_cine):
    for holder in (nodes.browser, nodes.cine, nodes.proxy("cine")):
        one_lead = holder.GetNodeReference("SlicerHeart.ECG")
        twelve = holder.GetNodeReference("COF.ECG12")
        assert tables.number_column(one_lead, "ecg") == pytest.approx(a_cine.record.lead("II"))
        assert tables.number_column(twelve, "V5") == pytest.approx(a_cine.record.lead("V5"))
    triggers = tables.number_column(nodes.ecg, "triggerTimes")
    assert triggers[~np.isnan(triggers)] == pytest.approx(a_cine.cycle.r_peaks_s * 1000.0)


def test_generated_nodes_say_that_they_are_synthetic_and_where_they_come_from(nodes, a_cine):
    for node in (nodes.browser, nodes.cine, nodes.labels, nodes.motion, nodes.function, nodes.volumes, nodes.chart):
        assert "synthetic" in node.GetName()
        assert node.GetName().startswith("P01")
        assert node.GetAttribute("COF.synthetic") == "true"
        assert node.GetAttribute("COF.weights_sha256") == a_cine.provenance["weights_sha256"]
        assert node.GetAttribute("COF.seed") == "3"
        assert attributes.provenance_of(node)["warnings"] == a_cine.provenance["warnings"]
    assert "synthetic" in nodes.proxy("cine").GetName()
    assert "synthetic" not in nodes.ecg.GetName()  # the ECG is the patient's own


def test_two_results_in_one_scene_are_kept_apart(a_cine, scene):
    first, second = build_result(a_cine, scene, "A"), build_result(a_cine, scene, "A")
    found = find_results(scene)
    assert [result.browser.GetID() for result in found] == [first.browser.GetID(), second.browser.GetID()]
    assert [result.chart.GetID() for result in found] == [first.chart.GetID(), second.chart.GetID()]
    assert found[0].cine is not found[1].cine


def test_a_cine_without_labels_has_neither_labels_nor_function(make_cine, scene):
    nodes = build_result(make_cine(with_labels=False), scene)
    assert nodes.labels is None
    assert nodes.function is None
    assert nodes.chart is None
    nodes.show_frame(2)


def test_no_scene_is_said_plainly(a_cine):
    import slicer

    if getattr(slicer, "mrmlScene", None) is not None:
        pytest.skip("another test has started an application scene in this process")
    with pytest.raises(SceneError, match="standalone_scene"):
        build_result(a_cine)


def test_frames_and_times_must_match(scene):
    with pytest.raises(SceneError, match="3 times"):
        volumes.volume_sequence(scene, "x", np.zeros((2, 3, 4, 5), np.int16), ["0", "1", "2"], np.eye(4))


def test_proxies_follow_the_browser_without_an_application(nodes, a_cine):
    nodes.browser.SetSelectedItemNumber(6)
    update_proxies(nodes.browser)
    shown = volumes.volume_array(nodes.proxy("cine"))
    assert np.abs(shown - a_cine.frames[6]).max() <= 0.5
