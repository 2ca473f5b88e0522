"""The pretended device itself: it computes what the CPU does, refuses what a GPU would, and counts every wait."""

import pytest
import torch
from COFGeneratorLib.motion.fields import exponential
from support.pretended_device import DEVICE, DevicesMeet, pretended_device
from torch import nn


def test_it_computes_what_the_cpu_does_and_trains_as_well():
    torch.manual_seed(0)
    network, twin = (nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Conv2d(3, 1, 1)) for _ in range(2))
    twin.load_state_dict(network.state_dict())
    image = torch.randn(2, 2, 6, 6)
    losses = []
    with pretended_device():
        for model, device in ((network, "cpu"), (twin, DEVICE)):
            model.to(device)
            optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
            loss = model(image.to(device)).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(float(model(image.to(device)).square().mean().detach()))
    assert losses[0] == losses[1]


def test_tensors_of_two_devices_are_refused_but_numbers_are_not():
    with pretended_device():
        there = torch.ones(3, device=DEVICE)
        assert float((there * torch.tensor(2.0)).sum()) == 6.0
        with pytest.raises(DevicesMeet, match=r"mul: tensors \[\(3,\)\] of the CPU meet"):
            there * torch.ones(3)


def test_every_wait_is_counted_and_computing_is_none():
    with pretended_device() as guard:
        there = torch.arange(4.0).to(DEVICE)
        assert guard.waits == {"sent to the device": 1}
        there = (there + 1.0).square().sort().values
        assert guard.waits == {"sent to the device": 1}
        assert there.sum().item() == 30.0
        assert there[there > 2.0].shape == (3,)
        assert there.cpu().tolist() == [1.0, 4.0, 9.0, 16.0]
        there.new_tensor([1.0])
    waits = dict(guard.waits)
    assert waits.pop("sent to the device") == 2
    assert waits.pop("sent to the CPU") == 1
    assert sum(waits.values()) == 2


def test_the_exponential_is_the_same_on_another_device_and_waits_for_nothing_once_its_constants_are_there():
    torch.manual_seed(0)
    velocity = torch.randn(1, 3, 4, 6, 5)
    with pretended_device() as guard, torch.inference_mode():
        there = velocity.to(DEVICE)
        exponential(there)
        guard.waits.clear()
        found = exponential(there)
        assert not guard.waits, guard.waits
        assert (found.cpu() - exponential(velocity)).abs().max() < 1e-3  # another sampler, of three dimensions
