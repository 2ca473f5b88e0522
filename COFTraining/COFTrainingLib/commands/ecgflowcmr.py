"""``cof ecgflowcmr``: bundles of this engine, and the studies of what its synthetic cines are worth."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from COFGeneratorLib.commands import options
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.jobs.session import session

if TYPE_CHECKING:
    import torch

    from COFTrainingLib.studies.ecgflowcmr.downstream import DownstreamTask
    from COFTrainingLib.training.ecgflowcmr.settings import DataSettings


def add(commands: argparse._SubParsersAction) -> None:
    """Add the sub-command and its verbs."""
    parser = commands.add_parser("ecgflowcmr", help="bundles and studies of ECGFlowCMR")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    verb = verbs.add_parser("export", help="make a bundle of a run", description="Make a bundle of a finished run.")
    verb.add_argument("--run", required=True, dest="training_run", metavar="RUN", help="run of cof train ecgflowcmr")
    verb.add_argument("--name", default="ecgflowcmr-small", help="name of the model (default ecgflowcmr-small)")
    verb.add_argument("--metrics", metavar="FILE", help="figures measured on these weights, for the card (JSON)")
    options.add_output(verb)
    verb.set_defaults(run=export)
    words = "make a cohort of UK Biobank's four-chamber cines (20208) and ECGs (20205)"
    verb = verbs.add_parser("import", help=words, description=words.capitalize() + ".")
    verb.add_argument("--data", required=True, metavar="DIR", help="folder of the downloads")
    verb.add_argument("--name", default="", help="name of the cohort")
    options.add_output(verb)
    verb.set_defaults(run=import_cines)
    words = "pre-train with real and synthetic cines, then classify or regress in five folds"
    verb = verbs.add_parser("downstream", help=words, description=words.capitalize() + ".")
    verb.add_argument("--model", required=True, metavar="BUNDLE", help="bundle that makes the synthetic cines")
    verb.add_argument("--cohort", metavar="DIR", help="real cines of a cohort (default: phantoms)")
    verb.add_argument(
        "--target", action="append", metavar="NAME",
        help="what is asked, repeatable: infarct, lbbb, weak, ef_percent, t_es_over_rr, qrsd_ms of phantoms (default: "
        "weak, ef_percent), or a fact of the cohort",
    )  # fmt: skip
    verb.add_argument("--real", type=options.positive, default=200, help="phantoms as real cines (default 200)")
    verb.add_argument("--mix", type=int, nargs="*", default=[0, 100, 200, 300, 400, 500], help="synthetic, percent")
    verb.add_argument("--seeds", type=options.positive, default=1, help="repetitions with other folds and weights")
    verb.add_argument("--body", type=options.natural, default=1, help="body of the phantoms, as in training (small: 1)")
    verb.add_argument("--pretrain-steps", type=options.positive, default=600)
    verb.add_argument("--finetune-steps", type=options.positive, default=300)
    verb.add_argument("--patch", type=options.positive, default=4, help="side of a token, in pixels of the shrunk cine")
    verb.add_argument("--shrink", type=options.positive, default=2, help="cines are averaged over squares of so many")
    verb.add_argument(
        "--ceiling", action="store_true",
        help="a further row that adds real phantoms, as many as the largest mix: what a perfect generator would give",
    )  # fmt: skip
    verb.add_argument(
        "--keep", metavar="DIR", help="folder for clips and for what each fold gave: go on there after an interruption"
    )
    options.add_output(verb)
    verb.set_defaults(run=downstream)
    words = "take components out of a run's model one at a time, and out of small flows trained without them"
    verb = verbs.add_parser("ablate", help=words, description=words.capitalize() + ".")
    verb.add_argument("--run", required=True, dest="training_run", metavar="RUN", help="run of cof train ecgflowcmr")
    verb.add_argument("--steps", type=options.natural, default=0, help="of each small flow (default 0: train none)")
    verb.add_argument("--subjects", type=options.positive, default=32, help="held-out phantoms (default 32)")
    options.add_output(verb)
    verb.set_defaults(run=ablate)
    words = "write figures of this engine as one page with tables"
    verb = verbs.add_parser("report", help=words, description=words.capitalize() + ".")
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
        "reader-study", help="make shuffled real and synthetic clips with a key", description="Make a reader study."
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
    verb = verbs.add_parser("score", help="score the answers of a reader study", description="Score answer sheets.")
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


def downstream(arguments: argparse.Namespace) -> int:
    """Run the downstream studies; returns the exit code."""
    from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
    from COFGeneratorLib.results.folder import ResultFolder, write_manifest

    from COFTrainingLib.evaluation.store import Store
    from COFTrainingLib.studies.ecgflowcmr.downstream import FOLDS, run_studies, table
    from COFTrainingLib.studies.ecgflowcmr.studies import FURTHER_SEED, phantom_clips, synthetic_clips
    from COFTrainingLib.training.ecgflowcmr.cine_encoder import StudySettings

    settings = StudySettings(
        shrink=arguments.shrink, patch=arguments.patch, pretrain_steps=arguments.pretrain_steps,
        finetune_steps=arguments.finetune_steps,
    )  # fmt: skip
    keep = Path(arguments.keep) if arguments.keep else None
    with session(arguments) as current, ResultFolder(arguments.out, arguments.overwrite) as folder:
        bundle = load_ecgflow_bundle(arguments.model)
        data = _data(bundle, arguments.body)
        cines, studies = _studies(arguments, data, keep)
        count = round(max([*arguments.mix, 0]) / 100 * (len(cines) - len(cines) // FOLDS))  # what a fold trains on
        synthetic = synthetic_clips(bundle, count, data, current.say, keep) if count else cines[:0]
        further = phantom_clips(data, FURTHER_SEED, count, keep)["clips"] if arguments.ceiling and count else None
        facts = {
            "model": bundle.model_id, "weights_sha256": bundle.weights_sha256, "settings": vars(settings),
            "real": len(cines), "cohort": arguments.cohort, "targets": {one.name: len(one.targets) for one in studies},
        }  # fmt: skip
        found = run_studies(
            cines, studies, synthetic, settings, mixes=arguments.mix, seeds=range(arguments.seeds), further=further,
            store=Store(keep / "folds", facts) if keep else None, say=current.say,
        )  # fmt: skip
        results, pages = {}, []
        for study in studies:
            rows = found[study.name]
            results[study.name] = {"kind": study.kind, "subjects": len(study.targets), "rows": rows}
            pages.append(table(rows, f"{study.name}, n = {len(study.targets)}"))
        (folder / "downstream.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (folder / "downstream.md").write_text("\n\n".join(pages) + "\n", encoding="utf-8")
        write_manifest(folder, "ecgflowcmr downstream", facts, current.watch, current.warnings)
        current.say("\n\n".join(pages))
    return 0


def _studies(
    arguments: argparse.Namespace, data: "DataSettings", keep: Path | None
) -> "tuple[torch.Tensor, list[DownstreamTask]]":
    """Return the real cines and what is asked of them."""
    from COFGeneratorLib.errors import CohortError

    from COFTrainingLib.studies.ecgflowcmr.studies import (
        REAL_SEED,
        check_targets,
        cohort_studies,
        phantom_clips,
        phantom_studies,
    )  # fmt: skip

    targets = arguments.target or ["weak", "ef_percent"]
    if not arguments.cohort:
        check_targets(targets)
        made = phantom_clips(data, REAL_SEED, arguments.real, keep)
        return made["clips"], phantom_studies(made["truths"], targets, 0)
    if arguments.ceiling:
        raise CohortError("--ceiling adds phantoms, which are no further subjects of a cohort. Leave one of them out.")
    from COFTrainingLib.cohort.manifest import read_cohort

    return cohort_studies(read_cohort(arguments.cohort), data, targets, 0)


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
        data = _data(bundle, arguments.body)
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


def _data(bundle: Bundle, body: int) -> "DataSettings":
    """Return the data settings of phantoms as a bundle's model saw them."""
    from COFTrainingLib.training.ecgflowcmr.settings import DataSettings

    return DataSettings(grid=bundle.model.grid, ecg_draws=1, slab=1, body=body)
