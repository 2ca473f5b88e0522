"""The papers' flow by the real route: Stage 1, rendered phantoms, teacher, Stage 2, export, and the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from COFGeneratorLib import generate
from COFGeneratorLib.anatomy import read_labels, read_sax
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.errors import BundleError, TrainingError
from COFGeneratorLib.generator.bundle import load_bundle
from COFGeneratorLib.generator.encoders.named import named_encoder
from COFGeneratorLib.weights import load_weights
from COFTrainingLib.cli import main
from COFTrainingLib.training.bundles.export import export_bundle
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.motion.stage_two import train_stage_two
from safetensors.torch import save_file
from support.foreign_encoders import STATES
from support.once import made_once

SMALL = Path(__file__).resolve().parents[2] / "support" / "small_v2.toml"
FRAMES = 6


def make(folder: Path) -> None:
    """Train a teacher and a flow by the commands that a user types, and export them."""
    for words in (
        ["train", "teacher", "--out", folder / "teacher", "--config", SMALL],
        ["train", "flow", "--out", folder / "run", "--config", SMALL, "--teacher", folder / "teacher", "--no-samples"],
        ["bundle", "export", "--run", folder / "run", "--teacher", folder / "teacher", "--name", "cof-v2", "--out",
         folder / "bundle"],
    ):  # fmt: skip
        assert main([*map(str, words), "--quiet"]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return made_once(tmp_path_factory, "small-v2", make)


def trained_like(made: Path, out: Path, **options) -> Path:
    """Train another flow on the same examples."""
    config = options.pop("config", None) or read_configuration("flow", str(SMALL))
    given = {"cache": made / "run" / "cache", "ecg_weights": made / "run" / "ecg", "teacher": made / "teacher"}
    return train_stage_two(out, config, read_configuration("ecg", str(SMALL)), **given, **options)


def the_motion(bundle, patient, voxels=None, **options) -> np.ndarray:
    anchor = read_sax(patient.anchor)
    labels = read_labels(patient.labels, anchor, {"lv": 1, "myo": 2, "rv": 3})
    if voxels is not None:
        anchor = SaxStack(voxels.astype(np.float32), anchor.ijk_to_ras)
    record = read_ecg(patient.ecg)
    cine = generate(anchor, record, bundle, labels=labels, frames=FRAMES, device="cpu", **options)
    return np.stack([cine.motion.displacement_mm(frame) for frame in range(FRAMES)])


def test_the_images_of_the_anchor_move_it_and_two_seeds_are_two_cines(made, a_patient):
    bundle = load_bundle(made / "bundle")
    assert bundle.model.flow.config.anatomy == "image"
    own = the_motion(bundle, a_patient)
    assert np.array_equal(own, the_motion(bundle, a_patient))
    noise = np.random.default_rng(0).uniform(0.0, 400.0, read_sax(a_patient.anchor).shape)
    largest = np.abs(own).max()
    assert np.abs(own - the_motion(bundle, a_patient, noise)).max() > 1e-3 * largest
    assert np.abs(own - the_motion(bundle, a_patient, seed=1)).max() > 0.05 * largest  # it draws, as in the papers


def test_the_command_line_gives_another_cine_for_another_seed_and_for_noise(
    made, a_patient, cof, write, tmp_path, read_outs_alone
):
    anchor = read_sax(a_patient.anchor)
    noise = tmp_path / "noise.nrrd"
    write.volume(noise, np.random.default_rng(0).uniform(0, 400, anchor.shape).astype(np.float32), anchor.ijk_to_ras)
    volumes = {}
    for name, changes in {"own": {}, "seed": {"seed": 1}, "noise": {"anchor": noise}}.items():
        options = {"anchor": a_patient.anchor, "ecg": a_patient.ecg, "labels": a_patient.labels, "frames": FRAMES,
                   "model": made / "bundle", "label-map": "lv=1,myo=2,rv=3", "device": "cpu", **changes}  # fmt: skip
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        done = cof("generate", *words, "--out", tmp_path / name)
        assert done.code == 0, done.err
        read_out = json.loads((tmp_path / name / "function.json").read_text())
        volumes[name] = read_out["lv_volume_ml"]
    assert volumes["own"] != volumes["seed"]
    assert volumes["own"] != volumes["noise"]


def test_the_flow_was_given_what_the_papers_give_it(made):
    cache = made / "run" / "cache"
    facts = json.loads((cache / "cache.json").read_text())
    assert facts["images"]["motion"] == "teacher"
    confidence = np.load(cache / "confidence.npy").astype(float)
    assert confidence.shape == (9, 5, 8, 16, 16)
    assert confidence.min() >= 0.0
    assert confidence.max() <= 1.0
    assert confidence[:, 0].mean() > confidence[:, 2].mean()  # by phase: the anchor agrees with itself best
    image = np.load(cache / "image.npy").astype(float)
    assert image.shape == (9, 8, 32, 32)
    assert image.std() > 0.05
    network = json.loads((made / "run" / "flow" / "config.json").read_text())["model"]["network"]
    assert (network["ecg_size"], network["teacher"]["plane"]) == (32, [32, 32])


def test_the_encoder_of_the_anatomy_is_the_teachers_frozen_and_stored_once(made):
    run = load_weights(made / "run" / "flow" / "model.safetensors")
    teacher = load_weights(made / "teacher" / "teacher" / "model.safetensors")
    shared = {name: value for name, value in run.items() if name.startswith("reference.encoder.")}
    assert shared
    assert all(torch.equal(value, teacher[name.removeprefix("reference.encoder.")]) for name, value in shared.items())
    stored = load_weights(made / "bundle" / "models" / "flow.safetensors")
    assert not any(name.startswith("reference.encoder.") for name in stored)
    there = load_bundle(made / "bundle").model.flow.reference.encoder.state_dict()
    kept = load_weights(made / "bundle" / "models" / "teacher" / "model.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in there.items())


def test_without_the_teacher_beside_it_a_bundle_keeps_its_own_encoder(made, tmp_path):
    bundle = load_bundle(export_bundle(made / "run", tmp_path / "alone", name="alone"))
    assert bundle.model.flow.config.needs_image
    stored = load_weights(tmp_path / "alone" / "models" / "flow.safetensors")
    assert any(name.startswith("reference.encoder.") for name in stored)


@pytest.mark.parametrize("kind", sorted(STATES))
def test_an_encoder_of_others_goes_from_training_to_a_generated_cine(made, kind, a_patient, tmp_path):
    torch.manual_seed(1)
    weights = tmp_path / f"{kind}.safetensors"
    save_file(STATES[kind](), weights)
    run = trained_like(made, tmp_path / "run", listener=named_encoder(f"{kind}={weights}"))
    export_bundle(run, tmp_path / "bundle", name="heard")
    stated = json.loads((tmp_path / "bundle" / "configs" / "metadata.json").read_text())["cof"]["listener"]
    assert stated["kind"] == kind
    assert not any(weights.stat().st_size == file.stat().st_size for file in (tmp_path / "bundle").rglob("*"))
    with pytest.raises(BundleError, match="--encoder FILE"):
        the_motion(load_bundle(tmp_path / "bundle"), a_patient)
    bundle = load_bundle(tmp_path / "bundle", weights)
    assert np.isfinite(the_motion(bundle, a_patient)).all()
    again = trained_like(made, tmp_path / "run", listener=named_encoder(f"{kind}={weights}"), resume=True)
    assert again == run


def test_an_encoder_of_others_is_for_the_papers_flow_alone(tmp_path):
    weights = tmp_path / "st_mem.safetensors"
    save_file(STATES["st-mem"](), weights)
    with pytest.raises(TrainingError, match="cof-v2"):
        train_stage_two(
            tmp_path / "run", read_configuration("flow", "smoke"), listener=named_encoder(f"st-mem={weights}")
        )


def test_weights_are_refused_by_a_model_that_has_an_encoder_of_its_own(made, tmp_path):
    with pytest.raises(BundleError, match="Leave --encoder out"):
        load_bundle(made / "bundle", tmp_path / "any.safetensors")


def test_the_first_versions_flow_over_physical_time_trains_and_generates(made, a_patient, tmp_path):
    small, first = read_configuration("flow", str(SMALL)), read_configuration("flow", "cof-v1")
    config = replace(small, flow=replace(small.flow, prediction=first.flow.prediction), sampler=first.sampler)
    assert config.flow.prediction == "rate"
    run = trained_like(made, tmp_path / "run", config=config)
    bundle = load_bundle(export_bundle(run, tmp_path / "bundle", name="cof-v1"))
    motion = the_motion(bundle, a_patient)
    assert np.isfinite(motion).all()
    assert np.abs(motion[1:]).max() > 1e-3
    assert np.array_equal(motion, the_motion(bundle, a_patient, seed=1))  # no noise takes part
