"""What labels of the LV cavity alone cost, and what completing them by the segmenter mends.

    cof cohort synthesize --subjects 8 --seed 7000000 --cines --spacing 10,2 --out COHORT
    python Testing/Benchmarks/partial_labels.py --cohort COHORT
    python Testing/Benchmarks/partial_labels.py --cases FILE

Each heart is generated with all its labels, with its LV cavity alone, with the same completed, and with the
segmenter's labels. Printed is the distance at end-systole, mean over a structure, from the motion that all labels give.
The hearts are those of a cohort with labels, or of a list as ``real_hearts.py`` takes it: those of it that have all
three structures at end-diastole, with the synthetic ECG of a normal heart.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.segmenters.completion import lacking
from COFGeneratorLib.ecg.readers import read_ecg
from COFGeneratorLib.generator import generate, load_bundle
from COFGeneratorLib.resources import default_bundle
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.evaluation.case_files import read_case
from real_hearts import read_cases
from real_hearts_sections._common import read_phase
from real_hearts_sections.motion_on_anchors import ecgs

WAYS = ("LV cavity alone", "completed", "segmenter alone")


def main() -> None:
    """Print one row a heart, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cohort", metavar="DIR")
    source.add_argument("--cases", type=Path, metavar="FILE")
    parser.add_argument("--subjects", type=int, default=8, help="the first so many")
    arguments = parser.parse_args()
    bundle = load_bundle(default_bundle())
    hearts = _recorded(arguments.cases) if arguments.cases else _of_cohort(arguments.cohort)
    print("distance from the motion under all labels, mm: wall / RV; LV EF less its EF, points")
    rows = []
    for name, *heart in islice(hearts, arguments.subjects):
        rows.append(_distances(*heart, bundle))
        print(name, _words(rows[-1]), flush=True)
    print("mean", _words(np.mean(rows, axis=0)))


def _of_cohort(folder: str):
    cohort = read_cohort(folder)
    for subject in cohort.used():
        case = read_case(cohort, subject)
        yield subject.id, case.anchor, case.labels, read_ecg(cohort.path(subject, "ecg"))


def _recorded(file: Path):
    record, _ = ecgs()["normal"]
    for case in read_cases(file):
        stack, labels = read_phase(case, "ed")
        if not lacking(labels):
            yield case["name"], stack, labels, record


def _distances(stack, full, record, bundle) -> np.ndarray:
    """Return wall mm, RV mm and EF points of each way, and how far wall and RV move: (4, 3)."""
    cavity = np.where(full == 1, 1, 0).astype(np.uint8)
    given = {"LV cavity alone": (cavity, False), "completed": (cavity, True), "segmenter alone": (None, False)}
    whole = generate(stack, record, bundle, labels=full, frames=10)
    wanted = whole.displacement_mm(whole.function.es_frame)
    rows = []
    for labels, complete in (given[way] for way in WAYS):
        cine = generate(stack, record, bundle, labels=labels, complete_labels=complete, frames=10)
        away = cine.displacement_mm(whole.function.es_frame) - wanted
        rows.append([*_means(away, full), cine.function.ef_percent - whole.function.ef_percent])
    return np.array([*rows, [*_means(wanted, full), 0.0]])


def _means(field_mm: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    length = np.sqrt(np.square(field_mm).sum(axis=0))
    return float(length[labels == 2].mean()), float(length[labels == 3].mean())


def _words(row: np.ndarray) -> str:
    said = [f"{way} {wall:.1f} / {rv:.1f}; {ef:+.1f}" for way, (wall, rv, ef) in zip(WAYS, row, strict=False)]
    return " | ".join([*said, f"motion {row[-1][0]:.1f} / {row[-1][1]:.1f}"])


if __name__ == "__main__":
    main()
