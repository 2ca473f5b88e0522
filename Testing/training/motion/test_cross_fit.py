"""What is left open: folds keep people apart, the basis holds the residuals, the spread is told by who it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.condition import CONDITION_SIZE, STATED_SIZE
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
from COFTrainingLib.training.motion.regression import StageTwoConfig, told_condition, train_trunk
from COFTrainingLib.training.motion.residuals import Fold, OpenPart, fit_basis, open_part, split_people
from COFTrainingLib.training.motion.spread import fit_spread, fit_temperature
from support.loops import loop
from support.tiny_bundle import with_a_basis

SMALL = ExpectedFlowConfig(widths=(16, 16, 16), blocks=1, modes=3, hidden=16, components=6, patterns=6, spread_hidden=8)


@pytest.fixture(scope="module")
def folds(data, tmp_path_factory):
    """Return two folds with trunks of a few steps."""
    made = []
    for number, held in enumerate(split_people(data, 2)):
        rest = replace(data, train=np.setdiff1d(data.train, held))
        trunk, _ = train_trunk(
            rest, tmp_path_factory.mktemp("fold") / str(number), loop(10), StageTwoConfig(batch=2), SMALL
        )
        made.append(Fold(trunk.eval(), held))
    return made


def test_folds_part_people_and_together_are_all(data):
    folds = split_people(data, 3)
    assert sorted(np.concatenate(folds)) == sorted(data.train)
    with pytest.raises(TrainingError, match="two folds or more"):
        split_people(data, 1)
    with pytest.raises(TrainingError, match="folds and"):
        split_people(data, 99)


def test_the_basis_is_orthonormal_and_its_scores_have_unit_variance(data, folds):
    flow = ExpectedFlow(data.cache.grid, SMALL).eval()
    fit_basis(flow, data, folds)
    patterns, courses = flow.patterns.flatten(1), flow.courses.flatten(1)
    assert torch.allclose(patterns @ patterns.T, torch.eye(6), atol=1e-4)
    gram = courses @ courses.T
    assert torch.allclose(gram, torch.diag(gram.diag()), atol=1e-3 * float(gram.max()))
    assert (gram.diag().diff() <= 0).all()  # the largest first
    part = open_part(flow, data, folds)
    assert part.scores.shape == (3 * len(data.train), 6)  # three tellings
    assert float(part.scores[:, 0].square().mean().sqrt()) == pytest.approx(1.0, abs=0.5)
    assert torch.isfinite(part.features).all()


def test_the_spread_is_wide_where_the_features_say_so_and_the_temperature_puts_it_right(data):
    flow = with_a_basis(ExpectedFlow(data.cache.grid, SMALL)).eval()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, flow.trunk.features, generator=generator)
    features[:, 0] *= 2.0
    true = torch.exp(0.3 * features[:, :1]).expand(-1, 6)
    people = np.array([str(n // 2) for n in range(600)])
    part = OpenPart(true * torch.randn(600, 6, generator=generator), features, people)
    assert fit_spread(flow, part)["nats"] > 0.05
    with torch.no_grad():
        found = flow.spread(features)
    assert np.corrcoef(found[:, 0].log(), true[:, 0].log())[0, 1] > 0.9
    wider = OpenPart(1.5 * part.scores, features, people)
    assert fit_temperature(flow, wider) == pytest.approx(1.5, rel=0.1)
    with torch.no_grad():
        assert torch.allclose(flow.spread(features), fit_ratio(flow) * found, rtol=1e-4)


def fit_ratio(flow):
    """Return the temperature that a flow has."""
    return float(flow.temperature)


def test_batches_are_told_what_can_be_stated_and_an_example_without_an_ecg_always_is():
    generator = torch.Generator().manual_seed(0)
    condition = torch.ones(4000, CONDITION_SIZE)
    condition[:, -STATED_SIZE:] = 0.0
    condition[2000:] = 0.0  # no ECG
    stated = torch.tensor([[0.6, float("nan"), 0.35]]).expand(4000, -1)
    told = told_condition(
        {"condition": condition, "stated": stated}, StageTwoConfig(condition_dropout=0.1, stated_share=0.3), generator
    )
    flags = told[:, -3:]
    assert flags[:, 1].sum() == 0  # not known of anyone
    heard = told[:2000, 0] == 1
    assert float(heard.float().mean()) == pytest.approx(0.9 * 0.85, abs=0.03)
    assert float(flags[:2000, 0].mean()) == pytest.approx(0.9 * 0.3 * 0.7, abs=0.03)
    assert float(flags[2000:, 0].mean()) == pytest.approx(0.9, abs=0.03)
    assert torch.isfinite(told).all()
