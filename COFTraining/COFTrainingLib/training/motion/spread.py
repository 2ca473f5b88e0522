"""How much is left open, told by anatomy and ECG: the head of the spread, by likelihood on cross-fitted residuals."""

from dataclasses import replace

import numpy as np
import torch
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow
from torch import nn

from COFTrainingLib.training.motion.residuals import OpenPart

STEPS, EVERY = 600, 10
LEARNING_RATE, WEIGHT_DECAY = 5e-4, 0.3
HELD_SHARE = 0.2
"""Of the people, by whom it is decided when to stop."""
LARGEST_SCORE = 6.0
"""In units of a component's standard deviation: what lies beyond is taken to lie there."""


def fit_spread(flow: ExpectedFlow, part: OpenPart) -> dict[str, float]:
    """Fit the head by the likelihood of Gaussian scores; returns the gain in nats a score over one spread for all.

    Components weigh by the size of the motion that they are. The trunk stays as it is, and the steps are kept that are
    best on held-back people.
    """
    known = np.unique(part.people)
    held = known[np.random.default_rng(1).permutation(len(known))[: max(1, round(HELD_SHARE * len(known)))]]
    away = np.isin(part.people, held)
    fit, judge = part.only(~away), part.only(away)
    torch.manual_seed(0)
    flow.reset_spread()
    centre, scale = fit.features.mean(dim=0), fit.features.std(dim=0).clamp(min=1e-3)
    fit, judge = (replace(one, features=(one.features - centre) / scale) for one in (fit, judge))
    spread = nn.ModuleDict({"head": flow.head, "loadings": flow.loadings})
    with torch.no_grad():
        flow.loadings.bias.copy_(fit.scores.square().mean(dim=0).clamp(min=1e-6).log().mul(0.5))
    optimiser = torch.optim.AdamW(
        [
            {"params": flow.head.parameters(), "weight_decay": WEIGHT_DECAY},
            {"params": flow.loadings.parameters(), "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
    )
    before = best = _judged(flow, judge)
    kept = {name: value.clone() for name, value in spread.state_dict().items()}
    for step in range(STEPS):
        optimiser.zero_grad()
        _nats(flow, fit).backward()
        optimiser.step()
        if step % EVERY == EVERY - 1 and (found := _judged(flow, judge)) < best:
            best, kept = found, {name: value.clone() for name, value in spread.state_dict().items()}
    spread.load_state_dict(kept)
    first = flow.head[0]
    with torch.no_grad():  # the standardisation of the features goes into the first layer
        first.bias -= first.weight @ (centre / scale)
        first.weight /= scale
    return {"nats": before - best}


def fit_temperature(flow: ExpectedFlow, part: OpenPart) -> float:
    """Set the factor on the spread at which the size of what is left open on validation subjects is what is stated."""
    with torch.no_grad():
        flow.temperature.fill_(1.0)
        power = flow.courses.square().sum(dim=(1, 2))
        stated = (flow.spread(part.features).square() * power).sum()
        found = (part.scores.clamp(-LARGEST_SCORE, LARGEST_SCORE).square() * power).sum()
        flow.temperature.fill_(float((found / stated.clamp(min=1e-9)).sqrt()))
    return float(flow.temperature)


def _nats(flow: ExpectedFlow, part: OpenPart) -> torch.Tensor:
    """Return the mean negative log-likelihood of scores in nats, less its constant, weighed by the components' size."""
    size = flow.courses.square().sum(dim=(1, 2)).sqrt()
    logarithm = flow.log_spread(part.features)
    squared = (part.scores * (-logarithm).exp()).square()
    return ((logarithm + 0.5 * squared.clamp(max=LARGEST_SCORE**2)) * size).mean() / size.mean().clamp(min=1e-9)


@torch.no_grad()
def _judged(flow: ExpectedFlow, part: OpenPart) -> float:
    return float(_nats(flow, part))
