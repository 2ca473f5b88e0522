"""A generated cine as a set of linked MRML nodes, and the way to find such a set again in any scene."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.compact import compact_frames
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene import tables, volumes
from COFGeneratorLib.scene.bootstrap import nodes_of_class, resolve_scene, update_proxies
from COFGeneratorLib.scene.motion import fit_motion_grid, motion_sequence


@dataclass(frozen=True)
class EcgTrace:
    """The electrocardiogram that goes with a result, on the time axis of its own record.

    Attributes:
        signal_mv: (12, L) mV.
        fs_hz: Sampling rate, Hz.
        leads: Names of the rows.
        r_peaks_ms: (n,) R peaks from the start of the record, ms.
    """

    signal_mv: np.ndarray
    fs_hz: float
    leads: tuple[str, ...]
    r_peaks_ms: np.ndarray

    @property
    def time_ms(self) -> np.ndarray:
        """(L,) time of the samples from the start of the record, ms."""
        return np.arange(self.signal_mv.shape[1]) * (1000.0 / self.fs_hz)


@dataclass
class ResultNodes:
    """Nodes of one result; None where the result has no such part."""

    browser: Any
    cine: Any
    labels: Any = None
    motion: Any = None
    function: Any = None
    volumes: Any = None
    cursor: Any = None
    chart: Any = None
    beat: Any = None
    ecg: Any = None
    ecg_12: Any = None
    extra: list = field(default_factory=list)

    @property
    def base_name(self) -> str:
        """Start of all node names."""
        return self.cine.GetName().removesuffix(" synthetic cine")

    def proxy(self, part: str = "cine") -> Any:
        """Return the proxy node that shows the selected frame of ``cine``, ``labels`` or ``motion``."""
        return self.browser.GetProxyNode(getattr(self, part))

    @property
    def whole(self) -> bool:
        """Whether all of its nodes are still in a scene."""
        parts = (getattr(self, name) for name in self.__dataclass_fields__ if name != "extra")
        return all(part is None or part.GetScene() is not None for part in parts)

    @property
    def facts(self) -> dict[str, Any]:
        """Content of ``function.json``; empty where volumes are unknown."""
        text = self.function.GetAttribute(names.FACTS) if self.function is not None else None
        return json.loads(text) if text else {}

    def show_frame(self, frame: int) -> None:
        """Select a frame; proxies and cursor follow."""
        self.browser.SetSelectedItemNumber(frame)
        update_proxies(self.browser)
        if self.cursor is not None:
            tables.move_cursor(self.cursor, float(self.cine.GetNthIndexValue(frame)))


def build_result(cine: Any, scene: Any = None, name: str = "Heart") -> ResultNodes:
    """Add a generated cine with all its parts to a scene.

    Args:
        cine: ``cine.Cine``.
        scene: vtkMRMLScene; the application's own where none is given.
        name: Start of all node names.

    Returns:
        The nodes, already linked, at frame 0.

    Raises:
        SceneError: If there is no scene or a part does not fit.
    """
    scene = resolve_scene(scene)
    indices = names.index_strings(cine.time_ms)
    geometry = cine.anchor.ijk_to_ras
    frames = compact_frames(cine.frames, cine.anchor.voxels)
    cine_sequence = volumes.volume_sequence(scene, names.node_name(name, "cine"), frames, indices, geometry)
    label_sequence = None
    if cine.labels is not None:
        label_sequence = volumes.volume_sequence(
            scene, names.node_name(name, "labels"), cine.labels.astype(np.uint8), indices, geometry, labels=True
        )
    motion, motion_facts = None, {}
    if cine.motion is not None:  # an image generated as such, not by moving an anchor, has none
        grid = fit_motion_grid(cine.displacement_mm, len(cine.time_ms))
        motion = motion_sequence(scene, names.node_name(name, "motion"), grid, indices, geometry)
        motion_facts = {"motion_grid_stride": grid.stride, "motion_grid_error_mm": round(grid.error_mm, 4)}
    return link_result(
        scene,
        name,
        cine_sequence,
        label_sequence,
        motion,
        function=function_facts(cine),
        ecg=_trace_of(cine),
        provenance={"rr_ms": float(cine.rr_ms), "labels_from": cine.labels_from, **motion_facts, **cine.provenance},
        window_level=volumes.window_level(cine.anchor.voxels),
    )


def link_result(
    scene: Any,
    name: str,
    cine_sequence: Any,
    label_sequence: Any,
    motion: Any,
    *,
    function: Mapping[str, Any] | None,
    ecg: EcgTrace | None,
    provenance: Mapping[str, Any],
    window_level: tuple[float, float] | None = None,
) -> ResultNodes:
    """Join sequences that are already in the scene to one result: browser, display, tables, chart, references.

    Args:
        scene: vtkMRMLScene.
        name: Start of all node names.
        cine_sequence, label_sequence, motion: vtkMRMLSequenceNode; the latter two may be None.
        function: Facts of ``function.json``, or None.
        ecg: The electrocardiogram, or None.
        provenance: JSON-able facts with at least ``rr_ms``.
        window_level: Of the cine's display; from its first frame where not given.
    """
    result_id = _result_id(scene, provenance)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", names.node_name(name, "cine browser"))
    nodes = ResultNodes(browser, cine_sequence, label_sequence, motion)
    browser.SetAndObserveMasterSequenceNodeID(cine_sequence.GetID())
    for sequence in (label_sequence, motion):
        if sequence is not None:
            browser.AddSynchronizedSequenceNodeID(sequence.GetID())
    browser.SetPlaybackRateFps(cine_sequence.GetNumberOfDataNodes() * 1000.0 / float(provenance["rr_ms"]))
    browser.SetPlaybackLooped(True)
    browser.SetPlaybackItemSkippingEnabled(True)
    browser.SetIndexDisplayFormat("%.0f")
    for part in ("cine", "labels", "motion"):
        sequence = getattr(nodes, part)
        if sequence is not None:
            browser.SetSaveChanges(sequence, False)  # a generated frame is never edited in place
            names.mark(sequence, part, result_id, provenance)
    names.mark(browser, "browser", result_id, provenance)
    update_proxies(browser)
    _show_proxies(scene, name, nodes, window_level)
    _add_function(scene, name, nodes, function)
    _add_ecg(scene, name, nodes, ecg)
    for part in ("function", "volumes", "cursor", "chart", "beat"):
        if getattr(nodes, part) is not None:
            names.mark(getattr(nodes, part), part, result_id, provenance)
    for part in ("ecg", "ecg_12"):
        if getattr(nodes, part) is not None:
            getattr(nodes, part).SetAttribute(names.ROLE, part)
            getattr(nodes, part).SetAttribute(names.RESULT, result_id)
    nodes.show_frame(0)
    return nodes


def find_results(scene: Any = None) -> list[ResultNodes]:
    """Return the results that a scene (the application's own where None) holds, in the order of their browsers."""
    scene = resolve_scene(scene)
    by_result: dict[str, dict[str, Any]] = {}
    parts = set(ResultNodes.__dataclass_fields__) - {"extra"}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        role, result_id = node.GetAttribute(names.ROLE), node.GetAttribute(names.RESULT)
        if role in parts and result_id:
            by_result.setdefault(result_id, {}).setdefault(role, node)
    return [ResultNodes(**found) for found in by_result.values() if {"browser", "cine"} <= set(found)]


def function_facts(cine: Any) -> dict[str, Any] | None:
    """Return the function of a cine as ``function.json`` holds it, with intervals over its draws; None if unknown."""
    if cine.function is None:
        return None
    facts = cine.function.as_dict()
    if cine.samples:
        from COFGeneratorLib.function import summarise

        facts["samples"] = summarise(cine.samples)
    return facts


def _result_id(scene: Any, provenance: Mapping[str, Any]) -> str:
    """Return an id that is the same for the same generation and yet differs when it is loaded twice into a scene."""
    digest = hashlib.sha256(json.dumps(provenance, sort_keys=True, default=str).encode()).hexdigest()[:16]
    taken = {node.GetAttribute(names.RESULT) for node in nodes_of_class(scene, "vtkMRMLNode")}
    candidates = (digest if copy == 0 else f"{digest}-{copy + 1}" for copy in itertools.count())
    return next(candidate for candidate in candidates if candidate not in taken)


def _show_proxies(scene: Any, name: str, nodes: ResultNodes, window_level: tuple[float, float] | None) -> None:
    """Fix the display of the proxies; it stays while browsing and in saved scenes."""
    cine_proxy = nodes.proxy("cine")
    cine_proxy.CreateDefaultDisplayNodes()
    display = cine_proxy.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(*(window_level or volumes.window_level(volumes.volume_array(cine_proxy))))
    if nodes.labels is not None:
        colours = volumes.label_colours(scene, names.node_name(name, "label colours"))
        label_proxy = nodes.proxy("labels")
        label_proxy.CreateDefaultDisplayNodes()
        label_proxy.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
        nodes.extra.append(colours)
    for part in ("cine", "labels", "motion"):
        sequence = getattr(nodes, part)
        if sequence is not None:
            nodes.proxy(part).SetAttribute(names.SYNTHETIC, "true")


def _add_function(scene: Any, name: str, nodes: ResultNodes, function: Mapping[str, Any] | None) -> None:
    if function is None:
        return
    nodes.function = tables.function_table(scene, names.node_name(name, "function"), function)
    nodes.function.SetAttribute(names.FACTS, json.dumps(function, separators=(",", ":")))
    nodes.volumes = tables.volume_table(scene, names.node_name(name, "volumes"), function)
    nodes.cursor = tables.cursor_table(scene, names.node_name(name, "volume cursor"), function)
    nodes.chart = tables.volume_chart(scene, names.node_name(name, "volume over time"), nodes.volumes, nodes.cursor)
    for role, node in (
        (names.ROLE_FUNCTION, nodes.function),
        (names.ROLE_VOLUMES, nodes.volumes),
        (names.ROLE_CHART, nodes.chart),
    ):
        nodes.browser.SetNodeReferenceID(role, node.GetID())


def _add_ecg(scene: Any, name: str, nodes: ResultNodes, ecg: EcgTrace | None) -> None:
    if ecg is None:
        return
    lead_ii = ecg.leads.index("II")
    nodes.ecg = tables.slicerheart_ecg_table(
        scene, f"{name} ECG", ecg.time_ms, ecg.signal_mv[lead_ii], np.asarray(ecg.r_peaks_ms)
    )
    nodes.ecg_12 = tables.ecg_table(scene, f"{name} ECG 12 leads", ecg.time_ms, ecg.signal_mv, ecg.leads)
    if nodes.chart is not None:
        nodes.beat = tables.add_beat_to_chart(
            scene, names.node_name(name, "ECG of the beat"), nodes, ecg, float(nodes.cine.GetAttribute("COF.rr_ms"))
        )
    for holder in (nodes.browser, nodes.cine, nodes.proxy("cine")):
        holder.SetNodeReferenceID(names.ROLE_ECG_SLICERHEART, nodes.ecg.GetID())
        holder.SetNodeReferenceID(names.ROLE_ECG_12, nodes.ecg_12.GetID())


def _trace_of(cine: Any) -> EcgTrace | None:
    """Return the ECG of a cine; a registered one may have none."""
    if cine.record is None:
        return None
    peaks_ms = np.asarray(cine.cycle.r_peaks_s, float) * 1000.0
    return EcgTrace(cine.record.signal_mv, cine.record.fs_hz, LEADS, peaks_ms)
