"""Generated motion beside the recorded motion of real hearts; exit 1 where a bar falls short, 2 where input is wrong.

    python Testing/Benchmarks/real_motion.py --cases FILE [--json OUT] [--sheets DIR] [--bundle B] [--v2 B] [--work DIR]

``--cases`` is a list of cines as ``COFTrainingLib.cohort.case_list`` reads it. The registration, the upper bound, costs
two seconds a frame; ``--work`` keeps it, and the segmenter's labels, for the next time; ``--skip registration`` leaves
it out. Half a minute of one core a heart without it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("COFGenerator", "COFTraining")]


def main() -> int:
    """Run the comparison and return the exit code."""
    from COFGeneratorLib.errors import ChainOfFlowError
    from COFGeneratorLib.files import weights_hash, write_text
    from COFGeneratorLib.generator import load_bundle
    from COFGeneratorLib.registration.pipeline import find_teacher
    from COFGeneratorLib.resources import default_bundle
    from COFTrainingLib.cohort.case_list import read_case_list
    from COFTrainingLib.studies.real_motion.arms import ARMS
    from COFTrainingLib.studies.real_motion.run import Setting, run_hearts
    from COFTrainingLib.studies.real_motion.summary import BARS, COLUMNS, FURTHER, report_of, table_of
    from COFTrainingLib.training.examples.cine_data import segmenter_folder

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, required=True, help="list of cines")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets, recorded above generated")
    parser.add_argument("--bundle", type=Path, help="the model to be judged (default: the one that ships)")
    parser.add_argument("--v2", type=Path, help="a bundle of cof-v2, for its arm")
    parser.add_argument("--segmenter", help="run or bundle whose segmenter labels frames (default: the model)")
    parser.add_argument("--teacher", type=Path, help="folder of the registration teacher (default: the bundle's)")
    parser.add_argument("--work", type=Path, help="keeps labels and registrations")
    parser.add_argument("--skip", nargs="*", default=[], choices=ARMS, help="arms to leave out")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="hearts of the list")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of torch, where there is one worker")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    try:
        bundle = options.bundle or default_bundle()
        segmenter = Path(segmenter_folder(bundle, options.segmenter or bundle))
        setting = Setting(
            bundle=bundle, segmenter=segmenter, v2=options.v2, teacher=options.teacher or find_teacher(bundle),
            work=options.work, sheets=options.sheets, skip=tuple(options.skip),
        )  # fmt: skip
        cases = [case for case in read_case_list(options.cases) if not options.only or case.name in options.only]
        results = run_hearts(
            cases, setting, workers=options.workers, progress=lambda text: print(text, file=sys.stderr, flush=True)
        )
    except ChainOfFlowError as error:
        print(error, file=sys.stderr)
        return 2
    report = report_of(results)
    shown = {name: tuple(columns.items()) for name, columns in (("main", COLUMNS), ("further", FURTHER))}
    weights = load_bundle(bundle).weights_sha256
    print(f"{bundle.name}, weights {weights[:12]}; N {len(results)}\n")
    _say(results, report, shown, table_of, BARS)
    if options.json:
        report |= {"bundle": bundle.name, "weights_sha256": weights, "segmenter_sha256": weights_hash(str(segmenter))}
        write_text(options.json, json.dumps(report, indent=1) + "\n")
    print(f"\n{time.perf_counter() - start:.0f} s")
    return 1 if report["missed"] else 0


def _say(results, report, shown, table_of, bars) -> None:
    """Print the tables, the figures with their bars, and what falls short."""
    from COFTrainingLib.studies.real_motion.summary import by_group, means

    mean = means(results)
    for columns in shown.values():
        print(table_of(mean, dict(columns)) + "\n")
    for group, rows in by_group(results).items():
        count = sum(result.heart["group"] == group for result in results)
        print(table_of(rows, dict(shown["main"]), f"{group or 'no group'}, N {count}") + "\n")
    for name, value in report["summary"].items():
        bar = " ".join(map(str, bars[name])) if name in bars else ""
        print(f"{name:36s}{'      –' if value is None else f'{value:10.3f}'}   {bar}")
    print("\nall bars hold" if not report["missed"] else "\nMISSED: " + "; ".join(report["missed"]))


if __name__ == "__main__":
    sys.exit(main())
