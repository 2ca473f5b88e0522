"""Pictures of both panels in each of their states, at the width of a narrow module column, light and dark.

    python Testing/slicer_host/screenshots.py --out out/pictures/large [--result out/demo] [--width 420] [--dark]

``make pictures`` shrinks them for the documents. The widgets of CTK and qMRML are stand-ins; layout, texts,
states and results are the real ones.
"""

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
os.environ["QT_QPA_PLATFORM"] = "offscreen"

from pictures import write_small  # noqa: E402 - beside this file
from PIL import Image  # noqa: E402


def main() -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description="Make pictures of the panels.")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "pictures" / "large")
    parser.add_argument("--result", type=Path, help="the demo's, in place of a generation of the same inputs")
    parser.add_argument("--width", type=int, default=420)
    parser.add_argument("--dark", action="store_true", help="dark colours; file names end in -dark")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="cof-shots-"))
    arguments.out = arguments.out.resolve()
    given = arguments.result.resolve() if arguments.result else None
    os.chdir(work)  # short paths in the pictures
    os.environ["COF_FAKE_RESULT"] = str(make_result(work / "result"))

    import host

    stand_in = host.start()
    if arguments.dark:
        make_dark(stand_in)
    camera = Camera(stand_in, arguments.out, arguments.width, "-dark" if arguments.dark else "")
    generator(stand_in, camera, work, given)
    training(stand_in, camera, work)
    return 0


class Camera:
    """Takes pictures of panels.

    Args:
        stand_in: The host.
        folder: Where they go.
        width: Of a panel, pixels.
        ending: Of file names.
    """

    def __init__(self, stand_in, folder: Path, width: int, ending: str):
        self._host, self._folder, self._width, self._ending = stand_in, folder, width, ending

    def take(self, widget, name: str, open_sections=(), closed_sections=()) -> None:
        """Save a picture of a panel with some sections open and others closed."""
        panel = widget.parent
        for section in (*open_sections, *closed_sections):
            getattr(widget.ui, section).collapsed = section in closed_sections
        panel.resize(self._width, 200)
        panel.show()
        self._host.process_events(150)
        for _ in range(2):  # the height of wrapped text is known only at the final width
            panel.resize(self._width, panel.sizeHint().height() + 16)
            self._host.process_events(150)
        path = self._folder / f"{name}{self._ending}.png"
        panel.grab().save(str(path))
        with Image.open(path) as picture:
            size = write_small(picture, path)
        sys.stdout.write(f"{path.name} {panel.width} x {panel.height}, {size / 1000:.0f} kB\n")


def generator(stand_in, camera: Camera, work: Path, given: Path | None) -> None:
    """Show COFGenerator empty, ready, running, done and failed."""
    fake = [sys.executable, str(HERE / "fake_generate.py")]
    stand_in.load("COFGenerator")
    panel = stand_in.open("COFGenerator")
    panel.logic.command = fake
    camera.take(panel, "COFGenerator-empty")
    anchor, ecg = make_inputs(stand_in.scene, work)
    panel.view.computer.add_model(str(make_model(work)))
    panel._parameterNode.anchorVolume = anchor
    panel.ui.ecgPathEdit.currentPath = str(ecg)
    stand_in.wait_for(lambda: "Reading" not in panel.ui.ecgSummaryLabel.text)
    camera.take(panel, "COFGenerator-ready", ("modelCollapsibleButton", "advancedCollapsibleButton"))
    panel.ui.modelCollapsibleButton.collapsed = panel.ui.advancedCollapsibleButton.collapsed = True
    os.environ["COF_FAKE"] = "slow"
    panel.ui.generateButton.click()
    stand_in.wait_for(lambda: "left" in panel.ui.statusLabel.text)
    camera.take(panel, "COFGenerator-running")
    panel.ui.cancelButton.click()
    stand_in.wait_for(lambda: panel.view.state.name != "RUNNING")
    os.environ["COF_FAKE"] = "fail"
    panel.ui.generateButton.click()
    stand_in.wait_for(lambda: panel.view.state.name == "FAILED")
    camera.take(panel, "COFGenerator-failed")
    del os.environ["COF_FAKE"]
    use_the_real_thing(panel, given)
    panel.ui.generateButton.click()
    stand_in.wait_for(lambda: panel.view.state.name not in ("READY", "RUNNING"), 1800.0)
    if panel.view.state.name != "DONE":
        raise SystemExit(f"no picture of a result: {panel.ui.statusLabel.text or panel.ui.generateButton.toolTip}")
    panel.view.result.nodes.show_frame(3)
    panel.ui.seekWidget.setMRMLSequenceBrowserNode(panel.view.result.nodes.browser)
    camera.take(panel, "COFGenerator-done")
    compare(stand_in, panel)
    upper = ("inputsCollapsibleButton", "resultCollapsibleButton")
    camera.take(panel, "COFGenerator-compare", ("compareCollapsibleButton",), upper)
    stand_in.close("COFGenerator")
    stand_in.scene.Clear(0)


def compare(stand_in, panel) -> None:
    """Compare the result with a cine of the same heart, here itself half a slice lower and a frame later."""
    import numpy as np
    from COFGeneratorLib.scene import attributes, volumes
    from COFGeneratorLib.scene.bootstrap import update_proxies
    from COFGeneratorLib.scene.saving import cine_array

    nodes = panel.view.result.nodes
    frames, labels = np.roll(cine_array(nodes.cine), 1, axis=0), np.roll(cine_array(nodes.labels), 1, axis=0)
    matrix = volumes.ijk_to_ras_of(nodes.cine.GetNthDataNode(0)).copy()
    matrix[:3, 3] += 0.5 * matrix[:3, 2]
    indices = attributes.index_strings(volumes.index_values(nodes.cine))
    browser = stand_in.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Real cine browser")
    cine = volumes.volume_sequence(stand_in.scene, "Real cine", frames, indices, matrix)
    browser.SetAndObserveMasterSequenceNodeID(cine.GetID())
    masks = volumes.volume_sequence(stand_in.scene, "Real labels", labels, indices, matrix, labels=True)
    browser.AddSynchronizedSequenceNodeID(masks.GetID())
    update_proxies(browser)
    panel.ui.realSelector.setCurrentNode(browser)
    panel.ui.compareButton.click()


def use_the_real_thing(panel, given: Path | None) -> None:
    """Generate with the shipped model for the shipped patient, where both are in the tree; else the fake goes on.

    ``given``: What such a generation gave before.
    """
    from COFGeneratorLib.errors import ChainOfFlowError
    from COFGeneratorLib.resources import default_bundle, sample_patient

    try:
        bundle = default_bundle()
        sample_patient()
    except ChainOfFlowError:
        return
    if given is None:
        panel.logic.command = None
    else:
        os.environ["COF_FAKE_RESULT"] = str(given)
    panel.view.computer.add_model(str(bundle))
    panel.view.load_sample()
    shutil.copytree(ROOT / "Resources" / "SampleData", "SampleData")
    panel.ui.ecgPathEdit.currentPath = "SampleData/ecg.hea"


def training(stand_in, camera: Camera, work: Path) -> None:
    """Show COFTraining empty, ready, running, done and failed."""
    from COFGeneratorLib.jobs import JobRunner

    stand_in.load("COFTraining")
    panel = stand_in.open("COFTraining")
    camera.take(panel, "COFTraining-empty")
    panel.ui.runsPathEdit.currentPath = str(Path("/data/chainofflow/runs"))
    panel.ui.cohortPathEdit.currentPath = ""
    camera.take(panel, "COFTraining-ready")

    def play(code: str) -> None:
        runner = JobRunner(work / f"job-{time.monotonic_ns()}")
        head = "import sys, time\nfrom COFGeneratorLib.jobs.events import job_events\n"
        argv = [sys.executable, "-c", head + code, str(runner.folder.events)]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "COFGenerator")}
        runner.start(argv, kind="train", title="Training flow in run-1", env=env)
        panel.view._watch(runner)

    step = "events.progress('Stage 2', step, 4000); events.metric('loss', 0.8 / (1 + step / 300), step)"
    play(f"with job_events(sys.argv[1]) as events:\n  for step in range(0, 4000, 10):\n    {step}; time.sleep(0.1)")
    stand_in.wait_for(lambda: "left" in panel.ui.statusLabel.text and panel.view.curves.values)
    camera.take(panel, "COFTraining-running")
    panel.view.monitor.runner.kill()
    stand_in.wait_for(lambda: not panel.view.monitor.active)
    play(f"with job_events(sys.argv[1]) as events:\n  for step in range(0, 4000, 400):\n    {step}")
    stand_in.wait_for(lambda: not panel.view.monitor.active)
    camera.take(panel, "COFTraining-done", ("evaluationCollapsibleButton",))
    panel.ui.evaluationCollapsibleButton.collapsed = True
    play("with job_events(sys.argv[1]) as events:\n  raise MemoryError('CUDA out of memory')")
    stand_in.wait_for(lambda: not panel.view.monitor.active)
    camera.take(panel, "COFTraining-failed", ("logCollapsibleButton",))
    stand_in.close("COFTraining")


def synthetic():
    """Return the module of the scene tests that makes a beating ring."""
    spec = importlib.util.spec_from_file_location("cof_synthetic", HERE.parent / "scene" / "synthetic.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_result(folder: Path) -> Path:
    """Write the result that fake generations give."""
    from COFGeneratorLib.scene import write_scene

    cine = synthetic().make_cine(n_frames=20, rr_ms=850.0)
    write_scene(cine, folder)
    (folder / "function.json").write_text(json.dumps(cine.function.as_dict()))
    return folder


def make_inputs(scene, work: Path):
    """Return an anchor node and the path of an ECG."""
    import numpy as np
    from COFGeneratorLib.scene import volumes

    anchor = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "P01 short axis")
    anchor.SetAndObserveImageData(volumes.image_data(np.zeros((10, 40, 40), np.int16)))
    try:
        from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
        from COFTrainingLib.phantom.physiology import draw_physiology

        rng = np.random.default_rng(4)
        record = synthesise_ecg(draw_physiology(rng, hr_bpm=68.0, infarct_territory="", conduction=""), rng)[0]
    except ImportError:
        record = synthetic().make_ecg(880.0)[0]
    from COFGeneratorLib.ecg.record import LEADS

    ecg = work / "patient-01.csv"
    rows = "\n".join(",".join(f"{value:.4f}" for value in row) for row in record.signal_mv.T)
    ecg.write_text(f"# fs_hz: {record.fs_hz}\n{','.join(LEADS)}\n{rows}\n")
    return anchor, ecg.name


def make_model(work: Path) -> Path:
    """Return a folder with the card of a model, for the picture."""
    folder = work / "cof-plus"
    (folder / "configs").mkdir(parents=True)
    card = {
        "name": "cof-plus",
        "version": "1.0",
        "license": "Apache-2.0",
        "intended_use": "Research only. Trained on synthetic hearts.",
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(card))
    return folder


def make_dark(stand_in) -> None:
    """Give the application dark colours, as Slicer's dark style does."""
    from PySide6.QtGui import QColor, QPalette

    palette = QPalette()
    for role, colour in (
        (QPalette.Window, "#323232"),
        (QPalette.WindowText, "#e6e6e6"),
        (QPalette.Base, "#242424"),
        (QPalette.AlternateBase, "#2d2d2d"),
        (QPalette.Text, "#e6e6e6"),
        (QPalette.Button, "#3c3c3c"),
        (QPalette.ButtonText, "#e6e6e6"),
        (QPalette.PlaceholderText, "#8c8c8c"),
        (QPalette.Highlight, "#3d6fb4"),
        (QPalette.ToolTipBase, "#242424"),
        (QPalette.ToolTipText, "#e6e6e6"),
    ):
        palette.setColor(role, QColor(colour))
    for role in (QPalette.WindowText, QPalette.Text, QPalette.ButtonText):
        palette.setColor(QPalette.Disabled, role, QColor("#8a8a8a"))
    stand_in.application.setPalette(palette)


if __name__ == "__main__":
    sys.exit(main())
