"""Function read-outs as files: ``function.json`` (everything) and ``function.csv`` (one row a frame)."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from COFGeneratorLib.function.regional import RegionalReport
from COFGeneratorLib.function.report import FunctionReport, summarise

CSV_COLUMNS = ("frame", "time_ms", "lv_volume_ml", "rv_volume_ml", "myocardial_mass_g")


def write_function(
    report: FunctionReport,
    directory: str | Path,
    *,
    samples: Sequence[FunctionReport] = (),
    regional: RegionalReport | None = None,
) -> tuple[Path, Path]:
    """Write the read-outs of a cine.

    Args:
        report: Function of the cine that was written.
        directory: Where to write; must exist.
        samples: Function of random draws for the same patient; with them ``function.json`` has ``samples``: mean, SD
            and interval of every number over the draws.
        regional: AHA-17 segments, under ``segments``.

    Returns:
        Paths of the JSON and the CSV file.
    """
    content = report.as_dict()
    if samples:
        content["samples"] = summarise(samples)
    if regional is not None:
        content["segments"] = regional.as_dict()
    json_path, csv_path = Path(directory) / "function.json", Path(directory) / "function.csv"
    json_path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    values = report.as_dict()
    with csv_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(CSV_COLUMNS)
        for frame, row in enumerate(zip(*(values[name] for name in CSV_COLUMNS[1:]), strict=True)):
            writer.writerow([frame, *("" if value is None else value for value in row)])
    return json_path, csv_path
