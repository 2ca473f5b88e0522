"""A finished bundle gets its card and its place: whole, of known weights, and never over other files."""

import contextlib
import tempfile
from collections.abc import Iterator
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


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder, on the disk of the final one, to make a bundle in; what is not published goes away."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        folder = Path(beside) / "bundle"
        (folder / "models").mkdir(parents=True)
        yield folder


def publish(
    folder: Path, out: Path, weights_sha256: str, figures: dict[str, Any] | None, source: Path | str | None
) -> None:
    """Give a finished bundle, which has been loaded, its final name, in place of the bundle that is there, if any.

    ``folder`` is from ``staged``. Other files in the final folder stay.

    ``figures`` are those on its card, ``source`` their file.

    Raises:
        TrainingError: If the figures on its card are of other weights.
    """
    if figures and figures.get("weights_sha256", weights_sha256) != weights_sha256:
        raise TrainingError(
            f"Figures on a card are of the model's own weights; {source} was measured on weights "
            f"{figures['weights_sha256'][:12]}…, these are {weights_sha256[:12]}…. Measure this model."
        )
    replaced = folder.with_name("replaced")
    if out.exists():
        out.rename(replaced)
    folder.rename(out)
    for other in replaced.iterdir() if replaced.exists() else ():
        if not (out / other.name).exists():
            other.rename(out / other.name)


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
