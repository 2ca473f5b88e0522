"""From the panel's choices to a started job: a generation, or the registration of a real cine."""

from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene.generation import GenerationOptions
from COFGeneratorLib.scene.registration import told_cycle_ms
from COFGeneratorLib.ui.ecg_preview import AUTOMATIC


def start_job(logic, node, computer, ecg, rr_ms: float | None, registers: bool) -> JobRunner:
    """Start what the panel describes.

    Args:
        logic: ``COFGeneratorLogic``.
        node: The parameter node.
        computer: ``ComputerView``: model, device, Python.
        ecg: Path of a file, or a table node.
        rr_ms: R–R of the ECG, if it has been read.
        registers: Measure the motion of the anchor's own cine instead of generating one.

    Raises:
        SceneError, JobError: If an input cannot be used or the process cannot be started.
    """
    options = GenerationOptions(
        frames=node.frames,
        samples=node.samples,
        seed=node.seed,
        steps=node.steps or None,
        device=computer.device,
        model=computer.model,
        beat=None if node.beat == AUTOMATIC else node.beat,
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
