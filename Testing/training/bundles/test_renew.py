"""A new part is put into a bundle: the motion stays, the rest is what was given, and the card says so."""

import json
import shutil

import pytest
from COFGeneratorLib import load_bundle
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.registration.pipeline import find_teacher
from COFGeneratorLib.registration.teacher import RegistrationTeacher
from COFTrainingLib.cli import main
from COFTrainingLib.training.bundles.renew import renew_bundle

REAL_HEARTS = {
    "segmenter": {
        "rows": [{"case": "heart", "phase": "ed", "lv": 0.91, "myo": 0.8, "rv": float("nan"), "volume_ml": 120.0,
                  "truth_ml": 131.0, "held_to_bars": True}],
        "short": ["heart ED LVEDV off by -8.4 %"],
    },
    "localiser": {"rows": [{"centre_error_mm": 4.2}], "refused": {"noise": True}, "short": []},
}  # fmt: skip


@pytest.fixture
def bundle(walked, tmp_path):
    """Return a copy of the walk's bundle, whose run has a teacher and a segmenter."""
    return shutil.copytree(walked.folder / "smoke" / "bundle", tmp_path / "bundle")


def motion_checksums(folder):
    sums = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["checksums"]
    return {name: digest for name, digest in sums.items() if "teacher" not in name and "segmenter" not in name}


def by_the_encoder_alone(folder):
    """Make of a bundle one whose EF is what its ECG encoder states: the kind that an interval is fitted to."""
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    statement = "models/statement.safetensors"
    (folder / statement).unlink()
    metadata["checksums"].pop(statement)
    metadata["cof"].pop("statement")
    metadata["cof"]["ef_z90"] = 1.0
    path.write_text(json.dumps(metadata), encoding="utf-8")


def test_a_teacher_and_an_interval_are_put_into_a_bundle(bundle, walked, tmp_path):
    by_the_encoder_alone(bundle)
    shutil.rmtree(bundle / "models" / "teacher")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    metadata["checksums"] = {name: sum_ for name, sum_ in metadata["checksums"].items() if "teacher" not in name}
    metadata["cof"].pop("teacher")
    metadata.pop("teacher")
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    run, out = walked.folder / "smoke" / "run" / "teacher", tmp_path / "renewed"
    figures = tmp_path / "real.json"
    figures.write_text(json.dumps(REAL_HEARTS), encoding="utf-8")
    arguments = ["bundle", "renew", str(bundle), "--teacher", str(run), "--interval", "6", "--out", str(out)]
    assert main([*arguments, "--real-hearts", str(figures)]) == 0
    renewed, before = load_bundle(out), load_bundle(bundle)
    assert motion_checksums(out) == motion_checksums(bundle)
    assert RegistrationTeacher.load(find_teacher(out)).config.plane == (32, 32)
    assert (renewed.model.ef_z90, renewed.model.ef_shift) != (before.model.ef_z90, before.model.ef_shift)
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert "cof train teacher --out run/teacher" in card
    assert "60 steps on 6 phantoms from seed 50000" in card
    assert "| heart | ED | 0.91 | 0.80 | – | 120 (131) |" in card
    assert "LVEDV off by -8.4 %" in card


def test_figures_stay_on_the_card_only_where_they_are_of_the_same_weights(bundle, walked, tmp_path):
    kept = renew_bundle(bundle, tmp_path / "kept")
    assert (kept / "docs" / "metrics.json").read_bytes() == (bundle / "docs" / "metrics.json").read_bytes()
    by_the_encoder_alone(bundle)
    changed = renew_bundle(bundle, tmp_path / "changed", interval_records=4)
    assert not (changed / "docs" / "metrics.json").exists()
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"weights_sha256": "0" * 64, "arms": {}}), encoding="utf-8")
    with pytest.raises(TrainingError, match="of the model's own weights"):
        renew_bundle(bundle, tmp_path / "refused", metrics=other)
    assert not (tmp_path / "refused").exists()


def test_what_is_no_training_of_a_teacher_is_named(bundle, tmp_path):
    with pytest.raises(TrainingError, match="finished run of cof train teacher"):
        renew_bundle(bundle, tmp_path / "out", teacher=tmp_path)
    with pytest.raises(TrainingError, match="--overwrite"):
        renew_bundle(bundle, bundle)
