"""Small loops of training."""

from typing import Any

from COFTrainingLib.training.loop.loop_config import LoopConfig


def loop(steps: int, **options: Any) -> LoopConfig:
    """Return a loop of a few quick steps on one thread."""
    return LoopConfig(
        steps=steps,
        learning_rate=3e-3,
        ema_decay=0.5,
        checkpoint_every=10,
        log_every=5,
        device="cpu",
        threads=1,
        **options,
    )
