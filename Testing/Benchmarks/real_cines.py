"""What real cines add by their number, cross-validated; exit 1 where a bar of the fine-tuned model falls short.

    python Testing/Benchmarks/real_cines.py --data DIR --cases FILE --out DIR [--bundle B] [--sizes 3 6 12] [--folds 3]
                                            [--fine-tune 60 --config FILE]

A cohort is made of the cines (``cof cohort import-acdc``) and their motion found by the registration teacher with
refinement; both are kept in ``--out``. Every heart is tried once for every number of hearts to learn from, none of them
its own. With ``--fine-tune STEPS`` the bundle's own network learns on from its weights, in every fold (``cof train flow
--start-from``); ``--config`` is then the configuration that the bundle was trained with. Weights trained on ACDC must
not be passed on: they stay in ``--out``.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from ablations import command
from COFGeneratorLib.files import write_text
from COFGeneratorLib.generator import load_bundle
from COFGeneratorLib.registration.pipeline import find_teacher
from COFGeneratorLib.resources import default_bundle
from COFTrainingLib.cohort.case_list import read_case_list
from COFTrainingLib.cohort.manifest import Cohort, read_cohort, write_cohort
from COFTrainingLib.evaluation.statistics import known_mean
from COFTrainingLib.studies.real_motion.arms import told
from COFTrainingLib.studies.real_motion.figures import figures_of
from COFTrainingLib.studies.real_motion.hearts import read_heart
from COFTrainingLib.studies.real_motion.learning import COPY, folds_of, motions_of, simple_learners
from COFTrainingLib.studies.real_motion.summary import table_of
from COFTrainingLib.training.examples.cine_data import cine_recipe, load_cines
from COFTrainingLib.training.examples.cine_motion import CineMotion

TUNED = "fine-tuned"
VALIDATE = 2
BARS = {"psnr_es_db": 2.4, "dice_rv": 0.05}
"""Least gains of the fine-tuned model over the copy, at the largest number of hearts."""
COLUMNS = {
    "psnr_es_db": ("PSNR at ES, dB", 2), "psnr_db": ("PSNR, dB", 2), "dice_lv": ("Dice LV", 3),
    "dice_wall": ("wall", 3), "dice_rv": ("RV", 3), "curve_percent": ("LV curve, % EDV", 1),
    "es_error": ("ES phase error", 3),
}  # fmt: skip
SETTINGS = """base = "{base}"

[flow]
fold_steps = {fold_steps}

[flow.expected_loop]
steps = {steps}
warmup_steps = {warmup}
checkpoint_every = {steps}

[flow.cines]
frames = {frames}
refinement_steps = {refine}
copies = {copies}

[flow.calibration]
subjects = 0
"""


def fine_tuned(out: Path, cohort: Cohort, name: str, learnt: list[str], options) -> Path:
    """Train the bundle's network on some hearts of a cohort from its own weights; returns the new bundle."""
    bundle = out / "bundles" / name
    if bundle.is_dir():
        return bundle
    marked = [
        replace(subject, split="valid" if subject.id in learnt[-VALIDATE:] else "train", excluded="")
        for subject in cohort.subjects
        if subject.id in learnt
    ]
    folder = out / "cohorts" / name
    folder.mkdir(parents=True, exist_ok=True)
    header = replace(cohort.header, name=name, root=str(cohort.root))
    write_cohort(Cohort(folder, header, tuple(marked)))
    config = out / "configurations" / f"{name}.toml"
    text = SETTINGS.format(
        base=options.config, steps=options.fine_tune, fold_steps=max(options.fine_tune // 2, 1),
        warmup=min(5, options.fine_tune // 4), frames=options.frames, refine=options.refine, copies=options.copies,
    )  # fmt: skip
    write_text(config, text)
    run = out / "runs" / name
    command("train", "flow", "--cohort", folder, "--out", run, "--config", config, "--start-from", options.bundle,
            "--ecg", options.bundle, "--teacher", options.teacher, "--segmenter", options.segmenter,
            "--cache", out / "examples", "--device", "cpu", "--threads", options.threads, "--no-samples",
            "--resume")  # fmt: skip
    command("bundle", "export", "--run", run, "--name", name, "--out", bundle)
    return bundle


def main() -> int:
    """Run the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the cines")
    parser.add_argument("--cases", type=Path, required=True, help="list of the cines")
    parser.add_argument("--out", type=Path, required=True, help="keeps the cohort, motions, and what is trained")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--segmenter", type=Path, help="folder with a segmenter's files (default: the bundle's)")
    parser.add_argument("--teacher", type=Path, help="folder of the teacher (default: the bundle's)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 6, 12], help="hearts to learn from")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=12, help="of a cine that are registered")
    parser.add_argument("--refine", type=int, default=40, help="steps of the registration's refinement")
    parser.add_argument("--copies", type=int, default=4, help="examples of a heart that is learnt from")
    parser.add_argument("--fine-tune", type=int, default=0, metavar="STEPS", help="0 leaves the networks out")
    parser.add_argument("--config", default="cof-plus", help="of the bundle, for --fine-tune")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    start = time.perf_counter()
    options.bundle = options.bundle.resolve()
    options.segmenter = options.segmenter or options.bundle / "models" / "segmenter"
    options.teacher = options.teacher or find_teacher(options.bundle)
    folder, bundle = options.out / "cohort", load_bundle(options.bundle)
    if not (folder / "cohort.jsonl").is_file():
        command("cohort", "import-acdc", options.data, "--cases", options.cases, "--out", folder, "--split", "1,0,0",
                "--segmenter", options.segmenter)  # fmt: skip
    cohort = read_cohort(folder)
    motion = CineMotion(frames=options.frames, refinement_steps=options.refine)
    recipe = cine_recipe(bundle.model.grid, motion, options.out, options.teacher, options.segmenter)
    motions = motions_of(load_cines(options.out / "examples", cohort, recipe, progress=_told))
    cases = {case.name: case for case in read_case_list(options.cases)}
    hearts = {name: read_heart(cases[name], options.segmenter, options.teacher, options.out) for name in motions.names}
    rows: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number, fold in enumerate(folds_of(motions.names, options.folds, options.seed)):
        for learner, size, name, figures in simple_learners(bundle, motions, hearts, fold, options.sizes):
            rows.setdefault((learner, size), []).append(figures)
            print(f"fold {number} {name} {learner} {size}", file=sys.stderr, flush=True)
        others = [name for name in motions.names if name not in fold]
        for size in options.sizes if options.fine_tune else ():
            tuned = load_bundle(fine_tuned(options.out, cohort, f"fold{number}-{size}", others[:size], options))
            found = [figures_of(hearts[name], told(tuned, hearts[name])) for name in fold]
            rows.setdefault((TUNED, size), []).extend(found)
    mean = {}
    for (learner, size), found in rows.items():
        title = f"{learner}, {size} hearts" if size else learner
        mean[title] = {key: known_mean([row[key] for row in found]) for key in COLUMNS}
    print(f"{bundle.metadata['name']}, {len(hearts)} hearts, {options.folds} folds\n\n{table_of(mean, COLUMNS)}")
    missed = _missed(mean, f"{TUNED}, {max(options.sizes)} hearts")
    if missed:
        print("\nMISSED: " + "; ".join(missed))
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.json:
        write_text(options.json, json.dumps({"rows": mean, "hearts": list(hearts), "missed": missed}, indent=1) + "\n")
    return 1 if missed else 0


def _missed(mean: dict[str, dict[str, float]], name: str) -> list[str]:
    if name not in mean:
        return []
    gains = {key: mean[name][key] - mean[COPY][key] for key in BARS}
    return [f"{key} {gains[key]:+.3f} over the copy, must be {bar:+g}" for key, bar in BARS.items() if gains[key] < bar]


def _told(done: int, total: int) -> None:
    print(f"motion of {done}/{total} cines", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
