"""``cof ecgflowcmr generation``: ECGFlowCMR's Table 1 on any cohort."""

import argparse
import json
import time
from pathlib import Path

from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.jobs.session import session


def add(verbs: Commands) -> None:
    """Add the verb."""
    words = "LPIPS, FID, FVD and time of a model's clips, and of others' clips, beside a cohort's recorded ones"
    verb = verbs.add_parser(
        "generation",
        help=words,
        description=words.capitalize() + ".",
        epilog="example: cof ecgflowcmr generation --model bundles/plane --cohort cohort --out generation",
    )
    verb.add_argument("--model", required=True, metavar="BUNDLE", help="bundle that makes clips from the cohort's ECGs")
    verb.add_argument("--cohort", required=True, metavar="DIR", help="cines with ECGs")
    verb.add_argument("--split", choices=("all", "train", "valid", "test"), default="test", help="default test")
    verb.add_argument("--clips", action="append", default=[], metavar="NAME=DIR",
                      help="another generator's clips, ID.npy or ID.nii.gz; may be given several times")  # fmt: skip
    verb.add_argument("--lpips", metavar="FILE", help="local weights of VGG-16 with torchvision's names, with "
                      "LPIPS' own linear weights (lin0.model.1.weight …) where there are any")  # fmt: skip
    verb.add_argument("--dinov2", metavar="FILE", help="local weights of DINOv2 for FID and FVD")
    verb.add_argument("--seed", type=options.natural, default=0)
    options.add_output(verb)
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Generate, compare and write a page; returns the exit code.

    Raises:
        ChainOfFlowError: If the cohort, a model, weights or a folder cannot be used.
    """
    from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
    from COFGeneratorLib.errors import CohortError
    from COFGeneratorLib.results.folder import ResultFolder, write_manifest

    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.evaluation.metrics.dinov2 import load_dinov2
    from COFTrainingLib.evaluation.report.page import Page, write_page
    from COFTrainingLib.studies.ecgflowcmr.generation import Generated, generation_section
    from COFTrainingLib.studies.ecgflowcmr.given_clips import given_clips
    from COFTrainingLib.studies.ecgflowcmr.studies import cohort_clips, own_synthetic_clips
    from COFTrainingLib.training.ecgflowcmr.settings import DataSettings
    from COFTrainingLib.training.ecgflowcmr.vae_losses import Perceptual

    lpips = Perceptual(arguments.lpips) if arguments.lpips else None
    dinov2 = load_dinov2(Path(arguments.dinov2)) if arguments.dinov2 else None
    cohort = read_cohort(arguments.cohort)
    with session(arguments) as current, ResultFolder(arguments.out, arguments.overwrite) as folder:
        bundle = load_ecgflow_bundle(arguments.model)
        data = DataSettings(grid=bundle.model.grid)
        split = None if arguments.split == "all" else arguments.split
        real, subjects = cohort_clips(cohort, data, split)
        begin = time.perf_counter()
        clips, owners = own_synthetic_clips(bundle, cohort, subjects, 1, current.say)
        seconds = (time.perf_counter() - begin) / len(clips)
        if len(owners) < len(subjects):
            raise CohortError(
                f"Every subject's ECG must read to compare clips pair by pair; {len(subjects) - len(owners)} do not. "
                "Leave them out with cof cohort check --exclude."
            )
        made = {bundle.model_id: Generated(clips, seconds)}
        made["mean of the recorded cines"] = Generated(real.float().mean(dim=0).round().to(real).expand_as(real))
        for text in arguments.clips:
            name, _, place = text.partition("=")
            given, whose = given_clips(place, [subject.id for subject in subjects], data.grid)
            first = {int(owner): number for number, owner in reversed(list(enumerate(whose)))}
            missing = [subject.id for number, subject in enumerate(subjects) if number not in first]
            if missing:
                raise CohortError(f"{name} needs a clip of every subject; {missing[0]} has none in {place}. Add it.")
            made[name] = Generated(given[[first[number] for number in range(len(subjects))]])
        section = generation_section(real, made, lpips, dinov2)
        (folder / "generation.json").write_text(json.dumps(section.numbers, indent=1) + "\n", encoding="utf-8")
        lead = f"{len(subjects)} subjects of {cohort.header.name} ({cohort.header.kind}), clips from their own ECGs" + (
            ", which were synthesised to fit each heart." if cohort.header.ecg == "synthesised" else "."
        )
        notice = "Synthetic cines, for research use only; nothing here is about the care of a patient."
        write_page(folder, Page("Clips generated from ECGs", notice, lead, [section], bundle.model_id))
        facts = {"model": bundle.model_id, "weights_sha256": bundle.weights_sha256, "cohort": cohort.fingerprint()}
        write_manifest(folder, "ecgflowcmr generation", facts, current.watch, current.warnings)
        current.say(f"{len(subjects)} subjects: {Path(arguments.out) / 'report.html'}")
    return 0
