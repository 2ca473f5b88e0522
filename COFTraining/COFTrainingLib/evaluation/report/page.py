"""A report as files: one HTML page, no network, readable on a phone and in print, and its tables as CSV."""

import base64
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.files import write_text

from COFTrainingLib.evaluation.report.section import Cell, Figure, Section, Table, safe_name

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Page:
    """What a page shows; all of it is text, none of it HTML.

    Args:
        title: Of the page.
        notice: Warning that stands first.
        lead: Paragraph under it.
        sections: In order.
        main: Name of the method whose rows stand out.
    """

    title: str
    notice: str
    lead: str
    sections: Sequence[Section]
    main: str = ""


def write_page(out: Path, page: Page) -> Path:
    """Write ``report.html``, ``tables/*.csv`` and further pages of sections, each complete or not at all.

    Returns the path of ``report.html``.
    """
    for section in page.sections:
        for name, text in section.pages.items():
            write_text(out / name, text)
        for table in section.tables:
            write_text(out / "tables" / f"{safe_name(table.name)}.csv", csv_text(table))
    path = out / "report.html"
    write_text(path, html_text(page))
    return path


def html_text(page: Page) -> str:
    """Return a page as HTML."""
    return environment().get_template(TEMPLATE).render(page=page) + "\n"


def environment() -> "Environment":
    """Return what the templates of this folder are filled in by; everything put in is escaped, drawings excepted."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    made.filters |= {"cell": cell_text, "safe_name": safe_name, "drawing": _drawing, "data_url": _data_url}
    return made


def cell_text(value: Cell) -> str:
    """Return a cell as text; a dash for what is not known."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)


def _drawing(figure: Figure) -> "Markup":
    """Return an SVG as it goes into the page; its ids get the figure's name, for several must not share any."""
    from markupsafe import Markup

    svg, name = figure.content.decode("utf-8"), safe_name(figure.name)
    return Markup(svg.replace('id="', f'id="{name}-').replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-"))


def _data_url(figure: Figure) -> str:
    return f"data:image/{figure.kind};base64,{base64.b64encode(figure.content).decode('ascii')}"


def csv_text(table: Table) -> str:
    """Return a table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([re.sub(r"\s+", " ", column) for column in table.columns])
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return out.getvalue()
