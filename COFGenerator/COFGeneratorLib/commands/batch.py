"""``cof batch``: a table of cases; finished ones are kept, one bad case costs one row."""

import argparse
from functools import partial
from pathlib import Path

from COFGeneratorLib.cases.case import SUMMARY_COLUMNS, Outcome, run_case, run_cases
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.cases.table import OPTIONAL, REQUIRED, read_table
from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.files import write_csv
from COFGeneratorLib.jobs.session import session


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "batch",
        help="generate cines for a table of cases",
        description=f"Generate cines for a CSV table with the columns {', '.join(REQUIRED)} and, where wanted, "
        f"{', '.join(OPTIONAL)}. Run it again after a stop: finished cases are kept. Exit code 0 if every case has a "
        "result, 2 if some input could not be used, 1 if something failed inside.",
    )
    parser.add_argument("--table", required=True, metavar="CASES.csv", help="one case a row; paths relative to it")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--workers", type=options.positive, default=1, metavar="N", help="local processes (default 1)")
    how.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler to use instead")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets one folder a case, summary.csv, failures.csv")
    options.add_reporting(parser)
    options.add_generation(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run all cases; returns the exit code."""
    from COFGeneratorLib.resources import default_bundle

    cases = read_table(arguments.table)
    model = str(arguments.model or default_bundle())
    out = Path(arguments.out)
    outcomes: dict[str, Outcome] = {}
    with session(arguments) as current:
        _check_model(model)
        out.mkdir(parents=True, exist_ok=True)
        current.progress(0, len(cases), "cases")
        work = partial(run_case, shared=GenerateRequest.of(arguments, model=model, overwrite=False))
        for outcome in run_cases(work, cases, workers=arguments.workers, scheduler=arguments.scheduler):
            outcomes[outcome.name] = outcome
            if outcome.state == "failed":
                current.warn(f"{outcome.name}: {outcome.message}")
            ended = [outcomes[case.name] for case in cases if case.name in outcomes]
            write_tables(out, ended)
            current.progress(len(outcomes), len(cases), "cases")
        failed = [outcome for outcome in outcomes.values() if outcome.state == "failed"]
        kept = sum(outcome.state == "resumed" for outcome in outcomes.values())
        current.say(f"{len(cases) - len(failed)} of {len(cases)} cases have a result ({kept} from before) in {out}")
        for outcome in failed:
            current.say(f"  failed: {outcome.name}: {outcome.message}")
    if any(outcome.kind == "internal" for outcome in failed):
        return 1
    return 2 if failed else 0


def write_tables(out: Path, outcomes: list[Outcome]) -> None:
    """Write ``summary.csv`` and ``failures.csv`` for the cases that have ended so far."""
    good = [outcome for outcome in outcomes if outcome.state != "failed"]
    rows = [[outcome.name, *(outcome.summary.get(name) for name in SUMMARY_COLUMNS)] for outcome in good]
    write_csv(out / "summary.csv", ("case", *SUMMARY_COLUMNS), rows)
    bad = [[outcome.name, outcome.kind, outcome.message] for outcome in outcomes if outcome.state == "failed"]
    write_csv(out / "failures.csv", ("case", "kind", "message"), bad)


def _check_model(model: str) -> None:
    """Refuse a damaged model once, not once a case.

    Raises:
        BundleError: If the bundle cannot be used.
    """
    from COFGeneratorLib import load_bundle

    load_bundle(model)
