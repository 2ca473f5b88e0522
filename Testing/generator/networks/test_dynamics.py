"""The dynamics: 768 numbers of the ECG and 128 of the phase, and what "no ECG" is."""

import torch
from COFGeneratorLib.generator.networks.condition import null_condition
from COFGeneratorLib.generator.networks.dynamics import DYNAMICS_SIZE, ECG_SIZE, Dynamics, embedding_condition


def test_896_numbers_go_into_the_time_embedding():
    assert DYNAMICS_SIZE == 896
    dynamics = Dynamics(ECG_SIZE, 32)
    assert dynamics.out.in_features == 896
    assert list(dynamics.widen.parameters()) == []  # an embedding of 768 goes in as it is
    assert Dynamics(128, 32).widen.weight.shape == (768, 128)


def test_the_phase_and_the_ecg_each_change_what_is_added():
    torch.manual_seed(0)
    dynamics, phases = Dynamics(16, 8), torch.tensor([0.0, 0.25, 0.5])
    one, other = (dynamics(dynamics.ecg(embedding_condition(torch.randn(1, 16))), phases) for _ in range(2))
    assert one.shape == (1, 3, 8)
    assert (one[:, 0] - one[:, 1]).abs().max() > 1e-3
    assert (one - other).abs().max() > 1e-3


def test_no_ecg_is_an_embedding_of_its_own_and_no_mean_one():
    torch.manual_seed(0)
    dynamics = Dynamics(16, 8)
    condition = embedding_condition(torch.zeros(1, 16))
    silent, zero = dynamics.ecg(null_condition(condition)), dynamics.ecg(condition)
    assert torch.equal(silent[0], dynamics.nothing)
    assert not torch.equal(silent, zero)
    silent.sum().backward()
    assert dynamics.nothing.grad.abs().sum() > 0


def test_the_scale_of_an_embedding_does_not_matter():
    torch.manual_seed(0)
    dynamics, heard = Dynamics(ECG_SIZE, 8), torch.randn(1, ECG_SIZE)
    large, small = (dynamics.ecg(embedding_condition(factor * heard)) for factor in (100.0, 1.0))
    assert torch.allclose(large, small, atol=1e-3)
