"""Names by which results are found again: node attributes, reference roles and node names."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "COF."
ROLE = "COF.role"
RESULT = "COF.result"
SYNTHETIC = "COF.synthetic"
PROVENANCE = "COF.provenance"
FACTS = "COF.facts"
"""Attribute of the table of indices: the whole of ``function.json``, so that a saved scene can be drawn again."""

ROLE_ECG_SLICERHEART = "SlicerHeart.ECG"
"""Reference role under which SlicerHeart keeps a one-lead ECG table with columns time, ecg, triggerTimes."""
ROLE_ECG_12 = "COF.ECG12"
"""Reference role of the table with all twelve leads."""
ROLE_FUNCTION, ROLE_VOLUMES, ROLE_CHART = "COF.Function", "COF.Volumes", "COF.Chart"

INDEX_NAME, INDEX_UNIT = "time", "ms"


def index_strings(time_ms: Iterable[float]) -> list[str]:
    """Return the index strings of all sequences of one result, ms with three decimals.

    Slicer compares index strings of synchronised sequences, so there is one place that makes them. Three decimals are
    its own numeric tolerance.
    """
    return [f"{float(value):.3f}" for value in time_ms]


def node_name(base: str, what: str) -> str:
    """Return a node name that cannot be mistaken for an acquisition."""
    return f"{base} synthetic {what}"


def mark(node: Any, role: str, result_id: str, provenance: Mapping[str, Any]) -> None:
    """Write role, result id and provenance on a node.

    Scalars become one attribute each (``COF.seed``), so that they are readable in Slicer and in file headers; all of
    the provenance is kept as JSON beside them.
    """
    node.SetAttribute(ROLE, role)
    node.SetAttribute(RESULT, result_id)
    node.SetAttribute(SYNTHETIC, "true")
    for key, value in provenance.items():
        if isinstance(value, str | int | float | bool):
            node.SetAttribute(f"{PREFIX}{key}", _one_line(value))
    node.SetAttribute(PROVENANCE, json.dumps(provenance, default=str, ensure_ascii=True, separators=(",", ":")))


def provenance_of(node: Any) -> dict[str, Any]:
    """Return the provenance that ``mark`` wrote, or an empty mapping."""
    text = node.GetAttribute(PROVENANCE)
    return json.loads(text) if text else {}


def _one_line(value: str | float) -> str:
    return value.replace("\n", " ") if isinstance(value, str) else json.dumps(value)
