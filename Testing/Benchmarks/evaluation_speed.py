"""How long ``cof evaluate`` takes per case and method on one core, and what that makes of 64 subjects × 50 frames.

    OMP_NUM_THREADS=1 python Testing/Benchmarks/evaluation_speed.py [--cohort DIR] [--subjects 2] [--model NAME=DIR ...]

Processor seconds are told, so that a busy machine does not change them much; without a cohort two phantoms of 50 frames
are made first. Ratios are to the row "copy anchor": measuring without any motion to be made. Exit 1 where 64 subjects
with the built-in methods would take two cores more than 20 minutes, or memory grows from case to case.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
SUBJECTS, CORES, MINUTES_BAR, GROWTH_BAR_MB = 64, 2, 20.0, 150.0
LIBRARY = ("ECG-group mean motion", "random motion", "PCA ridge")
"""Methods that a library of motions adds; each costs what the population-mean motion does."""


def a_cohort(folder: Path, subjects: int, seed: int) -> Path:
    """Make phantoms with cines of 50 frames; returns the folder."""
    from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
    from COFTrainingLib.cohort.synthetic.synthesis import synthesize
    from COFTrainingLib.phantom.prevalence import NATURAL

    synthesize(folder, subjects, seed, PhantomOptions(NATURAL, cines=True, frames=50))
    return folder


def timed(work, name: str, seconds: dict[str, list[float]]) -> None:
    """Evaluate one subject method by method, in one go as a run does; adds the processor seconds of each."""
    from COFTrainingLib.evaluation.measure import prediction_row, reference_row
    from COFTrainingLib.evaluation.pictures import keep_pictures

    def step(what: str, act):
        start = time.process_time()
        result = act()
        seconds.setdefault(what, []).append(time.process_time() - start)
        return result

    def reference():
        row = reference_row(case)
        row["features"] = work.embed(case, case.reference[case.image_frames])

    case = step("reading the subject", lambda: work.case(name))
    step("the reference itself", reference)
    shared = work.shared(name)
    for method in work.methods:
        if method.name == "random sample":
            step("the other subject of the random sample", lambda: shared.partner_case)

        def whole(method=method):
            prediction = method.predict(case, shared)
            row = prediction_row(case, prediction)
            if prediction.images is not None and method.role != "ablation":
                row["features"] = work.embed(case, prediction.images)
            if method.role in ("model", "prediction"):
                keep_pictures(work.plan, case, method.name, prediction)

        step(method.name, whole)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7_600_000)
    parser.add_argument("--model", action="append", default=[], metavar="[NAME=]DIR")
    options = parser.parse_args()
    import numpy as np
    from COFGeneratorLib.resources import default_bundle
    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.evaluation.plan import Plan
    from COFTrainingLib.evaluation.run import Workplace

    models = []
    for text in options.model or [f"cof-plus={default_bundle()}"]:
        name, _, folder = text.rpartition("=")
        models.append((name or Path(folder).name, Path(folder)))
    seconds: dict[str, list[float]] = {}
    resident = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.cohort or a_cohort(Path(scratch) / "cohort", options.subjects, options.seed)
        names = tuple(subject.id for subject in read_cohort(folder).subjects[: options.subjects])
        work = Workplace(Plan(folder, names, tuple(models), store=Path(scratch) / "store"))
        timed(work, names[0], {})  # warm: imports, first calls
        for name in names:
            timed(work, name, seconds)
            resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        case = work.case(names[0])
        frames, shape = case.frames, case.anchor.shape
    floor = float(np.mean(seconds["copy anchor"]))
    print(f"{len(names)} case(s) of {frames} frames of {' × '.join(map(str, shape))}, processor seconds on one core")
    print(f"{'':45}{'s/case':>8}{'ratio':>8}")
    total = 0.0
    for name, values in seconds.items():
        print(f"{name:45}{np.mean(values):8.2f}{np.mean(values) / floor:8.2f}")
        total += float(np.mean(values))
    if "population-mean motion" in seconds:
        total += len(LIBRARY) * float(np.mean(seconds["population-mean motion"]))
        print(f"and {len(LIBRARY)} methods of the library of motions, each as the population-mean motion")
    methods = sum(name in seconds for name in (m.name for m in work.methods)) + len(LIBRARY)
    minutes = total * SUBJECTS / CORES / 60
    growth = resident[-1] - resident[0]
    print(f"{total:.1f} s a case with {methods} methods: {minutes:.1f} min for {SUBJECTS} on {CORES} cores "
          f"(bar {MINUTES_BAR:.0f})")  # fmt: skip
    print(f"peak memory {resident[-1]:.0f} MB, grown by {growth:.0f} MB after the first case")
    return int(minutes > MINUTES_BAR or growth > GROWTH_BAR_MB)


if __name__ == "__main__":
    sys.exit(main())
