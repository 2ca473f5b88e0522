"""Results on disk: what ``cof generate`` writes for Slicer, and how it is read back.

    cine.seq.nrrd  motion.seq.nrrd  labels.seq.nrrd  ecg.csv  scene.mrb

The sequences and the ECG are plain files that other tools read; ``scene.mrb`` holds all of it, linked and displayed.
"""

import csv
import json
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene.bootstrap import import_slicer, resolve_scene, standalone_scene, update_proxies
from COFGeneratorLib.scene.result import EcgTrace, ResultNodes, build_result, find_results, link_result

CINE_FILE, LABELS_FILE, MOTION_FILE = "cine.seq.nrrd", "labels.seq.nrrd", "motion.seq.nrrd"
ECG_FILE, SCENE_FILE, FUNCTION_FILE = "ecg.csv", "scene.mrb", "function.json"
PARTS = ("cine", "labels", "motion", "scene")
COMPRESSION = "gzip_fastest"
"""Half the time of the default and within a few percent of its size on cine and on rounded motion."""


def write_scene(
    cine: Any, directory: str | os.PathLike, name: str = "Heart", parts: Collection[str] = PARTS
) -> list[Path]:
    """Write a cine for Slicer, complete or not at all.

    Args:
        cine: ``cine.Cine``.
        directory: Where to write; made if need be.
        name: Start of all node names.
        parts: Which of ``PARTS`` to write; the ECG comes with each.

    Returns:
        The files written: ``cine.seq.nrrd``, ``motion.seq.nrrd``, ``ecg.csv``, ``scene.mrb`` and, where the cine has
        labels, ``labels.seq.nrrd``.

    Raises:
        SceneError: If the Slicer libraries are missing or a file cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with standalone_scene() as scene, tempfile.TemporaryDirectory(prefix=".scene-", dir=directory) as beside:
        nodes = build_result(cine, scene, name)
        staged = [
            write_sequence(sequence, Path(beside, file))
            for part, sequence, file in (
                ("cine", nodes.cine, CINE_FILE),
                ("motion", nodes.motion, MOTION_FILE),
                ("labels", nodes.labels, LABELS_FILE),
            )
            if sequence is not None and part in parts
        ]
        if cine.record is not None:
            staged.append(_write_ecg(cine.record, np.asarray(cine.cycle.r_peaks_s) * 1000.0, Path(beside, ECG_FILE)))
        if "scene" in parts:
            staged.append(write_mrb(scene, Path(beside, SCENE_FILE)))
        return [path.replace(directory / path.name) for path in staged]


def load_result(
    directory: str | os.PathLike, scene: Any = None, name: str = "Heart", *, temporary: bool = False
) -> ResultNodes:
    """Load a folder that ``write_scene`` (or ``cof generate``) wrote into a scene, as one linked result.

    Args:
        directory: The folder; ``cine.seq.nrrd`` must be there, the rest is taken where it is.
        scene: vtkMRMLScene; the application's own where none is given.
        name: Start of all node names.
        temporary: The folder will not stay: the nodes forget their files, so that Slicer offers to save them.

    Raises:
        SceneError: If the cine is missing or a file cannot be read.
    """
    scene = resolve_scene(scene)
    directory = Path(directory)
    cine = read_sequence(scene, directory / CINE_FILE, names.node_name(name, "cine"))
    labels, motion = (
        read_sequence(scene, directory / file, names.node_name(name, what)) if (directory / file).is_file() else None
        for file, what in ((LABELS_FILE, "labels"), (MOTION_FILE, "motion"))
    )
    function_file, ecg_file = directory / FUNCTION_FILE, directory / ECG_FILE
    function = json.loads(function_file.read_text("utf-8")) if function_file.is_file() else None
    ecg = _read_ecg(ecg_file) if ecg_file.is_file() else None
    provenance = names.provenance_of(cine)
    if "rr_ms" not in provenance:
        raise SceneError(
            f"{directory / CINE_FILE} must say the length of its cycle in COF.provenance; found none. "
            "Load a folder that this product wrote, or open the file as a plain sequence."
        )
    if temporary:
        for sequence in filter(None, (cine, labels, motion)):
            scene.RemoveNode(sequence.GetStorageNode())
    return link_result(scene, name, cine, labels, motion, function=function, ecg=ecg, provenance=provenance)


def read_scene(path: str | os.PathLike, scene: Any) -> list[ResultNodes]:
    """Read a ``.mrb`` into a scene and return the results it holds.

    Raises:
        SceneError: If the archive cannot be read.
    """
    if not Path(path).is_file() or not scene.ReadFromMRB(str(path), False):
        raise SceneError(f"A scene archive (.mrb) was expected at {path}; found none that can be read. Write it again.")
    results = find_results(scene)
    for nodes in results:
        update_proxies(nodes.browser)
    return results


def write_sequence(sequence: Any, path: Path) -> Path:
    """Write a sequence node through the storage class that MRML names for it; the node keeps that storage."""
    slicer = import_slicer()
    class_name = sequence.GetDefaultStorageNodeClassName(str(path))
    storage = sequence.GetScene().AddNewNodeByClass(class_name, path.stem)
    if not isinstance(storage, slicer.vtkMRMLVolumeSequenceStorageNode | slicer.vtkMRMLTransformSequenceStorageNode):
        raise SceneError(
            f"{path.name} needs a sequence of volumes or of grid transforms of one geometry; Slicer offers "
            f"{class_name}. Update to Slicer 5.12 or newer."
        )
    sequence.SetAndObserveStorageNodeID(storage.GetID())
    storage.SetFileName(str(path))
    storage.SetCompressionParameter(COMPRESSION)
    if not storage.WriteData(sequence):
        raise SceneError(f"{path.name} could not be written to {path.parent}. Check free space and permissions.")
    return path


def read_sequence(scene: Any, path: Path, name: str) -> Any:
    """Add a sequence from a file that this product wrote; its name says whether it holds volumes or motion."""
    if not path.is_file():
        raise SceneError(f"A generated sequence was expected at {path}; found no file. Run `cof generate` again.")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    kind = "Transform" if path.name == MOTION_FILE else "Volume"
    storage = scene.AddNewNodeByClass(f"vtkMRML{kind}SequenceStorageNode")
    storage.SetFileName(str(path))
    if not storage.ReadData(sequence) or sequence.GetNumberOfDataNodes() == 0:
        scene.RemoveNode(sequence)
        scene.RemoveNode(storage)
        raise SceneError(f"{path} must be a readable sequence; Slicer cannot read it. Run `cof generate` again.")
    sequence.SetAndObserveStorageNodeID(storage.GetID())
    sequence.SetName(name)
    return sequence


def write_mrb(scene: Any, path: Path) -> Path:
    """Pack the scene, with unpacking names inside the archive free of the folder it was staged in."""
    with tempfile.TemporaryDirectory(prefix="cof-mrb-") as root:
        scene.SetRootDirectory(root)
        if not scene.WriteToMRB(str(path)):
            raise SceneError(f"{path.name} could not be written to {path.parent}. Check free space and permissions.")
    return path


def _write_ecg(record: EcgRecord, r_peaks_ms: np.ndarray, path: Path) -> Path:
    """Write the twelve leads in the CSV layout that ``read_ecg`` knows, and 1 in a last column at every R peak."""
    time_ms = np.arange(record.signal_mv.shape[1]) * (1000.0 / record.fs_hz)
    peak = np.zeros(len(time_ms), int)
    peak[np.clip(np.rint(r_peaks_ms * record.fs_hz / 1000.0).astype(int), 0, len(peak) - 1)] = 1
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# fs_hz: {record.fs_hz:.12g}\n# unit: mV\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["time_ms", *LEADS, "r_peak"])
        for time, samples, flag in zip(time_ms, record.signal_mv.T, peak, strict=True):
            writer.writerow([f"{time:.3f}", *(f"{value:.4f}" for value in samples), flag])
    return path


def _read_ecg(path: Path) -> EcgTrace:
    text = path.read_text("utf-8").splitlines()
    fs_hz = float(text[0].split(":")[1])
    header, *rows = csv.reader(line for line in text if not line.startswith("#"))
    values = np.array(rows, float)
    return EcgTrace(values[:, 1:-1].T, fs_hz, tuple(header[1:-1]), values[values[:, -1] > 0, 0])
