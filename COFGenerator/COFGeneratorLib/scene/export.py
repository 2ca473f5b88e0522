"""Inputs out of a scene into files that a child process reads: anchor, labels, electrocardiogram."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.scene.attributes import ROLE_ECG_12, ROLE_ECG_SLICERHEART
from COFGeneratorLib.scene.bootstrap import import_slicer, nodes_of_class
from COFGeneratorLib.scene.tables import number_column
from COFGeneratorLib.scene.volumes import volume_array

STRUCTURES = ("lv", "myo", "rv")
"""Structures of a label mapping, in the order of the labels 1, 2, 3."""

MIN_SLICES = 3
"""Fewer slices do not hold a ventricle."""

_GUESSES = {
    "rv": re.compile(r"\brv|right[ _-]*ventric", re.IGNORECASE),
    "myo": re.compile(r"myo|\bwall\b|muscle", re.IGNORECASE),
    "lv": re.compile(r"\blv|left[ _-]*ventric|blood[ _-]*pool|\bcavity\b|\bendo", re.IGNORECASE),
}


def why_not_an_anchor(volume: Any) -> str:
    """Return why a volume node cannot be the anchor, in words with what to do; empty if it can."""
    if volume is None:
        return "Choose the anchor: a short-axis volume."
    if volume.GetParentTransformNode() is not None:
        return "The anchor is moved by a transform. Harden the transform on it (Transforms module) first."
    image = volume.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        return "The anchor is empty. Load its image first."
    if image.GetNumberOfScalarComponents() != 1:
        return "The anchor must be a grey-scale volume; this one has colours or vectors."
    if image.GetDimensions()[2] < MIN_SLICES:
        return f"The anchor must be a stack of short-axis slices; this one has {image.GetDimensions()[2]}."
    return ""


def export_volume(volume: Any, path: str | os.PathLike) -> None:
    """Write a volume node with its geometry; the ending says the format, ``.nrrd`` keeps everything.

    Raises:
        SceneError: If the node cannot be an anchor or the file cannot be written.
    """
    reason = why_not_an_anchor(volume)
    if reason:
        raise SceneError(reason)
    _write(volume, path, "The volume", compress=False)  # read once by the child, then deleted


def label_names(node: Any) -> list[str]:
    """Return what a mapping may name: a segmentation's segments, or the codes that occur in a label map."""
    if node is None:
        return []
    if hasattr(node, "GetSegmentation"):
        segmentation = node.GetSegmentation()
        return [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]
    if node.GetImageData() is None:
        return []
    return [str(code) for code in np.unique(volume_array(node)) if code != 0]


def guess_label_mapping(names: Sequence[str]) -> str:
    """Return a mapping text such as ``lv=Left ventricle, myo=Myocardium, rv=RV`` from names, as far as they tell.

    Codes of a label map are taken as 1, 2, 3 for LV, myocardium and RV.
    """
    found: dict[str, str] = {}
    for name in names:
        if name.isdigit():
            structure = STRUCTURES[int(name) - 1] if 1 <= int(name) <= 3 else None
        else:  # "LV myocardium" is myocardium, so the more telling word is asked first
            structure = next((key for key in ("myo", "rv", "lv") if _GUESSES[key].search(name)), None)
            if structure == "myo" and re.search(r"\brv\b|right", name, re.IGNORECASE):
                structure = None
        if structure:
            found.setdefault(structure, name)
    return ", ".join(f"{structure}={found[structure]}" for structure in STRUCTURES if structure in found)


def parse_label_mapping(text: str, names: Sequence[str]) -> dict[str, str]:
    """Return structure → name from a mapping text.

    Raises:
        SceneError: If a structure or a name is unknown, or the LV cavity is missing.
    """
    mapping: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        structure, _, name = (piece.strip() for piece in part.partition("="))
        if structure not in STRUCTURES:
            raise SceneError(f"A label mapping names lv, myo and rv; found {structure!r}. Write: lv=1, myo=2, rv=3")
        if name not in names:
            raise SceneError(f"{structure} must be one of: {', '.join(names) or 'nothing'}; found {name!r}.")
        mapping[structure] = name
    if "lv" not in mapping:
        raise SceneError(f"A label mapping needs the LV cavity, lv=…, out of: {', '.join(names) or 'nothing'}.")
    return mapping


def export_labels(node: Any, mapping: Mapping[str, str], reference: Any, path: str | os.PathLike) -> str:
    """Write labels as NRRD on the reference's grid, for a child; returns the text of its ``--label-map`` option.

    ``mapping`` is structure → segment name or code, from ``parse_label_mapping``.

    Raises:
        SceneError: If the labels cannot be exported.
    """
    if node.GetParentTransformNode() is not None:
        raise SceneError("The segmentation is moved by a transform. Harden the transform on it first.")
    if not hasattr(node, "GetSegmentation"):
        _write(node, path, "The labels")
        return ",".join(f"{structure}={code}" for structure, code in mapping.items())

    import vtk

    codes: list[str] = []
    segmentation, ids = node.GetSegmentation(), vtk.vtkStringArray()
    for structure, name in mapping.items():
        ids.InsertNextValue(segmentation.GetSegmentIdBySegmentName(name))
        codes.append(f"{structure}={len(codes) + 1}")
    scene = node.GetScene()
    before = _node_ids(scene)
    label_map = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "COF export")
    try:
        logic = import_slicer().vtkSlicerSegmentationsModuleLogic
        if not logic.ExportSegmentsToLabelmapNode(node, ids, label_map, reference):
            raise SceneError(
                "The segmentation could not be brought onto the anchor's grid. Check that it is not empty."
            )
        _write(label_map, path, "The labels")
    finally:  # the export also makes a display node and a colour table
        for node_id in _node_ids(scene) - before:
            scene.RemoveNode(scene.GetNodeByID(node_id))
    return ",".join(codes)


def roi_text(roi: Any) -> str:
    """Return a markups ROI as the text of ``--roi``: its box along R, A and S, mm.

    Raises:
        SceneError: If the ROI has no extent.
    """
    bounds = [0.0] * 6
    roi.GetRASBounds(bounds)
    if not all(low < high for low, high in zip(bounds[::2], bounds[1::2], strict=True)):
        raise SceneError("The region of interest must be a box around the heart; this one has no extent. Draw one.")
    return ",".join(f"{value:.2f}" for value in bounds)


def twelve_leads(table: Any) -> Any:
    """Return the table with all leads that belongs to a one-lead table in SlicerHeart's layout, else the table itself.

    SlicerHeart refers to its one-lead table by the role ``SlicerHeart.ECG``; who has that reference may also refer to
    all twelve leads.
    """
    scene = table.GetScene()
    if scene is None or table.GetTable().GetColumnByName("ecg") is None:
        return table
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.GetNodeReferenceID(ROLE_ECG_SLICERHEART) == table.GetID():
            found = node.GetNodeReference(ROLE_ECG_12)
            if found is not None:
                return found
    return table


def why_not_an_ecg_table(table: Any) -> str:
    """Return why a table node cannot be the ECG, in words; empty if it can."""
    table = twelve_leads(table)
    missing = [lead for lead in LEADS if table.GetTable().GetColumnByName(lead) is None]
    if missing:
        return f"An ECG table needs a column for each of the 12 leads; missing here: {', '.join(missing)}."
    if table.GetTable().GetColumnByName("time") is None:
        return "An ECG table needs a column 'time'."
    return ""


def export_ecg_table(table: Any, path: str | os.PathLike) -> None:
    """Write a table node with columns ``time`` and twelve leads as CSV in the layout of the ECG room.

    The unit of ``time`` is read from the column (ms where it says nothing, seconds where it says s).

    Raises:
        SceneError: If leads are missing.
    """
    reason = why_not_an_ecg_table(table)
    if reason:
        raise SceneError(reason)
    table = twelve_leads(table)
    unit = (table.GetColumnUnitLabel("time") or "ms").strip().lower()
    time_ms = number_column(table, "time") * (1000.0 if unit in ("s", "sec", "seconds") else 1.0)
    samples = np.stack([number_column(table, lead) for lead in LEADS], axis=1)
    fs_hz = 1000.0 * (len(time_ms) - 1) / (time_ms[-1] - time_ms[0])
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# fs_hz: {fs_hz:.10g}\n# unit: {table.GetColumnUnitLabel('I') or 'mV'}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LEADS)
        writer.writerows([f"{value:.5f}" for value in row] for row in samples)


def browser_showing(volume: Any) -> tuple[Any, Any]:
    """Return the browser whose proxy a volume node is, and its sequence; (None, None) for a plain volume."""
    scene = volume.GetScene() if volume is not None else None
    if scene is None:
        return None, None
    for browser in nodes_of_class(scene, "vtkMRMLSequenceBrowserNode"):
        if browser.IsProxyNodeID(volume.GetID()):
            return browser, browser.GetSequenceNode(volume)
    return None, None


def _write(volume: Any, path: str | os.PathLike, words: str, compress: bool = True) -> None:
    storage = import_slicer().vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(int(compress))
    if not storage.WriteData(volume):
        raise SceneError(f"{words} could not be written to {path}. Check free space and permissions.")


def _node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
