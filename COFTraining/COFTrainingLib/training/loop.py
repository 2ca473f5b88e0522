"""The one training loop of all models: what differs is ``loss_fn`` and ``batches``.

A run is a function of its configuration: the batch, the random numbers and the learning rate of a step depend on the
step and the seed alone. A run killed at any moment therefore resumes on the same curve.
"""

import errno
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.precision import mixed_precision, peak_memory_mb, resolve_device, to_device
from COFTrainingLib.training.run_folder import Checkpoint, CheckpointRing, EventLog, open_run, save_weights

logger = logging.getLogger(__name__)

LossFn = Callable[[torch.nn.Module, Any, torch.Generator], tuple[torch.Tensor, dict[str, Any]]]
Batches = Callable[[int], Any]
Validate = Callable[[torch.nn.Module, int], dict[str, float]]


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one training run.

    Args:
        steps: Optimiser steps in all.
        learning_rate, weight_decay, betas: Of AdamW.
        schedule: ``"cosine"`` (to ``final_factor``), ``"constant"``, or ``"drops"`` (× ``drop_factor`` at ``drop_at``).
        warmup_steps: Linear rise of the learning rate.
        final_factor: Where the cosine ends, as a share of the learning rate.
        drop_at: Fractions of ``steps`` at which the rate drops (the paper: epochs 800 and 1000 of 1200).
        clip_norm: Largest gradient norm; 0 switches clipping off.
        ema_decay: Of the weights' exponential moving average; 0 switches it off.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"`` autocast around ``loss_fn``.
        seed: Of everything random in the loop.
        device: ``"auto"``, ``"cpu"``, ``"cuda:N"``, ``"mps"``.
        threads: CPU threads of torch; 0 leaves torch's choice.
        log_every, validate_every, checkpoint_every: Steps; ``validate_every=0`` validates with each checkpoint. Only a
            checkpoint validated at its own step can become the best.
        keep_last: Checkpoints in the ring, beside the best.
        prefetch: Batches made ahead in a thread (0: none; ``batches`` must then be safe to call from a thread).
    """

    steps: int
    learning_rate: float = 2e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "cosine"
    warmup_steps: int = 0
    final_factor: float = 0.02
    drop_at: tuple[float, ...] = (800 / 1200, 1000 / 1200)
    drop_factor: float = 0.1
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    precision: str = "fp32"
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    log_every: int = 20
    validate_every: int = 0
    checkpoint_every: int = 200
    keep_last: int = 2
    prefetch: int = 0


@dataclass(frozen=True)
class TrainedRun:
    """The run folder, the file of the final weights (average; of the best checkpoint if validated), last metrics."""

    run: Path
    weights: Path
    step: int
    metrics: dict[str, float] = field(default_factory=dict)


def schedule_factor(config: LoopConfig, step: int) -> float:
    """Return the share of the learning rate used at a step."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "drops":
        return config.drop_factor ** sum(step >= fraction * config.steps for fraction in config.drop_at)
    if config.schedule == "cosine":
        progress = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
        return config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    raise TrainingError(f"A schedule is cosine, constant or drops; found {config.schedule!r}.")


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Return the random generator of one step; also seeds torch's own, which dropout uses."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
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
    validate: Validate | None = None,
    resume: bool = False,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> TrainedRun:
    """Train a model; on return it holds the final weights.

    Args:
        model: Built from ``config.seed`` by the caller, so that a run killed before its first checkpoint starts alike.
        loss_fn: ``(model, batch, generator) → (scalar loss, metrics)``; metrics are numbers or 0-d tensors. Draw random
            numbers on ``generator.device`` (Apple's GPU has none of its own). Autocast is on: see ``full_precision``.
        batches: ``step → batch``, the same batch for the same step; a dict may hold ``"names"`` for messages.
        out_dir: Run folder; new, or with ``resume`` that of the run to go on with.
        model_config: Frozen into ``config.json`` beside the loop's.
        validate: ``(model with EMA weights, step) → metrics``; key ``"score"`` (lower is better) elects the best.
        progress: Called with every event written.

    Raises:
        TrainingError: If the loss is not finite, the run folder does not fit, or the result cannot be written.
    """
    device = resolve_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    run = open_run(out_dir, {"loop": asdict(config), "model": model_config or {}}, resume)
    state = _State(model.to(device), config, device)
    ring = CheckpointRing(run, config.keep_last)
    step = state.restore(ring.load(device=device) if resume else None)
    log = EventLog(run / "events.jsonl", keep_until_step=step if resume else None)

    def emit(event: str, **facts: Any) -> None:
        log.write(event, **facts)
        if progress is not None:
            progress({"event": event, **facts})

    try:
        metrics = _run(state, loss_fn, batches, validate, ring, emit, step)
        weights = _finish(state, ring, run, validated=validate is not None)
    except BaseException as error:
        emit("error", step=state.step, message=f"{type(error).__name__}: {error}")
        raise
    emit("done", step=config.steps, weights=weights.name, peak_memory_mb=peak_memory_mb(device))
    return TrainedRun(run, weights, config.steps, metrics)


class _State:
    """Model, average, optimiser and scaler of a run: what a checkpoint holds."""

    def __init__(self, model: torch.nn.Module, config: LoopConfig, device: torch.device):
        self.model, self.config, self.device, self.step = model, config, device, 0
        self.optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=config.learning_rate, weight_decay=config.weight_decay, betas=config.betas,
        )  # fmt: skip
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16" and device.type == "cuda")
        self.ema = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def restore(self, checkpoint: Checkpoint | None) -> int:
        if checkpoint is None:
            return 0
        self.model.load_state_dict(checkpoint.weights)
        self.ema = {name: checkpoint.ema[name].to(self.device) for name in self.ema}
        self.optimizer.load_state_dict(checkpoint.state["optimizer"])
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.step = checkpoint.step
        return checkpoint.step

    def checkpoint(self) -> Checkpoint:
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        return Checkpoint(self.step, self.model.state_dict(), self.ema, state)

    def update(self, loss: torch.Tensor) -> float:
        """Take one optimiser step; return the gradient norm."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule_factor(config, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm or math.inf)
        if not math.isfinite(norm) and not self.scaler.is_enabled():  # the scaler skips such a step by itself
            return float(norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._update_ema()
        return float(norm)

    def _update_ema(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if decay > 0 and value.is_floating_point():
                    self.ema[name].lerp_(value, 1 - decay)
                else:
                    self.ema[name].copy_(value)


def _batches_ahead(batches: Batches, first: int, last: int, ahead: int) -> Iterator[Any]:
    """Yield ``batches(first)`` … ``batches(last − 1)``, up to ``ahead`` of them made in a thread meanwhile."""
    if ahead <= 0:
        yield from (batches(step) for step in range(first, last))
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(batches, step) for step in range(first, min(first + ahead, last))]
        for step in range(first, last):
            if step + ahead < last:
                waiting.append(pool.submit(batches, step + ahead))
            yield waiting.pop(0).result()


def _run(state: _State, loss_fn: LossFn, batches: Batches, validate, ring: CheckpointRing, emit, first: int) -> dict:
    config, device = state.config, state.device
    supply = _batches_ahead(batches, first, config.steps, config.prefetch)
    metrics: dict[str, float] = {}
    clock = _Clock(first, config.steps)
    while state.step < config.steps:
        step = state.step
        clock.start()
        batch = to_device(next(supply), device)
        clock.loaded()
        state.model.train()
        generator = step_generator(config.seed, step, device)
        with mixed_precision(device, config.precision):
            loss, step_metrics = loss_fn(state.model, batch, generator)
        value = float(loss.detach())
        norm = state.update(loss) if math.isfinite(value) else math.nan
        if not math.isfinite(value) or (state.step == step):
            raise _not_finite(ring.folder.parent, step, batch, value, norm)
        clock.stepped(batch)
        last = state.step == config.steps
        if last or state.step % config.log_every == 0:
            lr = state.optimizer.param_groups[0]["lr"]
            numbers = {name: float(torch.as_tensor(number).detach()) for name, number in step_metrics.items()}
            emit("progress", step=state.step, loss=value, lr=lr, grad_norm=norm, **numbers, **clock.report(),
                 peak_memory_mb=peak_memory_mb(device))  # fmt: skip
        checkpoint_due = last or state.step % config.checkpoint_every == 0
        score = None
        validate_every = config.validate_every or config.checkpoint_every
        if validate and (last or state.step % validate_every == 0):
            metrics = _validate(state, validate)
            score = metrics.get("score")
            emit("metric", step=state.step, **metrics)
        if checkpoint_due:
            _save_checkpoint(state, ring, score, emit)
    return metrics


class _Clock:
    """Throughput, share of time spent on making batches, time to go."""

    def __init__(self, first: int, steps: int):
        self.first, self.steps, self.done, self.samples, self.load_s, self.total_s = first, steps, 0, 0, 0.0, 0.0

    def start(self) -> None:
        self._start = time.perf_counter()

    def loaded(self) -> None:
        self.load_s += time.perf_counter() - self._start

    def stepped(self, batch: Any) -> None:
        self.total_s += time.perf_counter() - self._start
        self.done += 1
        self.samples += _batch_size(batch)

    def report(self) -> dict[str, float]:
        per_step = self.total_s / self.done
        return {
            "samples_per_s": self.samples / self.total_s,
            "data_share": self.load_s / self.total_s,
            "eta_s": per_step * (self.steps - self.first - self.done),
        }


def _batch_size(batch: Any) -> int:
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.ndim else 1
    values = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, list | tuple) else ()
    return next((_batch_size(value) for value in values if isinstance(value, torch.Tensor | dict | list | tuple)), 1)


def _validate(state: _State, validate: Validate) -> dict[str, float]:
    """Validate with the averaged weights, and put the raw ones back."""
    raw = {name: value.clone() for name, value in state.model.state_dict().items()}
    state.model.load_state_dict(state.ema)
    state.model.eval()
    try:
        with torch.no_grad():
            return {name: float(value) for name, value in validate(state.model, state.step).items()}
    finally:
        state.model.load_state_dict(raw)


def _save_checkpoint(state: _State, ring: CheckpointRing, score: float | None, emit) -> None:
    try:
        path = ring.save(state.checkpoint(), score)
        emit("checkpoint", step=state.step, path=path.name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"The disk is full: no checkpoint at step {state.step}; training goes on. Free some space."
        emit("warning", step=state.step, message=message)
        logger.warning(message)


def _finish(state: _State, ring: CheckpointRing, run: Path, validated: bool) -> Path:
    """Write the final weights: of the best checkpoint where one was elected, else the last average."""
    best = ring.best() if validated else None
    final = ring.load(best["step"]).ema if best and best["step"] in ring.steps() else state.ema
    state.model.load_state_dict(final)
    state.model.eval()
    path = run / "model.safetensors"
    try:
        save_weights(path, final, {"step": str(best["step"] if best else state.step)})
    except Exception as error:
        raise TrainingError(
            f"The trained weights should go to {path}; writing failed: {error}. Free some space and resume the "
            "run; it goes on from its last checkpoint."
        ) from error
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
            save_weights(run / "not_finite_batch.safetensors", tensors, {"step": str(step)})
            kept = f" The batch is kept in {run / 'not_finite_batch.safetensors'}."
        except Exception:  # naming the batch matters more than keeping it
            logger.warning("The batch of step %d could not be kept.", step)
    return TrainingError(
        f"Loss and gradient must be finite; at step {step} the loss is {loss} and the gradient norm {norm}, batch "
        f"{', '.join(map(str, names)) if names is not None else step}"
        f"{f' (not finite already in {bad})' if bad else ''}. Check these cases, or lower the learning rate.{kept}"
    )
