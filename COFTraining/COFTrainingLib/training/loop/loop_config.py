"""The settings of a training run that are the same for all networks, and its learning rate over time."""

import math
from dataclasses import dataclass

from COFGeneratorLib.errors import TrainingError

SCHEDULES = ("cosine", "constant", "drops")


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
        shards: Parts that a batch is computed in, each with its random numbers and its mean loss; their gradients are
            averaged. Ranks share them out; one rank takes them in turn, which saves memory.
        compile: Backend of ``torch.compile``, ``"inductor"`` or ``"cudagraphs"`` (a step's kernels launched at once);
            empty for none.
        tf32: On NVIDIA GPUs, products and convolutions of single precision with ten bits of the mantissa.
        recompute: Forget activations of the network's blocks and compute them again (gradient checkpointing).
        tensorboard: Also write the numbers for TensorBoard.
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
    shards: int = 1
    compile: str = ""
    tf32: bool = True
    recompute: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise TrainingError(f"A schedule is {', '.join(SCHEDULES)}; found {self.schedule!r}. Choose one of them.")
        least = {"steps": 0, "learning_rate": 0, "log_every": 1, "checkpoint_every": 1, "keep_last": 1, "shards": 1}
        wrong = [f"{name} = {getattr(self, name)}" for name, value in least.items() if getattr(self, name) < value]
        if wrong or not 0 <= self.ema_decay < 1:
            raise TrainingError(
                "Settings of a training loop: steps and learning_rate are not negative, log_every, checkpoint_every, "
                f"keep_last and shards at least 1, ema_decay 0 … below 1; found {'; '.join(wrong) or self.ema_decay}. "
                "Correct them."
            )


def schedule_factor(config: LoopConfig, step: int) -> float:
    """Return the share of the learning rate used at a step."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "drops":
        return config.drop_factor ** sum(step >= fraction * config.steps for fraction in config.drop_at)
    progress = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
