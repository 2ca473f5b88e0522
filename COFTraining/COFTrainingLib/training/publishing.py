"""A finished bundle gets its card and its place: whole, of known weights, and never over other files."""

import shutil
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.bundle import METADATA


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


def publish(
    folder: Path, out: Path, weights_sha256: str, figures: dict[str, Any] | None, source: Path | str | None
) -> None:
    """Give a finished bundle, which has been loaded, its final name, in place of what is there.

    ``figures`` are those on its card, ``source`` their file.

    Raises:
        TrainingError: If the figures on its card are of other weights.
    """
    if figures and figures.get("weights_sha256", weights_sha256) != weights_sha256:
        raise TrainingError(
            f"Figures on a card are of the model's own weights; {source} was measured on weights "
            f"{figures['weights_sha256'][:12]}…, these are {weights_sha256[:12]}…. Measure this model."
        )
    shutil.rmtree(out, ignore_errors=True)
    folder.rename(out)


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
