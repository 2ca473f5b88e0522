"""Training of the segmenter: learns, follows its seed, resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter
from COFGeneratorLib.anatomy.segmenters.segmenter_network import NetworkConfig, build_network
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.jobs.events import read_events
from COFGeneratorLib.weights import load_weights, save_weights
from COFTrainingLib.phantom.stacks import majority_labels
from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.training.segmenter.segmenter import SegmenterConfig, segmenter_loop, train_scale, train_segmenter
from COFTrainingLib.training.segmenter.segmenter_batches import BatchConfig, SegmenterBatches, coarse_batches
from COFTrainingLib.training.segmenter.segmenter_cache import CacheConfig, TissueCache, make_cache, make_subject
from safetensors.torch import load_file

CACHE = CacheConfig(
    subjects=2, seed=7, fine_size=48, fine_mm=4.0, coarse_size=40, coarse_mm=9.0, slab=1, max_slices=7, part=2
)
NETWORK = NetworkConfig(filters=(6, 8, 12), flat_levels=2, spacing_mm=4.5, size=32)
FINE = BatchConfig("fine", slices=(3, 5), size=32, spacing_mm=4.5, seed=3)
COARSE = coarse_batches(slices=(3, 5), size=32, spacing_mm=9.0)


def a_config(steps):
    loop = segmenter_loop(steps, precision="fp32", checkpoint_every=4, log_every=2, learning_rate=1e-2)
    return SegmenterConfig(
        cache=CACHE, validation_subjects=2, validation_batches=1, fine=NETWORK, coarse=replace(NETWORK, spacing_mm=9.0),
        fine_batches=FINE, coarse_batches=COARSE, fine_loop=loop, coarse_loop=loop,
    )  # fmt: skip


@pytest.fixture(scope="module")
def a_cache(tmp_path_factory):
    return TissueCache(make_cache(tmp_path_factory.mktemp("cache"), CACHE))


@pytest.mark.slow
def test_a_subject_follows_its_seed():
    first, again, other = make_subject(CACHE, 0), make_subject(CACHE, 0), make_subject(CACHE, 1)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])
    assert (first[0] == Tissue.MYOCARDIUM).any()


def test_a_cache_of_another_kind_is_not_overwritten(tmp_path):
    (tmp_path / "cache.json").write_text(json.dumps({"seed": 99}), encoding="utf-8")
    with pytest.raises(TrainingError, match="other settings"):
        make_cache(tmp_path, CACHE)


@pytest.mark.slow
def test_batches_follow_step_and_seed_and_hold_finite_images(a_cache):
    batches = SegmenterBatches(a_cache, FINE)
    first, again, other = batches(0), batches(0), batches(1)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"][..., :3, :, :], other["image"][..., :3, :, :])
    for step in range(12):
        batch = batches(step)
        assert torch.isfinite(batch["image"]).all()
        assert batch["image"].shape[2:] == batch["label"].shape[1:]
        assert set(batch["label"].unique().tolist()) <= {0, 1, 2, 3}


def test_labels_go_by_what_fills_most_of_the_slice():
    tissues = np.array([Tissue.LV_BLOOD, Tissue.LV_PAPILLARY, Tissue.MYOCARDIUM], dtype=np.uint8)
    assert majority_labels(tissues.reshape(1, 3, 1, 1)).item() == 1


@pytest.mark.slow
def test_a_short_training_lowers_the_loss(a_cache, tmp_path):
    config = a_config(40)
    train_scale("fine", config, (a_cache, a_cache), tmp_path / "run")
    losses = [event["loss"] for event in read_events(tmp_path / "run" / "events.jsonl") if event["event"] == "progress"]
    assert np.mean(losses[-4:]) < 0.85 * losses[0]


@pytest.mark.slow
def test_a_stopped_training_resumes_to_the_same_weights(a_cache, tmp_path):
    config = a_config(8)

    def stop(event):
        if event["event"] == "checkpoint" and event["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_scale("fine", config, (a_cache, a_cache), tmp_path / "stopped", progress=stop)
    train_scale("fine", config, (a_cache, a_cache), tmp_path / "stopped", resume=True)
    train_scale("fine", config, (a_cache, a_cache), tmp_path / "through")
    stopped, through = (load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "through"))
    assert all(torch.equal(stopped[name], through[name]) for name in through)


@pytest.mark.slow
def test_the_whole_training_leaves_a_folder_that_loads(tmp_path):
    folder = train_segmenter(tmp_path / "run", a_config(2), cache_dir=tmp_path / "cache")
    segmenter = Segmenter.from_files(folder)
    assert segmenter.fine_config == NETWORK
    assert segmenter.coarse_config.spacing_mm == 9.0


@pytest.mark.slow
def test_a_training_can_begin_with_the_weights_of_a_bundle(a_cache, tmp_path):
    network = build_network(NETWORK)
    save_weights(network.state_dict(), tmp_path / "fine.safetensors", eight_bits=True)
    config = replace(a_config(1), fine_loop=segmenter_loop(1, precision="fp32", learning_rate=1e-9, warmup_steps=0))
    first = tmp_path / "fine.safetensors"
    trained = train_scale("fine", config, (a_cache, a_cache), tmp_path / "run", start_from=first)
    began, ended = load_weights(first), load_file(trained.weights)
    assert all(torch.allclose(ended[name], began[name], atol=1e-6) for name in began)
