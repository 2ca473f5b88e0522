"""The one training loop of all models: what differs is ``loss_fn`` and ``batches``.

A run is a function of its configuration: the batch, the random numbers and the learning rate of a step depend on the
step and the seed alone. A run killed at any moment therefore resumes on the same curve.
"""

import errno
import json
import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.jobs.events import EventLog
from COFGeneratorLib.machine import choose_device, peak_memory_mb
from COFGeneratorLib.weights import save_exact
from safetensors.torch import load_file

from COFTrainingLib.training.loop.clock import Clock
from COFTrainingLib.training.loop.loop_config import LoopConfig, schedule_factor
from COFTrainingLib.training.loop.precision import fallback, mixed_precision, pinned, to_device
from COFTrainingLib.training.loop.ranks import Ranks, current_ranks, own_device, rows_of, shards_of
from COFTrainingLib.training.loop.run_folder import CheckpointRing, open_run, plain
from COFTrainingLib.training.loop.run_state import RunState
from COFTrainingLib.training.loop.speedups import compiled, recompute_blocks
from COFTrainingLib.training.loop.tensorboard import TensorBoardLog

logger = logging.getLogger(__name__)

Loss = tuple[torch.Tensor, dict[str, Any]]
"""A scalar, and metrics: numbers or 0-d tensors."""
LossFn = Callable[[torch.nn.Module, Any, torch.Generator], Loss]
Batches = Callable[[int], Any]
Validate = Callable[[torch.nn.Module, int], dict[str, float]]
Progress = Callable[[dict[str, Any]], None]
"""Takes every event of a training."""
Emit = Callable[..., None]
"""Takes the name of an event and its facts as keywords."""


class RunOptions(TypedDict, total=False):
    """What trainings hand on to ``train``: to go on with the run in the folder, and who is called with every event."""

    resume: bool
    progress: Progress | None


@dataclass(frozen=True)
class TrainedRun:
    """The run folder, the file of the final weights (average; of the best checkpoint if validated), last metrics."""

    run: Path
    weights: Path
    step: int
    metrics: dict[str, float] = field(default_factory=dict)


def step_generator(seed: int, step: int, device: torch.device, shard: int = 0) -> torch.Generator:
    """Return the random generator of one shard of a step; also seeds torch's own, which dropout uses."""
    mixed = seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB
    mixed = (mixed + shard * 0xD6E8FEB86659FD93) % 2**63
    torch.manual_seed(mixed)
    return torch.Generator(device if device.type != "mps" else "cpu").manual_seed(mixed)


def train(
    model: torch.nn.Module,
    loss_fn: LossFn,
    batches: Batches,
    out_dir: Path | str,
    config: LoopConfig,
    *,
    model_config: dict[str, Any] | None = None,
    model_defaults: dict[str, Any] | None = None,
    validate: Validate | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainedRun:
    """Train a model; on return it holds the final weights.

    Started by ``torchrun``, every process calls this alike; the first one writes, validates and reports.

    Args:
        model: Built from ``config.seed`` by the caller, so that a run killed before its first checkpoint starts alike.
        loss_fn: ``(model, batch, generator) → (scalar loss, metrics)``; metrics are numbers or 0-d tensors. Draw random
            numbers on ``generator.device`` (Apple's GPU has none of its own). Autocast is on: see ``full_precision``.
        batches: ``step → batch``, the same batch for the same step; a dict may hold ``"names"`` for messages.
        out_dir: Run folder; new, or with ``resume`` that of the run to go on with.
        model_config: Frozen into ``config.json`` beside the loop's.
        model_defaults: Values of settings in it that older runs do not know, see ``config_diff``.
        validate: ``(model with EMA weights, step) → metrics``; key ``"score"`` (lower is better) elects the best.
        progress: Called with every event written.

    Raises:
        TrainingError: If the loss is not finite, the run folder does not fit, or the result cannot be written.
    """
    if config.steps < 1:
        raise TrainingError(f"A training takes at least one step; found {config.steps} for {out_dir}. Set steps.")
    ranks = current_ranks()
    config = _shared_out(config, Path(out_dir), ranks)
    device = choose_device(own_device(config.device))
    if config.threads:
        torch.set_num_threads(config.threads)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
        batches = _pinned_batches(batches)
    run = Path(out_dir)
    if ranks.first:
        defaults = plain({"loop": asdict(LoopConfig(steps=0)), "model": model_defaults or {}})
        open_run(run, {"loop": asdict(config), "model": model_config or {}}, resume, defaults)
        CheckpointRing(run, config.keep_last).tidy()
    ranks.wait()
    ring = CheckpointRing(run, config.keep_last)
    state = RunState(model.to(device), config, device)
    if config.recompute:
        recompute_blocks(model)
    step = state.restore(ring.load(device=device) if resume else None)
    emit, boards = _reporter(run, step if resume else None, config, ranks, progress)
    if words := fallback(device, config.precision):
        emit("warning", step=step, message=words)
    try:
        metrics = _run(
            state, loss_fn, batches, validate=validate if ranks.first else None, ring=ring, emit=emit, first=step,
            ranks=ranks,
        )  # fmt: skip
        weights = _finish(state, ring, run, validate is not None, ranks)
    except BaseException as error:
        emit("error", step=state.step, message=f"{type(error).__name__}: {error}")
        raise
    finally:
        if boards is not None:
            boards.close()
    emit("done", step=config.steps, weights=weights.name, peak_memory_mb=peak_memory_mb(device))
    return TrainedRun(run, weights, config.steps, metrics)


def _shared_out(config: LoopConfig, run: Path, ranks: Ranks) -> LoopConfig:
    """Return the configuration with a shard for every rank where none are asked for; a begun run keeps its shards."""
    if config.shards != 1:
        return config
    frozen, shards = run / "config.json", ranks.size
    if frozen.is_file():
        shards = json.loads(frozen.read_text(encoding="utf-8")).get("loop", {}).get("shards", 1)
    ranks.wait()  # before the first rank writes the file that the others look for
    return replace(config, shards=shards)


def _reporter(
    run: Path, keep_until_step: int | None, config: LoopConfig, ranks: Ranks, progress: Progress | None
) -> tuple[Emit, TensorBoardLog | None]:
    """Return what takes events (of the first rank; those of the others go nowhere), and the TensorBoard log or None."""
    if not ranks.first:
        return (lambda event, **facts: None), None
    log = EventLog(run / "events.jsonl", keep_until_step)
    boards = TensorBoardLog(run, keep_until_step or 0) if config.tensorboard else None

    def emit(event: str, **facts: Any) -> None:
        log.write(event, **facts)
        if boards is not None:
            boards.write(event, facts)
        if progress is not None:
            progress({"event": event, **facts})

    return emit, boards


def _pinned_batches(batches: Batches) -> Batches:
    """Return batches in pinned memory; where they are made ahead, in the thread that makes them."""
    return lambda step: pinned(batches(step))


def _batches_ahead(batches: Batches, first: int, last: int, ahead: int) -> Iterator[Any]:
    """Yield ``batches(first)`` … ``batches(last − 1)``, up to ``ahead`` of them made in a thread meanwhile."""
    if ahead <= 0:
        yield from (batches(step) for step in range(first, last))
        return
    pool = ThreadPoolExecutor(1)
    try:
        waiting = [pool.submit(batches, step) for step in range(first, min(first + ahead, last))]
        for step in range(first, last):
            if step + ahead < last:
                waiting.append(pool.submit(batches, step + ahead))
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)  # whoever stops waits for the batch that is begun, not for those ahead


def _run(
    state: RunState, loss_fn: LossFn, batches: Batches, *, validate: Validate | None, ring: CheckpointRing, emit: Emit,
    first: int, ranks: Ranks,
) -> dict[str, float]:  # fmt: skip
    config, device = state.config, state.device
    supply = _batches_ahead(batches, first, config.steps, config.prefetch)
    network = compiled(state.model, config.compile)
    metrics: dict[str, float] = {}
    clock = Clock(first, config.steps, device)
    while state.step < config.steps:
        clock.start()
        batch = next(supply)
        clock.loaded()
        value, norm, step_metrics = _step(state, network, loss_fn, batch, ring.folder.parent, ranks)
        clock.stepped(rows_of(batch))
        last = state.step == config.steps
        if last or state.step % config.log_every == 0:
            lr = state.optimizer.param_groups[0]["lr"]
            numbers = {name: ranks.mean(number, device) for name, number in step_metrics.items()}
            emit("progress", step=state.step, loss=float(value), lr=lr, grad_norm=norm, **numbers, **clock.report(),
                 peak_memory_mb=peak_memory_mb(device))  # fmt: skip
        score = None
        validate_every = config.validate_every or config.checkpoint_every
        if validate and (last or state.step % validate_every == 0):
            metrics = _validate(state, validate)
            score = metrics.get("score")
            emit("metric", step=state.step, **metrics)
        if ranks.first and (last or state.step % config.checkpoint_every == 0):
            _save_checkpoint(state, ring, score, emit)
    return metrics


def _step(
    state: RunState, network: torch.nn.Module, loss_fn: LossFn, batch: Any, run: Path, ranks: Ranks
) -> tuple[float | torch.Tensor, float, dict]:
    """Take one step; return the batch's loss, the gradient's norm, and the metrics of this rank's shards.

    Raises:
        TrainingError: If loss or gradient are not finite.
    """
    config, device, step = state.config, state.device, state.step
    parts, mine = shards_of(batch, config.shards), ranks.of(config.shards)
    state.model.train()
    state.start(config.learning_rate * schedule_factor(config, step))
    # to read a number of a GPU is to wait for it: there a loss that is not finite is found by its gradient's norm alone
    reads = device.type == "cpu" or ranks.size > 1 or state.scaler.is_enabled()
    value: Any = 0.0
    metrics: dict[str, Any] = {}
    for shard in mine:
        part = to_device(parts[shard], device)
        generator = step_generator(config.seed, step, device, shard)
        with mixed_precision(device, config.precision):
            loss, numbers = loss_fn(network, part, generator)
        value += (float(loss.detach()) if reads else loss.detach()) / config.shards
        if reads and not math.isfinite(value):
            break
        state.backward(loss, config.shards)
        for name, number in numbers.items():
            metrics[name] = metrics.get(name, 0.0) + torch.as_tensor(number).detach() / len(mine)
    value, norm = ranks.total(value, device) if reads else value, math.nan
    if not reads or math.isfinite(value):
        ranks.add_gradients(state.model.parameters())
        norm = state.update()
    if state.step == step:
        raise _not_finite(run, step, part, float(value), norm)
    return value, norm, metrics


def _validate(state: RunState, validate: Validate) -> dict[str, float]:
    """Validate with the averaged weights, and put the raw ones back."""
    raw = {name: value.clone() for name, value in state.model.state_dict().items()}
    state.model.load_state_dict(state.ema)
    state.model.eval()
    try:
        with torch.no_grad():
            return {name: float(value) for name, value in validate(state.model, state.step).items()}
    finally:
        state.model.load_state_dict(raw)


def _save_checkpoint(state: RunState, ring: CheckpointRing, score: float | None, emit: Emit) -> None:
    try:
        path = ring.save(state.checkpoint(), score)
        emit("checkpoint", step=state.step, path=path.name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"The disk is full: no checkpoint at step {state.step}; training goes on. Free some space."
        emit("warning", step=state.step, message=message)
        logger.warning(message)


def _finish(state: RunState, ring: CheckpointRing, run: Path, validated: bool, ranks: Ranks) -> Path:
    """Write the final weights: of the best checkpoint where one was elected, else the last average."""
    path = run / "model.safetensors"
    if ranks.first:
        best = ring.best() if validated else None
        elected = ring.load(best["step"]) if best and best["step"] in ring.steps() else None
        final = state.ema if elected is None else elected.ema
        try:
            save_exact(final, path, {"step": str(elected.step if elected else state.step)})
        except Exception as error:
            raise TrainingError(
                f"The trained weights should go to {path}; writing failed: {error}. Free some space and resume the "
                "run; it goes on from its last checkpoint."
            ) from error
    ranks.wait()
    state.model.load_state_dict(load_file(path))
    state.model.eval()
    return path


def _not_finite(run: Path, step: int, batch: Any, loss: float, norm: float) -> TrainingError:
    """Return the error of a loss or gradient that is not finite, naming the batch and keeping it."""
    entries = batch if isinstance(batch, dict) else {}
    names = entries.get("names")
    tensors = {key: value for key, value in entries.items() if isinstance(value, torch.Tensor)}
    bad = [key for key, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    kept = ""
    if tensors:
        try:
            save_exact(tensors, run / "not_finite_batch.safetensors", {"step": str(step)})
            kept = f" The batch is kept in {run / 'not_finite_batch.safetensors'}."
        except Exception:  # naming the batch matters more than keeping it
            logger.warning("The batch of step %d could not be kept.", step)
    return TrainingError(
        f"Loss and gradient must be finite; at step {step} the loss is {loss} and the gradient norm {norm}, batch "
        f"{', '.join(map(str, names)) if names is not None else step}"
        f"{f' (not finite already in {bad})' if bad else ''}. Check these cases, or lower the learning rate.{kept}"
    )
