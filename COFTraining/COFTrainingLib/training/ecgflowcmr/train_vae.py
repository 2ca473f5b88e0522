"""Stages 2 and 3: the 3-D VAE of the cines, and the plane segmenter that reads them."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.plane_segmenter import CLASSES, PlaneSegmenter
from COFGeneratorLib.ecgflowcmr.video_vae import VideoVae
from torch import nn
from torch.nn import functional

from COFTrainingLib.training.ecgflowcmr.data import Examples
from COFTrainingLib.training.ecgflowcmr.settings import SegmenterTraining, VaeTraining
from COFTrainingLib.training.ecgflowcmr.vae_losses import PatchCritic, Perceptual, adaptive_weight, hinge
from COFTrainingLib.training.ecgflowcmr.warm_start import State, take_over
from COFTrainingLib.training.loop.loop import Loss, RunOptions, TrainedRun, train

VALIDATION_CLIPS = 16


class VaeWithCritic(nn.Module):
    """The VAE and, where asked for, the critic that is trained against it."""

    def __init__(self, config: VaeTraining) -> None:
        super().__init__()
        self.vae = VideoVae(config.network)
        self.critic = PatchCritic() if config.adversarial > 0 else None


def as_input(clips: torch.Tensor) -> torch.Tensor:
    """Return uint8 clips (B, T, H, W) as the VAE takes them, (B, 1, T, H, W) in [−1, 1]."""
    return clips[:, None].float() / 127.5 - 1.0


def train_vae(
    out: Path,
    config: VaeTraining,
    examples: Examples,
    held_out: Examples,
    *,
    start: State | None = None,
    **options: Unpack[RunOptions],
) -> tuple[VideoVae, TrainedRun]:
    """Train the VAE, from ``start`` where given; returns it with the best weights, and its run."""
    torch.manual_seed(config.loop.seed)
    model = VaeWithCritic(config)
    take_over(model, start)
    cines = examples.cines()
    perceptual = Perceptual(config.perceptual_weights) if config.perceptual and config.perceptual_weights else None

    def batches(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([config.loop.seed, 22, step])
        clips = cines[torch.from_numpy(rng.choice(len(cines), config.batch))]
        if config.window:
            at = (rng.integers(clips.shape[1]) + np.arange(config.window)) % clips.shape[1]  # a cine has no end
            clips = clips[:, torch.from_numpy(at)]
        return {"clip": as_input(clips), "step": torch.tensor(step)}

    def validate(network: nn.Module, step: int) -> dict[str, float]:
        device = next(network.parameters()).device
        errors = []
        for clip in held_out.cines()[:VALIDATION_CLIPS]:
            x = as_input(clip[None]).to(device)
            errors.append(float((network.vae.decode(network.vae.encode(x)[0]) - x).abs().mean()))
        return {"score": float(np.mean(errors)), "l1": float(np.mean(errors))}

    run = train(
        model, vae_loss(config, perceptual), batches, out, config.loop, model_config=asdict(config.network),
        validate=validate, **options,
    )  # fmt: skip
    return model.vae.eval(), run


def vae_loss(config: VaeTraining, perceptual: Perceptual | None) -> Callable[..., Any]:
    """Return the loop's loss; VAE and critic take one step together, each from its own part of the sum."""

    def loss(model: VaeWithCritic, batch: dict[str, torch.Tensor], generator: torch.Generator) -> Loss:
        clip = batch["clip"]
        mean, log_variance = model.vae.encode(clip)
        noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)
        made = model.vae.decode(mean + (0.5 * log_variance).exp() * noise)
        l1 = (made - clip).abs().mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum() / len(clip)
        total, numbers = l1 + config.kl * kl, {"l1": l1, "kl": kl}
        if perceptual is not None:
            distance = perceptual.to(made.device)(made, clip)
            total, numbers["perceptual"] = total + config.perceptual * distance, distance
        if config.outlier:
            flat = made.flatten(1)
            limit = flat.mean(dim=1, keepdim=True) + 3.0 * flat.std(dim=1, keepdim=True)
            total = total + config.outlier * functional.relu(flat - limit).mean()
        if model.critic is not None and int(batch["step"]) >= config.adversarial_from:
            fooled = -model.critic.frozen(made).mean()
            weight = adaptive_weight(l1, fooled, model.vae.last.weight)
            judged = hinge(model.critic(clip), model.critic(made.detach()))
            total = total + config.adversarial * weight * fooled + judged
            numbers |= {"critic": judged, "fooled": fooled}
        return total, numbers

    return loss


def train_plane_segmenter(
    out: Path,
    config: SegmenterTraining,
    examples: Examples,
    held_out: Examples,
    *,
    start: State | None = None,
    **options: Unpack[RunOptions],
) -> tuple[PlaneSegmenter, TrainedRun]:
    """Train the plane segmenter on true labels, from ``start`` where given; returns it with the best weights, and its
    run."""
    torch.manual_seed(config.loop.seed)
    model, cines, labels = PlaneSegmenter(config.network), examples.cines(), examples.marked()
    take_over(model, start)

    def batches(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([config.loop.seed, 23, step])
        subject = torch.from_numpy(rng.integers(len(cines), size=config.batch))
        frame = torch.from_numpy(rng.integers(cines.shape[1], size=config.batch))
        image = cines[subject, frame][:, None].float() / 255.0
        return {"image": image, "labels": labels[subject, frame].long()}

    def loss(network: nn.Module, batch: dict[str, torch.Tensor], generator: torch.Generator) -> Loss:
        # The decoder's images are a little smoother than scans: show such ones too.
        image = batch["image"]
        blur = torch.rand((len(image), 1, 1, 1), generator=generator, device=generator.device).to(image)
        image = image + blur * (functional.avg_pool2d(image, 3, 1, 1) - image)
        gain = 1.0 + 0.1 * torch.randn((len(image), 1, 1, 1), generator=generator, device=generator.device).to(image)
        logits = network(gain * image)
        entropy = functional.cross_entropy(logits, batch["labels"])
        dice = dice_score(logits.softmax(dim=1), batch["labels"])
        return entropy + 1.0 - dice.mean(), {"dice": dice.mean()}

    @torch.no_grad()
    def validate(network: nn.Module, step: int) -> dict[str, float]:
        device = next(network.parameters()).device
        scores = []
        for clip, true in zip(held_out.cines()[:VALIDATION_CLIPS], held_out.marked(), strict=False):
            found = network(clip[:, None].float().to(device) / 255.0).argmax(dim=1)
            hard = functional.one_hot(found, CLASSES).permute(0, 3, 1, 2).float()
            scores.append(dice_score(hard, true.long().to(device)).cpu().numpy())
        lv, wall, rv = np.mean(scores, axis=0)
        return {"score": 1.0 - float(np.mean(scores)), "dice_lv": lv, "dice_myocardium": wall, "dice_rv": rv}

    run = train(
        model, loss, batches, out, config.loop, model_config=asdict(config.network), validate=validate, **options,
    )  # fmt: skip
    return model.eval(), run


def dice_score(share: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return (3,) Dice of LV cavity, myocardium and RV cavity over a batch: shares (B, 4, H, W), labels (B, H, W)."""
    true = functional.one_hot(labels, CLASSES).permute(0, 3, 1, 2).to(share)
    both = (share * true).sum(dim=(0, 2, 3))
    return ((2 * both + 1.0) / (share.sum(dim=(0, 2, 3)) + true.sum(dim=(0, 2, 3)) + 1.0))[1:]
