"""What synthetic cines are worth: the paper's two studies, classification and regression, on phantoms or a cohort.

An encoder of cines is pre-trained as a masked autoencoder on real + k·real synthetic cines (k = 0, 1, … 5), then
fine-tuned on labelled real cines in five folds. The test fold is never seen by either step: pre-training uses the real
cines of the training folds and synthetic cines made from ECGs of *other* subjects.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from torch import nn

from COFTrainingLib.evaluation.statistics import as_number
from COFTrainingLib.evaluation.store import Store
from COFTrainingLib.studies.ecgflowcmr.tasks import (
    DownstreamTask,
    Scale,
    loss_of,
    mean_of,
    metrics_of_task,
    said,
    wanted,
)
from COFTrainingLib.training.ecgflowcmr.cine_encoder import CineEncoder, StudySettings
from COFTrainingLib.training.loop.loop_config import LoopConfig, schedule_factor

Found = dict[str, dict[str, float]]
"""Metrics of each study by name."""
MIXES = (0, 100, 200, 300, 400, 500)
FOLDS = 5
PARTS = ("r2 ", "mae ")
"""How metrics of a single phenotype begin."""
MEAN, SCRATCH, CEILING = "mean of the training folds", "from scratch", "further real cines instead"
"""Rows beside the mixes: no network, no pre-training, and what a perfect generator would give."""


def run_studies(
    cines: torch.Tensor,
    studies: Sequence[DownstreamTask],
    synthetic: torch.Tensor,
    settings: StudySettings,
    *,
    mixes: Sequence[int] = MIXES,
    seeds: Sequence[int] = (0,),
    owners: np.ndarray | None = None,
    further: torch.Tensor | None = None,
    store: Store | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, list[dict[str, Any]]]:
    """Run studies that share their real cines, folds and pre-training.

    Args:
        cines: (N, T, H, W) uint8, real.
        studies: What is asked of them; folds are stratified by the first one's target.
        synthetic: (M, T, H, W) uint8 from ECGs of other subjects; mix k takes the first k % of the number of real ones
            of the training folds, repeated cines are never counted as new.
        settings: Size and schedule.
        mixes: Percentages.
        seeds: Of folds, weights and batches.
        owners: (M,) place among the real cines of the subject from whose ECG each synthetic one was made, −1 of none:
            a fold's pre-training takes none that was made from the ECG of a subject of its test part.
        further: (L, T, H, W) uint8, real cines of other subjects, for a row that takes them in the place of the
            largest mix's synthetic ones.
        store: Where what a fold gave is kept, so that an interrupted run goes on.
        say: Told how far it is.

    Returns:
        By study, one row each for the folds' mean, from scratch, every mix, and further real cines: ``mix`` (a
        percentage, or one of this module's names), ``synthetic`` cines used, each metric as mean, SD and 95 % interval
        over folds and seeds, and ``gain``: by metric, the mean difference to pre-training on the real cines alone on
        the same folds, and its interval; empty where that is not among the mixes.
    """
    plans: list[tuple[Any, torch.Tensor, float]] = [(MEAN, synthetic, 0.0), (SCRATCH, synthetic, 0.0)]
    plans += [(mix, synthetic, mix / 100) for mix in mixes]
    if further is not None and any(mixes):
        plans.append((CEILING, further, max(mixes) / 100))
    values: dict[str, dict[Any, list[dict[str, float]]]] = {study.name: {} for study in studies}
    used = dict.fromkeys((row for row, *_ in plans), 0)
    for seed in seeds:
        groups = _folds(studies[0], len(cines), seed)
        for fold in range(FOLDS):
            train = torch.from_numpy(np.flatnonzero(groups != fold))
            for row, source, share in plans:
                pool = source
                if owners is not None and source is synthetic:
                    pool = source[torch.from_numpy(np.flatnonzero((owners < 0) | (groups[owners] != fold)))]
                added = pool[: round(share * len(train))]
                used[row] = len(added)
                unit = _Unit(cines, studies, groups, fold, settings, 10 * seed + fold)
                run = partial(_run_unit, unit, row, added, train)
                found = _kept(store, f"{row} +{len(added)}", unit, run)
                for name, metrics in found.items():
                    values[name].setdefault(row, []).append(metrics)
            say(f"seed {seed}, fold {fold + 1} of {FOLDS}")
    return {name: _rows(rows, used) for name, rows in values.items()}


@dataclass(frozen=True)
class _Unit:
    """One fold under one seed."""

    cines: torch.Tensor
    studies: Sequence[DownstreamTask]
    groups: np.ndarray
    fold: int
    settings: StudySettings
    seed: int


def _kept(store: Store | None, method: str, unit: _Unit, run: Callable[[], Found]) -> Found:
    """Return what a unit gave, from the store where it is there."""
    key = {"subject": f"seed {unit.seed // 10} fold {unit.fold}", "method": method, "kind": "unit"}
    if store is not None and store.has(*key.values()):
        (kept,) = store.rows("unit", key["method"], key["subject"])
        return {name: {m: as_number(v) for m, v in metrics.items()} for name, metrics in kept["metrics"].items()}
    found = run()
    if store is not None:
        store.add({**key, "metrics": found})
    return found


def _run_unit(unit: _Unit, row: int | str, added: torch.Tensor, train: torch.Tensor) -> Found:
    """Pre-train once where the row says so, fine-tune for every study."""
    encoder = None
    if row != MEAN:
        torch.manual_seed(unit.seed)
        encoder = CineEncoder(unit.settings, tuple(unit.cines.shape[1:]))
        encoder.fit_scale(unit.cines[train])
        if row != SCRATCH:
            _pretrain(encoder, torch.cat([unit.cines[train], added]), unit.seed)
    found: Found = {}
    for study in unit.studies:
        place = unit.groups[study.subjects]
        parts = np.flatnonzero(place != unit.fold), np.flatnonzero(place == unit.fold)
        found[study.name] = _finetune(copy.deepcopy(encoder), unit, study, *parts)
    return found


def _pretrain(encoder: CineEncoder, pool: torch.Tensor, seed: int) -> None:
    settings, generator = encoder.settings, torch.Generator().manual_seed(seed)

    def loss(step: int) -> torch.Tensor:
        chosen = torch.randint(len(pool), (settings.batch,), generator=generator)
        return encoder.masked_loss(encoder.varied(encoder.motion(pool[chosen]), generator), generator)

    _optimise(encoder.parameters(), loss, settings.pretrain_steps, settings.learning_rate)


def _finetune(
    encoder: CineEncoder | None, unit: _Unit, study: DownstreamTask, train: np.ndarray, test: np.ndarray
) -> dict[str, float]:
    """Return the metrics of a study's test fold; without an encoder, those of the training folds' mean."""
    true = study.targets[test]
    if encoder is None:
        return metrics_of_task(study, mean_of(study, train, len(test)), true)
    settings, generator = unit.settings, torch.Generator().manual_seed(unit.seed)
    torch.manual_seed(unit.seed)
    head = nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, study.outputs))
    scale = Scale.of(study, train)
    targets = wanted(study, scale)

    def loss(step: int) -> torch.Tensor:
        chosen = torch.from_numpy(train)[torch.randint(len(train), (settings.batch,), generator=generator)]
        motion = encoder.motion(unit.cines[study.subjects[chosen.numpy()]])
        return loss_of(study, head(encoder.features(encoder.varied(motion, generator))), targets[chosen])

    _optimise([*encoder.parameters(), *head.parameters()], loss, settings.finetune_steps, settings.learning_rate)
    encoder.eval()
    with torch.no_grad():
        parts = torch.from_numpy(study.subjects[test]).split(32)
        found = torch.cat([head(encoder.features(encoder.motion(unit.cines[part]))) for part in parts])
    return metrics_of_task(study, said(study, found, scale), true)


def _folds(study: DownstreamTask, count: int, seed: int) -> np.ndarray:
    """Return (count,) fold of every real cine, stratified by class or rank of a study's target."""
    rng = np.random.default_rng([seed, 32])
    target = np.full(count, study.strata.min() - 1.0)  # cines that the study does not ask about are a stratum apart
    target[study.subjects] = study.strata
    order = np.lexsort((rng.random(count), target))
    groups = np.empty(count, dtype=int)
    for first in range(0, count, FOLDS):
        part = order[first : first + FOLDS]
        groups[part] = rng.permutation(FOLDS)[: len(part)]
    return groups


def _optimise(parameters: Iterable[nn.Parameter], loss: Callable[[int], torch.Tensor], steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW([one for one in parameters if one.requires_grad], lr=rate, weight_decay=0.05)
    schedule = LoopConfig(steps, learning_rate=rate, warmup_steps=max(steps // 10, 1))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule_factor(schedule, step)
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


def _rows(values: dict[Any, list[dict[str, float]]], used: dict[Any, int]) -> list[dict[str, Any]]:
    real = values.get(0)
    return [
        {"mix": row, "synthetic": used[row], **_summary(found),
         "gain": {} if real is None or row == 0 else _gain(found, real)}
        for row, found in values.items()
    ]  # fmt: skip


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


def metrics_of(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of a study's metrics; those of single phenotypes are in ``part_metrics_of``."""
    return [key for key in rows[0] if key not in ("mix", "synthetic", "gain") and not key.startswith(PARTS)]


def part_metrics_of(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of the metrics of single phenotypes."""
    return [key for key in rows[0] if key.startswith(PARTS)]


def row_words(mix: int | str) -> str:
    """Return what a row is called in a table."""
    return mix if isinstance(mix, str) else "MAE (real)" if mix == 0 else f"– mix {mix} %"


def table(rows: list[dict[str, Any]], name: str) -> str:
    """Return a study as a Markdown table in the layout of the paper's tables 2–4, and the gain over real cines alone.

    Metrics are mean ± SD (95 % interval of the mean).
    """
    metrics = metrics_of(rows)
    names = [metric.upper() for metric in metrics] + [f"{metric.upper()} over MAE (real)" for metric in metrics]
    lines = [f"| {name} | added cines | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = [f"{row[m][0]:.3f} ± {row[m][1]:.3f} ({row[m][2]:.3f} … {row[m][3]:.3f})" for m in metrics]
        gain = row.get("gain") or {}
        cells += [f"{gain[m][0]:+.3f} ({gain[m][1]:+.3f} … {gain[m][2]:+.3f})" if m in gain else "–" for m in metrics]
        lines.append(f"| {row_words(row['mix'])} | {row['synthetic']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
