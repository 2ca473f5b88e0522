"""Writes everything that belongs to one generated plane, under the names of every result."""

import json
from pathlib import Path

from COFGeneratorLib.ecgflowcmr.preview import write_plane_preview
from COFGeneratorLib.ecgflowcmr.read_outs import spread
from COFGeneratorLib.errors import SceneError
from COFGeneratorLib.jobs.stopwatch import Stopwatch


def write_plane_result(cine, folder: Path, watch: Stopwatch, progress=None) -> list[str]:
    """Write read-outs, pictures and scene of a ``PlaneCine``; returns what a reader should know, in words."""
    from COFGeneratorLib.scene import write_scene
    from COFGeneratorLib.scene.bootstrap import import_slicer

    warnings: list[str] = []
    tell = progress or (lambda done, total, words: None)
    tell(0, 3, "writing")
    with watch.stage("write_function"):
        if cine.plane is None:
            warnings.append("The bundle has no segmenter, so areas were not measured: no function.json.")
        else:
            content = cine.plane.as_dict()
            if cine.plane_draws:
                content["samples"] = spread(cine.plane_draws)
            (folder / "function.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            (folder / "function.csv").write_text(_table(cine.plane), encoding="utf-8")
    tell(1, 3, "writing")
    with watch.stage("write_preview"):
        write_plane_preview(cine, folder)
    tell(2, 3, "writing")
    with watch.stage("write_scene"):
        try:
            import_slicer()
        except SceneError as error:
            warnings.append(f"The sequences and scene.mrb were not written. {error}")
        else:
            write_scene(cine, folder, name="ECGFlowCMR heart (not the patient's)")
    tell(3, 3, "writing")
    return warnings


def _table(report) -> str:
    lines = ["time_ms,lv_area_mm2,myocardium_area_mm2,rv_area_mm2"]
    columns = (report.time_ms, report.lv_area_mm2, report.myocardium_area_mm2, report.rv_area_mm2)
    lines += [",".join(f"{value:.3f}" for value in row) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"
