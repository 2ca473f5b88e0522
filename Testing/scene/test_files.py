"""Results on disk: what other tools read from them and what comes back into a scene."""

import dataclasses
import json

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_sax
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene import load_result, read_scene, standalone_scene, tables, volumes, write_scene
from COFGeneratorLib.scene.motion import QUANTUM_MM, displacement_at
from scipy import ndimage

RAS_TOLERANCE_MM = 1e-3
"""Text headers keep about 15 digits; Slicer's own comparisons use this value."""


@pytest.fixture(scope="module")
def written(a_cine, tmp_path_factory):
    directory = tmp_path_factory.mktemp("result")
    files = write_scene(a_cine, directory, "P01")
    (directory / "function.json").write_text(json.dumps(a_cine.function.as_dict()))
    return directory, files


def voxels_in_ras(array: np.ndarray, ijk_to_ras: np.ndarray, points_ras: np.ndarray) -> np.ndarray:
    """Return the values of the voxels nearest to points, (n,), so that arrays of any storage order compare."""
    inverse = np.linalg.inv(ijk_to_ras)
    i, j, k = np.rint(points_ras @ inverse[:3, :3].T + inverse[:3, 3]).astype(int).T
    return array[k, j, i]


def all_points_ras(shape, ijk_to_ras) -> np.ndarray:
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return np.stack([i, j, k], axis=-1).reshape(-1, 3) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]


def test_the_files_of_the_contract_are_written_and_nothing_else_is_left(written):
    directory, files = written
    assert [path.name for path in files] == [
        "cine.seq.nrrd",
        "motion.seq.nrrd",
        "labels.seq.nrrd",
        "ecg.csv",
        "scene.mrb",
    ]
    assert {path.name for path in directory.iterdir()} == {"function.json", *(path.name for path in files)}


def test_headers_say_time_unit_and_provenance(written, a_cine):
    header = (written[0] / "cine.seq.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert 'units: "" "" "" "ms"' in header
    assert "kinds: domain domain domain list" in header
    assert f"COF.weights_sha256:={a_cine.provenance['weights_sha256']}" in header
    assert "COF.synthetic:=true" in header
    assert "axis 3 index values:=0.000 112.500 225.000" in header


@pytest.mark.parametrize("left_handed", [False, True])
def test_the_cine_is_itself_a_valid_input_with_the_anchor_geometry(make_cine, oblique_geometry, tmp_path, left_handed):
    cine = make_cine(ijk_to_ras=oblique_geometry(left_handed=left_handed))
    write_scene(cine, tmp_path)
    back = read_sax(tmp_path / "cine.seq.nrrd", frame=2)
    assert np.abs(back.ijk_to_ras - cine.anchor.ijk_to_ras).max() < RAS_TOLERANCE_MM
    assert np.abs(back.voxels - cine.frames[2]).max() <= 0.5
    assert back.frame_times_ms == pytest.approx(cine.time_ms)


def test_the_ecg_is_itself_a_valid_input(written, a_cine):
    back = read_ecg(written[0] / "ecg.csv")
    assert back.fs_hz == a_cine.record.fs_hz
    assert back.signal_mv == pytest.approx(a_cine.record.signal_mv, abs=1e-4)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("spacing_kji", [(8.0, 1.5, 1.25), (10.0, 1.0, 2.0)])
def test_cine_labels_and_motion_come_back_at_the_same_place(
    make_cine, oblique_geometry, tmp_path, left_handed, spacing_kji
):
    matrix = oblique_geometry(spacing_kji, left_handed)
    cine = make_cine(ijk_to_ras=matrix, shape=(5, 36, 40), n_frames=4)
    write_scene(cine, tmp_path)
    points = all_points_ras(cine.anchor.shape, matrix)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    with standalone_scene() as scene:
        nodes = load_result(tmp_path, scene)
        for frame in (0, 2):
            volume = nodes.cine.GetNthDataNode(frame)
            back = volumes.ijk_to_ras_of(volume)
            corners = all_points_ras(cine.anchor.shape, back)
            assert sorted(map(tuple, np.round(corners, 2))) == sorted(map(tuple, np.round(points, 2)))
            values = voxels_in_ras(volumes.volume_array(volume), back, points)
            assert np.abs(values - cine.frames[frame].ravel()).max() <= 0.5
            label = nodes.labels.GetNthDataNode(frame)
            values = voxels_in_ras(volumes.volume_array(label), volumes.ijk_to_ras_of(label), points)
            assert np.array_equal(values, cine.labels[frame].ravel())
        some = slice(None, None, 97)
        expected = np.moveaxis(cine.displacement_mm(2), 0, -1).reshape(-1, 3)[some, ::-1] @ axes.T
        found = displacement_at(nodes.motion.GetNthDataNode(2), points[some])
        limit_mm = float(nodes.motion.GetAttribute("COF.motion_grid_error_mm")) + QUANTUM_MM
        assert np.linalg.norm(expected, axis=1).max() > 2.0
        assert np.abs(found - expected).max() <= limit_mm


def test_a_loaded_folder_equals_what_was_built(written, a_cine):
    with standalone_scene() as scene:
        nodes = load_result(written[0], scene, "P01")
        assert nodes.browser.GetPlaybackRateFps() == pytest.approx(len(a_cine.frames) * 1000.0 / a_cine.rr_ms)
        assert nodes.motion.GetNthIndexValue(3) == nodes.cine.GetNthIndexValue(3) == nodes.labels.GetNthIndexValue(3)
        nodes.show_frame(3)
        assert np.abs(volumes.volume_array(nodes.proxy("cine")) - a_cine.frames[3]).max() <= 0.5
        assert tables.number_column(nodes.volumes, "LV volume")[:-1] == pytest.approx(a_cine.function.lv_volume_ml)
        assert tables.number_column(nodes.ecg_12, "aVF") == pytest.approx(a_cine.record.lead("aVF"), abs=1e-4)
        triggers = tables.number_column(nodes.ecg, "triggerTimes")
        assert triggers[~np.isnan(triggers)] == pytest.approx(a_cine.cycle.r_peaks_s * 1000.0, abs=2.0)


def test_the_scene_archive_restores_everything(written, a_cine):
    with standalone_scene() as scene:
        (nodes,) = read_scene(written[0] / "scene.mrb", scene)
        assert nodes.browser.GetPlaybackRateFps() == pytest.approx(len(a_cine.frames) * 1000.0 / a_cine.rr_ms)
        assert nodes.cine.GetNumberOfDataNodes() == nodes.motion.GetNumberOfDataNodes() == len(a_cine.frames)
        nodes.show_frame(5)
        proxy = nodes.proxy("cine")
        assert np.abs(volumes.volume_array(proxy) - a_cine.frames[5]).max() <= 0.5
        assert proxy.GetDisplayNode().GetWindow() == pytest.approx(
            volumes.window_level(a_cine.anchor.voxels)[0], rel=1e-4
        )
        assert np.array_equal(volumes.volume_array(nodes.proxy("labels")), a_cine.labels[5])
        assert nodes.proxy("labels").GetDisplayNode().GetColorNode().GetColorName(2) == "LV myocardium"
        assert nodes.browser.GetNodeReference("SlicerHeart.ECG") is nodes.ecg
        assert nodes.proxy("cine").GetNodeReference("COF.ECG12") is nodes.ecg_12
        assert nodes.chart.GetNumberOfPlotSeriesNodes() == 4  # LV, RV, shown frame, ECG
        assert nodes.facts["ef_percent"] == pytest.approx(a_cine.function.ef_percent)
        assert nodes.chart.GetNthPlotSeriesNode(0).GetTableNode() is nodes.volumes
        assert tables.number_column(nodes.cursor, "time") == pytest.approx([a_cine.time_ms[5]] * 2)


def test_a_folder_without_a_cine_is_refused(tmp_path, scene):
    with pytest.raises(SceneError, match=r"cine\.seq\.nrrd"):
        load_result(tmp_path, scene)


def test_a_damaged_cine_is_refused_and_leaves_no_node(written, tmp_path, scene):
    whole = (written[0] / "cine.seq.nrrd").read_bytes()
    (tmp_path / "cine.seq.nrrd").write_bytes(whole[:300])
    before = scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match="cannot read"):
        load_result(tmp_path, scene)
    assert scene.GetNumberOfNodes() == before


def test_an_archive_that_is_none_is_refused(tmp_path, scene):
    with pytest.raises(SceneError, match=r"\.mrb"):
        read_scene(tmp_path / "absent.mrb", scene)


def test_a_failed_write_leaves_nothing_behind(a_cine, tmp_path, monkeypatch):
    from COFGeneratorLib.scene import files

    def fail(*_):
        raise SceneError("disk full")

    monkeypatch.setattr(files, "write_mrb", fail)
    with pytest.raises(SceneError, match="disk full"):
        write_scene(a_cine, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_stored_motion_of_a_full_size_oblique_cine_stays_small(make_cine, tmp_path):
    """Motion that fills the whole volume and cannot be thinned is the worst case."""
    n_frames = 8
    cine = make_cine(shape=(12, 128, 128), n_frames=n_frames, with_labels=False)
    rng = np.random.default_rng(0)
    knots = rng.normal(0.0, 4.0, (3, 12, 33, 33))
    field = np.stack([ndimage.zoom(part, (1, 128 / 33, 128 / 33), order=3) for part in knots])

    class Everywhere:
        def displacement_mm(self, frame):
            return (np.sin(np.pi * frame / n_frames) ** 2 * field).astype(np.float32)

    write_scene(dataclasses.replace(cine, motion=Everywhere()), tmp_path)
    raw_mb = n_frames * field.size * 4 / 1e6
    assert 50 / n_frames * raw_mb > 100  # of the frames that a cine has by default
    assert (tmp_path / "motion.seq.nrrd").stat().st_size / 1e6 < raw_mb / 2
