"""``cof evaluate``: every table and figure, from a cohort and a model or anyone's predicted cines."""

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.jobs.session import Session, session

from COFTrainingLib.cohort.manifest import Cohort, read_cohort
from COFTrainingLib.commands.evaluation_options import add_evaluation
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.registry import PROTOCOLS, chosen

STORE = "store"
Models = tuple[tuple[str, Path], ...]
"""(name, folder) of bundles."""
LIBRARY_SEED = 100_000
"""Of phantoms that training draws from, too: never evaluated."""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    listed = "\n".join(f"  {name:<18}{p.what}{'' if p.cheap else ' (slow)'}" for name, p in PROTOCOLS.items())
    parser = commands.add_parser(
        "evaluate",
        help="tables and figures of a model, or of anyone's predicted cines, on a cohort",
        description="Compare a model and its baselines with the recorded cines of a cohort and write report.html, "
        "metrics.json and tables/*.csv. Run it again after a stop: finished results are kept.",
        epilog=f"example: cof evaluate --cohort cohort --out report\n\nprotocols:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cohort", required=True, metavar="DIR", help="cohort with cines (and labels of them)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the report and of the results")
    parser.add_argument("--split", choices=("all", "train", "valid", "test"), default="all", help="subjects to use "
                        "(default all; a model's own training subjects are refused)")  # fmt: skip
    add_evaluation(parser)
    parser.set_defaults(run=evaluate)


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate; returns the exit code.

    Raises:
        ChainOfFlowError: If the cohort, a model, a folder or a protocol cannot be used.
    """
    with session(arguments) as current:
        evaluate_cohort(arguments, current)
    return 0


def evaluate_cohort(arguments: argparse.Namespace, current: Session) -> Path:
    """Evaluate within a session; returns the report's page. What cannot be done at all is said before any work.

    Raises:
        ChainOfFlowError: As ``evaluate``.
    """
    from COFGeneratorLib.machine import choose_device

    from COFTrainingLib.evaluation.evaluable import check_any_result, check_evaluable
    from COFTrainingLib.evaluation.leaks import check_no_leak, check_not_seen
    from COFTrainingLib.evaluation.protocols.review import review_file
    from COFTrainingLib.evaluation.run import CINE, METRICS_VERSION, collect, run_plan
    from COFTrainingLib.evaluation.store import Store
    from COFTrainingLib.evaluation.write_report import write_report

    start = time.perf_counter()
    wanted = chosen(arguments.protocol)
    cohort = read_cohort(arguments.cohort)
    used = cohort.used(None if arguments.split == "all" else arguments.split)
    subjects = used[: arguments.subjects]
    models, comparators = _models(arguments), _comparators(arguments)
    check_no_leak(cohort, subjects, models)
    check_not_seen(cohort, subjects, comparators)
    check_evaluable(cohort, subjects)
    out = Path(arguments.out)
    assessor, assessor_refused = _assessor(arguments.assessor, cohort, models)
    plan = Plan(
        cohort=Path(arguments.cohort).resolve(),
        subjects=tuple(subject.id for subject in subjects),
        models=models,
        predictions=tuple(_named(text) for text in arguments.predictions),
        comparators=comparators,
        seed=arguments.seed,
        features=Path(arguments.dinov2).resolve() if arguments.dinov2 else None,
        store=(out / STORE).resolve(),
        assessor=assessor,
        assessor_refused=assessor_refused,
        assessor_subjects=arguments.assessor_subjects,
        assessor_frames=arguments.assessor_frames,
        anchor_subjects=arguments.anchor_subjects,
        variants=any(protocol.name == "ablations" for protocol in wanted),
        device=str(choose_device(arguments.device)),
        review=review_file(arguments.review, out),
    )
    current.standing = lambda: (
        f"{current.counted('subjects')} subjects are measured and kept in {out / STORE}; the same command goes on "
        "from there, and writes the report."
    )
    facts = {"cohort_sha256": cohort.fingerprint(), "seed": plan.seed, "metrics_version": METRICS_VERSION,
             "subjects": list(plan.subjects), "features": str(plan.features) if plan.features else ""}  # fmt: skip
    store = Store(out / STORE, facts)
    if plan.models and arguments.library:
        plan = replace(plan, motions=_library(plan, arguments, out, current))
    run_plan(plan, store, arguments.workers, lambda done, of: current.progress(done, of, "subjects"))
    check_any_result(store, CINE)
    sections = []
    for protocol in wanted:
        module = protocol.module()
        own = module.own_work(plan) if hasattr(module, "own_work") else None
        if own is not None:
            collect(plan, store, own, arguments.workers, partial(current.progress, message=protocol.name))
        sections.append(module.summarise(plan, store))
    seconds = round(time.perf_counter() - start, 1)
    page = write_report(out, plan, store, sections, {"seconds": seconds, "workers": arguments.workers})
    failures = len(store.failures())
    current.facts |= {"report": str(page), "subjects": len(subjects), "failures": failures}
    failed = f", {failures} results failed" if failures else ""
    current.say(f"{len(subjects)} subjects, {seconds:.0f} s{failed}: {page}")
    return page


def _models(arguments: argparse.Namespace) -> Models:
    """Return (name, folder) of the bundles; names are unique."""
    from COFGeneratorLib.generator.bundle import read_metadata
    from COFGeneratorLib.resources import default_bundle

    if arguments.no_model:
        if not arguments.predictions and not arguments.comparator:
            raise CohortError(
                "Without a model, predictions are judged; found none. Give --predictions NAME=DIR or --comparator RUN."
            )
        return ()
    given = arguments.model or [str(default_bundle())]
    models: dict[str, Path] = {}
    for text in given:
        name, folder = _named(text) if "=" in text else ("", Path(text))
        metadata = read_metadata(folder)
        name = name or str(metadata["name"])
        if name in models:
            raise CohortError(f"Every model needs a name of its own; {name!r} is given twice. Use --model NAME=BUNDLE.")
        models[name] = folder.resolve()
    return tuple(models.items())


def _comparators(arguments: argparse.Namespace) -> Models:
    """Return (name, folder) of the comparators' runs; one that is given no name has that of its family."""
    from COFTrainingLib.training.comparators.comparator import comparator_facts

    found: dict[str, Path] = {}
    for text in arguments.comparator:
        name, folder = _named(text) if "=" in text else ("", Path(text))
        name = name or str(comparator_facts(folder)["family"])
        if name in found:
            raise CohortError(f"Every comparator needs a name of its own; {name!r} is given twice. Use NAME=RUN.")
        comparator_facts(folder)
        found[name] = folder.resolve()
    return tuple(found.items())


def _assessor(given: str | None, cohort: Cohort, models: Models) -> tuple[Path | None, str]:
    """Return the assessor's folder, and why it must not judge here; empty where it may.

    Raises:
        CohortError: If the user names one that is not independent of the models or has met the cohort.
    """
    from COFTrainingLib.evaluation.assessor import shipped_assessor
    from COFTrainingLib.evaluation.independence import check_independent

    folder = None if given == "none" else Path(given) if given else shipped_assessor()
    if folder is None:
        return None, ""
    try:
        check_independent(folder, [path for _, path in models], cohort)
    except CohortError as error:
        if given:
            raise
        return folder.resolve(), str(error)
    return folder.resolve(), ""


def _named(text: str) -> tuple[str, Path]:
    """Parse ``NAME=DIR``."""
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir():
        raise CohortError(f"A folder is named as NAME=DIR; found {text!r}. Check the path.")
    return name, Path(folder).resolve()


def _library(plan: Plan, arguments: argparse.Namespace, out: Path, current: Session) -> Path:
    """Return the condensed motions of training subjects on the main model's grid.

    Raises:
        CohortError: If the cache that was named is on another grid.
    """
    from dataclasses import asdict

    from COFGeneratorLib.generator.bundle import load_bundle

    from COFTrainingLib.evaluation.comparators.library import MOST_SUBJECTS, condense
    from COFTrainingLib.training.examples.flow_cache import FlowCache, build_flow_cache

    grid = load_bundle(plan.models[0][1]).model.grid
    if arguments.motions:
        cache = FlowCache(Path(arguments.motions))
        if asdict(cache.grid) != asdict(grid):
            raise CohortError(
                f"Motions must lie on the main model's grid {grid}; found {cache.grid}. Leave --motions out to have "
                "them made."
            )
        return condense(cache, out / STORE, MOST_SUBJECTS)
    cache = build_flow_cache(
        out / STORE / "library", arguments.library, LIBRARY_SEED, grid, workers=arguments.workers,
        progress=lambda part, done, of: current.progress(done, of, f"library of motions, {part}"),
    )  # fmt: skip
    return condense(cache, out / STORE, arguments.library)
