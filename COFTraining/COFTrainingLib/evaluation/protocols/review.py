"""Hard cases looked at by a reader: the page that asks for each one's dominant mode, and the file that comes back.

``review.html`` shows every hard case and saves ``review.csv`` from the browser, with the columns ``subject``, ``mode``
and ``note``. Laid beside the report, or named with ``--review``, the next run of the evaluation takes its modes.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.evaluation.report.page import environment
from COFTrainingLib.evaluation.report.section import Figure

MODES = ("anatomy collapse", "under-contraction", "anchor mismatch", "over-contraction", "other")
"""The papers' four (COF §4.7), and over-contraction, which their "other" holds."""
REVIEW = "review.csv"
PAGE = "review.html"
TEMPLATE = "review.html.j2"
LONGEST = 2000


@dataclass(frozen=True)
class HardCase:
    """What a reader is shown of a hard case: its numbers in words, the rule's mode, a picture where one was kept."""

    subject: str
    mode: str
    facts: str
    figure: Figure | None = None


def review_file(given: str | None, out: Path) -> Path | None:
    """Return the review to read: the one that is named, else the one beside the report, else none.

    Raises:
        CohortError: If the one that is named is not there.
    """
    if given is None:
        return (out / REVIEW).resolve() if (out / REVIEW).is_file() else None
    path = Path(given)
    if not path.is_file():
        raise CohortError(f"A review is a CSV file saved from {PAGE}; found none at {path}. Check the path.")
    return path.resolve()


def read_review(path: Path) -> dict[str, str]:
    """Return the mode by subject; subjects whose mode was left open are not in it.

    Raises:
        CohortError: If the file is no review, or names an unknown mode.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(f"A review is a CSV file saved from {PAGE}; reading {path} failed ({error}).") from error
    if rows and not {"subject", "mode"} <= rows[0].keys():
        raise CohortError(
            f"A review has the columns subject and mode; found {', '.join(map(str, rows[0]))} in {path}. Save it again "
            f"from {PAGE}."
        )
    modes = {row["subject"]: (row["mode"] or "").strip().lower() for row in rows if row.get("subject")}
    unknown = sorted({mode for mode in modes.values() if mode and mode not in MODES})
    if unknown:
        raise CohortError(
            f"A mode of a review is one of {', '.join(MODES)}; found {unknown[0]!r} in {path}. Correct it, or leave it "
            "empty."
        )
    return {subject: mode for subject, mode in modes.items() if mode}


def review_page(title: str, cases: Sequence[HardCase], reviewed: dict[str, str]) -> str:
    """Return the page that asks for the modes of hard cases; those that were reviewed are set already."""
    shown = environment().get_template(TEMPLATE)
    return shown.render(title=title, cases=cases, modes=MODES, reviewed=reviewed, file=REVIEW, longest=LONGEST) + "\n"
