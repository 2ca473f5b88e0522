"""Writes everything that belongs to one generated cine."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import ChainOfFlowError, SceneError
from COFGeneratorLib.function import FunctionReport, RegionalReport, findings, measure_regional, write_function
from COFGeneratorLib.jobs.stopwatch import Stopwatch

Written = TypeVar("Written", bound=Cine)
Progress = Callable[[int, int, str], None]
"""Called with (done, total, message)."""


def write_result(cine: Cine, folder: Path, watch: Stopwatch, progress: Progress | None = None) -> list[str]:
    """Write a cine's read-outs, pictures and scene; see ``write_parts``."""
    from COFGeneratorLib.figures import write_preview

    return write_parts(cine, folder, watch, progress, read_outs=write_read_outs, pictures=write_preview)


def write_parts(
    cine: Written,
    folder: Path,
    watch: Stopwatch,
    progress: Progress | None,
    *,
    read_outs: Callable[[Written, Path], list[str]],
    pictures: Callable[[Written, Path], object],
    scene_name: str = "Heart",
) -> list[str]:
    """Write the parts of a result.

    Args:
        cine: The cine.
        folder: Existing folder to write into.
        watch: Gets the stages ``write_function``, ``write_preview`` and ``write_scene``.
        progress: Told how far it is.
        read_outs: Writes what was measured, and returns what the reader should know of it.
        pictures: Draws the previews.
        scene_name: Start of all node names.

    Returns:
        What the reader of the result should know, in words.
    """
    from COFGeneratorLib.scene import write_scene
    from COFGeneratorLib.scene.bootstrap import import_slicer

    tell = progress or (lambda done, total, message: None)
    tell(0, 3, "writing")
    with watch.stage("write_function"):
        warnings = read_outs(cine, folder)
    tell(1, 3, "writing")
    with watch.stage("write_preview"):
        pictures(cine, folder)
    tell(2, 3, "writing")
    with watch.stage("write_scene"):
        try:
            import_slicer()
        except SceneError as error:
            warnings.append(f"The sequences and scene.mrb were not written. {error}")
        else:
            write_scene(cine, folder, name=scene_name)
    tell(3, 3, "writing")
    return warnings


def write_read_outs(cine: Cine, folder: Path) -> list[str]:
    """Write what was measured of a cine; returns what the reader should know, in words."""
    if cine.function is None:
        return ["No labels are known, so volumes and EF were not measured: no function.json."]
    warnings: list[str] = []
    regional = _regional(cine, cine.function, warnings)
    write_function(cine.function, folder, samples=cine.samples, regional=regional)
    warnings.extend(findings(cine.function))
    if len(cine.samples) > 1 and len({draw.ef_percent for draw in cine.samples}) == 1:
        warnings.append("All draws are equal: this model has no randomness, so the intervals say nothing.")
    return warnings


def _regional(cine: Cine, report: FunctionReport, warnings: list[str]) -> RegionalReport | None:
    """Return the AHA-17 report of a cine; where there is no wall to measure, say so."""
    assert cine.labels is not None  # function was measured on them
    try:
        return measure_regional(cine.labels[report.ed_frame], cine.labels[report.es_frame], cine.anchor.ijk_to_ras)
    except ChainOfFlowError as error:
        warnings.append(f"Regional function was not measured. {error}")
        return None
