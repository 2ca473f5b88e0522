"""Writes everything that belongs to one generated plane, under the names of every result."""

from collections.abc import Collection
from pathlib import Path

from COFGeneratorLib.ecgflowcmr.generate import PlaneCine
from COFGeneratorLib.ecgflowcmr.preview import write_plane_preview
from COFGeneratorLib.ecgflowcmr.read_outs import summarise_planes
from COFGeneratorLib.files import write_csv, write_json
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.results.parts import DEFAULT_PARTS
from COFGeneratorLib.results.writer import Progress, write_parts

CSV_COLUMNS = ("time_ms", "lv_area_mm2", "myocardium_area_mm2", "rv_area_mm2")


def write_plane_result(
    cine: PlaneCine,
    folder: Path,
    watch: Stopwatch,
    progress: Progress | None = None,
    parts: Collection[str] = DEFAULT_PARTS,
) -> list[str]:
    """Write read-outs, pictures and scene; returns what a reader should know, in words."""
    return write_parts(
        cine,
        folder,
        watch,
        progress,
        parts,
        read_outs=_write_read_outs,
        pictures=write_plane_preview,
        scene_name="ECGFlowCMR heart (not the patient's)",
    )


def _write_read_outs(cine: PlaneCine, folder: Path) -> list[str]:
    if cine.plane is None:
        return ["The bundle has no segmenter, so areas were not measured: no function.json."]
    content = cine.plane.as_dict()
    if cine.plane_draws:
        content["samples"] = summarise_planes(cine.plane_draws)
    write_json(folder / "function.json", content)
    columns = [getattr(cine.plane, name) for name in CSV_COLUMNS]
    write_csv(folder / "function.csv", CSV_COLUMNS, ([f"{v:.3f}" for v in row] for row in zip(*columns, strict=True)))
    return []
