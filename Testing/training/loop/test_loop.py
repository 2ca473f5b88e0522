"""The training loop: the same curve whatever happens to the process, and words when something goes wrong."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from COFGeneratorLib.errors import MachineError, TrainingError
from COFGeneratorLib.jobs.events import read_events
from COFGeneratorLib.machine import choose_device
from COFTrainingLib.training.loop import run_folder
from COFTrainingLib.training.loop.loop import LoopConfig, schedule_factor, train
from COFTrainingLib.training.loop.precision import fallback, mixed_precision, to_device
from safetensors.torch import load_file

STEPS = 24
EXACT = 0.0
"""Resuming repeats the same operations on the same numbers: the curves agree to the last bit."""


def a_model() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))


def regression_batches(step: int) -> dict:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return {"x": x, "y": x.sum(dim=1, keepdim=True), "names": [f"case-{step}-{row}" for row in range(8)]}


def noisy_regression_loss(model, batch, generator):
    noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
    error = model(batch["x"] + noise) - batch["y"]
    return error.square().mean(), {"absolute_error": error.abs().mean()}


def a_config(**changes) -> LoopConfig:
    settings = {"learning_rate": 1e-2, "ema_decay": 0.9, "log_every": 1, "checkpoint_every": 6, "device": "cpu"}
    return LoopConfig(**({"steps": STEPS} | settings | changes))


def fit(run: Path, config: LoopConfig, **options):
    return train(a_model(), noisy_regression_loss, regression_batches, run, config, **options)


def loss_curve(run: Path) -> list[tuple[int, float]]:
    return [(e["step"], e["loss"]) for e in read_events(run / "events.jsonl") if e["event"] == "progress"]


class StopHereError(Exception):
    pass


def test_loss_falls_and_the_run_folder_tells_the_story(tmp_path):
    result = fit(tmp_path / "run", a_config(steps=60), model_config={"width": 16})
    curve = loss_curve(result.run)
    assert sum(loss for _, loss in curve[-5:]) < 0.5 * sum(loss for _, loss in curve[:5])
    config = json.loads((result.run / "config.json").read_text())
    assert config["model"] == {"width": 16}
    assert config["loop"]["steps"] == 60
    assert read_events(result.run / "events.jsonl")[-1]["event"] == "done"
    progress = next(e for e in read_events(result.run / "events.jsonl") if e["event"] == "progress")
    assert {"step", "loss", "lr", "samples_per_s", "eta_s", "peak_memory_mb", "absolute_error"} <= progress.keys()
    assert len(list((result.run / "checkpoints").glob("step-*"))) == 2  # the ring


def test_an_interrupted_and_resumed_run_has_the_curve_of_an_uninterrupted_one(tmp_path):
    whole = fit(tmp_path / "whole", a_config())

    def stop_at_step_16(event):
        if event["event"] == "progress" and event["step"] == 16:
            raise StopHereError

    with pytest.raises(StopHereError):
        fit(tmp_path / "cut", a_config(), progress=stop_at_step_16)
    resumed = fit(tmp_path / "cut", a_config(), resume=True)
    assert loss_curve(resumed.run) == loss_curve(whole.run)
    one, other = load_file(whole.weights), load_file(resumed.weights)
    assert max(float((one[name] - other[name]).abs().max()) for name in one) == EXACT


def test_prefetching_batches_changes_nothing(tmp_path):
    plain = fit(tmp_path / "plain", a_config())
    ahead = fit(tmp_path / "ahead", a_config(prefetch=3))
    assert loss_curve(plain.run) == loss_curve(ahead.run)


def test_another_seed_gives_another_curve(tmp_path):
    one = fit(tmp_path / "one", a_config(steps=3))
    other = fit(tmp_path / "other", a_config(steps=3, seed=1))
    assert loss_curve(one.run) != loss_curve(other.run)


KILLED_SCRIPT = """
import sys, time
sys.path.insert(0, {testing!r})
import test_loop as here
from COFTrainingLib.training.loop.loop import train
def slow(step):
    time.sleep(0.02)
    return here.regression_batches(step)
config = here.a_config(threads=1, checkpoint_every=3)
train(here.a_model(), here.noisy_regression_loss, slow, sys.argv[1], config, resume=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_process_resumes_on_the_same_curve(tmp_path):
    script = tmp_path / "train_it.py"
    script.write_text(KILLED_SCRIPT.format(testing=str(Path(__file__).parent)))
    run = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, script, run], env=environment) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if any(int(p.name[5:]) >= 9 for p in (run / "checkpoints").glob("step-*")):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    assert max(step for step, _ in loss_curve(run)) < STEPS
    settings = a_config(threads=1, checkpoint_every=3)
    resumed = fit(run, settings, resume=True)
    whole = fit(tmp_path / "whole", settings)
    assert [step for step, _ in loss_curve(run)] == list(range(1, STEPS + 1))
    of_resumed, of_whole = ([loss for _, loss in loss_curve(one.run)] for one in (resumed, whole))
    assert of_resumed == pytest.approx(of_whole, rel=1e-6)


@pytest.mark.parametrize("poisoned", ["x", "weight"])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(tmp_path, poisoned):
    def batches(step):
        batch = regression_batches(step)
        if step == 5 and poisoned == "x":
            batch["x"][2, 1] = float("nan")
        return batch

    def loss_fn(model, batch, generator):
        loss, metrics = noisy_regression_loss(model, batch, generator)
        if poisoned == "weight" and "case-5-0" in batch["names"]:  # a finite loss with an infinite gradient
            loss = loss + 0 * loss + torch.sqrt((model[0].weight * 0).sum())
        return loss, metrics

    with pytest.raises(TrainingError, match="case-5-2") as caught:
        train(a_model(), loss_fn, batches, tmp_path / "run", a_config())
    assert (tmp_path / "run" / "not_finite_batch.safetensors").exists()
    assert ("already in ['x']" in str(caught.value)) == (poisoned == "x")
    assert read_events(tmp_path / "run" / "events.jsonl")[-1]["event"] == "error"


def test_a_full_disk_costs_a_checkpoint_but_not_the_run(tmp_path, monkeypatch):
    save, calls = run_folder.save_exact, []

    def full_at_the_second_checkpoint(weights, path, metadata=None):
        calls.append(path.name)
        if len(calls) == 3:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(weights, path, metadata)

    monkeypatch.setattr(run_folder, "save_exact", full_at_the_second_checkpoint)
    result = fit(tmp_path / "run", a_config())
    warnings = [e for e in read_events(result.run / "events.jsonl") if e["event"] == "warning"]
    assert [w["step"] for w in warnings] == [12]
    assert sorted(p.name for p in (result.run / "checkpoints").iterdir()) == ["step-00000018", "step-00000024"]
    assert result.weights.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_event_log_is_survived(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").symlink_to("/dev/full")
    result = fit(run, a_config(steps=3))
    assert result.weights.exists()


def test_the_best_checkpoint_is_kept_and_becomes_the_result(tmp_path):
    scores = {6: 0.5, 12: 0.1, 18: 0.4, 24: 0.3}
    result = fit(tmp_path / "run", a_config(keep_last=1),
                   validate=lambda _model, step: {"score": scores[step]})  # fmt: skip
    kept = sorted(p.name for p in (result.run / "checkpoints").glob("step-*"))
    assert kept == ["step-00000012", "step-00000024"]
    best = load_file(result.run / "checkpoints" / "step-00000012" / "ema.safetensors")
    final = load_file(result.weights)
    assert all(torch.equal(best[name], final[name]) for name in best)


def test_a_run_folder_in_use_is_refused_and_a_changed_setting_is_named(tmp_path):
    fit(tmp_path / "run", a_config(steps=2))
    with pytest.raises(TrainingError, match="already holds a run"):
        fit(tmp_path / "run", a_config(steps=2))
    with pytest.raises(TrainingError, match=r"learning_rate: 0.01 → 0.5"):
        fit(tmp_path / "run",
              a_config(steps=2, learning_rate=0.5), resume=True)  # fmt: skip
    fit(tmp_path / "run", a_config(steps=2, threads=1, log_every=2), resume=True)


def test_bf16_runs_the_network_in_half_precision_and_keeps_the_weights_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    seen = []

    def loss_fn(model, batch, generator):
        seen.append(model(batch["x"]).dtype)
        return noisy_regression_loss(model, batch, generator)

    model = a_model()
    result = train(model, loss_fn, regression_batches, tmp_path / "run", a_config(steps=2, precision="bf16"))
    assert seen[0] == torch.bfloat16
    assert model[0].weight.dtype == torch.float32
    assert "warning" not in {event["event"] for event in read_events(result.run / "events.jsonl")}


def test_a_processor_that_only_emulates_bf16_computes_in_fp32_and_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    seen, told = [], []

    def loss_fn(model, batch, generator):
        seen.append(torch.is_autocast_enabled("cpu"))
        return noisy_regression_loss(model, batch, generator)

    def listen(event):
        told.append(event["event"])

    asked = train(a_model(), loss_fn, regression_batches, tmp_path / "run", a_config(precision="bf16"), progress=listen)
    assert not any(seen)
    warnings = [event for event in read_events(asked.run / "events.jsonl") if event["event"] == "warning"]
    assert [event["message"].split()[0] for event in warnings] == ["bf16"]
    assert told.count("warning") == 1
    plain = fit(tmp_path / "plain", a_config())
    assert loss_curve(asked.run) == loss_curve(plain.run)  # exactly what fp32 computes
    assert json.loads((asked.run / "config.json").read_text())["loop"]["precision"] == "bf16"  # what was asked for


def test_schedules_follow_their_closed_forms():
    drops = LoopConfig(steps=1200, schedule="drops")
    assert [schedule_factor(drops, step) for step in (0, 799, 800, 999, 1000)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    cosine = LoopConfig(steps=110, warmup_steps=10, final_factor=0.0)
    assert schedule_factor(cosine, 4) == pytest.approx(5 / 11)
    assert schedule_factor(cosine, 60) == pytest.approx(0.5)
    assert schedule_factor(cosine, 110) == pytest.approx(0.0)
    with pytest.raises(TrainingError, match="found 'linear'"):
        schedule_factor(LoopConfig(steps=3, schedule="linear"), 1)


def test_clipping_bounds_the_first_step_by_the_learning_rate(tmp_path):
    model = a_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, lambda m, b, g: (1e6 * noisy_regression_loss(m, b, g)[0], {}), regression_batches, tmp_path / "run",
          a_config(steps=1, ema_decay=0, weight_decay=0.0, learning_rate=1e-3))  # fmt: skip
    moved = max(float((model.state_dict()[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved <= 1.001e-3


def test_devices_and_precisions_that_do_not_exist_are_named():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(MachineError, match="quantum"):
        choose_device("quantum")
    with pytest.raises(MachineError, match="cuda:77"):
        choose_device("cuda:77")
    with pytest.raises(TrainingError, match="int3"):
        mixed_precision(torch.device("cpu"), "int3")


def test_nested_batches_move_whole():
    batch = {"x": [torch.ones(2), (torch.zeros(1), "name")], "n": 3}
    moved = to_device(batch, torch.device("meta"))
    assert moved["x"][0].device.type == "meta"
    assert moved["x"][1][1] == "name"
    assert moved["n"] == 3


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 1 MB of its own; skips where mounting one is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill_disk(path: Path) -> None:
    """Write a file until nothing fits any more."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(handle, bytes(512)):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(handle)


def test_a_disk_that_fills_up_and_is_freed_again_does_not_stop_the_run(small_disk):
    ballast = small_disk / "others.bin"

    warned = []

    def others_come_and_go(event):
        if event["event"] == "progress" and event["step"] == 7:
            fill_disk(ballast)
        if event["event"] == "warning":
            warned.append(event["step"])
            ballast.unlink()

    result = fit(small_disk / "run", a_config(), progress=others_come_and_go)
    assert warned == [12]
    assert sorted(path.name for path in (result.run / "checkpoints").iterdir())[-1] == "step-00000024"
    assert result.weights.exists()


def test_weights_that_no_longer_fit_say_so_and_the_run_can_be_finished(small_disk, tmp_path):
    ballast = small_disk / "others.bin"

    def others_come(event):
        if event["event"] == "checkpoint" and event["step"] == 24:
            fill_disk(ballast)

    with pytest.raises(TrainingError, match="Free some space and resume"):
        fit(small_disk / "run", a_config(), progress=others_come)
    ballast.unlink()
    resumed = fit(small_disk / "run", a_config(), resume=True)
    whole = fit(tmp_path / "whole", a_config())
    one, other = load_file(resumed.weights), load_file(whole.weights)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("limit", "computed"), [(None, "fp32"), ("AVX512_CORE_AMX", "fp32"), ("AVX512_CORE_BF16", "bf16")]
)
def test_bf16_keeps_off_amx_where_torch_crashes(limit, computed, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    words = fallback(torch.device("cpu"), "bf16")
    assert (words == "") == (computed == "bf16")
    assert words == "" or "ONEDNN_MAX_CPU_ISA" in words
