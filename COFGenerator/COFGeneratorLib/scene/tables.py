"""Tables and charts: function, volume over time, the electrocardiogram."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from COFGeneratorLib.scene.bootstrap import import_slicer
from COFGeneratorLib.scene.volumes import index_values

LEGEND_ROOM = 1.35
"""Height of the axis of volumes over the largest one: the legend covers no curve."""
CURVES = (("lv_volume_ml", "LV volume", (0.86, 0.24, 0.24)), ("rv_volume_ml", "RV volume", (0.27, 0.51, 0.87)))
"""Key in the function report, title of series and column, colour."""

INDICES = (
    ("ef_percent", "LV ejection fraction", "%", 1),
    ("edv_ml", "LV end-diastolic volume", "mL", 1),
    ("esv_ml", "LV end-systolic volume", "mL", 1),
    ("sv_ml", "LV stroke volume", "mL", 1),
    ("co_l_min", "Cardiac output", "L/min", 1),
    ("rv_ef_percent", "RV ejection fraction", "%", 1),
    ("rv_edv_ml", "RV end-diastolic volume", "mL", 1),
    ("rv_esv_ml", "RV end-systolic volume", "mL", 1),
    ("myocardial_mass_g", "LV myocardial mass", "g", 0),
    ("es_time_ms", "Time of end-systole", "ms", 0),
    ("strain.es_circumferential_percent", "Circumferential strain", "%", 1),
    ("strain.es_radial_percent", "Radial strain", "%", 1),
    ("strain.es_longitudinal_percent", "Longitudinal strain", "%", 1),
    ("hr_bpm", "Heart rate", "1/min", 0),
    ("rr_ms", "R–R interval", "ms", 0),
    ("folded_fraction", "Folded voxels", "fraction", 4),
)
"""Rows of the function table: key in the function report (a part of one after a dot), words, unit, decimals."""


def function_table(scene: Any, name: str, function: Mapping[str, Any]) -> Any:
    """Add the table of indices of ``function.json`` and return it.

    What changes over the frames is shown by its mean; intervals come from ``samples``, where several draws were made,
    and that of EF from the model where it states one.
    """
    draws = function.get("samples") or {}
    if function.get("ef_interval_percent"):  # conformal, stated by the model itself
        draws = {**draws, "ef_percent": {"interval": function["ef_interval_percent"]}}
    rows = []
    for key, words, unit, decimals in INDICES:
        part, _, inner = key.partition(".")
        value = (function.get(part) or {}).get(inner) if inner else function.get(key)
        if value is not None:
            low, high = (draws.get(key) or {}).get("interval") or (None, None)
            shown = "" if low is None or high is None else f"{np.mean(low):.{decimals}f} – {np.mean(high):.{decimals}f}"
            rows.append((words, f"{np.mean(value):.{decimals}f}", unit, shown))
    table = new_table(scene, name)
    titles = ["index", "value", "unit"]
    if draws:
        titles.append(f"{draws.get('interval_percent', 90.0):g} % interval")
    for title, column in zip(titles, zip(*rows, strict=True), strict=False):
        add_text_column(table, title, column)
    return table


def volume_table(scene: Any, name: str, function: Mapping[str, Any]) -> Any:
    """Add the table of volumes over time, with the first frame repeated at the end of the cycle, and return it."""
    time_ms = np.append(np.asarray(function["time_ms"], float), float(function["rr_ms"]))
    table = new_table(scene, name)
    add_number_column(table, "time", time_ms, "ms")
    for key, title, _ in CURVES:
        curve_ml = _curve(function, key)
        if curve_ml is not None:
            add_number_column(table, title, np.append(curve_ml, curve_ml[0]), "mL")
    return table


def volume_chart(scene: Any, name: str, table: Any, cursor: Any) -> Any:
    """Add line series of ``volume_table``, the cursor of ``cursor_table``, and their chart; return the chart."""
    chart = volumes_over_time(scene, name, name)
    columns = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    lines = [(table, title, title, colour) for _, title, colour in CURVES if title in columns]
    lines.append((cursor, "shown frame", "volume", (0.55, 0.55, 0.55)))
    for source, title, column, colour in lines:
        add_series(scene, chart, source, title, column, colour)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, LEGEND_ROOM * float(number_column(cursor, "volume").max()))
    return chart


def volumes_over_time(scene: Any, name: str, title: str) -> Any:
    """Add an empty chart of volumes over the heart cycle and return it."""
    chart = new_chart(scene, name, title, "Time from R wave (ms)")
    chart.SetYAxisTitle("Volume (mL)")
    return chart


def new_chart(scene: Any, name: str, title: str, x_title: str) -> Any:
    """Add an empty chart and return it."""
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title)
    return chart


def add_series(
    scene: Any, chart: Any, table: Any, title: str, column: str, colour: Sequence[float], x_column: str = "time"
) -> None:
    """Add a column over time, or over another column, as a line to a chart."""
    slicer = import_slicer()
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(x_column)
    series.SetYColumnName(column)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
    series.SetColor(*colour)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())


def add_beat_to_chart(scene: Any, name: str, nodes: Any, ecg: Any, rr_ms: float) -> Any:
    """Draw lead II of the beat whose length drove the motion under the volume curves; return its table.

    The trace is scaled into the lowest fifth of the chart, since the axis is that of the volumes.

    Args:
        scene: vtkMRMLScene.
        name: Node name.
        nodes: ``ResultNodes`` with volumes, cursor and chart.
        ecg: ``EcgTrace`` on the time axis of its record.
        rr_ms: Length of the cycle, ms; the beat is the one whose R–R comes closest.
    """
    peaks_ms = np.asarray(ecg.r_peaks_ms, float)
    start_ms = peaks_ms[np.argmin(np.abs(np.diff(peaks_ms) - rr_ms))] if len(peaks_ms) > 1 else 0.0
    inside = (ecg.time_ms >= start_ms) & (ecg.time_ms <= start_ms + rr_ms)
    if inside.sum() < 2:
        return None
    lead_mv = ecg.signal_mv[ecg.leads.index("II"), inside]
    top_ml = number_column(nodes.cursor, "volume").max()
    spread_mv = max(float(np.ptp(lead_mv)), 1e-6)
    table = new_table(scene, name)
    add_number_column(table, "time", ecg.time_ms[inside] - start_ms, "ms")
    add_number_column(table, "ECG II", 0.2 * top_ml * (lead_mv - lead_mv.min()) / spread_mv, "scaled")
    add_series(scene, nodes.chart, table, "ECG lead II (scaled)", "ECG II", (0.2, 0.2, 0.2))
    return table


def cursor_table(scene: Any, name: str, function: Mapping[str, Any]) -> Any:
    """Add the two-point table of the vertical line that marks the shown frame in the chart."""
    curves = [curve for curve in (_curve(function, key) for key, _, _ in CURVES) if curve is not None]
    table = new_table(scene, name)
    add_number_column(table, "time", np.zeros(2), "ms")
    top_ml = max((float(curve.max()) for curve in curves), default=1.0)
    add_number_column(table, "volume", np.array([0.0, top_ml * 1.05]), "mL")
    return table


def move_cursor(table: Any, time_ms: float) -> None:
    """Move the vertical line to a time, ms."""
    column = table.GetTable().GetColumnByName("time")
    column.SetValue(0, time_ms)
    column.SetValue(1, time_ms)
    column.Modified()
    table.GetTable().Modified()
    table.Modified()


def clicked_frame(nodes: Any, points: Sequence[tuple[str, list[int]]]) -> int | None:
    """Return the frame next to a point that was clicked in the chart of a result; None if it was none of its curves.

    ``points`` are (ID of a plot series node, selected rows) of everything that is selected now.
    """
    times_ms = index_values(nodes.cine)
    rr_ms = float(nodes.cine.GetAttribute("COF.rr_ms"))
    for series_id, rows in points:
        series = nodes.chart.GetScene().GetNodeByID(series_id) if nodes.chart.HasPlotSeriesNodeID(series_id) else None
        table = series.GetTableNode() if series is not None else None
        if table is None or table is nodes.cursor or not rows:
            continue
        time_ms = float(number_column(table, "time")[rows[-1]])
        apart_ms = np.abs(times_ms - time_ms) % rr_ms  # the end of the cycle is its beginning
        return int(np.argmin(np.minimum(apart_ms, rr_ms - apart_ms)))
    return None


def ecg_table(scene: Any, name: str, time_ms: np.ndarray, signal_mv: np.ndarray, leads: Sequence[str]) -> Any:
    """Add the table of all leads (columns ``time`` in ms and one a lead in mV) and return it."""
    table = new_table(scene, name)
    add_number_column(table, "time", time_ms, "ms")
    for lead, samples in zip(leads, signal_mv, strict=True):
        add_number_column(table, lead, samples, "mV")
    return table


def slicerheart_ecg_table(
    scene: Any, name: str, time_ms: np.ndarray, lead_mv: np.ndarray, triggers_ms: np.ndarray
) -> Any:
    """Add the one-lead table of SlicerHeart's layout (columns ``time``, ``ecg``, ``triggerTimes``) and return it.

    Trigger times (R peaks) fill the first rows of their column; the rest is NaN.
    """
    padded = np.full(len(time_ms), np.nan)
    padded[: len(triggers_ms)] = triggers_ms[: len(padded)]
    table = new_table(scene, name)
    for title, values, unit in (("time", time_ms, "ms"), ("ecg", lead_mv, "mV"), ("triggerTimes", padded, "ms")):
        add_number_column(table, title, values, unit)
    return table


def new_table(scene: Any, name: str) -> Any:
    """Add an empty table node."""
    return scene.AddNewNodeByClass("vtkMRMLTableNode", name)


def add_number_column(table: Any, title: str, values: np.ndarray, unit: str) -> None:
    """Append a column of float64 numbers with its unit label."""
    import vtk
    from vtk.util import numpy_support

    column = numpy_support.numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float64), deep=True)
    column.SetName(title)
    table.AddColumn(column)
    table.SetColumnType(title, vtk.VTK_DOUBLE)
    table.SetColumnUnitLabel(title, unit)


def add_text_column(table: Any, title: str, values: Sequence[str]) -> None:
    """Append a column of texts."""
    import vtk

    column = vtk.vtkStringArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value)
    table.AddColumn(column)


def number_column(table: Any, title: str) -> np.ndarray:
    """Return a copy of a numeric column, (n,) float64."""
    column = table.GetTable().GetColumnByName(title)
    return np.array([column.GetVariantValue(row).ToDouble() for row in range(column.GetNumberOfTuples())])


def _curve(function: Mapping[str, Any], key: str) -> np.ndarray | None:
    """Return a curve over the frames, or None where it is unknown (absent, or None in every frame)."""
    values = function.get(key)
    if values is None or any(value is None for value in values):
        return None
    return np.asarray(values, float)
