"""What a protocol gives to the report: words, tables, figures; and what it needs of the store."""

from collections.abc import Callable
from dataclasses import dataclass

from COFTrainingLib.evaluation.report.section import Section
from COFTrainingLib.evaluation.run import Plan
from COFTrainingLib.evaluation.store import Store


@dataclass(frozen=True)
class Protocol:
    """A named protocol.

    Args:
        name: As on the command line.
        title: As in the report.
        what: One sentence for the help.
        summarise: (plan, store) → section.
        collect: (plan, store, workers, progress) → nothing, for work beyond the cines of all methods; None if there is
            none.
        cheap: Whether it is part of ``--protocol cheap``, the default.
    """

    name: str
    title: str
    what: str
    summarise: Callable[[Plan, Store], Section]
    collect: Callable[..., None] | None = None
    cheap: bool = True
