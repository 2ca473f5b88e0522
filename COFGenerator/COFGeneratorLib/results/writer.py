"""Writes everything that belongs to one generated cine."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import ChainOfFlowError, FunctionError, MachineError, SceneError
from COFGeneratorLib.export import FORMATS, Heart, write_export
from COFGeneratorLib.function import (
    FunctionReport,
    RegionalReport,
    StrainReport,
    findings,
    measure_regional,
    measure_strain,
    write_function,
)
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.results.parts import DEFAULT_PARTS, PAGE, PICTURES, SCENE_PARTS, in_order

Written = TypeVar("Written", bound=Cine)
Progress = Callable[[int, int, str], None]
"""Called with (done, total, message)."""


def write_result(
    cine: Cine, folder: Path, watch: Stopwatch, progress: Progress | None = None, parts: Collection[str] = DEFAULT_PARTS
) -> list[str]:
    """Write a cine's read-outs, pictures, scene and exports; see ``write_parts``."""
    from COFGeneratorLib.figures import write_preview

    warnings = write_parts(cine, folder, watch, progress, parts, read_outs=write_read_outs, pictures=write_preview)
    return [*warnings, *_write_page(cine, folder, watch)] if PAGE in parts else warnings


def _write_page(cine: Cine, folder: Path, watch: Stopwatch) -> list[str]:
    """Write ``viewer.html``, in the stage ``write_page``; returns what the reader should know, in words."""
    from COFGeneratorLib.figures.page import PAGE_FILE, write_page

    with watch.stage("write_page"):
        return write_page(cine, folder / PAGE_FILE)


def write_parts(
    cine: Written,
    folder: Path,
    watch: Stopwatch,
    progress: Progress | None,
    parts: Collection[str],
    *,
    read_outs: Callable[[Written, Path], list[str]],
    pictures: Callable[[Written, Path, Collection[str]], object],
    scene_name: str = "Heart",
) -> list[str]:
    """Write the parts of a result.

    Args:
        cine: The cine.
        folder: Existing folder to write into.
        watch: Gets a stage for each group of parts: ``write_function``, ``write_preview``, ``write_scene``, and
            ``write_nifti`` and the like of exports.
        progress: Told how far it is.
        parts: Names out of ``parts.PARTS``.
        read_outs: Writes what was measured, and returns what the reader should know of it.
        pictures: Draws those of ``parts.PICTURES`` that it is given.
        scene_name: Start of all node names.

    Returns:
        What the reader of the result should know, in words.
    """
    wanted = [part for part in in_order(parts) if part in FORMATS]
    tell = progress or (lambda done, total, message: None)
    count, warnings = 3 + len(wanted), list[str]()
    tell(0, count, "writing")
    if "function" in parts:
        with watch.stage("write_function"):
            warnings += read_outs(cine, folder)
    tell(1, count, "writing")
    if asked := [part for part in PICTURES if part in parts]:
        with watch.stage("write_preview"):
            pictures(cine, folder, asked)
    tell(2, count, "writing")
    if asked := [part for part in SCENE_PARTS if part in parts]:
        with watch.stage("write_scene"):
            warnings += _write_scene(cine, folder, scene_name, asked)
    for done, form in enumerate(wanted, start=3):
        tell(done, count, "writing")
        with watch.stage(f"write_{form}"):
            warnings += _export(cine, folder, form)
    tell(count, count, "writing")
    return warnings


def _write_scene(cine: Cine, folder: Path, name: str, parts: Collection[str]) -> list[str]:
    from COFGeneratorLib.scene import write_scene
    from COFGeneratorLib.scene.bootstrap import import_slicer

    try:
        import_slicer()
    except SceneError as error:
        return [f"The sequences and scene.mrb were not written. {error}"]
    write_scene(cine, folder, name=name, parts=parts)
    return []


def _export(cine: Cine, folder: Path, form: str) -> list[str]:
    """Write one export; where it cannot be made of this cine or on this machine, say so and keep the rest."""
    measured = folder / "function.json"
    read_outs = json.loads(measured.read_text("utf-8")) if measured.is_file() else None
    try:
        write_export(Heart.of(cine, read_outs), folder, form)
    except (FunctionError, MachineError) as error:
        return [f"The result was not exported as {form}. {error}"]
    return []


def write_read_outs(cine: Cine, folder: Path) -> list[str]:
    """Write what was measured of a cine; returns what the reader should know, in words."""
    if cine.function is None:
        return ["No labels are known, so volumes and EF were not measured: no function.json."]
    warnings: list[str] = []
    regional, strain = _regional(cine, cine.function, warnings), _strain(cine, cine.function)
    write_function(cine.function, folder, samples=cine.samples, regional=regional, strain=strain)
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


def _strain(cine: Cine, report: FunctionReport) -> StrainReport | None:
    """Return the strain of the wall of a cine; None where there is no wall or nothing was moved."""
    if cine.motion is None or cine.labels is None:
        return None
    try:
        return measure_strain(
            cine.labels,
            cine.displacement_mm,
            cine.anchor.ijk_to_ras,
            ed_frame=report.ed_frame,
            es_frame=report.es_frame,
        )
    except ChainOfFlowError:  # said already of the segments
        return None
