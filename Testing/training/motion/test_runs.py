"""Runs of Stage 2: killed and resumed, kept to their configuration, and exported only where their origin is known."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from COFGeneratorLib.errors import BundleError, TrainingError
from COFGeneratorLib.generator.bundle import load_bundle
from COFGeneratorLib.weights import load_weights
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.training.bundles.export import export_bundle
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.motion.stage_two import of_cohort, train_stage_two
from safetensors.torch import load_file


@pytest.fixture
def finished(walked, tmp_path):
    """Return a copy of the walked run that a test may spoil."""
    away = shutil.ignore_patterns("cache", "checkpoints", "teacher")
    return shutil.copytree(walked.folder / "smoke" / "run", tmp_path / "run", ignore=away)


def start(walked, out, **options):
    """Train with the walked run's cohort, examples and encoder."""
    given = {
        "cohort": read_cohort(walked.folder / "smoke" / "cohort"),
        "cache": walked.folder / "smoke" / "run" / "cache",
        "ecg_weights": walked.folder / "smoke" / "run" / "ecg",
    }
    config = options.pop("config", None) or read_configuration("flow", "smoke")
    return train_stage_two(out, config, read_configuration("ecg", "smoke"), workers=1, **{**given, **options})


def test_a_run_killed_twice_ends_with_the_same_weights(walked, tmp_path):
    def kill_at(stage, step):
        def told(where, event):
            if (where, event["event"]) == (stage, "progress") and event["step"] >= step:
                raise KeyboardInterrupt

        return told

    with pytest.raises(KeyboardInterrupt):
        start(walked, tmp_path / "run", told=kill_at("expected", 8))
    with pytest.raises(KeyboardInterrupt):
        start(walked, tmp_path / "run", told=kill_at("fold", 4), resume=True)
    run = start(walked, tmp_path / "run", resume=True)
    expected = json.loads((walked.folder / "smoke" / "run" / "stage2.json").read_text())
    assert json.loads((run / "stage2.json").read_text()) == expected


def test_a_run_on_anchors_of_any_phase_gives_a_model_that_is_told_the_phase(walked, tmp_path):
    config = replace(read_configuration("flow", "smoke"), anchor="any")
    run = start(walked, tmp_path / "run", config=config, cache=tmp_path / "cache")
    assert start(walked, run, config=config, cache=tmp_path / "cache", resume=True) == run
    model = load_bundle(export_bundle(run, tmp_path / "bundle", name="any")).model
    assert model.any_anchor
    maps, condition = torch.rand(1, 3, *model.grid.shape), model.condition(None, "cpu")
    velocity, _ = model.velocities(maps, condition, anchor=0.5)
    assert velocity[:, 3].abs().max() < 1e-6  # of six phases
    assert velocity[:, 0].abs().max() > 0.0
    assert not load_bundle(walked.folder / "smoke" / "bundle").model.any_anchor


def test_a_run_is_not_resumed_with_other_settings_nor_begun_twice(walked):
    run, config = walked.folder / "smoke" / "run", read_configuration("flow", "smoke")
    with pytest.raises(TrainingError, match="--resume"):
        start(walked, run)
    with pytest.raises(TrainingError, match=r"training\.stage\.batch: 4 → 5"):
        start(walked, run, resume=True, config=replace(config, stage=replace(config.stage, batch=5)))
    assert start(walked, run, resume=True) == run  # finished: nothing is done again


def test_test_subjects_are_never_trained_on(walked, tmp_path):
    from COFTrainingLib.training.ecg.ecg_training import load_encoder
    from COFTrainingLib.training.examples import splits
    from COFTrainingLib.training.examples.flow_cache import FlowCache
    from COFTrainingLib.training.examples.flow_data import load_flow_data

    smoke = walked.folder / "smoke"
    cohort = read_cohort(smoke / "cohort")
    marked = [replace(s, split="test" if n % 3 == 0 else "train") for n, s in enumerate(cohort.subjects)]
    data = load_flow_data(FlowCache(smoke / "run" / "cache"), load_encoder(smoke / "run" / "ecg"))
    data = splits.in_splits(tmp_path, data, replace(cohort, subjects=tuple(marked)))
    assert set(data.train) | set(data.valid) == {n for n in range(12) if n % 3}
    assert not set(data.train) & set(data.valid)


def test_a_cohort_that_overlaps_the_calibration_is_refused(walked):
    config = read_configuration("flow", "smoke")
    cohort = read_cohort(walked.folder / "smoke" / "cohort")
    near = replace(config, calibration=replace(config.calibration, first_seed=300_011))
    with pytest.raises(TrainingError, match="no network saw"):
        of_cohort(near, cohort)
    bare = replace(cohort, subjects=tuple(replace(subject, facts={}) for subject in cohort.subjects))
    with pytest.raises(TrainingError, match="have seeds"):
        of_cohort(config, bare)


def test_a_cohort_that_is_too_small_is_refused_before_anything_is_trained(walked, tmp_path):
    cohort = read_cohort(walked.folder / "smoke" / "cohort")
    few = [replace(s, split="train" if n < 5 else "test") for n, s in enumerate(cohort.subjects)]
    with pytest.raises(TrainingError, match="found 5 and 0"):
        start(walked, tmp_path / "run", cohort=replace(cohort, subjects=tuple(few)))
    assert not (tmp_path / "run").exists()


def test_a_stopped_training_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    from COFTrainingLib.training.loop import loop

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_step", stopped)
    assert main(["train", "teacher", "--config", "smoke", "--out", str(tmp_path / "run")]) == 130
    assert f"--resume goes on from the last checkpoint in {tmp_path / 'run'}" in capsys.readouterr().err


def test_an_encoder_that_does_not_fit_is_refused(walked, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    shutil.copyfile(walked.folder / "smoke" / "run" / "flow" / "model.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(TrainingError, match="must fit"):
        start(walked, tmp_path / "run", ecg_weights=tmp_path)
    with pytest.raises(TrainingError, match="cof train ecg"):
        start(walked, tmp_path / "other", ecg_weights=tmp_path / "nowhere")


def test_the_encoder_of_a_bundle_is_adopted_with_what_the_bundle_says_of_it(walked, tmp_path):
    from COFTrainingLib.training.ecg.ecg_training import adopt_encoder, encoder_facts, load_encoder

    bundle = walked.folder / "smoke" / "bundle"
    run = start(walked, tmp_path / "run", ecg_weights=bundle)
    stored, adopted = load_weights(bundle / "models" / "ecg.safetensors"), load_file(run / "ecg" / "model.safetensors")
    assert stored.keys() == adopted.keys()
    assert all(torch.equal(stored[name], adopted[name]) for name in stored)
    facts = load_bundle(export_bundle(run, tmp_path / "again")).metadata["training"]
    assert (facts["steps"]["ecg"], facts["seeds"]["ecg"]) == (12, 0)
    bare = shutil.copytree(bundle, tmp_path / "bare")
    shutil.rmtree(bare / "docs")
    adopt_encoder(bare, tmp_path / "other", None)
    assert load_encoder(tmp_path / "other").config.embedding == 32  # its size is known, its training is not
    assert encoder_facts(tmp_path / "other")["trained_with"] is None
    (bare / "models" / "ecg.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match="altered"):
        adopt_encoder(bare, tmp_path / "third", None)


@pytest.mark.parametrize("name", ["stage2.json", "config.json"])
def test_an_unfinished_run_is_not_exported(finished, tmp_path, name):
    (finished / name).unlink()
    with pytest.raises(TrainingError, match=name):
        export_bundle(finished, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_altered_weights_are_not_exported(finished, tmp_path):
    shutil.copyfile(finished / "expected" / "model.safetensors", finished / "flow" / "model.safetensors")
    with pytest.raises(TrainingError, match="flow are missing or were altered"):
        export_bundle(finished, tmp_path / "bundle")


def test_an_encoder_of_unknown_origin_is_not_exported(finished, tmp_path):
    config = json.loads((finished / "ecg" / "config.json").read_text())
    facts = {"encoder": config["model"]["encoder"], "trained_with": None, "settings": None}
    (finished / "ecg" / "source.json").write_text(json.dumps(facts))
    with pytest.raises(TrainingError, match="how its ECG encoder was trained"):
        export_bundle(finished, tmp_path / "bundle")


def test_a_segmenter_of_unknown_origin_is_not_exported(finished, tmp_path):
    bare = shutil.copytree(finished / "segmenter" / "segmenter", tmp_path / "bare")
    with pytest.raises(TrainingError, match="how its segmenter was trained"):
        export_bundle(finished, tmp_path / "bundle", segmenter=bare)
    with pytest.raises(TrainingError, match=r"segmenter\.json"):
        export_bundle(finished, tmp_path / "bundle", segmenter=tmp_path)


def test_a_cohort_without_a_licence_is_not_exported(finished, tmp_path):
    config = json.loads((finished / "config.json").read_text())
    config["cohort"]["licence"] = "not stated"
    (finished / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="licence"):
        export_bundle(finished, tmp_path / "bundle")


def test_figures_of_other_weights_are_not_put_on_the_card(finished, walked, tmp_path):
    figures = json.loads((walked.folder / "smoke" / "figures.json").read_text())
    (tmp_path / "f.json").write_text(json.dumps(figures | {"weights_sha256": "0" * 64}))
    with pytest.raises(TrainingError, match="own weights"):
        export_bundle(finished, tmp_path / "bundle", metrics=tmp_path / "f.json")
    assert [path.name for path in tmp_path.iterdir() if "bundle" in path.name] == []


def test_what_lies_in_the_way_is_not_replaced_by_an_export(finished, tmp_path, capsys):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("mine")
    assert main(["bundle", "export", "--run", str(finished), "--out", str(tmp_path / "bundle"), "--overwrite"]) == 2
    assert "empty folder" in capsys.readouterr().err
    assert (tmp_path / "bundle" / "thesis.txt").read_text() == "mine"


def test_the_gain_of_a_run_is_the_bundles(finished, tmp_path):
    bundle = load_bundle(export_bundle(finished, tmp_path / "bundle"))
    assert bundle.model.gain == pytest.approx(json.loads((finished / "stage2.json").read_text())["gain"])


def test_a_statement_is_fitted_anew_to_an_encoder_that_stays(walked, tmp_path):
    from COFTrainingLib.training.ecg.ecg_training import adopt_encoder, encoder_facts, load_statement, restate

    bundle, smoke = walked.folder / "smoke" / "bundle", read_configuration("ecg", "smoke")
    config = replace(smoke, statement=replace(smoke.statement, first_seed=smoke.statement.first_seed + 5000))
    run = restate(tmp_path / "ecg", bundle, config)
    stored = load_weights(bundle / "models" / "ecg.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in load_file(run / "model.safetensors").items())
    before, after = load_weights(bundle / "models" / "statement.safetensors"), load_statement(run).state_dict()
    assert any(not torch.allclose(before[name], after[name]) for name in before)
    assert encoder_facts(run)["settings"]["statement"]["first_seed"] == config.statement.first_seed
    adopt_encoder(run, tmp_path / "again", None)
    assert encoder_facts(tmp_path / "again") == encoder_facts(run)
    with pytest.raises(TrainingError, match="already holds a run"):
        restate(tmp_path / "ecg", bundle, config)
