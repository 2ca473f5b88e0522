"""What the expected motion leaves open, on subjects that its network did not see: scores of a basis, and how wide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.condition import null_condition, with_stated
from COFGeneratorLib.generator.networks.expected_flow import PLANE_STEP, ExpectedFlow
from COFGeneratorLib.generator.networks.mean_network import MotionMean
from COFGeneratorLib.generator.networks.pack import heart_confidence
from torch.nn.functional import avg_pool2d

from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.loop.precision import mixed_precision, to_device

TELLINGS = ("heard", "stated", "nothing")
"""What residuals are made of: with the ECG, with the ECG and all that can be stated, with neither."""
BATCH = 16
BASIS_EXAMPLES = 512
"""Examples of which the spatial patterns are made; more change them little, and cost memory."""
SMALLEST_VARIANCE = 1e-6
"""Of a component, relative to the largest: what is below is numerical."""


@dataclass(frozen=True)
class Fold:
    """Training subjects that a trunk did not see.

    Attributes:
        trunk: Trained on the other folds.
        held: (n,) indices of the examples.
    """

    trunk: MotionMean
    held: np.ndarray


@dataclass(frozen=True)
class OpenPart:
    """What is left open of each example under each telling.

    Attributes:
        scores: (N, K) of the components.
        features: (N, F) of the trunk that ships.
        people: (N,) whose hearts they are.
    """

    scores: torch.Tensor
    features: torch.Tensor
    people: np.ndarray

    def only(self, chosen: np.ndarray) -> "OpenPart":
        """Return the rows where ``chosen`` (N,) is true."""
        index = torch.from_numpy(np.flatnonzero(chosen))
        return OpenPart(self.scores[index], self.features[index], self.people[chosen])


def split_people(data: FlowData, folds: int) -> list[np.ndarray]:
    """Return the training examples of each fold: all examples of a person are in one.

    Raises:
        TrainingError: If there are fewer people than folds.
    """
    people = data.people[data.train]
    known = np.unique(people)
    if folds < 2 or len(known) < folds:
        raise TrainingError(
            f"Residuals are cross-fitted in two folds or more with a person in each; found {folds} folds and "
            f"{len(known)} people. Set flow.folds, or give more subjects."
        )
    order = np.random.default_rng(0).permutation(len(known))
    return [data.train[np.isin(people, known[order[n::folds]])] for n in range(folds)]


def fit_basis(flow: ExpectedFlow, data: FlowData, folds: Sequence[Fold], precision: str = "fp32") -> None:
    """Set the flow's patterns and courses: principal components of cross-fitted residuals, each of unit variance.

    First the spatial patterns of all phases together, then motions over the beat in them.
    """
    per_fold = -(-BASIS_EXAMPLES // len(folds))
    kept = [Fold(fold.trunk, _spread_over(fold.held, per_fold)) for fold in folds]
    planes = torch.cat([plane for plane, _, _ in _residuals(kept, data, None, precision)])
    snapshots = planes.flatten(0, 1).flatten(1)  # (N·T, 3·D·H·W)
    count = min(flow.config.patterns, *snapshots.shape)
    torch.manual_seed(0)
    _, _, right = torch.svd_lowrank(snapshots, q=min(count + 16, *snapshots.shape), niter=4)
    flow.patterns.zero_()
    flow.patterns[:count] = right[:, :count].T.reshape(count, *flow.patterns.shape[1:])
    weights = torch.einsum("btcdhw,rcdhw->btr", planes, flow.patterns).flatten(1)
    values, vectors = torch.linalg.eigh(weights.T @ weights / len(weights))
    order = torch.argsort(values, descending=True)[: flow.config.components]
    order = order[values[order] > SMALLEST_VARIANCE * values.max()]
    flow.courses.zero_()
    courses = (vectors[:, order] * values[order].sqrt()).T
    flow.courses[: len(order)] = courses.reshape(len(order), *flow.courses.shape[1:])


def open_part(flow: ExpectedFlow, data: FlowData, folds: Sequence[Fold], precision: str = "fp32") -> OpenPart:
    """Return the scores of the folds' residuals in the flow's basis, with the features of the flow's own trunk."""
    scores, features, people = [], [], []
    for planes, told, indices in _residuals(folds, data, flow.trunk, precision):
        scores.append(flow.scores_of(planes))
        features.append(told)
        people.append(data.people[indices])
    return OpenPart(torch.cat(scores), torch.cat(features), np.concatenate(people))


def _spread_over(indices: np.ndarray, count: int) -> np.ndarray:
    return indices[np.unique(np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(int))]


@torch.no_grad()
def _residuals(
    folds: Sequence[Fold], data: FlowData, trunk: MotionMean | None, precision: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
    """Yield residuals (B, T, 3, D, h, w) weighted by confidence and pooled in the plane, features (B, F), indices.

    With ``trunk`` every telling of every example, and its features; without, one telling an example in turn.
    """
    for fold in folds:
        for start in range(0, len(fold.held), BATCH):
            indices = np.sort(fold.held[start : start + BATCH])
            batch = to_device(data.batch(indices), next(fold.trunk.parameters()).device)
            weight = heart_confidence(batch["maps"])[:, None, None]
            tellings = TELLINGS if trunk is not None else (TELLINGS[(start // BATCH) % len(TELLINGS)],)
            for telling in tellings:
                asked = batch["maps"], _told(batch, telling), data.phases.to(weight.device), batch.get("anchor")
                with mixed_precision(weight.device, precision):
                    predicted = fold.trunk(*asked).float()
                    maps, condition, _, anchor = asked
                    features = maps.new_zeros(len(indices), 0)
                    if trunk is not None:
                        features = trunk.features_of(maps, condition, anchor)
                pooled = avg_pool2d(((batch["velocity"] - predicted) * weight).flatten(0, 2), PLANE_STEP)
                yield (
                    pooled.view(*batch["velocity"].shape[:4], *pooled.shape[-2:]).float().cpu(),
                    features.float().cpu(),
                    indices,
                )


def _told(batch: dict[str, torch.Tensor], telling: str) -> torch.Tensor:
    if telling == "nothing":
        return null_condition(batch["condition"])
    return with_stated(batch["condition"], batch["stated"]) if telling == "stated" else batch["condition"]
