"""``cof ecgflowcmr downstream``: what synthetic cines are worth, ECGFlowCMR's Tables 2 to 4."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.jobs.session import session

if TYPE_CHECKING:
    import numpy as np
    import torch

    from COFTrainingLib.cohort.manifest import Subject
    from COFTrainingLib.studies.ecgflowcmr.tasks import DownstreamTask
    from COFTrainingLib.training.ecgflowcmr.settings import DataSettings


def add(verbs: Commands) -> None:
    """Add the verb."""
    words = "pre-train with real and synthetic cines, then classify or regress in five folds"
    verb = verbs.add_parser(
        "downstream",
        help=words,
        description=words.capitalize() + ".",
        epilog="example: cof ecgflowcmr downstream --model bundles/plane --out downstream",
    )
    verb.add_argument("--model", required=True, metavar="BUNDLE", help="bundle that makes the synthetic cines")
    verb.add_argument("--cohort", metavar="DIR", help="real cines of a cohort (default: phantoms)")
    verb.add_argument(
        "--target", action="append", metavar="NAME",
        help="what is asked, repeatable: infarct, lbbb, weak, ef_percent, t_es_over_rr, qrsd_ms of phantoms (default: "
        "weak, ef_percent), or a fact of the cohort: 0/1 and words are classified, numbers regressed",
    )  # fmt: skip
    verb.add_argument(
        "--phenotype", action="append", metavar="NAME",
        help="numbers among the facts of the cohort that one head tells together, repeatable; all: every one that half "
        "of the subjects have",
    )  # fmt: skip
    verb.add_argument(
        "--clips", metavar="DIR", help="another generator's clips of the cohort's subjects, ID.npy or ID_2.nii.gz, in "
        "place of the model's",
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
        data = plane_data(bundle, arguments.body)
        cines, studies, subjects = _studies(arguments, data, keep)
        most = max([*arguments.mix, 0])
        count = round(most / 100 * (len(cines) - len(cines) // FOLDS))  # what a fold trains on
        owners = None
        if subjects and count:  # from the cohort's own ECGs
            synthetic, owners = _of_cohort(arguments, bundle, subjects, -(-most // 100), current.say)
        else:
            synthetic = synthetic_clips(bundle, count, data, current.say, keep) if count else cines[:0]
        further = phantom_clips(data, FURTHER_SEED, count, keep)["clips"] if arguments.ceiling and count else None
        facts = {
            "model": bundle.model_id, "weights_sha256": bundle.weights_sha256, "settings": vars(settings),
            "real": len(cines), "cohort": arguments.cohort, "targets": {one.name: len(one.targets) for one in studies},
            "clips": arguments.clips,
        }  # fmt: skip
        found = run_studies(
            cines, studies, synthetic, settings, mixes=arguments.mix, seeds=range(arguments.seeds), owners=owners,
            further=further,
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
) -> "tuple[torch.Tensor, list[DownstreamTask], tuple[Subject, ...]]":
    """Return the real cines, what is asked of them, and whose they are where they are a cohort's."""
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
        return made["clips"], phantom_studies(made["truths"], targets, 0), ()
    if arguments.ceiling:
        raise CohortError("--ceiling adds phantoms, which are no further subjects of a cohort. Leave one of them out.")
    from COFTrainingLib.cohort.manifest import read_cohort

    asked = arguments.target or ([] if arguments.phenotype else targets)
    return cohort_studies(read_cohort(arguments.cohort), data, asked, 0, arguments.phenotype)


def _of_cohort(
    arguments: argparse.Namespace,
    bundle: Bundle,
    subjects: "tuple[Subject, ...]",
    rounds: int,
    say: Callable[[str], None],
) -> "tuple[torch.Tensor, np.ndarray]":
    """Return synthetic cines of a cohort's subjects, the model's or another generator's, and whose each is."""
    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.studies.ecgflowcmr.given_clips import given_clips
    from COFTrainingLib.studies.ecgflowcmr.studies import own_synthetic_clips

    if arguments.clips:
        return given_clips(arguments.clips, [subject.id for subject in subjects], bundle.model.grid)
    return own_synthetic_clips(bundle, read_cohort(arguments.cohort), subjects, rounds, say)


def plane_data(bundle: Bundle, body: int) -> "DataSettings":
    """Return the data settings of phantoms as a bundle's model saw them."""
    from COFTrainingLib.training.ecgflowcmr.settings import DataSettings

    return DataSettings(grid=bundle.model.grid, ecg_draws=1, slab=1, body=body)
