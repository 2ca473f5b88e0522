"""What papers report (``papers.toml``), never mixed with what is measured here, and whose methods were run here."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from COFTrainingLib.evaluation.report.section import Table


@cache
def _facts() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("papers.toml").read_text(encoding="utf-8"))


def published(name: str) -> Table:
    """Return the papers' table of a name, for example ``published_image``."""
    facts = _facts()[name]
    rows = [[None if cell == "–" else cell for cell in row] for row in facts["rows"]]
    return Table(name, facts["title"], facts["columns"], rows, facts.get("note", ""), published=True)


def eligibility(given: tuple[str, ...], families: tuple[str, ...] = ()) -> Table:
    """Return which external methods could be run here, and why not; those whose predictions were given are run.

    Args:
        given: Names of the predictions that were given.
        families: Of the trained comparators that were run: small ones of a method's kind.
    """

    def bare(name: str) -> str:
        return name.lower().replace("-", "").replace(" ", "")

    named = {bare(name) for name in given}
    rows = []
    for name, what, why in _facts()["external"]["methods"]:
        run = any(bare(part) in named for part in name.split(","))
        kind = next((family for family in families if f"--config {family}" in why), "")
        itself = why.partition(" Its kind is built in")[0]
        of_kind = f"one of its kind was run ({kind}, see tables); itself not: {itself}" if kind else f"not run: {why}"
        rows.append((name, what, "run, see tables" if run else of_kind))
    return Table(
        "eligibility", "External methods: who was run, and why not", ("Method", "What it is", "Here"), rows,
        "To enter one: write its cines as ID.nii.gz or ID/cine.seq.nrrd and give --predictions NAME=DIR. It then goes "
        "through exactly the same pipeline.",
    )  # fmt: skip
