"""Recorded ECGs beside synthetic ones: what is known of a heart teaches, what is not teaches nothing."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject
from COFTrainingLib.cohort.synthetic.phantom_files import write_ecg
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.training.ecg.ecg_cohort import TARGETS, EcgCohort, synthesise_cohort
from COFTrainingLib.training.ecg.ecg_encoder import UNKNOWN, encoder_loss, read_batch
from COFTrainingLib.training.ecg.recorded_ecgs import function_of, joined, known_targets, recorded_ecgs


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two persons whose EF the manifest states, one whose EF nobody knows, one to test with."""
    root, rng, subjects = tmp_path_factory.mktemp("recordings"), np.random.default_rng(3), []
    for n, split in enumerate(("train", "train", "train", "test")):
        record, _ = synthesise_ecg(draw_physiology(rng, hr_bpm=70.0, atrial_fibrillation=False), rng)
        (root / f"s{n}").mkdir()
        write_ecg(root / f"s{n}", record)
        facts = {} if n == 2 else {"ef_percent": 30.0 + n, "es_phase": 0.35}
        subjects.append(Subject(f"s{n}", f"s{n}", split, {"ecg": f"s{n}/ecg.hea"}, facts))
    return Cohort(root, CohortHeader("recordings", "table"), tuple(subjects))


@pytest.fixture(scope="module")
def learnt(recordings):
    return recorded_ecgs(recordings)


def test_only_training_subjects_with_a_known_function_are_learnt_from(recordings, learnt):
    assert len(learnt) == 2
    assert learnt.targets["ef"].tolist() == pytest.approx([0.30, 0.31])
    assert learnt.targets["rv_ef"].isnan().all()
    assert learnt.targets["territory"].tolist() == [UNKNOWN, UNKNOWN]
    bare = Cohort(recordings.folder, recordings.header, (recordings.subjects[2],))
    with pytest.raises(TrainingError, match="known EF"):
        recorded_ecgs(bare)
    assert function_of(recordings, recordings.subjects[2]) == {}


def test_what_is_not_known_changes_no_loss_and_no_gradient(learnt):
    torch.manual_seed(0)
    encoder = EcgEncoder(EcgEncoderConfig())
    data = learnt.rows(torch.arange(2))
    reading = read_batch(encoder, data)
    loss, _ = encoder_loss(reading, data)
    assert torch.isfinite(loss)
    loss.backward()
    assert all(value.grad is None or torch.isfinite(value.grad).all() for value in encoder.parameters())
    known = known_targets({"ef": 0.5}, 90.0)
    assert [name for name in TARGETS if np.isfinite(known[name]) and known[name] != UNKNOWN] == [
        "ef", "qrsd_ms", "mishap", "natural",
    ]  # fmt: skip


def test_a_full_record_has_the_loss_that_it_had(learnt):
    made = synthesise_cohort(4, 5)
    torch.manual_seed(0)
    encoder = EcgEncoder(EcgEncoderConfig()).eval()
    with torch.inference_mode():
        alone, _ = encoder_loss(read_batch(encoder, made.rows(torch.arange(4))), made.rows(torch.arange(4)))
        hidden = {**made.rows(torch.arange(4)), "atrial_fraction": torch.full((4,), float("nan"))}
        without, _ = encoder_loss(read_batch(encoder, hidden), hidden)
    assert float(without) < float(alone)


def test_recorded_ecgs_come_first_so_that_synthetic_ones_are_held_out(learnt, tmp_path):
    made = synthesise_cohort(3, 5)
    both = joined(learnt, made)
    assert len(both) == 5
    assert both.beat_mv[2:].equal(made.beat_mv)
    assert both.targets["ef"][:2].equal(learnt.targets["ef"])
    both.save(tmp_path / "cohort.safetensors")
    again = EcgCohort.load(tmp_path / "cohort.safetensors")
    assert again.targets["rv_ef"][:2].isnan().all()
    assert len(again) == 5
