"""How fast both stages train: the product's loop against what a user at home in torch and MONAI would write.

    python Testing/Benchmarks/training_speed.py [--config cof-plus] [--steps 6] [--device cpu] [--json FILE]

For every network, from the same examples and with the same network and loss: ``training.loop.train`` with all its
safety (guard against NaN, events, resumable random numbers, checkpoints) against a plain loop of MONAI's
``CacheDataset`` and ``DataLoader``, autocast, AdamW, clipping, a cosine schedule, torch's averaged model. Both run by
turns in one process, and the median step counts. On a CPU it is its CPU time, so that other work on the machine does
not count. Also told: the share of a step that waits for its batch, the peak memory of the process, and on a GPU bf16
against single precision. Exit code 1 where the product is slower, or waits for batches take more than 5 % of the time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
for _floor in ("COFGenerator", "COFTraining"):
    sys.path.insert(0, str(ROOT / _floor))

NETWORKS = ("teacher", "expected", "flow")
SUBJECTS, WARM_UP, TURNS = 16, 2, 3
LEAST_RATIO, LARGEST_WAIT = 1.0, 0.05


def plain_loader(batches, steps: int, size: int):
    """Return MONAI's loader of the examples of the product's own batches, each kept in memory."""
    from monai.data import CacheDataset, DataLoader

    def rows() -> Iterator[dict]:
        for step in range(steps):
            batch = {name: value for name, value in batches(step).items() if isinstance(value, torch.Tensor)}
            yield from ({name: value[row] for name, value in batch.items()} for row in range(size))

    examples = CacheDataset(list(rows()), cache_rate=1.0, progress=False)
    return DataLoader(examples, batch_size=size, shuffle=True, num_workers=0, pin_memory=torch.cuda.is_available())


def plain_loop(model, loss_fn, loader, config, device) -> list[float]:
    """Train over a loader once as a user would; return the time of every step, s."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(loader))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)) if config.ema_decay else None
    generator = torch.Generator(device).manual_seed(0)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.precision)
    spent, start = [], _now(device)
    for batch in loader:
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            loss, _ = loss_fn(model, batch, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        spent.append(_now(device) - start)
        start = _now(device)
    return spent


def _now(device) -> float:
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(name: str, configuration: str, steps: int, device: str, threads: int, cache: str, precision: str) -> dict:
    """Return the figures of one network; a process should measure one."""
    from COFGeneratorLib.machine import choose_device
    from COFTrainingLib.training.loop import loop
    from COFTrainingLib.training.loop.precision import fallback

    built = _build(name, configuration, device, threads, cache, precision)
    model, loss_fn, batches, config = built["model"], built["loss_fn"], built["batches"], built["config"]
    where = choose_device(config.device)
    computed = "fp32" if fallback(where, config.precision) else config.precision
    config = replace(config, precision=computed)
    count = steps + WARM_UP
    loader = plain_loader(batches, count, built["batch"])  # phantom pairs are made on first use and kept
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    torch.set_num_threads(threads)
    plain, ours, waits = [], [], []
    for _ in range(TURNS):
        model.load_state_dict(initial)
        plain += plain_loop(model, loss_fn, loader, config, where)[WARM_UP:]
        model.load_state_dict(initial)
        with tempfile.TemporaryDirectory() as folder:
            whole = replace(config, steps=count, log_every=1, checkpoint_every=10**6)
            told, at = [], []

            def hear(event, told=told, at=at):
                if event["event"] == "progress":
                    told.append(event)
                    at.append(_now(where))

            loop.train(model, loss_fn, batches, Path(folder) / "run", whole, progress=hear)
        ours += np.diff(at)[WARM_UP - 1 :].tolist()
        seconds = [event["step"] * built["batch"] / event["samples_per_s"] for event in (told[WARM_UP - 1], told[-1])]
        waited = [
            event["data_share"] * total for event, total in zip((told[WARM_UP - 1], told[-1]), seconds, strict=True)
        ]
        waits.append((waited[1] - waited[0]) / (seconds[1] - seconds[0]))
    speed, plain_speed = (built["batch"] / float(np.median(spent)) for spent in (ours, plain))
    return {
        "network": name, "batch": built["batch"], "precision": computed, "parameters": built["parameters"],
        "samples_per_s": speed, "plain_samples_per_s": plain_speed, "ratio": speed / plain_speed,
        "data_share": float(np.median(waits)), "peak_memory_mb": told[-1]["peak_memory_mb"],
    }  # fmt: skip


def _build(name: str, configuration: str, device: str, threads: int, cache: str, precision: str) -> dict:
    from COFTrainingLib.training.configurations import read_configuration

    placed = {"device": device, "threads": threads} | ({"precision": precision} if precision else {})
    if name == "teacher":
        from COFTrainingLib.training.teacher.teacher import new_network, teacher_loss
        from COFTrainingLib.training.teacher.teacher_pairs import PhantomPairs

        config = read_configuration("teacher", configuration)
        few = replace(config.pairs, subjects=3 * config.pairs.batch)
        built = {"model": new_network(config.network, 0), "loss_fn": teacher_loss(config.objective),
                 "batches": PhantomPairs(few, config.network, 0), "config": config.loop,
                 "batch": config.pairs.batch}  # fmt: skip
    else:
        built = _stage_two(name, read_configuration("flow", configuration), cache)
    built["config"] = replace(built["config"], **placed)
    built["parameters"] = sum(parameter.numel() for parameter in built["model"].parameters())
    return built


def _stage_two(name: str, config, cache: str) -> dict:
    """Return what Stage 2 trains with, taken from its own functions by stepping in where they call the loop."""
    from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
    from COFTrainingLib.training.examples.flow_cache import build_flow_cache
    from COFTrainingLib.training.examples.flow_data import load_flow_data
    from COFTrainingLib.training.motion import flow, regression

    examples = build_flow_cache(Path(cache) / f"{config.grid.shape}", SUBJECTS, 900_000, config.grid, workers=1)
    data = load_flow_data(examples, EcgEncoder().eval())
    taken = {}

    def take(model, loss_fn, batches, out_dir, loop, **_):
        taken.update(model=model, loss_fn=loss_fn, batches=batches, config=loop, batch=config.stage.batch)

    trainings = (flow, regression)
    before = [module.train for module in trainings]
    for module in trainings:
        module.train = take
    try:
        if name == "expected":
            regression.train_trunk(data, Path("."), config.expected_loop, config.stage, config.flow_config)
        else:
            loop = replace(config.flow_loop, device="cpu")
            flow.train_flow(data, Path("."), loop, config.stage, config.flow_config, tau_draw=config.tau_draw)
    finally:
        for module, train in zip(trainings, before, strict=True):
            module.train = train
    return taken


def main() -> int:
    """Measure every network in a process of its own; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="cof-plus", help="named configuration or file (default cof-plus)")
    parser.add_argument("--steps", type=int, default=6, help="measured steps of each (default 6)")
    parser.add_argument("--device", default="cpu", help="default cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--cache", help="folder that keeps the examples for another run")
    parser.add_argument("--json", metavar="FILE", help="also write the figures")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "PRECISION"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asked = (arguments.config, arguments.steps, arguments.device, arguments.threads, arguments.cache)
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], *asked, arguments.one[1].strip("-"))))
        return 0
    from COFTrainingLib.training.configurations import read_configuration

    flow = read_configuration("flow", arguments.config)
    names = [name for name in arguments.networks if name == "teacher" or getattr(flow, name) is not None]
    precisions = ("fp32", "bf16") if arguments.device.startswith("cuda") else ("-",)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = arguments.cache or folder
        for name in names:
            for precision in precisions:
                command = [sys.executable, __file__, "--config", arguments.config, "--steps", str(arguments.steps),
                           "--device", arguments.device, "--threads", str(arguments.threads), "--cache", cache,
                           "--one", name, precision]  # fmt: skip
                done = subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ, check=False)
                if done.returncode:
                    print(done.stderr, file=sys.stderr)
                    return 2
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(_line(rows[-1]))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    slow = [row["network"] for row in rows if row["ratio"] < LEAST_RATIO or row["data_share"] > LARGEST_WAIT]
    print(f"below the bars: {', '.join(slow)}" if slow else "all within the bars")
    return 1 if slow else 0


def _line(row: dict) -> str:
    return (
        f"{row['network']:8} batch {row['batch']:3}  {row['precision']}  {row['parameters'] / 1e6:5.2f} M parameters  "
        f"{row['samples_per_s']:7.2f} samples/s, plain {row['plain_samples_per_s']:7.2f} (ratio {row['ratio']:.2f})  "
        f"waits for batches {100 * row['data_share']:4.1f} %  peak {row['peak_memory_mb']:.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
