"""From phase to cycles: where a cycle begins, which cycles count, and how each becomes fifty tokens."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecgflowcmr.cycles import boundaries, find_cycles, padded_bounds, resample_cycles
from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_MS, phase_labels
from COFGeneratorLib.errors import EcgError

R_MS = np.cumsum([300.0, 820.0, 560.0, 1240.0, 700.0, 690.0, 1500.0, 880.0, 910.0])
"""As irregular as atrial fibrillation."""


def phase_of(r_ms):
    phase, _ = phase_labels(np.asarray(r_ms) / 2.0, 625)
    return phase


def test_boundaries_lie_at_r_in_an_irregular_rhythm():
    found = boundaries(phase_of(R_MS)) * TOKEN_MS
    assert len(found) >= len(R_MS) - 2  # at the ends the phase is flat
    assert np.abs(found[:, None] - R_MS[None]).min(axis=1).max() < 4.0
    assert np.abs(R_MS[1:-1, None] - found[None]).min(axis=1).max() < 4.0


def test_boundaries_are_not_in_mid_diastole():
    middle = 0.5 * (R_MS[1:] + R_MS[:-1])
    found = boundaries(phase_of(R_MS)) * TOKEN_MS
    assert np.abs(found[:, None] - middle[None]).min() > 150.0


def test_noise_and_a_shrunken_phase_neither_add_nor_lose_cycles():
    rng = np.random.default_rng(0)
    noisy = 0.4 * phase_of(R_MS) + 0.05 * rng.standard_normal((2, 625))
    inside = slice(round(R_MS[0] / TOKEN_MS) + 4, round(R_MS[-1] / TOKEN_MS) - 4)
    found = (boundaries(noisy[:, inside]) + inside.start) * TOKEN_MS
    assert len(found) == len(R_MS) - 2
    assert np.abs(found - R_MS[1:-1]).max() < 45.0


def test_only_complete_cycles_count_and_all_of_them_do():
    cycles = find_cycles(phase_of(R_MS))
    inner = np.diff(R_MS)[1:-1]
    for rr in inner:
        assert np.abs(cycles.rr_ms - rr).min() < 8.0
    assert (np.diff(cycles.bounds, axis=1) > 0).all()


def test_a_record_without_a_cycle_is_refused():
    with pytest.raises(EcgError, match="complete cycle"):
        find_cycles(np.ones((2, 625)))


def test_alignment_interpolates_at_real_positions_with_token_zero_at_r():
    ramp = torch.arange(100.0).repeat(1, 3, 1) * torch.tensor([1.0, 2.0, -1.0])[None, :, None]
    bounds = torch.tensor([[[10.25, 60.25], [20.0, 45.5]]])
    tokens = resample_cycles(ramp, bounds, 50)
    assert tokens.shape == (1, 2, 50, 3)
    assert torch.allclose(tokens[0, 0, :, 0], 10.25 + torch.arange(50.0), atol=1e-4)
    assert torch.allclose(tokens[0, 1, :, 1], 2 * (20.0 + 0.51 * torch.arange(50.0)), atol=1e-3)


def test_records_with_different_numbers_of_cycles_share_a_batch():
    few, many = find_cycles(phase_of(R_MS[:4])), find_cycles(phase_of(R_MS))
    bounds, real = padded_bounds([few, many], 32)
    assert real.sum(dim=1).tolist() == [len(few), len(many)]
    assert torch.allclose(bounds[1, : len(many)], torch.from_numpy(many.bounds).float())
