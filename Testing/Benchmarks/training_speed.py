"""How fast both stages train: the product's loop against a plain one on the same batches, in the same process.

    python Testing/Benchmarks/training_speed.py [--config cof-plus] [--steps 6] [--device cpu] [--json FILE]

For every network: samples a second of ``training.loop.train`` and of a bare loop (batch, autocast, loss, backward,
AdamW; no average of weights, clipping, logging, checkpoints, NaN guard), their ratio, the share of a step that waits
for its batch, and the peak memory of a process that does nothing else. On a GPU also bf16 against single precision.
On a CPU both loops are timed by the CPU time of the process, so that other work on the machine does not count.
Exit code 1 where the loop costs more than a tenth, or waiting for batches takes more than a tenth of the time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
for _floor in ("COFGenerator", "COFTraining"):
    sys.path.insert(0, str(ROOT / _floor))

NETWORKS = ("teacher", "expected", "flow")
SUBJECTS, WARM_UP = 16, 2
LEAST_RATIO, LARGEST_WAIT = 0.9, 0.1


def plain_loop(model, loss_fn, batches, config, steps: int) -> float:
    """Return the samples a second of the bare loop."""
    from COFGeneratorLib.machine import choose_device
    from COFTrainingLib.training.loop.loop import step_generator
    from COFTrainingLib.training.loop.precision import mixed_precision, to_device
    from COFTrainingLib.training.loop.ranks import rows_of

    device = choose_device(config.device)
    model.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    samples, start = 0, 0.0
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            start = _now(device)
        batch = to_device(batches(step), device)
        with mixed_precision(device, config.precision):
            loss, _ = loss_fn(model, batch, step_generator(config.seed, step, device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        samples += rows_of(batch) if step >= WARM_UP else 0
    return samples / (_now(device) - start)


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
    for step in range(steps + WARM_UP):
        batches(step)  # phantom pairs are made on first use and kept
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    torch.set_num_threads(threads)
    plain = plain_loop(model, loss_fn, batches, config, steps)
    model.load_state_dict(initial)
    with tempfile.TemporaryDirectory() as folder:
        whole = replace(config, steps=steps + WARM_UP, log_every=1, checkpoint_every=10**6)
        told, at, where = [], [], choose_device(config.device)

        def hear(event):
            if event["event"] == "progress":
                told.append(event)
                at.append(_now(where))

        loop.train(model, loss_fn, batches, Path(folder) / "run", whole, progress=hear)
    warm, last = told[WARM_UP - 1], told[-1]
    seconds = [event["step"] * built["batch"] / event["samples_per_s"] for event in (warm, last)]
    waited = [share["data_share"] * total for share, total in zip((warm, last), seconds, strict=True)]
    computed = "fp32" if fallback(where, config.precision) else config.precision
    ours = steps * built["batch"] / (at[-1] - at[WARM_UP - 1])
    return {
        "network": name, "batch": built["batch"], "precision": computed, "parameters": built["parameters"],
        "samples_per_s": ours, "plain_samples_per_s": plain, "ratio": ours / plain,
        "data_share": (waited[1] - waited[0]) / (seconds[1] - seconds[0]), "peak_memory_mb": last["peak_memory_mb"],
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
                done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
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
