"""A generated cine beside a real one that is loaded: difference as a sequence, curves in a chart, figures."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.function.agreement import Agreement, agreement, on_grid
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene import tables, volumes
from COFGeneratorLib.scene.bootstrap import import_slicer, items_of, update_proxies
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.scene.saving import cine_array
from COFGeneratorLib.scene.volumes import ijk_to_ras_of

STRUCTURE_WORDS = {"lv": "LV cavity", "myo": "LV myocardium", "rv": "RV cavity"}
CURVE_COLOURS = {"lv": (0.86, 0.24, 0.24), "rv": (0.27, 0.51, 0.87)}


@dataclass
class ComparisonNodes:
    """Nodes of one comparison and what was measured."""

    difference: Any
    figures: Any
    curves: Any
    chart: Any
    agreement: Agreement


def why_not_comparable(nodes: ResultNodes | None, browser: Any) -> str:
    """Return why a browser cannot be compared with a result, in words; empty if it can."""
    if nodes is None:
        return "Generate or choose a cine first."
    if browser is None:
        return "Choose a real cine: the browser of a loaded image sequence."
    if browser is nodes.browser:
        return "This is the generated cine itself. Choose a real one."
    master = browser.GetMasterSequenceNode()
    first = master.GetNthDataNode(0) if master is not None and master.GetNumberOfDataNodes() else None
    if first is None or not first.IsA("vtkMRMLScalarVolumeNode") or first.IsA("vtkMRMLLabelMapVolumeNode"):
        return "The real cine must be a sequence of grey-scale volumes."
    if master.GetNumberOfDataNodes() < 2:
        return "The real cine must have more than one frame."
    return ""


def compare_with_real(scene: Any, nodes: ResultNodes, browser: Any) -> ComparisonNodes:
    """Compare a result with a real cine and add what comes out to the scene.

    The real cine is brought onto the result's grid. Its frames are matched by phase, so that heart rates may differ.
    Labels are taken from a label map sequence of the same browser, with this product's codes 1, 2, 3.

    Raises:
        SceneError: If the two cannot be compared.
    """
    reason = why_not_comparable(nodes, browser)
    if reason:
        raise SceneError(reason)
    master, labels = browser.GetMasterSequenceNode(), _label_sequence(browser)
    geometry = ijk_to_ras_of(nodes.cine.GetNthDataNode(0))
    generated = cine_array(nodes.cine).astype(np.float32)
    shape = generated.shape[1:]
    real = on_grid(cine_array(master), ijk_to_ras_of(master.GetNthDataNode(0)), shape, geometry, 1)
    real_labels = None
    if labels is not None and labels.GetNumberOfDataNodes() == len(real):
        real_labels = np.rint(
            on_grid(cine_array(labels), ijk_to_ras_of(labels.GetNthDataNode(0)), shape, geometry, 0)
        ).astype(np.uint8)
    own_labels = cine_array(nodes.labels) if nodes.labels is not None else None
    result = agreement(generated, real, geometry, own_labels, real_labels)
    base = nodes.base_name
    curves, chart = _curves(scene, f"{base} and {master.GetName()}", nodes, result)
    return ComparisonNodes(
        difference=_add_difference(scene, nodes, base, result, geometry),
        figures=_figures(scene, f"{base} compared with {master.GetName()}", result),
        curves=curves,
        chart=chart,
        agreement=result,
    )


def _label_sequence(browser: Any) -> Any:
    """Return the sequence of label maps that a browser shows together with its images, or None."""
    import vtk

    slicer = import_slicer()
    sequences = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(sequences, False)
    for sequence in items_of(sequences):
        first = sequence.GetNthDataNode(0) if sequence.GetNumberOfDataNodes() else None
        if isinstance(first, slicer.vtkMRMLLabelMapVolumeNode):
            return sequence
    return None


def _add_difference(scene: Any, nodes: ResultNodes, base: str, result: Agreement, geometry: np.ndarray) -> Any:
    indices = [nodes.cine.GetNthIndexValue(index) for index in range(len(result.difference))]
    name = f"{names.node_name(base, 'minus real')}"
    sequence = volumes.volume_sequence(scene, name, result.difference, indices, geometry)
    nodes.browser.AddSynchronizedSequenceNodeID(sequence.GetID())
    nodes.browser.SetSaveChanges(sequence, False)
    update_proxies(nodes.browser)
    proxy = nodes.browser.GetProxyNode(sequence)
    proxy.CreateDefaultDisplayNodes()
    proxy.GetDisplayNode().SetAutoWindowLevel(False)
    proxy.GetDisplayNode().SetWindowLevel(1.0, 0.0)
    return sequence


def _figures(scene: Any, name: str, result: Agreement) -> Any:
    rows = [
        ("Mean difference", result.error, result.error_still, 3),
        ("Correlation", result.correlation, result.correlation_still, 3),
    ]
    rows += [(f"Dice {STRUCTURE_WORDS[key]}", values, result.dice_still[key], 2) for key, values in result.dice.items()]
    table = tables.new_table(scene, name)
    tables.add_text_column(table, "agreement", [words for words, *_ in rows])
    for title, place in (("generated", 0), ("anchor held still", 1)):
        tables.add_text_column(table, title, [f"{np.nanmean(row[1 + place]):.{row[3]}f}" for row in rows])
    return table


def _curves(scene: Any, name: str, nodes: ResultNodes, result: Agreement) -> tuple[Any, Any]:
    """Return the table of the real volumes and the chart with both, or (None, None) where there are no labels."""
    if not result.real_volume_ml:
        return None, None
    time_ms = volumes.index_values(nodes.cine)
    table = tables.new_table(scene, f"{name} volumes")
    tables.add_number_column(table, "time", time_ms, "ms")
    chart = tables.volumes_over_time(scene, f"{name} volumes", f"{name}: volumes, generated and real")
    for key, volume_ml in result.real_volume_ml.items():
        title = f"{key.upper()} volume"
        tables.add_number_column(table, f"{title} real", volume_ml, "mL")
        if nodes.volumes is not None and nodes.volumes.GetTable().GetColumnByName(title) is not None:
            tables.add_series(scene, chart, nodes.volumes, f"{title} generated", title, CURVE_COLOURS[key])
        faint = tuple(0.5 + part / 2.0 for part in CURVE_COLOURS[key])
        tables.add_series(scene, chart, table, f"{title} real", f"{title} real", faint)
    return table, chart
