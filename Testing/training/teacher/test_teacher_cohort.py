"""The teacher on a cohort's own images: cines of phantoms, and two labelled frames of a real patient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import TrainingError
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.importers.acdc import import_acdc
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
from COFTrainingLib.cohort.synthetic.synthesis import synthesize
from COFTrainingLib.phantom.prevalence import NATURAL
from COFTrainingLib.training.configurations import read_configuration
from COFTrainingLib.training.teacher.teacher_cohort import cohort_pairs, load_frames


@pytest.fixture(scope="module")
def cines(tmp_path_factory):
    """Return three phantoms with four frames each."""
    options = PhantomOptions(NATURAL, cines=True, frames=4, spacing_mm=(16.0, 3.2))
    return synthesize(tmp_path_factory.mktemp("cines") / "c", 3, 8_100_000, options)


@pytest.mark.slow
def test_batches_have_what_the_objective_needs_and_are_the_same_for_a_step(cines):
    config = read_configuration("teacher", "smoke")
    pairs, held_out = cohort_pairs(cines, config)
    batch, again = pairs(3), pairs(3)
    depth = batch["anchor"].shape[2]
    assert batch["anchor"].shape == batch["target"].shape == (2, 1, depth, *config.network.plane)
    assert batch["anchor_labels"].shape == batch["target_labels"].shape == (2, 3, depth, *config.network.plane)
    assert set(np.unique(batch["target_labels"])) <= {0.0, 1.0}
    assert all(torch.equal(batch[key], again[key]) for key in batch if key != "names")
    trained = {name.split("@")[0] for step in range(6) for name in pairs(step)["names"]}
    validated = {name.split("@")[0] for step in range(6) for name in held_out(step)["names"]}
    assert not trained & validated


def test_the_cavity_is_smaller_in_a_systolic_target(cines):
    frames = load_frames(cines, cines.subjects[0], read_configuration("teacher", "smoke").network)
    volume = frames.labels[:, 0].sum(dim=(1, 2, 3))
    assert volume[1:].min() < 0.8 * volume[0]


def test_the_command_trains_on_a_cohort(cines, tmp_path):
    (tmp_path / "few.toml").write_text('base = "smoke"\n[teacher.loop]\nsteps = 2\ncheckpoint_every = 2\n')
    asked = ["train", "teacher", "--cohort", str(cines.folder), "--out", str(tmp_path / "t"), "--quiet"]
    assert main([*asked, "--config", str(tmp_path / "few.toml")]) == 0
    assert (tmp_path / "t" / "teacher" / "model.safetensors").is_file()


def test_a_cohort_without_labelled_frames_is_refused(cines):
    bare = replace(cines, subjects=tuple(replace(s, files={"anchor": s.files["anchor"]}) for s in cines.subjects))
    with pytest.raises(TrainingError, match="--cines"):
        cohort_pairs(bare, read_configuration("teacher", "smoke"))


def test_a_real_patients_two_frames_become_a_pair(shared_data, tmp_path):
    folder = tmp_path / "acdc" / "patient001"
    folder.mkdir(parents=True)
    for path in (shared_data / "mri" / "acdc-patient001").iterdir():
        (folder / path.name).symlink_to(path)
    import_acdc(tmp_path / "acdc", tmp_path / "out")
    cohort = read_cohort(tmp_path / "out")
    frames = load_frames(cohort, cohort.subjects[0], read_configuration("teacher", "cof-plus").network)
    volume = frames.labels[:, 0].sum(dim=(1, 2, 3))
    # the dilated heart of this patient ejects 23.7 % (expert labels); the coarse grid may change it by a few points
    assert 100 * (1 - float(volume[1] / volume[0])) == pytest.approx(23.7, abs=5.0)
