"""Weights survive storage to the stated precision."""

import os

import pytest
import torch
from COFGeneratorLib.weights import load_weights, save_exact, save_weights


@pytest.mark.parametrize(("eight_bits", "bound"), [(False, 2e-3), (True, 1 / 254)])
def test_weights_come_back_within_the_stated_error(tmp_path, eight_bits, bound):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 3), torch.nn.BatchNorm3d(8), torch.nn.ConvTranspose3d(8, 4, 2))
    path = tmp_path / "net.safetensors"
    save_weights(net.state_dict(), path, eight_bits)
    back = load_weights(path)
    assert set(back) == set(net.state_dict())
    for name, value in net.state_dict().items():
        if value.is_floating_point() and value.ndim > 1:
            largest = value.flatten(1).abs().amax(dim=1).view(-1, *[1] * (value.ndim - 1))
            assert ((back[name] - value).abs() / largest).max() <= bound * 1.001
        else:
            assert torch.allclose(back[name].float(), value.float(), atol=1e-3)
    net.load_state_dict(back)


def test_eight_bits_take_a_quarter_of_the_space(tmp_path):
    state = {"kernel": torch.randn(64, 64, 3, 3)}
    save_weights(state, tmp_path / "eight.safetensors", eight_bits=True)
    assert (tmp_path / "eight.safetensors").stat().st_size < 0.27 * state["kernel"].numel() * 4


@pytest.mark.skipif(os.name == "nt", reason="no such modes there")
def test_weights_may_be_read_by_whom_the_system_lets(tmp_path):
    before = os.umask(0o022)
    try:
        save_weights({"w": torch.ones(2, 2)}, tmp_path / "bundle.safetensors")
        save_exact({"w": torch.ones(2, 2)}, tmp_path / "run.safetensors")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
