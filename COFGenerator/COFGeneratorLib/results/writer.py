"""Writes everything that belongs to one generated cine."""

from pathlib import Path

from COFGeneratorLib.errors import ChainOfFlowError, SceneError
from COFGeneratorLib.function import findings, measure_regional, write_function
from COFGeneratorLib.jobs.stopwatch import Stopwatch


def write_result(cine, folder: Path, watch: Stopwatch, progress=None) -> list[str]:
    """Write a cine's read-outs, pictures and scene.

    Args:
        cine: The ``Cine``.
        folder: Existing folder to write into.
        watch: Gets the stages ``write_function``, ``write_preview`` and ``write_scene``.
        progress: Called as ``progress(done, total, message)``.

    Returns:
        What the reader of the result should know, in words.
    """
    from COFGeneratorLib.figures import write_preview
    from COFGeneratorLib.scene import write_scene
    from COFGeneratorLib.scene.bootstrap import import_slicer

    warnings: list[str] = []

    def tell(done):
        if progress is not None:
            progress(done, 3, "writing")

    tell(0)
    with watch.stage("write_function"):
        if cine.function is None:
            warnings.append("No labels are known, so volumes and EF were not measured: no function.json.")
        else:
            write_function(cine.function, folder, samples=cine.samples, regional=_regional(cine, warnings))
            warnings.extend(findings(cine.function))
            if len(cine.samples) > 1 and len({draw.ef_percent for draw in cine.samples}) == 1:
                warnings.append("All draws are equal: this model has no randomness, so the intervals say nothing.")
    tell(1)
    with watch.stage("write_preview"):
        write_preview(cine, folder)
    tell(2)
    with watch.stage("write_scene"):
        try:
            import_slicer()
        except SceneError as error:
            warnings.append(f"The sequences and scene.mrb were not written. {error}")
        else:
            write_scene(cine, folder)
    tell(3)
    return warnings


def _regional(cine, warnings: list[str]):
    """Return the AHA-17 report of a cine; where there is no wall to measure, say so."""
    report = cine.function
    try:
        return measure_regional(cine.labels[report.ed_frame], cine.labels[report.es_frame], cine.anchor.ijk_to_ras)
    except ChainOfFlowError as error:
        warnings.append(f"Regional function was not measured. {error}")
        return None
