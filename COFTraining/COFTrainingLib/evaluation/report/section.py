"""What a report is made of: tables, figures and sections."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from COFTrainingLib.evaluation.statistics import Interval

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        name: File name without ending; ``safe_name`` of it is used.
        title: Caption.
        columns: Headings.
        rows: Cells: strings, numbers or None.
        note: What has to be known to read it.
        published: Whether the numbers are a paper's and not measured here.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    published: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure: the content of an SVG, WebP or PNG file; ``kind`` is its ending."""

    name: str
    title: str
    content: bytes
    kind: str = "svg"
    note: str = ""


@dataclass
class Section:
    """One protocol's part of the report; ``pages`` are further files beside it, name → HTML."""

    name: str
    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    not_run: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)


def safe_name(name: str) -> str:
    """Return a name that may be part of a file's name or of an id: letters, digits, and three signs."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def shown(value: float | None, digits: int = 2) -> str:
    """Return a number for a table; a dash where it is not known."""
    if value is None or value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞"
    return f"{value:.{digits}f}"


def with_interval(interval: Interval, digits: int = 2) -> str:
    """Return ``mean [low, high]``."""
    if interval.n == 0 or interval.low != interval.low:
        return shown(interval.value, digits)
    return f"{shown(interval.value, digits)} [{shown(interval.low, digits)}, {shown(interval.high, digits)}]"


def p_shown(p: float) -> str:
    """Return a p value for a table."""
    if p != p:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
