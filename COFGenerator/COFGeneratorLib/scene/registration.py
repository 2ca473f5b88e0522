"""Registration from nodes to nodes: a real cine out of the scene into a child process, its motion back."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene import attributes, export
from COFGeneratorLib.scene.bootstrap import standalone_scene
from COFGeneratorLib.scene.child import OURS, Child, inputs_of, label_arguments, start_cine
from COFGeneratorLib.scene.files import write_sequence
from COFGeneratorLib.scene.generation import DEFAULTS, GenerationOptions
from COFGeneratorLib.scene.saving import cine_array
from COFGeneratorLib.scene.volumes import ijk_to_ras_of, volume_sequence

IN_MS = {"ms": 1.0, "s": 1000.0, "sec": 1000.0, "seconds": 1000.0}
"""Index units of sequences whose values are times, and what they are in ms."""


def why_not_a_real_cine(volume: Any) -> str:
    """Return why the motion of a volume's cine cannot be measured, in words; empty if it can."""
    browser, sequence = export.browser_showing(volume)
    if sequence is None or sequence.GetNumberOfDataNodes() < 2:
        return "Registration follows a frame through its own cine. Choose a volume that a sequence browser plays."
    if browser.GetAttribute(attributes.SYNTHETIC) == "true":
        return "This cine was generated: its motion is known already. Choose a real one."
    return ""


def told_cycle_ms(volume: Any) -> float | None:
    """Return the length of the cycle that a cine's index values tell, ms; None where they are no times.

    The last frame lasts as long as the others do on average.
    """
    _, sequence = export.browser_showing(volume)
    scale = IN_MS.get((sequence.GetIndexUnit() or "").strip().lower())
    if scale is None:
        return None
    count = sequence.GetNumberOfDataNodes()
    try:
        span = float(sequence.GetNthIndexValue(count - 1)) - float(sequence.GetNthIndexValue(0))
    except ValueError:
        return None
    return scale * span * count / (count - 1) if span > 0.0 else None


def start_registration(
    folder: str | os.PathLike,
    anchor: Any,
    *,
    labels: Any = None,
    label_mapping: str = "",
    cycle_ms: float | None = None,
    options: GenerationOptions = DEFAULTS,
    child: Child = OURS,
) -> JobRunner:
    """Write the cine and start the child process.

    Args:
        folder: The job's folder, new.
        anchor: Volume node that a sequence browser shows; its selected frame is followed.
        labels, label_mapping: Labels of that frame, as for a generation.
        cycle_ms: Length of the cycle; told by the sequence where None.
        options: Model and device.
        child: What runs it.

    Raises:
        SceneError: If the cine cannot be used or does not say how long its cycle is.
        JobError: If the process cannot be started.
    """
    reason = export.why_not_an_anchor(anchor) or why_not_a_real_cine(anchor)
    if reason:
        raise SceneError(reason)
    length_ms = cycle_ms or told_cycle_ms(anchor)
    if not length_ms:
        raise SceneError(
            "The length of the heart cycle must be known; the sequence tells no times. Choose the patient's ECG too, "
            "or set the sequence's index unit to ms."
        )
    browser, sequence = export.browser_showing(anchor)
    runner = JobRunner(folder)
    inputs = inputs_of(runner)
    _write_cine(sequence, length_ms, inputs / "real.seq.nrrd")
    frame = sequence.GetItemNumberFromIndexValue(
        browser.GetMasterSequenceNode().GetNthIndexValue(browser.GetSelectedItemNumber())
    )
    argv = [*child.command("register"), "--cine", str(inputs / "real.seq.nrrd")]
    argv += ["--anchor-frame", str(frame), "--rr", f"{length_ms:.3f}"]
    argv += label_arguments(labels, label_mapping, anchor, inputs)
    argv += ["--device", options.device, *(["--model", str(options.model)] if options.model else [])]
    title = f"Measure the motion of {anchor.GetName()}"
    return start_cine(runner, argv, kind="register", title=title, child=child)


def _write_cine(sequence: Any, length_ms: float, path: Path) -> None:
    frames = cine_array(sequence)
    if frames.dtype not in (np.int16, np.uint8, np.uint16, np.float32):
        frames = frames.astype(np.float32)
    indices = attributes.index_strings(np.arange(len(frames)) * length_ms / len(frames))
    with standalone_scene() as scene:
        copy = volume_sequence(scene, "real cine", frames, indices, ijk_to_ras_of(sequence.GetNthDataNode(0)))
        write_sequence(copy, path)
