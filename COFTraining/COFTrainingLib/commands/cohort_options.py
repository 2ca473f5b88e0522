"""What the verbs of ``cof cohort`` take."""

import argparse

from COFGeneratorLib.commands import Commands, options


def add_synthesize(verbs: Commands) -> argparse.ArgumentParser:
    """Add the verb and return its parser."""
    verb = verbs.add_parser(
        "synthesize",
        help="make a phantom cohort",
        description="Make phantom subjects: a short-axis stack, its exact labels, a 10-s ECG and what is true of them. "
        "Run it again after a stop: finished subjects are kept.",
        epilog="example: cof cohort synthesize --subjects 64 --seed 0 --out cohort",
    )
    verb.add_argument("--subjects", type=options.positive, required=True, metavar="N", help="how many")
    verb.add_argument(
        "--seed", type=options.natural, required=True, metavar="S", help="seed of the first; they count up"
    )
    verb.add_argument(
        "--prevalence", choices=("natural", "enriched"), default="natural",
        help="as in the population (default), or rare findings oversampled to train on",
    )  # fmt: skip
    verb.add_argument("--cines", action="store_true", help="also image, labels and displacement of every frame")
    verb.add_argument("--frames", type=options.frame_count, default=50, help="frames of a cine (default 50)")
    verb.add_argument("--spacing", type=_spacing, metavar="PITCH,PIXEL", help="mm (default: drawn for every subject)")
    verb.add_argument(
        "--manifest-only", action="store_true", help="no files: training draws the same hearts from the seeds"
    )
    verb.add_argument(
        "--layout", choices=("cohort", "ukbiobank"), default="cohort",
        help="a cohort (default), or downloads as UK Biobank gives them, to try an import with",
    )  # fmt: skip
    verb.add_argument(
        "--labels", action="store_true", help="with --layout ukbiobank: labelled cines, too, as a lab's own would be"
    )
    verb.add_argument("--out", required=True, metavar="DIR", help="folder of the cohort")
    options.add_workers(verb)
    options.add_reporting(verb)
    return verb


def add_import(verbs: Commands) -> argparse.ArgumentParser:
    """Add the verb and return its parser."""
    verb = verbs.add_parser(
        "import",
        help="write the manifest of recordings",
        description="Write the manifest of recordings, which stay where they are.",
        epilog="example: cof cohort import --table subjects.csv --out cohort",
    )
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", metavar="CSV", help="one row a subject: id, anchor or cine, ecg, labels, person, …")
    source.add_argument("--ukbiobank", metavar="DIR", help="downloads of the fields 20209 (zip) and 20205 (XML)")
    source.add_argument("--acdc", metavar="DIR", help="folders patientNNN with Info.cfg (MRI only)")
    source.add_argument("--mnms", metavar="DIR", help="folders CODE with CODE_sa.nii.gz, and their CSV (MRI only)")
    verb.add_argument(
        "--labels",
        metavar="DIR",
        help="with --ukbiobank: labelled cines, named as the zips are (1234567_20209_2_0.nii.gz)",
    )
    verb.add_argument(
        "--label-map", type=options.label_map, metavar="lv=1,myo=2,rv=3", help="codes in them (default as shown)"
    )
    verb.add_argument("--name", default="", help="name of the cohort")
    verb.add_argument("--licence", help="terms of the data, for the card of what is trained on it")
    verb.add_argument(
        "--split", type=_split, metavar="A,B,C", help="shares of train, valid, test (default 0.8,0.1,0.1)"
    )
    verb.add_argument("--out", required=True, metavar="DIR", help="folder of the cohort")
    options.add_reporting(verb)
    return verb


def add_import_measured(verbs: Commands, kind: str) -> argparse.ArgumentParser:
    """Add the verb ``import-KIND`` and return its parser."""
    title = {"acdc": "ACDC", "mnms": "M&Ms"}[kind]
    verb = verbs.add_parser(
        f"import-{kind}",
        help=f"import {title}'s cines to learn motion from, with ECGs made for them",
        description=f"{title} has no ECGs. Measure each heart's function, by its labels or a segmenter's, synthesise "
        "an ECG that fits it, and write the manifest, which says so at every subject.",
        epilog=f"example: cof cohort import-{kind} downloads --out cohort",
    )
    verb.add_argument("data", metavar="DATA", help="folder of the cines")
    verb.add_argument("--cases", metavar="FILE", help=f"list of the cines (JSON); default: {title}'s own table in DATA")
    verb.add_argument(
        "--ecg", choices=("synthesise", "none"), default="synthesise",
        help="an ECG made for each heart (default), or none: its function is stated to the model instead",
    )  # fmt: skip
    verb.add_argument(
        "--segmenter", metavar="RUN|BUNDLE", help="labels frames without labels (default: the default model's)"
    )
    verb.add_argument("--name", default="", help="name of the cohort")
    verb.add_argument("--licence", default="", help="terms of the data, where they are not the data set's own")
    verb.add_argument(
        "--split", type=_split, metavar="A,B,C", help="shares of train, valid, test (default 0.8,0.1,0.1)"
    )
    verb.add_argument("--out", required=True, metavar="DIR", help="folder of the cohort")
    options.add_workers(verb)
    options.add_reporting(verb)
    return verb


def add_check(verbs: Commands) -> argparse.ArgumentParser:
    """Add the verb and return its parser."""
    verb = verbs.add_parser(
        "check",
        help="check a cohort and print its ledger",
        description="Open every file of a cohort, find missing pairs, wrong spacing, duplicates and leakage, and print "
        "the ledger. Exit code 2 where something is wrong.",
        epilog="example: cof cohort check cohort",
    )
    verb.add_argument("cohort", metavar="DIR", help="folder of the cohort")
    verb.add_argument(
        "--against", metavar="DIR", nargs="*", default=[],
        help="cohorts that must share nobody with it, and runs that must have seen nobody of its test split",
    )  # fmt: skip
    verb.add_argument("--exclude", action="store_true", help="write the exclusions found into the manifest")
    verb.add_argument("--no-read", action="store_true", help="look for the files without opening them")
    verb.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the ledger and all findings as JSON; without a FILE print them in place of words",
    )  # fmt: skip
    options.add_workers(verb)
    options.add_reporting(verb, as_json=False)
    return verb


def add_label(verbs: Commands) -> argparse.ArgumentParser:
    """Add the verb and return its parser."""
    verb = verbs.add_parser(
        "label",
        help="label the cines of a cohort that has no labels",
        description="Label every frame of the cines that have no labels with a segmenter, so that an evaluation has "
        "something to compare with. Run it again after a stop: finished subjects are kept.",
        epilog="example: cof cohort label cohort",
    )
    verb.add_argument("cohort", metavar="DIR", help="folder of the cohort; its manifest is extended")
    verb.add_argument("--segmenter", metavar="RUN|BUNDLE|FOLDER", help="ours, or an nnU-Net v2 model folder or MONAI "
                      "bundle, which labels every frame by itself (default: the default model's)")  # fmt: skip
    verb.add_argument("--segmenter-labels", type=options.label_map, metavar="CODES", help="classes of a segmenter of "
                      'others, e.g. "lv=3,myo=2,rv=1" (default: by their names)')  # fmt: skip
    verb.add_argument("--split", choices=("train", "valid", "test"), help="only subjects of this split")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster: its scheduler's address, or local")
    options.add_workers(verb)
    options.add_reporting(verb)
    return verb


def _spacing(text: str) -> tuple[float, float]:
    """Parse ``10,1.8``."""
    try:
        pitch, pixel = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers in mm as in 10,1.8; found {text!r}") from None
    if not (2.0 <= pitch <= 25.0 and 0.4 <= pixel <= 4.0):
        raise argparse.ArgumentTypeError(f"expected a pitch of 2–25 and a pixel of 0.4–4 mm; found {text!r}")
    return pitch, pixel


def _split(text: str) -> tuple[float, ...]:
    """Parse ``0.8,0.1,0.1``."""
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3:
        raise argparse.ArgumentTypeError(f"expected three shares as in 0.8,0.1,0.1; found {text!r}")
    return shares
