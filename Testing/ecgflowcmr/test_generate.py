"""End to end: training in small, bundle, command line."""

import json

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecgflowcmr.bundle import ENGINE, load_ecgflow_bundle
from COFGeneratorLib.ecgflowcmr.generate import generate_from_ecg, plane_ijk_to_ras
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.ecgflowcmr.read_outs import measure_plane
from COFGeneratorLib.errors import BundleError, FunctionError, TrainingError
from COFGeneratorLib.generator.bundle import load_bundle
from COFGeneratorLib.resources import engine_of, sample_patient
from COFTrainingLib.training.ecgflowcmr.settings import read_settings
from COFTrainingLib.training.ecgflowcmr.stages import load_pa_mae, run_stage
from safetensors.torch import load_file

FILES = {
    "cine.seq.nrrd", "labels.seq.nrrd", "scene.mrb", "ecg.csv", "function.json", "function.csv", "preview.png",
    "preview.gif", "run.json",
}  # fmt: skip


@pytest.fixture(scope="session")
def visible(smoke_bundle):
    """Return the smoke bundle without its segmenter, whose eight steps see no heart yet."""
    bundle = load_ecgflow_bundle(smoke_bundle)
    bundle.segmenter = None
    return bundle


def test_the_encoder_in_the_bundle_is_the_fine_tuned_one(smoke_run, smoke_bundle):
    before = load_pa_mae(smoke_run, read_settings("ecgflowcmr-smoke")).state_dict()
    trained = load_file(smoke_run / "amdf" / "model.safetensors")
    inside = load_ecgflow_bundle(smoke_bundle).model.amdf.pa_mae.state_dict()
    name = "stages.0.first.weight"
    assert torch.allclose(inside[name], trained[f"pa_mae.{name}"], atol=1e-3)
    assert not torch.allclose(inside[name], before[name], atol=1e-4)
    norm = "stages.0.norm_1.running_mean"
    assert torch.allclose(inside[norm], before[norm], atol=1e-2)


def test_a_cine_is_a_function_of_ecg_and_seed(visible, record):
    one, again = (generate_from_ecg(record, visible, seed=4, device="cpu") for _ in range(2))
    other = generate_from_ecg(record, visible, seed=5, device="cpu")
    assert np.array_equal(one.frames, again.frames)
    assert not np.array_equal(one.frames, other.frames)
    assert one.frames.shape == (10, 1, 32, 32)
    assert one.motion is None
    assert one.function is None
    assert np.median(one.provenance["cycle_rr_ms"]) == pytest.approx(one.rr_ms, abs=0.1)
    assert one.time_ms[1] == pytest.approx(one.rr_ms / 10)


def test_the_command_writes_a_whole_result_and_says_whose_anatomy_it_is_not(cof, visible, smoke_bundle, tmp_path):
    run = cof("generate", "--engine", "ecgflowcmr", "--ecg", sample_patient().ecg, "--model", smoke_bundle,
              "--out", tmp_path / "out", "--frames", 12, "--device", "cpu", "--samples", 2)  # fmt: skip
    assert run.code == 0, run.err
    assert "NOT the patient's" in run.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["engine"] == "ecgflowcmr"
    assert "NOT the patient's" in " ".join(facts["warnings"])
    assert facts["anatomy"] == "synthetic: not the patient's"
    assert set(facts["inputs"]) == {"ecg"}
    assert str(tmp_path) not in json.dumps(facts)
    function = json.loads((tmp_path / "out" / "function.json").read_text())
    assert "NOT the patient's" in function["notice"]
    assert not any("volume" in name or name.startswith("ef") for name in function)
    assert len(function["lv_area_mm2"]) == 12
    assert function["samples"]["count"] == 2


def test_an_image_is_refused_and_so_is_a_bundle_of_the_other_engine(cof, smoke_bundle, tmp_path):
    patient = sample_patient()
    run = cof("generate", "--engine", "ecgflowcmr", "--ecg", patient.ecg, "--anchor", patient.anchor,
              "--model", smoke_bundle, "--out", tmp_path / "a")  # fmt: skip
    assert run.code == 2
    assert "no image" in run.err
    run = cof("generate", "--ecg", patient.ecg, "--out", tmp_path / "b")
    assert run.code == 2
    assert "--anchor" in run.err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BundleError, match="of the engine ecgflowcmr"):
        load_bundle(smoke_bundle)
    assert "networks built" in cof("bundle", "verify", smoke_bundle).out
    assert engine_of(smoke_bundle) == ENGINE
    assert engine_of(tmp_path) != ENGINE


def test_an_altered_bundle_is_refused(smoke_bundle, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(smoke_bundle, copy)
    path = copy / "models" / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match="altered"):
        load_ecgflow_bundle(copy)


def test_stages_share_one_configuration_and_need_each_other(smoke_run, tmp_path):
    with pytest.raises(TrainingError, match="these tables differ"):
        run_stage("vae", smoke_run, read_settings("ecgflowcmr-small"))
    with pytest.raises(TrainingError, match="finished stage 'pa-mae'"):
        load_pa_mae(tmp_path, read_settings("ecgflowcmr-smoke"))


def test_a_finished_stage_resumes_to_the_same_weights(smoke_run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(smoke_run, copy)
    shutil.rmtree(copy / "amdf" / "checkpoints" / "step-00000008")
    best = copy / "amdf" / "checkpoints" / "best.json"
    if json.loads(best.read_text())["step"] == 8:  # else step 4 is the better one, with and without an interruption
        best.unlink()
    (copy / "amdf" / "model.safetensors").unlink()
    run_stage("amdf", copy, read_settings("ecgflowcmr-smoke"), resume=True)
    one, two = (load_file(folder / "amdf" / "model.safetensors") for folder in (smoke_run, copy))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_areas_and_their_change_follow_closed_forms():
    phase = 2 * np.pi * np.arange(50) / 50
    area = 300.0 + 100.0 * np.cos(phase - 2 * np.pi * 0.9)
    report = measure_plane(np.stack([area, area, area], axis=1), 2.0, 1000.0, "sax")
    assert report.ed_area_mm2 == pytest.approx(1600.0, rel=0.01)
    assert report.fac_percent == pytest.approx(50.0, abs=0.5)
    assert report.es_time_ms == pytest.approx(400.0, abs=5.0)
    with pytest.raises(FunctionError, match="LV cavity"):
        measure_plane(np.zeros((10, 3)), 2.0, 1000.0, "sax")


@pytest.mark.parametrize("plane", ["sax", "four-chamber"])
def test_the_plane_lies_squarely_around_the_origin(plane):
    matrix = plane_ijk_to_ras(PlaneGrid(plane, 10, 33, 2.0))
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.allclose(matrix @ [16, 16, 0, 1], [0, 0, 0, 1])
    assert np.linalg.norm(matrix[:3, 0]) == pytest.approx(2.0)


def test_the_encoder_answers_the_contract_of_all_encoders(smoke_bundle, record):
    from COFGeneratorLib.ecgflowcmr.encoder import PaMaeEncoder

    found = PaMaeEncoder.of_bundle(smoke_bundle).encode(record.signal_mv, record.fs_hz)
    assert [tuple(part.shape) for part in found] == [(16,), (50, 16)]
    assert torch.allclose(found[0], found[1].mean(dim=0))


@pytest.mark.slow
def test_a_four_chamber_model_trains_and_draws_its_plane(record, tmp_path):
    from COFTrainingLib.training.ecgflowcmr.export import export_ecgflow
    from COFTrainingLib.training.ecgflowcmr.stages import STAGES

    path = tmp_path / "four.toml"
    path.write_text(
        'base = "ecgflowcmr-smoke"\n[data]\ngrid = {plane = "four-chamber", frames = 8, size = 32, pixel_mm = 5.0}\n'
        "records = 6\n[pa_mae.loop]\nsteps = 40\n"
    )
    config = read_settings(path)
    for stage in STAGES:
        run_stage(stage, tmp_path / "run", config)
    bundle = load_ecgflow_bundle(export_ecgflow(tmp_path / "run", tmp_path / "bundle", name="four"))
    bundle.segmenter = None  # its eight steps see no heart yet
    cine = generate_from_ecg(record, bundle, device="cpu")
    assert bundle.metadata["cof"]["grid"]["plane"] == "four-chamber"
    assert cine.frames.shape == (8, 1, 32, 32)
    rows = cine.anchor.ijk_to_ras[:3, 1]
    assert rows @ np.array(plane_ijk_to_ras(PlaneGrid("sax"))[:3, 1]) < 0.9 * np.linalg.norm(rows) ** 2


def test_the_encoder_contract_is_kept_for_records_of_any_rate_and_length(smoke_bundle, record):
    from inspect import signature

    from COFGeneratorLib.ecgflowcmr.encoder import CYCLE_TOKENS, PaMaeEncoder
    from COFGeneratorLib.errors import EcgError
    from COFGeneratorLib.generator.encoders.signals import AnyEcgEncoder, EcgEmbedding

    encoder = PaMaeEncoder.of_bundle(smoke_bundle)
    assert list(signature(encoder.encode).parameters) == list(signature(AnyEcgEncoder.encode).parameters)[1:]
    short = encoder.encode(record.signal_mv[:, ::2][:, :1500], record.fs_hz / 2)
    assert isinstance(short, EcgEmbedding)
    assert short.tokens.shape[0] == CYCLE_TOKENS
    assert torch.isfinite(short.tokens).all()
    with pytest.raises(EcgError, match="at least"):
        encoder.encode(record.signal_mv[:, :500], record.fs_hz)
