"""The ablations of the paper's tables on the phantom cohort, at a size that is stated with them.

    python Testing/Benchmarks/ablations.py [--subjects 48] [--held-out 12] [--steps 80] [--seeds 0 1 2] [--json FILE]
    python Testing/Benchmarks/ablations.py --teacher [--teacher-steps 60] …        also the teacher's rows

Stage 2: the full model (``cof-v2``), without anatomy, with the ECG in space, without a teacher, with a diffusion's
objective, in physical time; every one a network of the same size, trained on the same examples with the same budget,
one draw a held-out subject. Read-outs are taken on the motion grid against the exact motion: Dice of the moved anatomy,
correlation of the displacement (M-Corr), EF, end-systole, folds. Stage 1: λ_seg and the maximum-field term.

The rows are the paper's; the numbers are not comparable with it: other hearts, another network, a training of minutes.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
for _floor in ("COFGenerator", "COFTraining"):
    sys.path.insert(0, str(ROOT / _floor))

from COFGeneratorLib import load_bundle  # noqa: E402
from COFGeneratorLib.generator.grid import MotionGrid  # noqa: E402
from COFGeneratorLib.generator.pack import unpack  # noqa: E402
from COFGeneratorLib.generator.sampler import integrate  # noqa: E402
from COFGeneratorLib.motion.fields import exponential, folded_fraction, warp  # noqa: E402
from COFGeneratorLib.resources import default_bundle  # noqa: E402
from COFTrainingLib.training.configurations import read_configuration  # noqa: E402
from COFTrainingLib.training.flow import train_flow  # noqa: E402
from COFTrainingLib.training.flow_cache import build_flow_cache  # noqa: E402
from COFTrainingLib.training.flow_data import FlowData, load_flow_data  # noqa: E402
from COFTrainingLib.training.loop import LoopConfig  # noqa: E402

ROWS = {
    "COF (full)": "cof-v2",
    "w/o REA": "ablations/no-rea",
    "w/o temporal ECG": "ablations/spatial-ecg",
    "w/o TOPPR": "ablations/no-toppr",
    "COF-w/Diffusion": "ablations/diffusion",
    "physical time (v1)": "ablations/physical-time",
}
TEACHER_ROWS = {
    "λ_seg = 1": "cof-v2",
    "λ_seg = 0.5": "ablations/lambda-seg-0.5",
    "λ_seg = 3": "ablations/lambda-seg-3",
    "no max field": "ablations/no-max-field",
}
GRID = MotionGrid(shape=(8, 24, 24), spacing_mm=(16.0, 7.0, 7.0), phases=10)
WIDTHS, HIDDEN = (24, 32, 48), 64
FIRST_SEED = 950_000
COLUMNS = ("dice_lv", "dice_myo", "dice_rv", "m_corr", "ef_mae_points", "es_error_percent", "folded_percent")


def trained(name: str, data: FlowData, steps: int, seed: int, folder: Path):
    """Return the network of a row and its configuration, at this bench's size."""
    config = read_configuration("flow", name)
    network = replace(config.flow, widths=WIDTHS, hidden=HIDDEN, residual=False)
    loop = LoopConfig(
        steps=steps, learning_rate=1.5e-3, warmup_steps=5, ema_decay=0.9, schedule=config.flow_loop.schedule,
        drop_at=config.flow_loop.drop_at, precision="bf16", seed=seed, device="cpu", threads=torch.get_num_threads(),
        checkpoint_every=10**6, log_every=10**6,
    )  # fmt: skip
    stage = replace(config.stage, batch=8)
    model, _, _ = train_flow(data, folder, loop, stage, network, None, config.tau_draw)
    return model.eval(), config


@torch.inference_mode()
def measured(model, config, data: FlowData, held: np.ndarray, seed: int) -> dict[str, float]:
    """Return the mean read-outs over held-out subjects, one draw each."""
    rows = []
    for index in held:
        batch = data.batch(np.array([index]))
        phases = data.phases

        def predict(x, tau, batch=batch, phases=phases):
            return model(x, tau, batch["maps"], batch["condition"], phases)

        shape = (1, len(phases), 4 * GRID.shape[0], *GRID.shape[1:])
        start = torch.randn(shape, generator=torch.Generator().manual_seed(1000 * seed + int(index)))
        packed = integrate(predict, start, config.sampler.steps, "euler", model.config.prediction)
        true = _moved(batch["maps"], data.scale.restore(batch["velocity"])[0])
        normalised = unpack(packed)[0][0]
        if model.config.target == "frames":
            found = ((normalised + 1.0) / 2.0).clamp(0, 1), None
        else:
            velocity = data.scale.restore(normalised)
            found = _moved(batch["maps"], velocity - velocity[:1])
        rows.append(_read_outs(found, true, batch["maps"][0]))
    return _means(rows)


def _moved(maps: torch.Tensor, velocity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the anatomy (T, 3, D, H, W) under a velocity (T, 3, D, H, W), and the displacement."""
    displacement = exponential(velocity.float())
    return warp(maps.float().expand(len(velocity), -1, -1, -1, -1), displacement), displacement


def _read_outs(found, true, maps: torch.Tensor) -> dict[str, float]:
    anatomy, displacement = found
    overlap = 2.0 * torch.minimum(anatomy, true[0]).sum(dim=(0, 2, 3, 4))
    dice = overlap / (anatomy + true[0]).sum(dim=(0, 2, 3, 4)).clamp(min=1e-6)
    curves = [part[:, 0].sum(dim=(1, 2, 3)) for part in (anatomy, true[0])]
    ef = [100.0 * float(1.0 - curve.min() / curve.max().clamp(min=1e-6)) for curve in curves]
    es = [int(curve.argmin()) for curve in curves]
    apart = abs(es[0] - es[1])
    row = {"dice_lv": dice[0], "dice_myo": dice[1], "dice_rv": dice[2], "ef_mae_points": abs(ef[0] - ef[1]),
           "es_error_percent": 100.0 * min(apart, len(anatomy) - apart) / len(anatomy),
           "m_corr": np.nan, "folded_percent": np.nan}  # fmt: skip
    if displacement is not None:
        heart = maps.sum(dim=0) > 0.3
        pair = torch.stack([part[1:][..., heart].flatten() for part in (displacement, true[1])])
        row["m_corr"] = float(torch.corrcoef(pair)[0, 1]) if float(pair[0].std()) > 0 else 0.0
        row["folded_percent"] = 100.0 * folded_fraction(displacement, heart)
    return {name: float(value) for name, value in row.items()}


def copied(data: FlowData, held: np.ndarray) -> dict[str, float]:
    """Return the read-outs of an anchor that does not move."""
    rows = []
    for index in held:
        batch = data.batch(np.array([index]))
        true = _moved(batch["maps"], data.scale.restore(batch["velocity"])[0])
        still = _moved(batch["maps"], torch.zeros_like(batch["velocity"][0]))
        rows.append(_read_outs(still, true, batch["maps"][0]))
    return _means(rows)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the means over subjects; what a row does not have stays unknown."""
    return {name: float(np.mean([row[name] for row in rows])) for name in COLUMNS}


def teacher_row(name: str, steps: int, seed: int, folder: Path) -> dict[str, float]:
    """Return the held-out terms of a teacher trained at this bench's size."""
    from COFTrainingLib.training.teacher import train_teacher

    own, small = read_configuration("teacher", name), read_configuration("teacher", "smoke")
    loop = replace(small.loop, steps=steps, seed=seed, checkpoint_every=steps, threads=torch.get_num_threads())
    pairs = replace(small.pairs, subjects=12)
    config = replace(small, objective=own.objective, loop=loop, pairs=pairs, validation_batches=4)
    found = train_teacher(None, folder, config).metrics
    return {
        "dice": 1.0 - found["held_out_segmentation"],
        "correlation": 1.0 - found["held_out_reconstruction"],
        "displacement_mm": found["held_out_displacement"],
        "folded_percent": 100.0 * found["held_out_folded"],
    }


def _table(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    columns = list(next(iter(rows.values()))[0])
    print(f"\n{title}\n| | " + " | ".join(columns) + " |\n|---" * 1 + "|---" * len(columns) + "|")
    for name, seeds in rows.items():
        cells = []
        for column in columns:
            values = np.array([seed[column] for seed in seeds])
            spread = f" ± {values.std(ddof=1):.3g}" if len(values) > 1 else ""
            cells.append("—" if np.isnan(values).all() else f"{values.mean():.3g}{spread}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> int:
    """Train and measure every row; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=48, help="phantoms to train on")
    parser.add_argument("--held-out", type=int, default=12, help="phantoms to measure on")
    parser.add_argument("--steps", type=int, default=80, help="of every network of Stage 2, of batch 8")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--teacher", action="store_true", help="also the rows of Stage 1")
    parser.add_argument("--teacher-steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start, results = time.process_time(), {}
    with tempfile.TemporaryDirectory() as folder:
        count = arguments.subjects + arguments.held_out
        cache = build_flow_cache(Path(folder) / "cache", count, FIRST_SEED, GRID, workers=1)
        data = load_flow_data(cache, load_bundle(default_bundle()).model.encoder)
        held = data.cache.ready[-arguments.held_out :]
        data = replace(data, train=data.cache.ready[: arguments.subjects], valid=held)
        rows = {"copy anchor": [copied(data, held)]}
        for name, configuration in ROWS.items():
            rows[name] = []
            for seed in arguments.seeds:
                run = Path(folder) / f"{name.replace('/', '')}-{seed}"
                model, config = trained(configuration, data, arguments.steps, seed, run)
                rows[name].append(measured(model, config, data, held, seed))
        size = f"{arguments.subjects} subjects, {arguments.steps} steps of batch 8, {len(arguments.seeds)} seeds"
        _table(f"Stage 2: {size}, {arguments.held_out} held out", rows)
        results["stage_2"] = rows
        if arguments.teacher:
            rows = {
                name: [teacher_row(configuration, arguments.teacher_steps, seed, Path(folder) / f"{name}-{seed}")
                       for seed in arguments.seeds]
                for name, configuration in TEACHER_ROWS.items()
            }  # fmt: skip
            _table(f"Stage 1: 12 subjects, {arguments.teacher_steps} steps", rows)
            results["stage_1"] = rows
    results["settings"] = vars(arguments) | {"cpu_seconds": round(time.process_time() - start)}
    print(f"\n{results['settings']['cpu_seconds']} s of CPU time in this process")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
