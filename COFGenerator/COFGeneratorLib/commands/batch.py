"""``cof batch``: a table of cases; finished ones are kept, one bad case costs one row."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from COFGeneratorLib.cases.case import SUMMARY_COLUMNS, Outcome, run_case, run_cases
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.table import OPTIONAL, REQUIRED, Case, read_table
from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.files import append_csv, write_csv
from COFGeneratorLib.jobs.events import JobCancelled
from COFGeneratorLib.jobs.session import session
from COFGeneratorLib.results.parts import BATCH_PARTS

SUMMARY, FAILURES = "summary.csv", "failures.csv"


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "batch",
        help="generate cines for a table of cases",
        description=f"Generate cines for a CSV table with the columns {', '.join(REQUIRED)} and, where wanted, "
        f"{', '.join(OPTIONAL)}. Run it again after a stop: finished cases are kept. Exit code 0 if every case has a "
        "result, 2 if some input could not be used, 1 if something failed inside.",
        epilog="example: cof batch --table cases.csv --out results --workers 2",
    )
    parser.add_argument("--table", required=True, metavar="CASES.csv", help="one case a row; paths relative to it")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--workers", type=options.positive, default=1, metavar="N", help="local processes (default 1)")
    how.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler to use instead")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets one folder a case, summary.csv, failures.csv")
    parser.add_argument("--overwrite", action="store_true", help="do cases again whose result is of other settings")
    parser.add_argument(
        "--plan", action="store_true", help="tell what time and disk it will take, by one of its cases, and do nothing"
    )
    options.add_reporting(parser)
    options.add_generation(parser)
    options.add_parts(parser, BATCH_PARTS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run all cases; returns the exit code."""
    from COFGeneratorLib.resources import default_bundle

    cases = read_table(arguments.table)
    model = str(arguments.model or default_bundle())
    shared = GenerateRequest.of(arguments, model=model)
    with session(arguments) as current:
        _check_model(model)
        if arguments.plan:
            from COFGeneratorLib.cases.plan import plan_batch

            for line in plan_batch(cases, shared, arguments.workers).lines():
                current.say(line)
            return 0
        tables = Tables(Path(arguments.out), cases)
        for case in cases:
            if case.name != case.case_id:
                current.say(f"{case.case_id!r} (row {case.row}) has the folder {case.name}")
        current.progress(0, len(cases), "cases")
        work = partial(run_case, shared=shared)
        try:
            for outcome in run_cases(work, cases, workers=arguments.workers, scheduler=arguments.scheduler):
                tables.add(outcome)
                if outcome.state == "failed":
                    current.warn(f"Row {tables.cases[outcome.name].row}: {outcome.message}")
                current.progress(len(tables.outcomes), len(cases), "cases")
        except (KeyboardInterrupt, JobCancelled):
            current.say(f"{tables.standing()}. Run the same command again to go on.")
            raise
        finally:
            tables.write()
        current.say(tables.standing())
        current.facts |= tables.facts()
        for outcome in tables.failed:
            case = tables.cases[outcome.name]
            current.say(f"  failed: row {case.row} ({case.case_id}): {outcome.message}")
    if any(outcome.kind == "internal" for outcome in tables.failed):
        return 1
    return 2 if tables.failed else 0


class Tables:
    """``summary.csv`` and ``failures.csv`` of the cases that have ended so far.

    Rows are appended as cases end, so that ten thousand cases do not write fifty million rows; at the end both are
    written anew in the order of the table. After a kill the next run lists what stands.
    """

    def __init__(self, out: Path, cases: Sequence[Case]) -> None:
        self.out = out
        self.cases = {case.name: case for case in cases}
        self.outcomes: dict[str, Outcome] = {}
        self.out.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes that are failures, in the order of the table."""
        return [outcome for outcome in self._in_order() if outcome.state == "failed"]

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of one case, and append its row."""
        self.outcomes[outcome.name] = outcome
        good = outcome.state != "failed"
        append_csv(self.out / (SUMMARY if good else FAILURES), [self._row(outcome)])

    def write(self) -> None:
        """Write both tables anew."""
        good = [self._row(outcome) for outcome in self._in_order() if outcome.state != "failed"]
        write_csv(self.out / SUMMARY, ("case", "folder", *SUMMARY_COLUMNS), good)
        write_csv(self.out / FAILURES, ("row", "case", "kind", "message"), map(self._row, self.failed))

    def _row(self, outcome: Outcome) -> list[Any]:
        """Return the row of one case in its table."""
        case = self.cases[outcome.name]
        if outcome.state == "failed":
            return [case.row, case.case_id, outcome.kind, outcome.message]
        return [case.case_id, case.name, *(outcome.summary.get(name) for name in SUMMARY_COLUMNS)]

    def standing(self) -> str:
        """Return how many results stand, in words."""
        kept = sum(outcome.state == "resumed" for outcome in self.outcomes.values())
        good = len(self.outcomes) - len(self.failed)
        return f"{good} of {len(self.cases)} cases have a result ({kept} from before) in {self.out}"

    def facts(self) -> dict[str, Any]:
        """Return how many results stand and what failed, for ``--json``."""
        failed = [
            {"row": self.cases[one.name].row, "case": self.cases[one.name].case_id, "message": one.message}
            for one in self.failed
        ]
        return {
            "out": str(self.out),
            "cases": len(self.cases),
            "results": len(self.outcomes) - len(failed),
            "failed": failed,
        }

    def _in_order(self) -> list[Outcome]:
        return [self.outcomes[name] for name in self.cases if name in self.outcomes]


def _check_model(model: str) -> None:
    """Refuse a damaged model once, not once a case.

    Raises:
        BundleError: If the bundle cannot be used.
    """
    from COFGeneratorLib import load_bundle

    load_bundle(model)
