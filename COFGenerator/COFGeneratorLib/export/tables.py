"""A heart as tables: volumes by frame, read-outs, segments of the wall. The first line of each is the mark."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from COFGeneratorLib.cine import SYNTHETIC_MARK
from COFGeneratorLib.errors import FunctionError
from COFGeneratorLib.export.heart import Heart
from COFGeneratorLib.files import write_csv

SEGMENTS = ("segment", "name", "wall_ed_mm", "wall_es_mm", "thickening_percent", "excursion_mm")
STRAINS = ("radial_strain_percent", "circumferential_strain_percent", "longitudinal_strain_percent")
"""Columns of segments whose strain was measured."""
CURVE_TIME = "time_ms"


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write ``read_outs.csv``, ``curves.csv`` and, where they were measured, ``segments.csv``.

    Raises:
        FunctionError: If nothing was measured of the heart.
    """
    measured = heart.read_outs
    times = measured.get(CURVE_TIME)
    if not isinstance(times, list):
        raise FunctionError(
            "Tables are made of what was measured on labels; found no function.json. Generate with --labels, or with "
            "a model that has a segmenter."
        )
    single = {name: value for name, value in measured.items() if isinstance(value, str | int | float)}
    draws = measured.get("samples")
    single |= {
        f"{name}_{part}": value
        for name, spread in (draws.items() if isinstance(draws, dict) else ())
        if isinstance(spread, dict)
        for part, value in spread.items()
        if isinstance(value, int | float)
    }
    interval = measured.get("ef_interval_percent")
    if isinstance(interval, list) and len(interval) == 2:
        single |= {"ef_interval_low_percent": interval[0], "ef_interval_high_percent": interval[1]}
    curves = {
        name: values for name, values in measured.items() if isinstance(values, list) and len(values) == len(times)
        and not any(isinstance(value, dict | list | str) for value in values)
    }  # fmt: skip
    strain = measured.get("strain")
    for name, found in strain.items() if isinstance(strain, dict) else ():
        if isinstance(found, list) and len(found) == len(times):
            curves[f"strain_{name}"] = found
        elif isinstance(found, int | float):
            single[f"strain_{name}"] = found
    rows = zip(range(len(times)), *curves.values(), strict=True)
    written = [
        _table(folder / "read_outs.csv", ("name", "value"), {**heart.facts, **single}.items()),
        _table(folder / "curves.csv", ("frame", *curves), rows),
    ]
    segments = measured.get("segments")
    if isinstance(segments, list):
        of_each = [segment for segment in segments if isinstance(segment, dict)]
        columns = (*SEGMENTS, *(name for name in STRAINS if any(name in segment for segment in of_each)))
        written.append(
            _table(folder / "segments.csv", columns, ([row.get(name) for name in columns] for row in of_each))
        )
    return written


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    write_csv(path, header, rows, comment=f"{SYNTHETIC_MARK}; ChainOfFlow")
    return path
