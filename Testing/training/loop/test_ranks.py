"""Several processes train as one does; options of the loop change how it computes, not what."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.jobs.events import read_events
from COFTrainingLib.training.loop.loop import LoopConfig, train
from COFTrainingLib.training.loop.ranks import Ranks, rows_of, shards_of
from COFTrainingLib.training.loop.run_folder import config_diff
from COFTrainingLib.training.loop.speedups import recompute_blocks
from safetensors.torch import load_file


def a_model() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))


def batches(step: int) -> dict:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return {"x": x, "y": x.sum(dim=1, keepdim=True), "names": [f"case-{step}-{row}" for row in range(8)]}


def ratio_loss(model, batch, generator):
    """A weighted mean, random: what the shards are must be the same for all numbers of ranks."""
    noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
    weight = torch.rand(len(batch["x"]), 1, generator=generator)
    error = model(batch["x"] + noise) - batch["y"]
    return (weight * error.square()).sum() / weight.sum(), {"absolute_error": error.abs().mean()}


def a_config(**changes) -> LoopConfig:
    settings = {"steps": 12, "learning_rate": 1e-2, "ema_decay": 0.9, "log_every": 1, "checkpoint_every": 6,
                "device": "cpu", "threads": 1}  # fmt: skip
    return LoopConfig(**(settings | changes))


def curve(run: Path) -> list[float]:
    return [event["loss"] for event in read_events(run / "events.jsonl") if event["event"] == "progress"]


RANK_SCRIPT = """
import sys
sys.path.insert(0, {testing!r})
import test_ranks as here
from COFTrainingLib.training.loop.loop import train
model = here.a_model()
train(model, here.ratio_loss, here.batches, sys.argv[1], here.a_config(), validate=here.score, resume=True)
print("rank done", float(model[0].weight.detach().double().sum()))
"""


def score(model, step):
    return {"score": float(model[0].weight.square().sum())}


def run_two_ranks(tmp_path: Path, run: Path) -> str:
    script = tmp_path / "two.py"
    script.write_text(RANK_SCRIPT.format(testing=str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, run]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_ranks_train_as_one_does(tmp_path):
    told = run_two_ranks(tmp_path, tmp_path / "two")
    one = train(a_model(), ratio_loss, batches, tmp_path / "one", a_config(shards=2), validate=score)
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-6)
    alone, shared = load_file(one.weights), load_file(tmp_path / "two" / "model.safetensors")
    for name, value in alone.items():
        assert torch.allclose(value, shared[name], rtol=1e-5, atol=1e-7)
    sums = {line.split()[-1] for line in told.splitlines() if line.startswith("rank done")}
    assert len(sums) == 1  # both ranks end with the weights elected by the first
    frozen = json.loads((tmp_path / "two" / "config.json").read_text())
    assert frozen["loop"]["shards"] == 2
    # one process goes on where two stopped: nothing is left to do, and the configuration is the same
    train(a_model(), ratio_loss, batches, tmp_path / "two", a_config(), validate=score, resume=True)


def test_shards_of_equal_size_average_to_the_gradient_of_the_whole(tmp_path):
    def mean_loss(model, batch, generator):
        return (model(batch["x"]) - batch["y"]).square().mean(), {}

    def plain_model():
        torch.manual_seed(3)
        return torch.nn.Linear(4, 1)

    for shards in (1, 4):
        train(plain_model(), mean_loss, batches, tmp_path / str(shards), a_config(shards=shards))
    assert curve(tmp_path / "1") == pytest.approx(curve(tmp_path / "4"), rel=1e-5)


def test_a_batch_is_divided_by_rows_and_what_is_shared_stays_whole():
    batch = {**batches(0), "phases": torch.arange(3), "scale": 2.0}
    parts = shards_of(batch, 3)
    assert [len(part["x"]) for part in parts] == [3, 2, 3]
    assert torch.equal(torch.cat([part["x"] for part in parts]), batch["x"])
    assert [name for part in parts for name in part["names"]] == batch["names"]
    assert all(len(part["phases"]) == 3 and part["scale"] == 2.0 for part in parts)
    with pytest.raises(TrainingError, match="at least as many examples"):
        shards_of(batch, 9)


def test_a_batch_is_as_long_as_its_first_tensor_wherever_that_is():
    assert rows_of({"names": ["a", "b"], "step": torch.tensor(3.0), "maps": [torch.zeros(5, 2)]}) == 5
    assert rows_of(torch.zeros(4, 2)) == 4
    assert rows_of({"names": ["a", "b"]}) == 1


def test_shards_that_ranks_cannot_share_out_are_refused():
    assert list(Ranks(1, 2).of(4)) == [1, 3]
    with pytest.raises(TrainingError, match="multiple of 2"):
        Ranks(0, 2).of(3)


def a_flow_network():
    torch.manual_seed(1)
    grid = MotionGrid(shape=(4, 8, 8), spacing_mm=(30.0, 18.0, 18.0), phases=3)
    model = VelocityUNet(grid, FlowConfig(widths=(8, 8, 8), heads=2, hidden=16, anatomy="labels"))
    torch.nn.init.normal_(model.out.weight, std=0.1)  # starts at zero: nothing would flow back
    inputs = (torch.randn(2, 3, 16, 8, 8), torch.rand(2), torch.rand(2, 3, 4, 8, 8),
              torch.randn(2, model.config.ecg_size + 1),
              torch.arange(3) / 3)  # fmt: skip
    return model, inputs


def test_recomputed_activations_give_the_same_gradients():
    model, inputs = a_flow_network()
    model(*inputs).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    assert recompute_blocks(model) >= 5
    model(*inputs).square().mean().backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert set(model.state_dict()) == set(a_flow_network()[0].state_dict())


def test_recomputing_is_free_to_differ_on_resuming_and_compiling_is_not(tmp_path):
    train(a_model(), ratio_loss, batches, tmp_path / "run", a_config())
    train(a_model(), ratio_loss, batches, tmp_path / "run", a_config(recompute=True), resume=True)
    with pytest.raises(TrainingError, match=r"loop.compile:  → eager"):
        train(a_model(), ratio_loss, batches, tmp_path / "run", a_config(compile="eager"), resume=True)


def test_a_compiled_network_learns_the_same_curve(tmp_path):
    for name, backend in (("plain", ""), ("compiled", "eager")):
        train(a_model(), ratio_loss, batches, tmp_path / name, a_config(steps=4, compile=backend))
    assert curve(tmp_path / "plain") == pytest.approx(curve(tmp_path / "compiled"), rel=1e-5)
    with pytest.raises(TrainingError, match="has the backends"):
        train(a_model(), ratio_loss, batches, tmp_path / "other", a_config(compile="warp-drive"))


def test_half_precision_scales_its_loss_and_skips_steps_that_overflow(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    seen = []

    def loss_fn(model, batch, generator):
        output = model(batch["x"])
        seen.append(output.dtype)
        loss = (output.float() - batch["y"]).square().mean()
        return loss * (1e6 if len(seen) == 2 else 1.0), {}

    train(a_model(), loss_fn, batches, tmp_path / "run", a_config(precision="fp16", clip_norm=1.0))
    assert set(seen) == {torch.float16}
    losses = curve(tmp_path / "run")
    assert losses[-1] < losses[0]
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_the_report_has_throughput_energy_and_memory(tmp_path):
    train(a_model(), ratio_loss, batches, tmp_path / "run", a_config())
    last = [event for event in read_events(tmp_path / "run" / "events.jsonl") if event["event"] == "progress"][-1]
    assert last["samples_per_s"] > 0
    assert 0.0 <= last["data_share"] <= 1.0
    assert last["eta_s"] == 0.0
    assert last["energy_wh"] >= 0.0
    assert "CPU time × 10 W" in last["energy_method"]
    assert last["peak_memory_mb"] > 50


def test_tensorboard_gets_the_numbers_of_the_log(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is optional")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train(a_model(), ratio_loss, batches, run, a_config(tensorboard=True), validate=score)
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    assert [point.value for point in read.Scalars("training/loss")] == pytest.approx(curve(run))
    assert [point.step for point in read.Scalars("validation/score")] == [6, 12]


def test_tensorboard_that_is_not_installed_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="pip install tensorboard"):
        train(a_model(), ratio_loss, batches, tmp_path / "run", a_config(tensorboard=True))


def test_a_run_older_than_a_setting_resumes_with_its_default(tmp_path):
    run = tmp_path / "run"
    train(a_model(), ratio_loss, batches, run, a_config(), model_config={"network": {"width": 16}})
    config = json.loads((run / "config.json").read_text())
    for new in ("shards", "compile"):
        del config["loop"][new]
    (run / "config.json").write_text(json.dumps(config))
    newer = {"model_config": {"network": {"width": 16, "gate": "soft"}}}
    defaults = {"model_defaults": {"network": {"width": 32, "gate": "soft"}}}
    train(a_model(), ratio_loss, batches, run, a_config(), resume=True, **newer, **defaults)
    with pytest.raises(TrainingError, match=r"model.network.gate: None → soft"):
        train(a_model(), ratio_loss, batches, run, a_config(), resume=True, **newer)
    with pytest.raises(TrainingError, match=r"loop.shards: 1 → 2"):
        train(a_model(), ratio_loss, batches, run, a_config(shards=2), resume=True, **newer, **defaults)


def test_a_difference_is_told_relative_to_the_default():
    before, after = {"a": {"old": 1}}, {"a": {"old": 1, "new": 5}}
    assert config_diff(before, after, {"a": {"new": 5}}) == []
    assert config_diff(before, after, {"a": {"new": 4}}) == ["a.new: 4 → 5"]
    assert config_diff(before, after) == ["a.new: None → 5"]
    assert config_diff({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}) == ["a: None → {'x': 1}"]
