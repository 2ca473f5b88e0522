"""What synthetic cines are worth: the paper's two studies, classification and regression, on phantoms or a cohort.

An encoder of cines is pre-trained as a masked autoencoder on real + k·real synthetic cines (k = 0, 1, … 5), then
fine-tuned on labelled real cines in five folds. The test fold is never seen by either step: pre-training uses the real
cines of the training folds and synthetic cines made from ECGs of *other* subjects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from torch import nn
from torch.nn import functional

from COFTrainingLib.ecgflowcmr.heldout import auc
from COFTrainingLib.training.loop_config import LoopConfig, schedule_factor

MIXES = (0, 100, 200, 300, 400, 500)
FOLDS = 5


@dataclass(frozen=True)
class StudySettings:
    """Size and schedule of a study.

    Args:
        width, depth, heads: Of the cine encoder (a vision transformer over space-time tubes).
        tube: Frames, rows and columns of one token of a cine.
        mask: Share of the tokens hidden in pre-training.
        pretrain_steps, finetune_steps: Optimiser steps; the same for every mix, so that a larger mix is not a longer
            training.
        batch: Cines a step.
        learning_rate: Of both.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    tube: tuple[int, int, int] = (5, 8, 8)
    mask: float = 0.6
    pretrain_steps: int = 200
    finetune_steps: int = 80
    batch: int = 16
    learning_rate: float = 1e-3


class CineEncoder(nn.Module):
    """A small vision transformer over tubes of a cine (B, T, H, W) in [0, 1]; what fills no whole tube is left out."""

    def __init__(self, settings: StudySettings, shape: tuple[int, int, int]):
        super().__init__()
        self.tube = settings.tube
        self.grid = tuple(size // tube for size, tube in zip(shape, self.tube, strict=True))
        count, width = int(np.prod(self.grid)), settings.width
        self.embed = nn.Linear(int(np.prod(self.tube)), width)
        self.position = nn.Parameter(0.02 * torch.randn(count, width))
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, settings.depth, enable_nested_tensor=False)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.rebuild = nn.Linear(width, int(np.prod(self.tube)))

    def tubes(self, cine: torch.Tensor) -> torch.Tensor:
        """Return (B, tokens, voxels of a tube)."""
        (t, h, w), (frames, rows, columns) = self.grid, self.tube
        cine = cine[:, : t * frames, : h * rows, : w * columns]
        cine = cine.reshape(len(cine), t, frames, h, rows, w, columns)
        return cine.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(cine), t * h * w, -1)

    def features(self, cine: torch.Tensor) -> torch.Tensor:
        """Return (B, width)."""
        return self.layers(self.embed(self.tubes(cine)) + self.position).mean(dim=1)

    def masked_loss(self, cine: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
        """Return the error of the hidden tubes, rebuilt from the others."""
        tubes = self.tubes(cine)
        hidden = torch.rand(tubes.shape[:2], generator=generator) < share
        tokens = torch.where(hidden[..., None], self.mask_token, self.embed(tubes)) + self.position
        error = (self.rebuild(self.layers(tokens)) - tubes).square().mean(dim=2)
        return (error * hidden).sum() / hidden.sum().clamp_min(1)


@dataclass(frozen=True)
class Labelled:
    """Labelled real cines of a study.

    Attributes:
        cines: (N, T, H, W) uint8.
        targets: (N,) class 0/1, or numbers.
        name: Of the target.
        kind: ``"classification"`` or ``"regression"``.
    """

    cines: torch.Tensor
    targets: np.ndarray
    name: str
    kind: str


def balanced(cines: torch.Tensor, positive: np.ndarray, name: str, seed: int) -> Labelled:
    """Return cases and as many controls (1:1, as the paper's cohorts)."""
    rng = np.random.default_rng([seed, 31])
    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    count = min(len(yes), len(no))
    chosen = np.sort(np.concatenate([rng.permutation(yes)[:count], rng.permutation(no)[:count]]))
    return Labelled(cines[torch.from_numpy(chosen)], positive[chosen].astype(float), name, "classification")


def run_study(
    study: Labelled,
    synthetic: torch.Tensor,
    settings: StudySettings,
    *,
    mixes: Sequence[int] = MIXES,
    seeds: Sequence[int] = (0,),
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Run one study.

    Args:
        study: Labelled real cines.
        synthetic: (M, T, H, W) uint8 cines from ECGs of other subjects; mix k takes the first k % of the number of real
            ones of a fold, repeated cines are never counted as new.
        settings: Size and schedule.
        mixes: Percentages.
        seeds: Of folds, weights and batches.
        say: Told how far it is.

    Returns:
        One row a mix, from scratch (``mix`` None) first: ``mix``, ``synthetic`` used, each metric as mean, SD and 95 %
        interval over folds and seeds, and ``gain``: by metric, the mean difference to pre-training on the real cines
        alone on the same folds, and its interval; empty where that is not among the mixes.
    """
    rows, all_values = [], []
    for mix in (None, *mixes):
        values, used = [], 0
        for seed in seeds:
            for fold in range(FOLDS):
                train, test = _fold(study, fold, seed)
                wanted = 0 if mix is None else round(mix / 100 * len(train))
                used = min(wanted, len(synthetic))
                pool = torch.cat([study.cines[train], synthetic[:used]])
                values.append(_one(study, train, test, None if mix is None else pool, settings, 10 * seed + fold))
        rows.append({"mix": mix, "synthetic": used, **_summary(values)})
        all_values.append(values)
        say(f"{study.name}, mix {mix}: " + ", ".join(f"{k} {v[0]:.3f}" for k, v in _summary(values).items()))
    real = next((values for row, values in zip(rows, all_values, strict=True) if row["mix"] == 0), None)
    for row, values in zip(rows, all_values, strict=True):
        row["gain"] = {} if real is None or values is real else _gain(values, real)
    return rows


def _gain(values: list[dict[str, float]], real: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return mean and 95 % interval (Student) of paired differences, fold by fold and seed by seed."""
    out = {}
    for name in values[0]:
        difference = np.array([one[name] - other[name] for one, other in zip(values, real, strict=True)])
        difference = difference[np.isfinite(difference)]
        mean, reach = float(difference.mean()), float("nan")
        if len(difference) > 1:
            reach = float(student.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference)))
        out[name] = [mean, mean - reach, mean + reach]
    return out


def _fold(study: Labelled, fold: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split subjects, stratified by class or by rank of the target."""
    rng = np.random.default_rng([seed, 32])
    order = np.argsort(study.targets + 1e-9 * rng.random(len(study.targets)), kind="stable")
    groups = np.empty(len(order), dtype=int)
    for first in range(0, len(order), FOLDS):
        part = order[first : first + FOLDS]
        groups[part] = rng.permutation(FOLDS)[: len(part)]
    return torch.from_numpy(np.flatnonzero(groups != fold)), torch.from_numpy(np.flatnonzero(groups == fold))


def _one(study: Labelled, train, test, pool, settings: StudySettings, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    encoder = CineEncoder(settings, tuple(study.cines.shape[1:]))
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng([seed, 33])
    if pool is not None:

        def pretrain(step):
            clip = pool[torch.from_numpy(rng.integers(len(pool), size=settings.batch))].float() / 255.0
            return encoder.masked_loss(clip, settings.mask, generator)

        _optimise(encoder.parameters(), pretrain, settings.pretrain_steps, settings.learning_rate)
    head = nn.Linear(settings.width, 1)
    wanted = torch.from_numpy(study.targets).float()
    centre, spread = (0.0, 1.0) if study.kind == "classification" else _scale(wanted[train])

    def finetune(step):
        index = train[torch.from_numpy(rng.integers(len(train), size=settings.batch))]
        out = head(encoder.features(study.cines[index].float() / 255.0))[:, 0]
        if study.kind == "classification":
            return functional.binary_cross_entropy_with_logits(out, wanted[index])
        return functional.smooth_l1_loss(out, (wanted[index] - centre) / spread)

    _optimise([*encoder.parameters(), *head.parameters()], finetune, settings.finetune_steps, settings.learning_rate)
    with torch.no_grad():
        parts = [head(encoder.features(study.cines[part].float() / 255.0))[:, 0] for part in test.split(32)]
    found, true = torch.cat(parts).numpy(), study.targets[test.numpy()]
    if study.kind == "classification":
        return {"acc": float(((found > 0) == (true > 0.5)).mean()), "auc": auc(found, true > 0.5)}
    found = found * spread + centre
    residual = ((found - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    return {"mae": float(np.abs(found - true).mean()), "r2": float(1.0 - residual)}


def _scale(values: torch.Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std().clamp_min(1e-6))


def _optimise(parameters, loss: Callable[[int], torch.Tensor], steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05)
    schedule = LoopConfig(steps, learning_rate=rate, warmup_steps=max(steps // 10, 1))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule_factor(schedule, step)
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


def _summary(values: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return mean, SD and the normal 95 % interval of the mean for every metric, over folds and seeds."""
    out = {}
    for name in values[0]:
        numbers = np.array([value[name] for value in values])
        numbers = numbers[np.isfinite(numbers)]
        sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
        reach = 1.96 * sd / np.sqrt(max(len(numbers), 1))
        mean = float(numbers.mean()) if len(numbers) else float("nan")
        out[name] = [mean, sd, mean - reach, mean + reach]
    return out


def table(rows: list[dict[str, Any]], name: str) -> str:
    """Return a study as a Markdown table in the layout of the paper's tables 2–4, and the gain over real cines alone.

    Metrics are mean ± SD (95 % interval of the mean).
    """
    metrics = [key for key in rows[0] if key not in ("mix", "synthetic", "gain")]
    names = [metric.upper() for metric in metrics] + [f"{metric.upper()} over MAE (real)" for metric in metrics]
    lines = [f"| {name} | synthetic | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        words = {None: "from scratch", 0: "MAE (real)"}.get(row["mix"], f"– mix {row['mix']} %")
        cells = [f"{row[m][0]:.3f} ± {row[m][1]:.3f} ({row[m][2]:.3f} … {row[m][3]:.3f})" for m in metrics]
        gain = row.get("gain") or {}
        cells += [f"{gain[m][0]:+.3f} ({gain[m][1]:+.3f} … {gain[m][2]:+.3f})" if m in gain else "–" for m in metrics]
        lines.append(f"| {words} | {row['synthetic']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
