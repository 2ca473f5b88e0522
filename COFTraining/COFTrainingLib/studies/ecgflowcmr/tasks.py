"""What the downstream studies ask of a cine: two classes, several, one number, or many; loss and metrics of each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from COFTrainingLib.studies.ecgflowcmr.heldout import auc

BINARY, CLASSES, NUMBER, PHENOTYPES = "classification", "classes", "regression", "phenotypes"


@dataclass(frozen=True)
class DownstreamTask:
    """What is asked of some of the real cines.

    Attributes:
        subjects: (n,) places among the real cines.
        targets: (n,) class 0/1, number of a class, or numbers; (n, P) numbers of many phenotypes, NaN where not known.
        name: Of the target.
        kind: ``"classification"`` (two classes), ``"classes"``, ``"regression"`` or ``"phenotypes"``.
        parts: Names of the classes or phenotypes.
    """

    subjects: np.ndarray
    targets: np.ndarray
    name: str
    kind: str
    parts: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """How many numbers a head gives."""
        return max(len(self.parts), 1)

    @property
    def strata(self) -> np.ndarray:
        """(n,) by what folds are stratified."""
        first = self.targets if self.targets.ndim == 1 else self.targets[:, 0]
        known = np.isfinite(first)
        return np.where(known, first, first[known].min() - 1.0 if known.any() else 0.0)


def balanced(positive: np.ndarray, name: str, seed: int) -> DownstreamTask:
    """Return cases and as many controls (1:1, as the paper's cohorts) of (N,) bool."""
    rng = np.random.default_rng([seed, 31])
    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    count = min(len(yes), len(no))
    chosen = np.sort(np.concatenate([rng.permutation(yes)[:count], rng.permutation(no)[:count]]))
    return DownstreamTask(chosen, positive[chosen].astype(float), name, BINARY)


@dataclass(frozen=True)
class Scale:
    """Centre and spread of a task's numbers in its training part; 0 and 1 of classes."""

    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, task: DownstreamTask, train: np.ndarray) -> "Scale":
        """Return the scale of the places ``train`` among the task's subjects."""
        if task.kind in (BINARY, CLASSES):
            return cls(np.zeros(1), np.ones(1))
        table = task.targets[train].reshape(len(train), -1)
        with np.errstate(invalid="ignore"):
            return cls(
                np.nan_to_num(np.nanmean(table, axis=0)), np.maximum(np.nan_to_num(np.nanstd(table, axis=0)), 1e-6)
            )


def wanted(task: DownstreamTask, scale: Scale) -> torch.Tensor:
    """Return the targets as a head learns them: (n, outputs), or (n,) of classes."""
    if task.kind == CLASSES:
        return torch.from_numpy(task.targets.astype(np.int64))
    table = task.targets.reshape(len(task.targets), -1)
    return torch.from_numpy((table - scale.centre) / scale.spread).float()


def loss_of(task: DownstreamTask, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the loss of a head's outputs (B, outputs); what is not known teaches nothing."""
    if task.kind == CLASSES:
        return functional.cross_entropy(out, target)
    if task.kind == BINARY:
        return functional.binary_cross_entropy_with_logits(out, target)
    known = target.isfinite()
    each = functional.smooth_l1_loss(out, torch.where(known, target, out.detach()), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def said(task: DownstreamTask, out: torch.Tensor, scale: Scale) -> np.ndarray:
    """Return what outputs (n, outputs) say: probabilities of classes, numbers in their unit."""
    if task.kind == CLASSES:
        return out.softmax(dim=1).numpy()
    return out.sigmoid().numpy() if task.kind == BINARY else out.numpy() * scale.spread + scale.centre


def mean_of(task: DownstreamTask, train: np.ndarray, count: int) -> np.ndarray:
    """Return what somebody says who knows the training part's mean alone, (count, outputs)."""
    if task.kind == CLASSES:
        shares = np.bincount(task.targets[train].astype(int), minlength=task.outputs) / len(train)
        return np.tile(shares, (count, 1))
    if task.kind == BINARY:
        return np.full((count, 1), task.targets[train].mean())
    return np.tile(Scale.of(task, train).centre, (count, 1))


def metrics_of_task(task: DownstreamTask, found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return ACC and AUC (of several classes the mean of one against the rest), MAE and R², or R² of each phenotype.

    Args:
        task: What is asked.
        found: (n, outputs), as ``said`` gives it.
        true: (n,) or (n, P).
    """
    if task.kind == BINARY:
        return {"acc": float(((found[:, 0] > 0.5) == (true > 0.5)).mean()), "auc": auc(found[:, 0], true > 0.5)}
    if task.kind == CLASSES:
        areas = [auc(found[:, code], true == code) for code in range(task.outputs)]
        known = [area for area in areas if np.isfinite(area)]
        return {"acc": float((found.argmax(axis=1) == true).mean()), "auc": float(np.mean(known)) if known else np.nan}
    if task.kind == NUMBER:
        return {"mae": float(np.abs(found[:, 0] - true).mean()), "r2": determination(found[:, 0], true)}
    each = {name: determination(found[:, place], true[:, place]) for place, name in enumerate(task.parts)}
    known = [value for value in each.values() if np.isfinite(value)]
    errors = {f"mae {name}": float(np.nanmean(np.abs(found[:, n] - true[:, n]))) for n, name in enumerate(task.parts)
              if np.isfinite(true[:, n]).any()}  # fmt: skip
    return {
        "mean r2": float(np.mean(known)) if known else float("nan"),
        **{f"r2 {name}": value for name, value in each.items()},
        **errors,
    }


def determination(found: np.ndarray, true: np.ndarray) -> float:
    """Return R² over what is known; NaN below three, or where nothing varies."""
    known = np.isfinite(true)
    if known.sum() < 3 or np.ptp(true[known]) == 0:
        return float("nan")
    residual = ((found[known] - true[known]) ** 2).sum() / ((true[known] - true[known].mean()) ** 2).sum()
    return float(1.0 - residual)
