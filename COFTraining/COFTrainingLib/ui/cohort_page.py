"""The page "Cohort": what makes, imports and checks cohorts, and the ledger of a check as a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from COFGeneratorLib.jobs import JobRunner
from slicer.i18n import tr as _

SOURCES = {"table": "CSV table", "ukbiobank": "UK Biobank", "acdc": "ACDC", "mnms": "M&Ms"}
"""Kind of ``cof cohort import`` and its words."""

TITLES = ("what", "subjects", "remarks")
ROW_PX, MOST_ROWS_SEEN, MOST_PROBLEMS = 24, 12, 200


class CohortPage:
    """Works on the widgets of the page; ``on_change`` is called when another source is chosen."""

    def __init__(self, ui: Any, on_change: Callable[..., None]) -> None:
        self._ui = ui
        for key, words in SOURCES.items():
            ui.importKindSelector.addItem(_(words), key)
        ui.importPathEdit.connect("currentPathChanged(QString)", on_change)
        ui.ledgerTable.setColumnCount(len(TITLES))
        ui.ledgerTable.setHorizontalHeaderLabels([_(title) for title in TITLES])
        ui.ledgerTable.visible = False

    @property
    def source(self) -> Path | None:
        """What is imported, or None."""
        text = str(self._ui.importPathEdit.currentPath or "").strip()
        return Path(text) if text else None

    def import_arguments(self, cohort: Path) -> list[str]:
        """Return the arguments of ``cof cohort import``."""
        kind = f"--{self._ui.importKindSelector.currentData}"
        return ["cohort", "import", kind, str(self.source), "--out", str(cohort)]

    def check_arguments(self, runs: Path, cohort: Path) -> list[str]:
        """Return the arguments of ``cof cohort check``; a ledger of an earlier check goes."""
        file = ledger_file(runs, cohort)
        file.unlink(missing_ok=True)
        return ["cohort", "check", str(cohort), "--json", str(file)]

    def show_check(self, runner: JobRunner, runs: Path, cohort: Path | None) -> None:
        """Show the ledger of a check, if it is one of the chosen cohort; else what the check said."""
        file = ledger_file(runs, cohort or Path())
        asked = " ".join(runner.folder.facts().argv)
        log = runner.folder.log.read_text("utf-8", errors="replace")
        self.show_ledger(file if str(file) in asked else Path(), log)

    def show_ledger(self, file: Path, log: str) -> None:
        """Show what a check found: its file as a table, or where there is none the words of its log."""
        try:
            rows = ledger_rows(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, KeyError):
            rows = []
        table = self._ui.ledgerTable
        table.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            for column, text in enumerate(cells):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.setMinimumHeight(ROW_PX * (min(len(rows), MOST_ROWS_SEEN) + 2))
        table.visible = bool(rows)
        self._ui.cohortSummaryLabel.text = "" if rows else log.strip()


def ledger_file(runs: Path, cohort: Path) -> Path:
    """Return where a check of a cohort leaves its ledger."""
    return runs / f"ledger-{cohort.name}.json"


def ledger_rows(found: dict) -> list[tuple[str, str, str]]:
    """Return the rows of the table: the ledger, then leaks and the subjects that cannot be used."""
    ledger = found["ledger"]
    rows = [
        (_("listed"), str(ledger["subjects_listed"]), _("{n} persons").format(n=ledger["persons_listed"])),
        *((_("excluded"), str(count), reason) for reason, count in ledger["excluded"].items()),
        (_("used"), str(ledger["subjects_used"]), f"{ledger['name']} ({ledger['kind']}); {ledger['licence']}"),
        *((f"  {split}", str(count), "") for split, count in ledger["splits"].items()),
        *((_("with {role}").format(role=role), str(count), "") for role, count in ledger["with_files"].items()),
        *((_("leak"), "", leak) for leak in found["leaks"]),
    ]
    problems = list(found["problems"].items())
    rows += [
        (name, "", "; ".join(f"{kind} ({words})" for kind, words in kinds)) for name, kinds in problems[:MOST_PROBLEMS]
    ]
    if len(problems) > MOST_PROBLEMS:
        rows.append(("…", str(len(problems) - MOST_PROBLEMS), _("more that cannot be used")))
    return rows
