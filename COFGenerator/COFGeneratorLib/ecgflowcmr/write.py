"""Writes everything that belongs to one generated plane, under the names of every result."""

import json
from pathlib import Path

from COFGeneratorLib.ecgflowcmr.generate import PlaneCine
from COFGeneratorLib.ecgflowcmr.preview import write_plane_preview
from COFGeneratorLib.ecgflowcmr.read_outs import PlaneReport, summarise_planes
from COFGeneratorLib.jobs.stopwatch import Stopwatch
from COFGeneratorLib.results.writer import Progress, write_parts


def write_plane_result(cine: PlaneCine, folder: Path, watch: Stopwatch, progress: Progress | None = None) -> list[str]:
    """Write read-outs, pictures and scene; returns what a reader should know, in words."""
    return write_parts(
        cine,
        folder,
        watch,
        progress,
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
    (folder / "function.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "function.csv").write_text(_table(cine.plane), encoding="utf-8")
    return []


def _table(report: PlaneReport) -> str:
    lines = ["time_ms,lv_area_mm2,myocardium_area_mm2,rv_area_mm2"]
    columns = (report.time_ms, report.lv_area_mm2, report.myocardium_area_mm2, report.rv_area_mm2)
    lines += [",".join(f"{value:.3f}" for value in row) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"
