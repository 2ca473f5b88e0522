"""The host, and panels that are closed after each test."""

import argparse
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("PySide6", reason="PySide6 is not installed")
HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

FAKE_COMMAND = [sys.executable, str(HERE / "fake_generate.py")]


@pytest.fixture(scope="session")
def host():
    import host as stand_in

    return stand_in.start()


FRAMES = 6
"""Frames of the result that fake generations give."""


@pytest.fixture(scope="session")
def a_result(tmp_path_factory):
    """Return the folder of a result as ``cof generate`` writes it: a beating ring of six frames."""
    from COFGeneratorLib.scene import write_scene

    spec = importlib.util.spec_from_file_location("cof_synthetic", HERE.parent / "scene" / "synthetic.py")
    synthetic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(synthetic)
    cine = synthetic.make_cine(shape=(6, 40, 44), n_frames=FRAMES, ijk_to_ras=np.diag([1.5, 1.5, 8.0, 1.0]))
    folder = tmp_path_factory.mktemp("result") / "cine"
    write_scene(cine, folder)
    (folder / "function.json").write_text(json.dumps(cine.function.as_dict()))
    return folder


_READ: dict[bytes, Path] = {}
"""Content of an ECG → folder of what ``ecg-trace`` makes of it."""


@pytest.fixture
def quick_jobs(monkeypatch, tmp_path_factory):
    """Look after jobs often, and read ECGs by the command's own function in this process, each but once."""
    from COFGeneratorLib.commands import ecg_trace
    from COFGeneratorLib.jobs import JobState
    from COFGeneratorLib.scene import generation
    from COFGeneratorLib.ui import monitor

    def read(runner, command, *, out, **_options):
        file = Path(command[-1])
        content = file.read_bytes()
        if content not in _READ:
            folder = tmp_path_factory.mktemp("ecg")
            ecg_trace.run(argparse.Namespace(file=file, out=folder, events=None))
            _READ[content] = folder
        shutil.copytree(_READ[content], runner.folder.result / out)
        runner.state = JobState.SUCCEEDED
        return runner

    monkeypatch.setattr(generation, "start_child", read)
    monkeypatch.setattr(monitor, "INTERVAL_MS", 10)


@pytest.fixture
def ecg_in_a_child(panel, monkeypatch):
    """Let the panel read ECGs as it does in Slicer, in a child process."""
    from COFGeneratorLib.scene import child, generation

    monkeypatch.setattr(generation, "start_child", child.start_child)


@pytest.fixture
def panel(host, monkeypatch, a_result, quick_jobs):
    """Return an opened COFGenerator panel over an empty scene; its generations are quick fakes."""
    monkeypatch.delenv("COF_FAKE", raising=False)
    monkeypatch.setenv("COF_FAKE_RESULT", str(a_result))
    host.scene.Clear(0)
    host.qt.QSettings().clear()
    host.messages.clear()
    host.calls.clear()
    host.load("COFGenerator")
    widget = host.open("COFGenerator")
    widget.logic.command = FAKE_COMMAND
    yield widget
    host.close("COFGenerator")
    host.scene.Clear(0)


@pytest.fixture
def ready(panel, inputs, host, a_model):
    """Return the panel with anchor, ECG and model chosen."""
    anchor, ecg = inputs()
    panel._parameterNode.anchorVolume = anchor
    panel.ui.ecgPathEdit.currentPath = ecg
    panel.view.computer.add_model(str(a_model))
    assert panel.ui.generateButton.enabled, panel.ui.generateButton.toolTip
    return panel


@pytest.fixture
def a_model(tmp_path):
    """Return a folder that looks like a bundle; the fake command does not open it."""
    folder = tmp_path / "a-model"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text('{"name": "Test model", "version": "1", "license": "Apache-2.0"}')
    return folder


@pytest.fixture
def training(host, tmp_path, quick_jobs):
    """Return an opened COFTraining panel with folders of its own."""
    host.scene.Clear(0)
    host.qt.QSettings().clear()
    host.load("COFGenerator")
    host.load("COFTraining")
    widget = host.open("COFTraining")
    widget.ui.runsPathEdit.currentPath = str(tmp_path / "runs")
    yield widget
    runner = widget.view.monitor.runner
    if runner is not None:
        runner.kill()
    host.close("COFTraining")
    host.scene.Clear(0)


@pytest.fixture
def inputs(host, tmp_path):
    """Return an anchor node in the scene and the path of an ECG."""
    from COFGeneratorLib.scene import volumes

    def make():
        rng = np.random.default_rng(0)
        anchor = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "P01")
        anchor.SetAndObserveImageData(volumes.image_data(rng.integers(0, 900, (6, 40, 44)).astype(np.int16)))
        matrix = np.diag([1.5, 1.5, 8.0, 1.0])
        anchor.SetIJKToRASMatrix(volumes.matrix_to_vtk(matrix))
        ecg = tmp_path / "ecg.csv"
        leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
        time = np.arange(5000) / 500.0
        beat = sum(np.exp(-((time - at) ** 2) / (2 * 0.012**2)) for at in np.arange(0.4, 9.8, 0.85))
        wave = beat + 0.2 * sum(np.exp(-((time - at - 0.3) ** 2) / (2 * 0.05**2)) for at in np.arange(0.4, 9.8, 0.85))
        rows = np.outer(wave, np.linspace(0.5, 1.4, 12)) + rng.normal(0, 0.005, (5000, 12))
        # Einthoven and Goldberger, so that the leads belong together
        rows[:, 2] = rows[:, 1] - rows[:, 0]
        rows[:, 3], rows[:, 4] = -(rows[:, 0] + rows[:, 1]) / 2, rows[:, 0] - rows[:, 1] / 2
        rows[:, 5] = rows[:, 1] - rows[:, 0] / 2
        body = "\n".join(",".join(f"{value:.4f}" for value in row) for row in rows)
        ecg.write_text(f"# fs_hz: 500\n# unit: mV\n{','.join(leads)}\n{body}\n")
        return anchor, str(ecg)

    return make
