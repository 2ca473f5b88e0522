"""Contraction matched to the reading: closed forms on a model whose area is its latent."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecgflowcmr.contraction import Contraction, fractional_area_change, matched
from COFGeneratorLib.ecgflowcmr.phenotype import PhenotypeHead
from COFTrainingLib.studies.ecgflowcmr.heldout import arm_row, joined, pair_tests


def _matched(rule, latent, scalars, seed=0):
    """Match latents of a model whose LV area in every frame is that frame's mean."""
    head = PhenotypeHead(8, ("ef",), 4)
    areas = lambda latent: latent[:, 0].mean(dim=(2, 3)).numpy()  # noqa: E731
    return matched(latent, scalars, rule=rule, head=head, areas=areas, seed=seed, alpha=1.0)


def _latents(change, count=2):
    phase = 2 * np.pi * np.arange(20) / 20
    area = 100.0 - change * 0.5 * (1 - np.cos(phase))
    return torch.from_numpy(area).float()[None, None, :, None, None].repeat(count, 1, 1, 3, 3)


def test_the_change_of_an_area_is_told_in_percent():
    found, fullest = fractional_area_change(_latents(40.0, 1)[0, 0, :, 0, 0][None].numpy())
    assert found[0] == pytest.approx(40.0, abs=0.5)
    assert fullest[0] == 0


def test_cines_contract_as_the_reading_lets_expect_and_keep_their_fullest_frame():
    rule = Contraction(0.0, 100.0, 0.0)
    scalars = torch.tensor([[0.1, 0.0, 0.5], [0.1, 0.0, -2.0]])  # EF 60 and 35 %
    latent = _matched(rule, _latents(45.0), scalars)
    found, _ = fractional_area_change(latent[:, 0, :, 0, 0].numpy())
    assert found == pytest.approx([60.0, 35.0], abs=1.0)
    assert latent[:, 0, 0, 0, 0].tolist() == pytest.approx([100.0, 100.0], abs=0.5)


def test_no_ecg_changes_nothing_and_the_spread_between_hearts_is_drawn():
    rule = Contraction(0.0, 100.0, 5.0)
    latent = _latents(45.0, 1)
    assert torch.equal(_matched(rule, latent, torch.zeros(1, 3)), latent)
    scalars = torch.tensor([[0.1, 0.0, 0.5]])
    found = [
        fractional_area_change(_matched(rule, latent, scalars, seed)[:, 0, :, 0, 0].numpy())[0] for seed in range(40)
    ]
    assert np.std(found) == pytest.approx(5.0, rel=0.3)


def test_parts_of_an_evaluation_add_up():
    rng = np.random.default_rng(2)
    parts, rows = [], []
    for _ in range(2):
        ef = rng.uniform(0.3, 0.7, 6)
        truth = np.stack([80 * ef, rng.uniform(0.3, 0.5, 6)], axis=1)
        own, other = truth + 0.1, truth[::-1]
        rows.append((ef, truth, own, other))
        by_arm = {"own ECG": own.tolist(), "shuffled ECG": other.tolist()}
        values = {"ef": ef.tolist(), "true": truth.tolist(), "real": truth.tolist(), "by_arm": by_arm}
        parts.append({"subject_values": values, "reading": {"told": ef.tolist()}, "seconds_per_clip": 1.0})
    whole = joined(parts)
    ef, truth, own, other = (np.concatenate(column) for column in zip(*rows, strict=True))
    assert whole["arms"]["own ECG"] == arm_row(own, truth, ef)
    assert whole["own_against_shuffled"] == pair_tests(own, other, truth)
    assert whole["reading"]["ef_mae_points"] == 0.0
