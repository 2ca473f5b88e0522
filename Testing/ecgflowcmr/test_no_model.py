"""No model of this engine ships: who asks for one is told how to make it; one that is there is its engine's alone."""

import shutil

import pytest
from COFGeneratorLib import resources
from COFGeneratorLib.resources import model_bundles, sample_patient


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Return a folder of models in the place of the shipped ones."""
    folder = tmp_path / "Models"
    folder.mkdir()
    monkeypatch.setattr(resources, "models_folders", lambda: [folder])
    return folder


def test_without_a_model_the_command_says_how_to_make_one_and_how_long_it_takes(cof, models, tmp_path):
    out = tmp_path / "out"
    run = cof("generate", "--engine", "ecgflowcmr", "--ecg", sample_patient().ecg, "--out", out)
    assert run.code == 2
    assert "cof train ecgflowcmr --config ecgflowcmr-small --out RUN" in run.err
    assert "of one core" in run.err
    assert "cof ecgflowcmr export --run RUN --out BUNDLE" in run.err
    assert "--model BUNDLE" in run.err
    assert not out.exists()


def test_a_model_of_this_engine_is_offered_to_it_alone(smoke_bundle, models, tmp_path, cof):
    shutil.copytree(smoke_bundle, models / "plane")
    assert [folder.name for folder in model_bundles("ecgflowcmr")] == ["plane"]
    assert model_bundles() == []
    run = cof("generate", "--engine", "ecgflowcmr", "--ecg", sample_patient().ecg, "--out", tmp_path / "out",
              "--frames", 10, "--device", "cpu", "--write", "cine")  # fmt: skip
    assert run.code == 0, run.err
    assert (tmp_path / "out" / "cine.seq.nrrd").is_file()


def test_no_model_of_this_engine_ships():
    assert model_bundles("ecgflowcmr") == []
    assert model_bundles()[0].name == "cof-plus"
