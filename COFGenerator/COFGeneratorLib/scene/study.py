"""An acquisition of a DICOM study: written by a child process, loaded as the volume that becomes the anchor."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene import volumes
from COFGeneratorLib.scene.bootstrap import resolve_scene, standalone_scene, update_proxies
from COFGeneratorLib.scene.child import OURS, Child, start_child
from COFGeneratorLib.scene.files import CINE_FILE, read_sequence, write_sequence

if TYPE_CHECKING:
    from COFGeneratorLib.anatomy import CineStack

RESULT = "study"
"""Folder under the job's ``result/``."""
LIST_FILE = "acquisitions.json"


def start_study(folder: str | os.PathLike, study: str, series: str | None = None, child: Child = OURS) -> JobRunner:
    """Start a child that lists the acquisitions of a study (``study/acquisitions.json``), or reads one of them.

    Raises:
        SceneError: If there is no such file or folder.
        JobError: If the process cannot be started.
    """
    path = Path(study)
    if not study or not path.exists():
        raise SceneError(f"A DICOM study is needed; found none at {study!r}. Choose its folder.")
    command = [*child.command("study"), str(path.absolute())]
    command += [] if series is None else ["--series", series]
    expect = [f"{RESULT}/{LIST_FILE if series is None else CINE_FILE}"]
    return start_child(JobRunner(folder), command, kind="study", out=RESULT, expect=expect, env=child.env)


def write_acquisition(cine: "CineStack", folder: Path) -> Path:
    """Write an acquired cine, or a single volume as a cine of one frame, and return the file."""
    from COFGeneratorLib.anatomy.compact import compact_frames

    known = len(cine.frame_times_ms) == len(cine.frames)
    times_ms = np.asarray(cine.frame_times_ms if known else range(len(cine.frames)), float)
    frames = compact_frames(cine.frames, cine.frames[0])
    with standalone_scene() as scene:
        sequence = volumes.volume_sequence(scene, "cine", frames, names.index_strings(times_ms), cine.ijk_to_ras)
        if not known:
            sequence.SetIndexName("frame")
            sequence.SetIndexUnit("")
        return write_sequence(sequence, folder / CINE_FILE)


def load_acquisition(runner: JobRunner, scene: Any = None, name: str = "Short axis") -> Any:
    """Load what a child read and return the volume node to use as the anchor: of a cine the proxy of its browser."""
    scene = resolve_scene(scene)
    sequence = read_sequence(scene, runner.folder.result / RESULT / CINE_FILE, scene.GenerateUniqueName(name))
    scene.RemoveNode(sequence.GetStorageNode())
    if sequence.GetNumberOfDataNodes() == 1:
        volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", sequence.GetName())
        volume.CopyContent(sequence.GetNthDataNode(0))
        scene.RemoveNode(sequence)
    else:
        browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sequence.GetName()} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        browser.SetSaveChanges(sequence, False)
        update_proxies(browser)
        volume = browser.GetProxyNode(sequence)
    volume.CreateDefaultDisplayNodes()
    return volume
