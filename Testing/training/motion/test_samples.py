"""Samples of a training: they beat, Slicer reads them, and the training does not notice them."""

import time

import numpy as np
import pytest
import torch
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFTrainingLib.training.loop.loop import LoopConfig
from COFTrainingLib.training.motion.regression import StageTwoConfig, train_trunk
from COFTrainingLib.training.motion.samples import write_expected_sample, write_final_sample
from support.tiny_bundle import with_a_basis

GRID = MotionGrid(shape=(6, 16, 16), spacing_mm=(22.0, 10.0, 10.0), phases=6)
EXPECTED = ExpectedFlowConfig(widths=(16, 16, 16), blocks=1, modes=3, hidden=16, components=4, patterns=4)


def frames_of(path):
    """Read a sample as the panel does: by Slicer's storage."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from COFGeneratorLib.scene import standalone_scene
    from COFGeneratorLib.scene.files import read_sequence
    from COFGeneratorLib.scene.volumes import volume_array

    with standalone_scene() as scene:
        sequence = read_sequence(scene, path, "sample")
        count = sequence.GetNumberOfDataNodes()
        spacing = sequence.GetNthDataNode(0).GetSpacing()
        return np.stack([volume_array(sequence.GetNthDataNode(n)).copy() for n in range(count)]), spacing


def test_a_sample_of_the_true_motion_contracts_and_comes_back(data, tmp_path):
    batch = data.batch(data.valid[:1])
    path = write_expected_sample(tmp_path / "samples", data, batch["maps"], batch["velocity"], 7)
    assert path.name == "expected-0000007.seq.nrrd"
    frames, spacing = frames_of(path)
    assert frames.shape == (GRID.phases, *GRID.shape)
    assert spacing == pytest.approx((10.0, 10.0, 22.0))
    bright = (frames > 200).sum(axis=(1, 2, 3))  # the LV cavity
    assert bright[1:4].min() < 0.95 * bright[0]


def test_a_training_that_writes_samples_ends_with_the_same_weights(data, tmp_path):
    loop = LoopConfig(steps=6, learning_rate=3e-3, checkpoint_every=3, log_every=3, device="cpu", threads=1)
    plain, _ = train_trunk(data, tmp_path / "plain", loop, StageTwoConfig(batch=2), EXPECTED)
    seconds, written = [], []

    def preview(maps, velocity, step):
        start = time.perf_counter()
        written.append(write_expected_sample(tmp_path / "samples", data, maps, velocity, step).name)
        seconds.append(time.perf_counter() - start)

    sampled, _ = train_trunk(data, tmp_path / "sampled", loop, StageTwoConfig(batch=2), EXPECTED, preview=preview)
    assert written == ["expected-0000003.seq.nrrd", "expected-0000006.seq.nrrd"]
    assert max(seconds) < 2.0
    for a, b in zip(plain.parameters(), sampled.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_last_sample_is_a_draw_of_the_model_and_leaves_the_random_numbers_alone(data, tmp_path):
    torch.manual_seed(3)
    flow = with_a_basis(ExpectedFlow(GRID, EXPECTED))
    model = MotionModel(GRID, EcgEncoder().eval(), data.scale, flow).to("cpu")
    before = torch.get_rng_state()
    path = write_final_sample(tmp_path, data, model)
    assert torch.equal(before, torch.get_rng_state())
    first = path.read_bytes()
    assert write_final_sample(tmp_path, data, model).read_bytes() == first
    frames, _ = frames_of(path)
    assert frames.max() > 150
