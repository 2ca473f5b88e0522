"""From the panel's choices to a started job: a generation, or the registration of a real cine."""

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene import export
from COFGeneratorLib.scene.generation import ECG_ALONE, GenerationOptions
from COFGeneratorLib.scene.registration import told_cycle_ms, why_not_a_real_cine
from COFGeneratorLib.ui.computer_view import ComputerView
from COFGeneratorLib.ui.ecg_preview import AUTOMATIC, EcgPreview

ALONE = "ECG alone"
"""Choice of engine that needs no anchor."""
LOWEST_EF, LOWEST_HR = 5, 25
"""Of what a user can state; below it the ECG tells."""


def is_alone(node: Any) -> bool:
    """Return whether the heart is drawn from the ECG, without an anchor."""
    return node is not None and node.engine == ALONE


def why_no_start(node: Any, ecg_path: str, ecg: EcgPreview, registers: bool) -> str:
    """Return what of the patient's part of the panel cannot be used, in words with what to do; empty if all can.

    ``registers``: whether the motion of the anchor's own cine is measured.
    """
    alone = is_alone(node)
    reason = "" if alone else export.why_not_an_anchor(node.anchorVolume)
    if reason:
        return reason
    if registers:
        reason = why_not_a_real_cine(node.anchorVolume)
        if not reason and told_cycle_ms(node.anchorVolume) is None and not ecg.facts.get("rr_ms"):
            reason = _("The cine does not say how long its cycle is. Choose the patient's ECG too.")
    elif node.ecgTable is not None:
        reason = export.why_not_an_ecg_table(node.ecgTable)
    elif not ecg_path:
        reason = _("Choose the patient's 12-lead ECG: a file or a table.")
    elif not Path(ecg_path).is_file():
        reason = _("The ECG file does not exist: {path}").format(path=ecg_path)
    if not reason and not registers and ecg.problem:
        reason = _("The ECG cannot be used. {problem}").format(problem=ecg.problem)
    if reason or alone:
        return reason
    if node.anchorLabels is not None:
        try:
            export.parse_label_mapping(node.labelMapping, export.label_names(node.anchorLabels))
        except ChainOfFlowError as error:
            return str(error)
    if not registers and ecg.beats and node.beat >= len(ecg.beats) - 1:
        return _("The ECG has no whole beat {n}; the last one is {last}.").format(n=node.beat, last=len(ecg.beats) - 2)
    return ""


def start_generating(
    logic: Any, node: Any, computer: ComputerView, *, ecg: Any, rr_ms: float | None, registers: bool
) -> JobRunner:
    """Start what the panel describes: a generation, or (``registers``) measuring the motion of the anchor's own cine.

    Raises:
        SceneError, JobError: If an input cannot be used or the process cannot be started.
    """
    alone = is_alone(node)
    options = GenerationOptions(
        frames=node.frames,
        samples=node.samples,
        seed=node.seed,
        steps=node.steps or None,
        device=computer.device,
        model=computer.model,
        beat=None if node.beat == AUTOMATIC or alone else node.beat,
        engine=ECG_ALONE if alone else None,
        draw=True if node.draw and not alone else None,
        ef_percent=node.efPercent if node.efPercent >= LOWEST_EF and not alone else None,
        hr_bpm=node.hrBpm if node.hrBpm >= LOWEST_HR and not alone else None,
        anchor_phase=node.anchorPhase / 100 if node.anchorPhase and not alone else None,
    )
    common = {
        "segmentationNode": node.anchorLabels,
        "labelMapping": node.labelMapping,
        "options": options,
        "python": computer.python,
        "env": computer.environment(),
    }
    if registers:
        cycle_ms = told_cycle_ms(node.anchorVolume) or rr_ms
        return logic.startRegistration(node.anchorVolume, cycleMs=cycle_ms, **common)
    return logic.start(node.anchorVolume, ecg, roiNode=node.heartRegion, **common)
