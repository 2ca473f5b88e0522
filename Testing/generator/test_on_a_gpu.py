"""Generation on a GPU that is not there: no devices meet, the result is the CPU's, and hot loops wait for nothing."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from COFGeneratorLib.generator import generate, moving, pipeline
from COFGeneratorLib.generator.networks.sampler import SOLVERS, integrate
from support.pretended_device import DEVICE, pretended_device

FRAMES = 6


@pytest.fixture
def on_the_device(monkeypatch):
    monkeypatch.setattr(pipeline, "choose_device", torch.device)


@pytest.mark.parametrize("draw", [False, True])
def test_a_cine_is_that_of_the_cpu(draw, a_case, tiny_bundle, on_the_device):
    told = {"labels": a_case.labels, "frames": FRAMES, "draw": draw}
    expected = generate(a_case.anchor, a_case.record, tiny_bundle, device="cpu", **told)
    with pretended_device():
        found = generate(a_case.anchor, a_case.record, tiny_bundle, device=DEVICE.type, **told)
        moved_mm = found.displacement_mm(3)
        tiny_bundle.model.to("cpu")
    assert np.abs(moved_mm - expected.displacement_mm(3)).max() < 0.02
    assert found.function.ef_percent == pytest.approx(expected.function.ef_percent, abs=0.05)
    assert np.abs(found.frames - expected.frames).mean() < 1e-3 * np.ptp(expected.frames)


def test_frames_wait_for_nothing_but_their_own_way_out(a_case, tiny_bundle, on_the_device, monkeypatch):
    monkeypatch.setattr("COFGeneratorLib.generator.native.GPU_CHUNK_VOXELS", 1)  # frame by frame
    seen = []
    with pretended_device() as guard:
        real = moving.MovingImage.frames

        def frames(self, field):
            seen.append(dict(guard.waits))
            return real(self, field)

        monkeypatch.setattr(moving.MovingImage, "frames", frames)
        generate(a_case.anchor, a_case.record, tiny_bundle, labels=a_case.labels, frames=FRAMES, device=DEVICE.type)
        tiny_bundle.model.to("cpu")
    between = [{name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
               for before, after in pairwise(seen[1:])]  # fmt: skip
    assert between == [{"sent to the CPU": 2}] * (FRAMES - 2)  # the frame and its labels


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("prediction", ["x0", "v", "noise", "rate"])
def test_samplers_wait_for_nothing(solver, prediction):
    start = torch.randn(2, 3, 4)

    def predict(x, tau):
        return 0.5 * x + tau.view(-1, *[1] * (x.dim() - 1))

    with pretended_device() as guard:
        there = start.to(DEVICE)
        guard.waits.clear()
        found = integrate(predict, there, 3, solver, prediction, carry=lambda x, tau, to: x * to)
        assert not guard.waits
        found = found.cpu()
    assert torch.equal(found, integrate(predict, start, 3, solver, prediction, carry=lambda x, tau, to: x * to))
