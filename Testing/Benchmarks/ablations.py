"""The ablations of the paper's tables (COF Table 7, and Table 2's COF-w/Diffusion), by the commands a user types.

    python Testing/Benchmarks/ablations.py --out DIR [--subjects 72] [--held-out 8] [--steps 240] [--seeds 0 1 2]
                                           [--rows NAME …] [--teacher-steps 100] [--ecg RUN] [--json FILE]

Every row goes through Stage 1 *and* Stage 2, so that each could change the final table: ``cof train teacher --config``
trains its teacher (rows that differ in Stage 2 alone share one), examples are made of what that teacher finds in
rendered phantoms, ``cof train flow --config`` trains the flow on them, ``cof bundle export`` makes bundles, and one
``cof evaluate`` measures the central estimate (from the noise's mean) and one random draw of each on held-out cines.
Configurations name an ablation as their base and shrink all rows alike. Without a teacher (w/o TOPPR) the network makes
frames, not motion, which no bundle holds: one draw of its labels enters ``cof evaluate`` as ``--predictions``. A second
table is what the teachers measure on held-out pairs.

Run it again after a stop: what is done is kept. The rows are the paper's; the numbers cannot be compared with it:
other hearts, a smaller network, a training of minutes.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
for _floor in ("COFGenerator", "COFTraining"):
    sys.path.insert(0, str(ROOT / _floor))

from COFGeneratorLib.resources import default_bundle  # noqa: E402
from COFTrainingLib.cli import main as cof  # noqa: E402

ROWS = {
    "full": ("COF (full, λ_seg = 1)", "cof-v2"),
    "no-rea": ("w/o REA", "ablations/no-rea"),
    "spatial-ecg": ("w/o temporal ECG", "ablations/spatial-ecg"),
    "no-toppr": ("w/o TOPPR", "ablations/no-toppr"),
    "diffusion": ("COF-w/Diffusion", "ablations/diffusion"),
    "lambda-0": ("λ_seg = 0", "ablations/lambda-seg-0"),
    "lambda-0.5": ("λ_seg = 0.5", "ablations/lambda-seg-0.5"),
    "lambda-3": ("λ_seg = 3", "ablations/lambda-seg-3"),
    "no-max-field": ("no max field", "ablations/no-max-field"),
    "physical-time": ("physical time (v1)", "ablations/physical-time"),
}
TEACHERS = ("full", "lambda-0", "lambda-0.5", "lambda-3", "no-max-field")
"""Rows with a teacher of their own; the others learn from that of the full model."""
FIRST_SEED, HELD_OUT_SEED = 951_000, 7_300_000
FRAMES, SPACING = 8, "14,2.8"
"""Of the held-out cines; as many frames as the motion grid has phases."""
REFERENCE = "reference"
"""Name of the main model of the evaluation: the full one of the first seed, which brings the rows without an ECG."""
COLUMNS = (
    ("image", "ssim_heart", "SSIM heart ↑", 3), ("image", "psnr_heart_db", "PSNR heart dB ↑", 2),
    ("image", "motion_correlation_heart", "M-Corr heart ↑", 3), ("image", "motion_ssim_heart", "M-SSIM heart ↑", 3),
    ("anatomy", "dice_lv", "Dice LV ↑", 3), ("anatomy", "dice_rv", "Dice RV ↑", 3),
    ("anatomy", "dice_myo", "Dice myo ↑", 3), ("function", "ef_error_points", "EF MAE points ↓", 1),
    ("function", "es_error_frames", "ES error, of 50 ↓", 2), ("anatomy", "epe_wall_mm", "wall error mm ↓", 2),
)  # fmt: skip
TEACHER_COLUMNS = (
    ("held_out_segmentation", "Dice loss ↓", 3), ("held_out_reconstruction", "1 − NCC ↓", 3),
    ("held_out_displacement", "displacement error mm ↓", 2), ("held_out_folded", "folded share ↓", 4),
)  # fmt: skip
SMALL = """base = {base!r}
# all rows alike: a smaller grid and network, fewer steps, no epochs
[teacher]
epochs = 0
network = {{plane = [32, 32], pixel_mm = 5.4, filters = [8, 12, 16]}}
pairs = {{subjects = 24, phases = 3, stacks = [[6, 14.0, 16.0]], slab = 1, batch = 4}}
validation_batches = 6
[teacher.loop]
steps = {teacher_steps}
learning_rate = 2e-3
checkpoint_every = {teacher_steps}
seed = {seed}
[flow]
flow_epochs = 0
[flow.grid]
shape = [8, 20, 20]
spacing_mm = [16.0, 8.0, 8.0]
centre_mm = [10.5, 0.0, -19.0]
phases = 8
[flow.flow]
widths = [24, 32, 48]
hidden = 64
[flow.flow_loop]
steps = {steps}
learning_rate = 2e-3
ema_decay = 0.9
warmup_steps = 5
checkpoint_every = {steps}
seed = {seed}
"""


def command(*words: object) -> None:
    """Run a command of ``cof``, showing it.

    Raises:
        SystemExit: If it fails.
    """
    line = [str(word) for word in words]
    print(f"$ cof {shlex.join(line)}", flush=True)
    if code := cof([*line, "--quiet"]):
        raise SystemExit(code)


def configured(folder: Path, key: str, base: str, seed: int, arguments) -> Path:
    """Write the configuration of a row and seed; returns the file."""
    path = folder / "configurations" / f"{key}-{seed}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"steps": arguments.steps, "teacher_steps": arguments.teacher_steps}
    path.write_text(SMALL.format(base=base, seed=seed, **settings), encoding="utf-8")
    return path


def teacher_of(key: str) -> str:
    """Return the row whose teacher a row learns from."""
    return key if key in TEACHERS else "full"


def train_teacher(folder: Path, key: str, seed: int, arguments) -> Path:
    """Train the teacher of a row; returns its run."""
    run, config = folder / "teachers" / f"{key}-{seed}", configured(folder, key, ROWS[key][1], seed, arguments)
    command("train", "teacher", "--out", run, "--config", config, "--threads", arguments.threads, "--device", "cpu",
            *(["--resume"] if run.is_dir() else []))  # fmt: skip
    return run


def measured(teacher: Path) -> dict[str, float]:
    """Return what a teacher measured on held-out pairs at its end."""
    events = [json.loads(line) for line in (teacher / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [event for event in events if event["event"] == "metric"][-1]
    return {label: last.get(name, float("nan")) for name, label, _ in TEACHER_COLUMNS}


def train_row(folder: Path, key: str, base: str, seed: int, arguments) -> tuple[str, Path]:
    """Train both stages of a row and make what ``cof evaluate`` takes of it; returns the option and the folder."""
    run, config = folder / "runs" / f"{key}-{seed}", configured(folder, key, base, seed, arguments)
    teacher = train_teacher(folder, teacher_of(key), seed, arguments)
    command("train", "flow", "--cohort", folder / "cohort", "--out", run, "--config", config, "--ecg",
            arguments.ecg, "--teacher", teacher, "--cache", folder / "examples" / teacher.name, "--threads",
            arguments.threads, "--workers", arguments.threads, "--device", "cpu", "--no-samples",
            "--resume")  # fmt: skip
    if key == "no-toppr":
        out = folder / "frames" / f"{key}-{seed}"
        if not out.is_dir():
            generate_frames(run, folder / "held-out", out, seed)
        return "--predictions", out
    out = folder / "bundles" / f"{key}-{seed}"
    if not out.is_dir():
        command("bundle", "export", "--run", run, "--teacher", teacher, "--name", f"{key}-{seed}", "--out", out)
    return "--model", out


def generate_frames(run: Path, cohort: Path, out: Path, seed: int) -> None:
    """Draw the frames that a network without a teacher makes of every held-out subject, as labelled cines.

    What it makes is anatomy, not intensities: images are painted with the anchor's mean intensity of each structure.
    """
    import torch
    from COFGeneratorLib.anatomy.geometry import resample
    from COFGeneratorLib.generator.networks.grid import anatomy_maps, grid_for_heart, label_fractions
    from COFGeneratorLib.generator.networks.pack import unpack
    from COFGeneratorLib.generator.networks.sampler import integrate
    from COFTrainingLib.cohort.manifest import read_cohort
    from COFTrainingLib.cohort.nrrd import write_nrrd
    from COFTrainingLib.evaluation.case_files import read_case
    from COFTrainingLib.training.bundles.export import assemble_motion_model

    model, held = assemble_motion_model(run), read_cohort(cohort)
    for number, subject in enumerate(held.used()):
        case = read_case(held, subject)
        fractions = label_fractions(case.labels)
        grid = grid_for_heart(case.labels, case.anchor.ijk_to_ras, case.frame, model.grid)
        maps = torch.from_numpy(anatomy_maps(fractions, case.anchor.ijk_to_ras, case.frame, grid))[None]
        shape = (1, grid.phases, 4 * grid.shape[0], *grid.shape[1:])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(1000 * seed + number))
        condition, phases = model.condition(case.cycle, "cpu"), model.phases
        with torch.inference_mode():
            seen = model.flow.anatomy(maps, model.image_of(case.anchor, case.frame, grid, "cpu"))
            packed = integrate(
                lambda x, tau, m=maps, c=condition, p=phases, a=seen: model.flow(x, tau, m, c, p, anatomy=a), noise,
                model.sampler.steps, model.sampler.solver, model.flow.config.prediction,
            )  # fmt: skip
        made = ((unpack(packed)[0][0].numpy() + 1.0) / 2.0).clip(0.0, 1.0)
        geometry = np.eye(4)
        geometry[:3, :3] = (case.frame.axes_ras * np.array(grid.spacing_mm)[:, None])[::-1].T
        first = np.array([axis[0] for axis in grid.axes_mm()])
        geometry[:3, 3] = case.frame.origin_ras + case.frame.axes_ras.T @ first
        occupied = np.stack([
            [resample(part, geometry, case.anchor.shape, case.anchor.ijk_to_ras) for part in frame] for frame in made
        ])  # fmt: skip
        most, best = occupied.max(axis=1), occupied.argmax(axis=1)
        labels = np.where(most > 1.0 - occupied.sum(axis=1), best + 1, 0).astype(np.uint8)
        folder = out / subject.id
        folder.mkdir(parents=True, exist_ok=True)
        times = np.arange(len(labels)) / len(labels) * case.rr_ms
        write_nrrd(folder / "labels.seq.nrrd", labels, case.anchor.ijk_to_ras, times)
        write_nrrd(folder / "cine.seq.nrrd", painted(case, occupied), case.anchor.ijk_to_ras, times)


def painted(case, occupied: np.ndarray) -> np.ndarray:
    """Return (T, D, H, W) float32: the anchor, its heart replaced by (T, 3, D, H, W) occupancies in mean tones."""
    from scipy.ndimage import binary_dilation

    heart, voxels = case.labels > 0, case.anchor.voxels.astype(np.float32)
    around = np.stack([binary_dilation(plane, iterations=4) for plane in heart]) & ~heart
    still = np.where(heart, voxels[around].mean(), voxels)
    tones = np.array([voxels[case.labels == code].mean() if (case.labels == code).any() else 0.0 for code in (1, 2, 3)])
    inside = occupied.sum(axis=1).clip(0.0, 1.0)
    return ((1.0 - inside) * still + np.einsum("tcdhw,c->tdhw", occupied, tones)).astype(np.float32)


def evaluate(folder: Path, entries: dict[tuple[str, int], tuple[str, Path]]) -> dict:
    """Measure everything that was trained in one evaluation; returns its ``metrics.json``."""
    words = ["--cohort", folder / "held-out", "--out", folder / "report", "--library", "0"]
    for protocol in ("image", "function", "anatomy", "topology", "ablations"):
        words += ["--protocol", protocol]
    first = next(path for option, path in entries.values() if option == "--model")
    words += ["--model", f"{REFERENCE}={first}"]
    for (key, seed), (option, path) in entries.items():
        words += [option, f"{key}-{seed}={path}"]
    command("evaluate", *words)
    return json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8"))


def numbers_of(metrics: dict, method: str) -> dict[str, float]:
    """Return the columns of a method of ``metrics.json``; NaN where something cannot be measured."""
    found = {}
    for protocol, name, label, _ in COLUMNS:
        value = metrics["protocols"].get(protocol, {}).get(method, {}).get(name)
        found[label] = float("nan") if value is None else value
    return found


def table(rows: dict[str, list[dict[str, float]]], columns) -> None:
    """Print a table of mean ± SD over seeds."""
    labels = [(label, digits) for *_, label, digits in columns]
    print("\n| | " + " | ".join(label for label, _ in labels) + " |\n|---" + "|---" * len(labels) + "|")
    for name, seeds in rows.items():
        cells = []
        for label, digits in labels:
            values = np.array([seed[label] for seed in seeds], dtype=float)
            spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.{digits}f}{spread}" if np.isfinite(values).all() else "–")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> int:
    """Train and measure every row; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of everything that is made")
    parser.add_argument("--subjects", type=int, default=72, help="phantoms to train on (default 72)")
    parser.add_argument("--held-out", type=int, default=8, help="phantoms to measure on (default 8)")
    parser.add_argument("--steps", type=int, default=240, help="of every network of Stage 2, of batch 4 (default 240)")
    parser.add_argument("--teacher-steps", type=int, default=100, help="of every teacher, of batch 4 (default 100)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=[key for key in ROWS if key != "physical-time"], choices=[*ROWS],
                        metavar="NAME", help=f"which of {', '.join(ROWS)} (default all but the last)")  # fmt: skip
    parser.add_argument("--ecg", default=default_bundle(), metavar="RUN", help="ECG encoder (default: that of the "
                        "default model's)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="also write the figures")
    arguments = parser.parse_args()
    folder, start, results = Path(arguments.out), time.process_time(), {}
    entries: dict[tuple[str, int], tuple[str, Path]] = {}
    command("cohort", "synthesize", "--subjects", arguments.subjects, "--seed", FIRST_SEED, "--prevalence", "enriched",
            "--manifest-only", "--out", folder / "cohort")  # fmt: skip
    command("cohort", "synthesize", "--subjects", arguments.held_out, "--seed", HELD_OUT_SEED, "--prevalence",
            "enriched", "--cines", "--frames", FRAMES, "--spacing", SPACING, "--out", folder / "held-out")  # fmt: skip
    for seed in arguments.seeds:
        for key in arguments.rows:
            begun = time.process_time()
            entries[key, seed] = train_row(folder, key, ROWS[key][1], seed, arguments)
            print(f"  {time.process_time() - begun:.0f} s of CPU time", flush=True)
    metrics = evaluate(folder, entries)
    rows = {}
    for key in arguments.rows:
        names = [f"{key}-{seed}" for seed in arguments.seeds]
        if key != "no-toppr":
            rows[ROWS[key][0]] = [numbers_of(metrics, name) for name in names]
            names = [f"{name} · one draw" for name in names]
        rows[f"{ROWS[key][0]}, one draw"] = [numbers_of(metrics, name) for name in names]
    for variant in ("null ECG", "shuffled ECG"):
        rows[f"{ROWS[arguments.rows[0]][0]}, first seed, {variant}"] = [numbers_of(metrics, f"{REFERENCE} · {variant}")]
    for baseline in ("population-mean motion", "copy anchor"):
        rows[baseline] = [numbers_of(metrics, baseline)]
    table(rows, COLUMNS)
    own = dict.fromkeys(teacher_of(key) for key in arguments.rows)
    teachers = {
        ROWS[key][0]: [measured(folder / "teachers" / f"{key}-{seed}") for seed in arguments.seeds] for key in own
    }
    table(teachers, TEACHER_COLUMNS)
    results |= {"stage_2": rows, "failures": metrics["failures"], "stage_1": teachers}
    seconds = round(time.process_time() - start)
    asked = {name: value for name, value in vars(arguments).items() if name not in ("out", "json", "ecg")}
    results["settings"] = {**asked, "first_seed": FIRST_SEED, "held_out_seed": HELD_OUT_SEED, "cpu_seconds": seconds}
    print(f"\n{seconds} s of CPU time")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
