"""``cof ecgflowcmr``: bundles of this engine, and the studies of what its synthetic cines are worth."""

import argparse
import json
from pathlib import Path
from typing import Any

from COFGeneratorLib.commands import options
from COFGeneratorLib.jobs.session import session

from COFTrainingLib.commands import ecgflowcmr_downstream, ecgflowcmr_generation
from COFTrainingLib.commands.ecgflowcmr_downstream import plane_data


def add(commands: argparse._SubParsersAction) -> None:
    """Add the sub-command and its verbs."""
    parser = commands.add_parser("ecgflowcmr", help="bundles and studies of ECGFlowCMR")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb = verbs.add_parser(
        "export",
        help="make a bundle of a run",
        description="Make a bundle of a finished run.",
        epilog="example: cof ecgflowcmr export --run runs/plane --out bundles/plane",
    )
    verb.add_argument("--run", required=True, dest="training_run", metavar="RUN", help="run of cof train ecgflowcmr")
    verb.add_argument("--name", default="ecgflowcmr-small", help="name of the model (default ecgflowcmr-small)")
    verb.add_argument("--metrics", metavar="FILE", help="figures measured on these weights, for the card (JSON)")
    options.add_output(verb)
    verb.set_defaults(run=export)
    words = "make a cohort of UK Biobank's four-chamber cines (20208) and ECGs (20205)"
    verb = verbs.add_parser(
        "import",
        help=words,
        description=words.capitalize() + ".",
        epilog="example: cof ecgflowcmr import --data downloads --out cohort",
    )
    verb.add_argument("--data", required=True, metavar="DIR", help="folder of the downloads")
    verb.add_argument("--name", default="", help="name of the cohort")
    options.add_output(verb)
    verb.set_defaults(run=import_cines)
    ecgflowcmr_generation.add(verbs)
    ecgflowcmr_downstream.add(verbs)
    words = "take components out of a run's model one at a time, and out of small flows trained without them"
    verb = verbs.add_parser(
        "ablate",
        help=words,
        description=words.capitalize() + ".",
        epilog="example: cof ecgflowcmr ablate --run runs/plane --out ablations",
    )
    verb.add_argument("--run", required=True, dest="training_run", metavar="RUN", help="run of cof train ecgflowcmr")
    verb.add_argument("--steps", type=options.natural, default=0, help="of each small flow (default 0: train none)")
    verb.add_argument("--subjects", type=options.positive, default=32, help="held-out phantoms (default 32)")
    options.add_output(verb)
    verb.set_defaults(run=ablate)
    words = "write figures of this engine as one page with tables"
    verb = verbs.add_parser(
        "report",
        help=words,
        description=words.capitalize() + ".",
        epilog="example: cof ecgflowcmr report --figures figures.json --out report",
    )
    verb.add_argument(
        "--figures", required=True, metavar="FILE", help="JSON of Testing/Benchmarks/ecgflowcmr_heldout.py"
    )
    verb.add_argument("--curve", metavar="FILE", help="JSON of its part curve, where that was run apart")
    verb.add_argument("--ablations", metavar="DIR", help="folder of cof ecgflowcmr ablate")
    verb.add_argument("--downstream", metavar="DIR", help="folder of cof ecgflowcmr downstream")
    verb.add_argument("--sheet", metavar="PNG", help="picture of real clips beside generated ones")
    options.add_output(verb)
    verb.set_defaults(run=report)
    verb = verbs.add_parser(
        "reader-study",
        help="make shuffled real and synthetic clips with a key",
        description="Make a reader study.",
        epilog="example: cof ecgflowcmr reader-study --model bundles/plane --key key.csv --out clips",
    )
    verb.add_argument("--model", required=True, metavar="BUNDLE", help="bundle that makes the synthetic clips")
    verb.add_argument("--cohort", metavar="DIR", help="real cines of a cohort (default: phantoms)")
    verb.add_argument("--clips", type=options.positive, default=50, help="clips of each kind (default 50)")
    verb.add_argument("--readers", type=options.positive, default=5, help="answer sheets (default 5)")
    verb.add_argument("--body", type=options.natural, default=1, help="body of the phantoms, as in training (small: 1)")
    verb.add_argument("--seed", type=options.natural, default=0)
    verb.add_argument("--key", required=True, metavar="FILE", help="where the key goes; not into --out")
    options.add_output(verb)
    verb.set_defaults(run=reader_study)
    verb = verbs.add_parser(
        "score",
        help="score the answers of a reader study",
        description="Score answer sheets.",
        epilog="example: cof ecgflowcmr score --key key.csv sheet-1.csv",
    )
    verb.add_argument("--key", required=True, metavar="FILE")
    verb.add_argument("answers", nargs="+", metavar="SHEET", help="answer sheets (CSV)")
    verb.set_defaults(run=score, events=None, quiet=False)


def export(arguments: argparse.Namespace) -> int:
    """Make a bundle; returns the exit code."""
    from COFTrainingLib.training.ecgflowcmr.export import export_ecgflow

    with session(arguments) as current:
        folder = export_ecgflow(
            arguments.training_run, Path(arguments.out), name=arguments.name, metrics=arguments.metrics,
            overwrite=arguments.overwrite,
        )  # fmt: skip
        current.say(f"Bundle written to {folder}; use it with: cof generate --engine ecgflowcmr --model {folder}")
    return 0


def import_cines(arguments: argparse.Namespace) -> int:
    """Write the manifest of a folder of downloads; returns the exit code."""
    from COFTrainingLib.cohort.importers.ukbiobank_long_axis import import_long_axis

    with session(arguments) as current:
        cohort = import_long_axis(arguments.data, arguments.out, name=arguments.name)
        current.say(f"{len(cohort.used())} of {len(cohort.subjects)} visits have cine and ECG: {arguments.out}")
    return 0


def ablate(arguments: argparse.Namespace) -> int:
    """Judge the model, and small flows where asked for, without one component each; returns the exit code."""
    import tempfile

    from COFGeneratorLib.results.folder import ResultFolder, write_manifest

    from COFTrainingLib.studies.ecgflowcmr.ablations import run_ablations, run_knock_outs, table
    from COFTrainingLib.training.ecgflowcmr.export import settings_of

    run = Path(arguments.training_run)
    with session(arguments) as current, ResultFolder(arguments.out, arguments.overwrite) as folder:
        config = settings_of(run)
        options = {"subjects": arguments.subjects, "say": current.say}
        found = {"knock_outs": run_knock_outs(run, config, **options), "trained": []}
        if arguments.steps:
            with tempfile.TemporaryDirectory() as trainings:
                found["trained"] = run_ablations(run, Path(trainings), config, steps=arguments.steps, **options)
        tables = [table(rows) for rows in found.values() if rows]
        (folder / "ablations.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (folder / "ablations.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
        facts = {"steps": arguments.steps, "subjects": arguments.subjects}
        write_manifest(folder, "ecgflowcmr ablate", facts, current.watch, current.warnings)
        current.say("\n\n".join(tables))
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the page of figures that were measured; returns the exit code."""
    from COFGeneratorLib.results.folder import ResultFolder

    from COFTrainingLib.studies.ecgflowcmr.report import write_ecgflow_report

    figures, curve = _read(arguments.figures), _read(arguments.curve)
    ablations = _read(arguments.ablations and Path(arguments.ablations) / "ablations.json")
    studies = _read(arguments.downstream and Path(arguments.downstream) / "downstream.json")
    sheet = Path(arguments.sheet).read_bytes() if arguments.sheet else None
    with session(arguments) as current, ResultFolder(arguments.out, arguments.overwrite) as folder:
        write_ecgflow_report(folder, figures, curve=curve, ablations=ablations, downstream=studies, sheet=sheet)
        current.say(f"Report written to {Path(arguments.out) / 'report.html'}")
    return 0


def _read(path: str | Path | None) -> Any:
    """Return the content of a JSON file, or None where none is named."""
    from COFGeneratorLib.errors import CohortError

    if path is None:
        return None
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CohortError(f"Figures were expected in {path}; they do not read ({error}). Name another file.") from error


def reader_study(arguments: argparse.Namespace) -> int:
    """Make a reader study; returns the exit code."""
    from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle

    from COFTrainingLib.studies.ecgflowcmr.reader_study import make_kit
    from COFTrainingLib.studies.ecgflowcmr.studies import REAL_SEED, synthetic_clips
    from COFTrainingLib.training.ecgflowcmr.cohort_clips import cohort_examples
    from COFTrainingLib.training.ecgflowcmr.data import make_clips

    with session(arguments) as current:
        bundle = load_ecgflow_bundle(arguments.model)
        data = plane_data(bundle, arguments.body)
        if arguments.cohort:
            from COFTrainingLib.cohort.manifest import read_cohort

            examples = cohort_examples(read_cohort(arguments.cohort), "test", data)
        else:
            examples = make_clips(REAL_SEED, arguments.clips, data)
        assert examples.clips is not None  # neither makes ECGs alone
        real = examples.clips[: arguments.clips]
        synthetic = synthetic_clips(bundle, len(real), data, current.say)
        count = make_kit(
            list(real.numpy()), list(synthetic.numpy()), Path(arguments.out), Path(arguments.key), arguments.seed,
            arguments.readers,
        )  # fmt: skip
        current.say(
            f"{count} clips and {arguments.readers} answer sheets in {arguments.out}; the key is {arguments.key}"
        )
    return 0


def score(arguments: argparse.Namespace) -> int:
    """Score answer sheets; returns the exit code."""
    from COFTrainingLib.studies.ecgflowcmr.reader_study import score as marks

    print(json.dumps(marks(Path(arguments.key), [Path(sheet) for sheet in arguments.answers]), indent=1))
    return 0
