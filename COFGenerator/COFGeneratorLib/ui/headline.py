"""What a result says first: the ejection fraction in large letters, its interval, and what must be known of it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from slicer.i18n import tr as _

LARGE_PT, SMALL_PT = 26, 11
STATEMENTS = {
    "stated": "",
    "widened": "The ECG is believed with reserve: the interval is wider.",
    "withheld": "The ECG cannot be believed on function: no interval is stated.",
}
"""``ef_statement`` of ``function.json`` → words."""


def headline(facts: Mapping[str, Any]) -> str:
    """Return EF and its interval as rich text; of ``function.json`` without an EF an empty one."""
    value = facts.get("ef_percent")
    if value is None:
        return ""
    interval = facts.get("ef_interval_percent") or drawn_interval(facts)
    words = _("LV ejection fraction")
    if interval is not None:
        level = (facts.get("samples") or {}).get("interval_percent", 90.0)
        words = _("{words}<br>{level:g} %: {low:.0f} – {high:.0f} %").format(
            words=words, level=level, low=interval[0], high=interval[1]
        )
    large = f'<span style="font-size:{LARGE_PT}pt; font-weight:600">{value:.0f} %</span>'
    small = f'<span style="font-size:{SMALL_PT}pt">{words}</span>'
    return f'<table><tr><td>{large}&nbsp;&nbsp;</td><td style="vertical-align:middle">{small}</td></tr></table>'


def drawn_interval(facts: Mapping[str, Any]) -> Sequence[float] | None:
    """Return the interval of EF over several draws, or None."""
    return ((facts.get("samples") or {}).get("ef_percent") or {}).get("interval")


def notes(facts: Mapping[str, Any], synthetic: bool = True) -> str:
    """Return what must be known of the result, one line each: the mark first, then the notes on EF."""
    said = [_("Synthetic. For research only, not for diagnosis or treatment.")] if synthetic else []
    said += filter(None, [_(STATEMENTS.get(facts.get("ef_statement") or "", ""))])
    said += [str(note) for note in facts.get("ef_notes") or ()]
    return "<br>".join(html.escape(line) for line in dict.fromkeys(said))
