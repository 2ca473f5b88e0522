"""The HTML page: one file, no network, readable on a phone and in print."""

import base64
import csv
import html
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from COFTrainingLib.evaluation.report.section import Figure, Section, Table

STYLE = """
:root{color-scheme:light;--ink:#1b2230;--muted:#667085;--line:#d5dae3;--accent:#1f6fb2;--paper:#fff;--soft:#f5f7fa}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:var(--paper);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:74rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:1rem 0 .25rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;padding-top:.5rem;border-top:2px solid var(--accent)}
h3{font-size:1rem;margin:1.5rem 0 .4rem}
p,li{max-width:46rem}
.muted,figcaption,.note{color:var(--muted);font-size:.875rem}
.warning{border-left:4px solid #d1495b;background:#fdf1f3;padding:.6rem .9rem;margin:1rem 0}
nav ul{columns:2;column-gap:2rem;padding-left:1.1rem}
nav a,a{color:var(--accent)}
.wide{overflow-x:auto;-webkit-overflow-scrolling:touch;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:.8125rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:9rem;position:sticky;left:0;background:inherit}
td.words{text-align:left;white-space:normal;min-width:10rem}
thead tr{background:var(--soft)}tbody tr{background:var(--paper)}tbody tr.main{background:#eaf3fb;font-weight:600}
.published .wide{border:1px dashed #b98900;background:#fffbf0}
.published thead tr,.published tbody tr{background:#fffbf0}
.badge{display:inline-block;font-size:.75rem;padding:0 .45rem;border-radius:1rem;background:#fff0c2;color:#6b5200;
margin-right:.4rem}
figure{margin:1rem 0}figure img,figure svg{max-width:100%;height:auto;display:block}
@media(max-width:40rem){nav ul{columns:1}main{padding:.75rem}body{font-size:15px}}
@media print{main{max-width:none}h2{break-before:auto}table{font-size:8pt}.wide{overflow:visible;border:0}
th,td{white-space:normal;padding:2px 4px}figure,table{break-inside:avoid}nav{display:none}}
"""


def page(title: str, head: str, sections: Sequence[Section], main: str) -> str:
    """Return the page.

    Args:
        title: Of the page.
        head: HTML of the introduction.
        sections: In order.
        main: Name of the method whose rows stand out.
    """
    contents = "".join(f'<li><a href="#{s.name}">{html.escape(s.title)}</a></li>' for s in sections)
    body = "".join(_section(section, main) for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{html.escape(title)}</h1>{head}<nav><ul>{contents}</ul></nav>{body}</main></body></html>\n"
    )


def _section(section: Section, main: str) -> str:
    parts = [f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>']
    if section.not_run:
        parts.append(f'<p class="muted">Not run: {html.escape(section.not_run)}</p>')
    parts += [f"<p>{html.escape(words)}</p>" for words in section.text]
    parts += [_table(table, main) for table in section.tables if not table.published]
    parts += [_figure(figure) for figure in section.figures]
    parts += [_table(table, main) for table in section.tables if table.published]
    return "".join(parts) + "</section>"


def _table(table: Table, main: str) -> str:
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in table.columns)
    rows = []
    for row in table.rows:
        marked = ' class="main"' if main and row and row[0] == main else ""
        rows.append(f"<tr{marked}>" + "".join(_cell(value, place) for place, value in enumerate(row)) + "</tr>")
    badge = '<span class="badge">published, not measured here</span>' if table.published else ""
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    kind = "published" if table.published else "measured"
    return (
        f'<div class="{kind}"><h3>{badge}{html.escape(table.title)}</h3><div class="wide" tabindex="0"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{note}</div>"
    )


def _cell(value: Any, place: int) -> str:
    text = cell_text(value)
    words = place > 0 and len(text) > 34
    return f'<td class="words">{html.escape(text)}</td>' if words else f"<td>{html.escape(text)}</td>"


def cell_text(value: Any) -> str:
    """Return a cell as text; a dash for what is not known."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)


def _figure(figure: Figure) -> str:
    if figure.kind == "svg":
        image = figure.content.decode("utf-8")
        image = image.replace("<svg ", f'<svg role="img" aria-label="{html.escape(figure.title, quote=True)}" ', 1)
        image = _own_ids(image, figure.name)
    else:
        data = base64.b64encode(figure.content).decode("ascii")
        image = f'<img alt="{html.escape(figure.title, quote=True)}" src="data:image/{figure.kind};base64,{data}">'
    note = f" {html.escape(figure.note)}" if figure.note else ""
    caption = f"<figcaption><strong>{html.escape(figure.title)}.</strong>{note}</figcaption>"
    return f'<figure id="figure-{figure.name}">{image}{caption}</figure>'


def _own_ids(svg: str, name: str) -> str:
    """Give the ids of an SVG its figure's name: several in one page must not share any."""
    return svg.replace('id="', f'id="{name}-').replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-")


def csv_text(table: Table) -> str:
    """Return a table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([re.sub(r"\s+", " ", str(column)) for column in table.columns])
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return out.getvalue()


def replace_file(path: Path, text: str) -> None:
    """Write a text file, complete or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
