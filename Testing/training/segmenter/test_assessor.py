"""The assessor: training leaves a folder that loads, and labels come back where the heart is, whatever the stack."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.jobs.events import read_events
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject, write_cohort
from COFTrainingLib.evaluation.assessor import Assessor, load_assessor
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.shape import draw_shape
from COFTrainingLib.phantom.stacks import StackGeometry, render_stack
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.segmenter.assessor import AssessorTraining, train_assessor
from COFTrainingLib.training.segmenter.assessor_network import DESCRIPTION, WEIGHTS, AssessorNetwork, build_assessor

GREY = (0.0, 0.5, 0.25, 0.8)


class ReadsGrey(torch.nn.Module):
    """A network that knows the labels because the image shows them: it tests everything but learning."""

    def __init__(self):
        super().__init__()
        self.encoder = Levels()

    def forward(self, image):
        self.encoder(image)
        grey = torch.tensor(GREY).reshape(1, 4, 1, 1, 1)
        return -300.0 * (image + 0.5 - grey / max(GREY)) ** 2


class Levels(torch.nn.Module):
    """Stands for the encoder: its deepest level is the image and its square."""

    def forward(self, image):
        return [image, torch.cat([image, image**2], dim=1)]


@pytest.fixture(scope="module")
def drawing():
    """A phantom drawn with one grey a label, in an oblique stack, and its labels."""
    rng = np.random.default_rng(0)
    physiology = draw_physiology(rng)
    drawn = draw_shape(rng, physiology, "normal")
    heart = BeatingHeart(drawn, physiology)
    matrix = np.diag([9.0, 1.6, 1.6, 1.0])
    matrix[:3, 3] = [-65.0, -88.0, -110.0]
    geometry = StackGeometry((13, 110, 128), matrix, thickness_mm=8.0)
    stack, labels = render_stack(heart, rng, geometry=geometry, kind="bssfp", scene=Scene(rng, heart))
    assert np.abs(stack.ijk_to_ras[:3, 2]).max() < 8.9  # not along an axis
    return SaxStack(np.asarray(GREY)[labels], stack.ijk_to_ras), labels


@pytest.fixture(scope="module")
def reader():
    return Assessor(ReadsGrey(), AssessorNetwork(spacing_mm=1.6, window=120))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The run folder of a training of a few steps, by the command."""
    run = tmp_path_factory.mktemp("assessor") / "run"
    assert main(["train", "assessor", "--out", str(run), "--config", "smoke", "--quiet"]) == 0
    return run


def flipped(stack, labels, axis):
    matrix, column = stack.ijk_to_ras.copy(), 2 - axis
    matrix[:3, 3] += matrix[:3, column] * (stack.shape[axis] - 1)
    matrix[:3, column] *= -1
    return SaxStack(np.flip(stack.voxels, axis), matrix), np.flip(labels, axis)


def overlap(a, b, code):
    return 2 * ((a == code) & (b == code)).sum() / ((a == code).sum() + (b == code).sum())


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_labels_come_back_on_the_native_grid_of_any_stack(reader, drawing, axis):
    stack, labels = drawing if axis is None else flipped(*drawing, axis)
    found = reader.label(stack, heart_frame_from_labels(labels, stack.ijk_to_ras))
    assert found.shape == stack.shape
    assert found.dtype == np.uint8
    for code in (1, 2, 3):
        assert overlap(found, labels, code) > 0.9


def test_a_stored_order_changes_neither_labels_nor_features(reader, drawing):
    straight, (turned, _) = drawing[0], flipped(*drawing, 0)
    frame = heart_frame_from_labels(drawing[1], straight.ijk_to_ras)
    assert np.array_equal(np.flip(reader.label(turned, frame), 0), reader.label(straight, frame))
    assert reader.features(turned, frame) == pytest.approx(reader.features(straight, frame), abs=1e-5)


def test_a_cine_is_assessed_as_its_frames_one_by_one(reader, drawing):
    stack, labels = drawing
    frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
    frames = np.stack([np.roll(stack.voxels, shift, axis=2) * (1 + shift) for shift in range(6)])
    cine = reader.assess(frames, stack.ijk_to_ras, frame)
    assert cine.labels.shape == frames.shape
    assert cine.features.shape == (6, 2)
    for n, voxels in enumerate(frames):
        one = SaxStack(voxels, stack.ijk_to_ras)
        assert np.array_equal(cine.labels[n], reader.label(one, frame))
        assert cine.features[n] == pytest.approx(reader.features(one, frame), rel=1e-5)
    assert overlap(np.roll(cine.labels[5], -5, axis=2), labels, 1) > 0.9  # it follows the image


def test_nothing_in_view_is_labelled_as_nothing(reader, drawing):
    stack, labels = drawing
    frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
    assert not reader.label(SaxStack(np.zeros(stack.shape), stack.ijk_to_ras), frame).any()


def test_any_number_of_slices_goes_through_and_none_are_joined():
    config = AssessorNetwork(filters=8, groups=4)
    network = build_assessor(config).eval()
    with torch.inference_mode():
        for depth in (1, 3, 10):
            image = torch.zeros(2, 1, depth, 32, 32)
            assert network(image).shape == (2, 4, depth, 32, 32)
            assert network.encoder(image)[-1].shape == (2, config.features, depth, 4, 4)


def test_the_deepest_level_looks_across_slices():
    network = build_assessor(AssessorNetwork(filters=8, groups=4)).eval()
    kernels = [module.kernel_size[0] for module in network.encoder.modules() if isinstance(module, torch.nn.Conv3d)]
    assert kernels[-1] == 3
    assert set(kernels[:8]) == {1}


def test_the_default_network_is_small_and_its_vector_short():
    config = AssessorTraining().network
    assert sum(value.numel() for value in build_assessor(config).parameters()) < 6_000_000  # bytes, of eight bits
    assert config.features <= 128


@pytest.mark.slow
def test_smoke_training_writes_an_assessor_that_loads(smoke):
    assessor = load_assessor(smoke / "assessor")
    stack = SaxStack(np.random.default_rng(0).random((7, 60, 50)), np.diag([2.0, 2.0, 9.0, 1.0]))
    labels = np.zeros(stack.shape, dtype=np.uint8)
    labels[1:6, 20:40, 20:40] = 1
    frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
    found = assessor.assess(stack.voxels[None], stack.ijk_to_ras, frame)
    assert found.labels.shape == (1, *stack.shape)
    assert found.features.shape == (1, assessor.config.features)
    assert np.isfinite(found.features).all()
    seeds = {block["seeds"][0] for block in assessor.described["subject_seeds"]}
    assert seeds == {41_000_001, 42_000_004}
    metrics = [event for event in read_events(smoke / "events.jsonl") if event["event"] == "metric"]
    assert assessor.described["validation"]["score"] == pytest.approx(min(e["score"] for e in metrics), abs=1e-4)


@pytest.mark.slow
def test_a_longer_training_lowers_the_loss(smoke, tmp_path):
    config = read_configuration("assessor", "smoke")
    config = replace(config, loop=replace(config.loop, steps=24, learning_rate=1e-2))
    train_assessor(tmp_path / "run", config, cache_dir=smoke / "cache")
    losses = [e["loss"] for e in read_events(tmp_path / "run" / "events.jsonl") if e["event"] == "progress"]
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


@pytest.mark.parametrize("spoil", ["no weights", "altered", "other family", "other network"])
def test_a_folder_that_does_not_fit_is_refused(smoke, tmp_path, spoil):
    folder = shutil.copytree(smoke / "assessor", tmp_path / "assessor")
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if spoil == "no weights":
        (folder / WEIGHTS).unlink()
    elif spoil == "altered":
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[-1] ^= 1
        (folder / WEIGHTS).write_bytes(content)
    elif spoil == "other family":
        described["family"] = "DynUNet"
    else:
        described["network"]["filters"] = 16
    (folder / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(BundleError, match="cof train assessor"):
        load_assessor(folder)


def test_recordings_without_labels_are_refused(tmp_path, capsys):
    write_cohort(Cohort(tmp_path, CohortHeader("mine", "table"), (Subject("a", "a", "train", {}),)))
    code = main(["train", "assessor", "--cohort", str(tmp_path), "--out", str(tmp_path / "run"), "--config", "smoke"])
    assert code == 2
    assert "needs labelled frames" in capsys.readouterr().err
    assert not (tmp_path / "run" / "assessor").exists()
