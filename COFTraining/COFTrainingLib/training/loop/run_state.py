"""What a training changes and a checkpoint holds: weights, their average, optimiser and loss scale."""

import math

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from COFTrainingLib.training.loop.loop_config import LoopConfig
from COFTrainingLib.training.loop.run_folder import Checkpoint


class RunState:
    """Model, average, optimiser and scaler of a run."""

    def __init__(self, model: torch.nn.Module, config: LoopConfig, device: torch.device) -> None:
        self.model, self.config, self.device, self.step = model, config, device, 0
        self.optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=config.learning_rate, weight_decay=config.weight_decay, betas=config.betas,
            fused=True if device.type == "cuda" else None,  # one kernel for all parameters
        )  # fmt: skip
        scaled = config.precision == "fp16" and device.type in ("cuda", "cpu")
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.ema = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def restore(self, checkpoint: Checkpoint | None) -> int:
        """Take over a checkpoint, where there is one; returns the step to go on from."""
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

    def start(self, rate: float) -> None:
        """Prepare a step with a learning rate: no gradients yet."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: torch.Tensor, shards: int) -> None:
        """Add the gradient of one shard's loss, of so many."""
        scaled = self.scaler.scale(loss)
        (scaled / shards if shards > 1 else scaled).backward()

    def update(self) -> float:
        """Take the optimiser step of the gradients gathered; return their norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf))
        if not math.isfinite(norm) and not self.scaler.is_enabled():  # the scaler skips such a step by itself
            return norm
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._update_average()
        return norm

    def _update_average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        pairs = [(self.ema[name], value) for name, value in self.model.state_dict().items()]
        mixed = [pair for pair in pairs if decay > 0 and pair[1].is_floating_point()]
        copied = [pair for pair in pairs if not (decay > 0 and pair[1].is_floating_point())]
        with torch.no_grad():
            if mixed and self.device.type == "cuda":  # few kernels for all tensors, not one for each
                get_ema_multi_avg_fn(decay)([average for average, _ in mixed], [value for _, value in mixed], None)
            else:
                for average, value in mixed:
                    average.lerp_(value, 1 - decay)
            for average, value in copied:
                average.copy_(value)
