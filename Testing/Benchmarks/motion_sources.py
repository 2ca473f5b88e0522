"""What the generator loses when it learns from the teacher's motion of cines in place of the phantom's own.

    python Testing/Benchmarks/motion_sources.py --out DIR [--subjects 48] [--held-out 16] [--steps 240] [--seeds 0 1 2]
                                                [--json FILE]

The same phantoms, seen as cines of random contrast, are learnt from in three ways by ``cof train flow``: with their
true motion, with the registration teacher's (as every patient's cine must be), and with the teacher's where also the
anchor's labels are found by the segmenter, as in a cohort that nobody has contoured. One ``cof evaluate`` measures all
on held-out phantoms. The network is that of ``ablations.py``: small, so that the rows can be compared with each other,
not with the default model. Run it again after a stop: what is done is kept.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from ablations import COLUMNS, FRAMES, REFERENCE, SMALL, command, evaluate, numbers_of, table
from COFGeneratorLib.resources import default_bundle
from COFTrainingLib.cohort.manifest import MANIFEST

FIRST_SEED, HELD_OUT_SEED = 952_000, 7_310_000
SPACING, HELD_OUT_SPACING = "10,2", "10,2.4"
ROWS = {
    "truth": ("true motion", "truth", "labelled"),
    "teacher": ("the teacher's motion", "teacher", "labelled"),
    "unlabelled": ("the teacher's motion, anchors labelled by the segmenter", "teacher", "unlabelled"),
}


def recorded(phantoms: Path, out: Path, labelled: bool) -> None:
    """Write a manifest of the same cines as a recorded cohort has them; files stay where they are.

    Args:
        phantoms: Cohort of phantoms with cines.
        out: Folder of the new manifest.
        labelled: Whether it names labels; every eighth subject validates.
    """
    header, *subjects = (json.loads(line) for line in (phantoms / MANIFEST).read_text(encoding="utf-8").splitlines())
    needs = ["anchor", "ecg", *(["labels"] if labelled else [])]
    header |= {"name": out.name, "kind": "table", "root": str(phantoms.resolve()), "needs": needs}
    for number, subject in enumerate(subjects):
        subject["split"] = "valid" if number % 8 == 7 else "train"
        for role in () if labelled else ("labels", "cine_labels", "truth", "displacement"):
            subject["files"].pop(role, None)
            subject.get("hashes", {}).pop(role, None)
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(line, ensure_ascii=False) for line in (header, *subjects)]
    (out / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def train_row(folder: Path, key: str, seed: int, arguments) -> Path:
    """Train a row with one seed and make its bundle; returns the bundle."""
    _, source, cohort = ROWS[key]
    config = folder / "configurations" / f"{key}-{seed}.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    text = SMALL.format(base="cof-v2", seed=seed, steps=arguments.steps, teacher_steps=1)
    config.write_text(f'{text}[flow.cines]\nsource = "{source}"\n', encoding="utf-8")
    run, out = folder / "runs" / f"{key}-{seed}", folder / "bundles" / f"{key}-{seed}"
    teacher = default_bundle() / "models" / "teacher"
    command("train", "flow", "--cohort", folder / cohort, "--out", run, "--config", config, "--ecg", default_bundle(),
            "--teacher", teacher, "--segmenter", default_bundle(), "--cache", folder / "cache" / key,
            "--threads", arguments.threads, "--device", "cpu", "--no-samples", "--resume")  # fmt: skip
    if not out.is_dir():
        command("bundle", "export", "--run", run, "--name", f"{key}-{seed}", "--out", out)
    return out


def main() -> int:
    """Train and measure every row; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of everything that is made")
    parser.add_argument("--subjects", type=int, default=48, help="phantoms to train on (default 48)")
    parser.add_argument("--held-out", type=int, default=16, help="phantoms to measure on (default 16)")
    parser.add_argument("--steps", type=int, default=240, help="of every network, of batch 4 (default 240)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="also write the figures")
    arguments = parser.parse_args()
    folder, start = Path(arguments.out), time.process_time()
    for name, count, seed, spacing in (
        ("cohort", arguments.subjects, FIRST_SEED, SPACING),
        ("held-out", arguments.held_out, HELD_OUT_SEED, HELD_OUT_SPACING),
    ):
        command("cohort", "synthesize", "--subjects", count, "--seed", seed, "--prevalence", "enriched", "--cines",
                "--frames", FRAMES, "--spacing", spacing, "--out", folder / name)  # fmt: skip
    for name in ("labelled", "unlabelled"):
        recorded(folder / "cohort", folder / name, labelled=name == "labelled")
    entries = {(key, seed): ("--model", train_row(folder, key, seed, arguments))
               for seed in arguments.seeds for key in ROWS}  # fmt: skip
    metrics = evaluate(folder, entries)
    rows = {
        name: [numbers_of(metrics, f"{key}-{seed}") for seed in arguments.seeds] for key, (name, *_) in ROWS.items()
    }
    rows["true motion, first seed, null ECG"] = [numbers_of(metrics, f"{REFERENCE} · null ECG")]
    for baseline in ("population-mean motion", "copy anchor"):
        rows[baseline] = [numbers_of(metrics, baseline)]
    table(rows, COLUMNS)
    seconds = round(time.process_time() - start)
    print(f"\n{seconds} s of CPU time")
    if arguments.json:
        asked = {name: value for name, value in vars(arguments).items() if name not in ("out", "json")}
        figures = {"rows": rows, "failures": metrics["failures"], "settings": {**asked, "cpu_seconds": seconds}}
        Path(arguments.json).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
