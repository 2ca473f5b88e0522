"""A finished bundle gets its card and its place: whole, of known weights, and never over other files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.folders import whole_folder
from COFGeneratorLib.generator.bundle import METADATA

PARTS = ("configs", "models", "docs")
"""Folders of a bundle; what else lies beside them is not replaced with it."""


def check_place(out: Path, overwrite: bool) -> None:
    """Check that a bundle may be written.

    Raises:
        TrainingError: If the folder holds other files, or a bundle that is not to be replaced.
    """
    if out.exists() and any(out.iterdir()) and not (overwrite and (out / METADATA).is_file()):
        raise TrainingError(
            f"A bundle needs an empty folder; found other files in {out}. Choose another, or replace a bundle with "
            "--overwrite."
        )


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder to make a bundle in; it takes the place of ``out`` when the block ends well, else it goes away.

    Other files in the final folder than a bundle's own stay.

    Raises:
        ChainOfFlowError: If the folder cannot be written, or another process writes it.
    """
    with whole_folder(out, _files_of_a_bundle) as folder:
        (folder / "models").mkdir()
        yield folder


def _files_of_a_bundle(folder: Path) -> set[str]:
    found = (path for part in PARTS for path in (folder / part).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def check_figures(weights_sha256: str, figures: dict[str, Any] | None, source: Path | str | None) -> None:
    """Check that the figures on a bundle's card, out of the file ``source``, are of its own weights.

    Raises:
        TrainingError: If they are not.
    """
    if figures and figures.get("weights_sha256", weights_sha256) != weights_sha256:
        raise TrainingError(
            f"Figures on a card are of the model's own weights; {source} was measured on weights "
            f"{figures['weights_sha256'][:12]}…, these are {weights_sha256[:12]}…. Measure this model."
        )


def card(template: Path, **facts: Any) -> str:
    """Return a model card in Markdown: a template, filled with facts.

    Templates have two filters: ``pairs`` writes a table of facts as ``name value, …``, and ``number`` a number with so
    many digits, a dash where it is not known.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # it is Markdown, of our own facts
    )  # fmt: skip
    environment.filters |= {"pairs": _pairs, "number": _number}
    return environment.get_template(template.name).render(facts)


def _pairs(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _number(value: float | None, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if value is not None and value == value else "–"
