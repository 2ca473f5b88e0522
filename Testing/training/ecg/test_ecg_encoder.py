"""The ECG encoder keeps its contract, and its training learns and resumes exactly."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import EcgError
from COFGeneratorLib.generator.networks.ecg_encoder import READING_UNITS, EcgEncoder, EcgEncoderConfig
from COFGeneratorLib.jobs.events import read_events
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.lead_field import DOWER, twelve_leads
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.training.ecg.ecg_cohort import TARGETS, EcgCohort, synthesise_cohort
from COFTrainingLib.training.ecg.ecg_encoder import (
    _electrodes,
    _turns,
    augment,
    encoder_loss,
    jitter_scalars,
    train_ecg_encoder,
)
from scipy.spatial.transform import Rotation

TINY = EcgEncoderConfig(widths=(8, 12, 16, 16), blocks=1, embedding=16)


@pytest.fixture(scope="module")
def cohort():
    return synthesise_cohort(96, seed=5)


@pytest.fixture(scope="module")
def cohort_file(cohort, tmp_path_factory):
    path = tmp_path_factory.mktemp("ecg") / "cohort.safetensors"
    cohort.save(path)
    return path


def test_shapes_are_those_of_the_contract(cohort):
    encoder = EcgEncoder()
    embedding, tokens = encoder(cohort.beat_mv[:3], cohort.scalars[:3])
    assert embedding.shape == (3, 128)
    assert tokens.shape == (3, 16, 128)
    reading = encoder.latents(embedding)
    assert reading.ef.shape == (3,)
    assert reading.territory_logits.shape == (3, 4)
    assert reading.conduction_logits.shape == (3, 3)
    assert 3e5 < sum(parameter.numel() for parameter in encoder.parameters()) < 1.2e6


def test_a_raw_record_is_encoded_whatever_its_rate():
    torch.manual_seed(0)
    encoder = EcgEncoder().eval()
    results = []
    for fs_hz in (250.0, 1000.0):
        rng = np.random.default_rng(1)
        record, _ = synthesise_ecg(draw_physiology(rng), rng, fs_hz=fs_hz, noise=0.0)
        results.append(encoder.encode(record.signal_mv, fs_hz))
    assert results[0][0].shape == (128,)
    assert results[0][1].shape == (16, 128)
    similarity = torch.nn.functional.cosine_similarity(results[0][0], results[1][0], dim=0)
    assert similarity > 0.99
    with pytest.raises(EcgError):
        encoder.encode(np.zeros((12, 5000)), 500.0)


def test_amplitude_reaches_the_embedding(cohort):
    torch.manual_seed(0)
    encoder = EcgEncoder().eval()
    beat, scalars = cohort.beat_mv[:8], cohort.scalars[:8]
    base = encoder(beat, scalars)[0]
    louder = encoder(1.5 * beat, scalars)[0]
    assert ((base - louder).norm(dim=1) > 0.02 * base.norm(dim=1)).all()


def test_every_parameter_gets_a_finite_gradient(cohort):
    torch.manual_seed(0)
    encoder = EcgEncoder()
    with torch.no_grad():  # the branches start closed
        for name, parameter in encoder.named_parameters():
            if name.endswith("gain"):
                parameter.fill_(0.5)
    embedding, tokens = encoder(cohort.beat_mv[:16], cohort.scalars[:16])
    targets = {name: value[:16] for name, value in cohort.targets.items()}
    loss, _ = encoder_loss(encoder.latents(embedding), targets, weight=0.25)
    (loss + tokens.square().mean()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("scale", [0.0, 20.0])
def test_absurd_input_gives_no_nan(scale):
    encoder = EcgEncoder()
    embedding, tokens = encoder(torch.full((2, 12, 256), scale), torch.full((2, 12), 1e4 * scale))
    reading = encoder.latents(embedding)
    assert all(torch.isfinite(value).all() for value in (embedding, tokens, *reading))


def test_a_cohort_does_not_depend_on_chunks_and_survives_its_file(cohort, cohort_file):
    again = EcgCohort.load(cohort_file)
    torch.testing.assert_close(again.scalars, cohort.scalars)
    torch.testing.assert_close(again.beat_mv, cohort.beat_mv, atol=2e-3, rtol=2e-3)
    assert set(again.targets) == set(TARGETS)
    part = synthesise_cohort(10, seed=5)
    torch.testing.assert_close(part.beat_mv, cohort.beat_mv[:10])
    for name, (centre, scale) in READING_UNITS.items():
        value = cohort.targets[name]
        assert (value.mean() - centre).abs() < 1.2 * scale, name


def test_augmentation_is_seeded_and_mild(cohort):
    first, second = (augment(cohort.beat_mv, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, second)
    similarity = torch.nn.functional.cosine_similarity(first.flatten(1), cohort.beat_mv.flatten(1))
    assert similarity.median() > 0.85
    scalars = jitter_scalars(cohort.scalars, torch.Generator().manual_seed(3))
    assert (scalars[cohort.scalars == 0] == 0).all()


def test_a_turned_heart_is_seen_as_its_leads_would_see_it():
    field = torch.from_numpy(twelve_leads(DOWER)).float()
    vector = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor([[0.0, 0.0, 0.3], [0.1, -0.2, 0.0]])
    matrix = _turns(turn)
    rotation = torch.from_numpy(Rotation.from_rotvec(turn.numpy()).as_matrix()).float()
    torch.testing.assert_close(matrix @ field @ vector, field @ rotation @ vector, atol=1e-5, rtol=0)
    outside = torch.eye(12) - field @ torch.linalg.pinv(field)
    torch.testing.assert_close(matrix @ outside, outside.expand(2, -1, -1), atol=1e-5, rtol=0)


def test_slipping_electrodes_mix_neighbours_only():
    mixing = _electrodes(torch.tensor([[0.1, -0.1, 0.0, 0.2, 0.0, 0.3]]))[0]
    torch.testing.assert_close(mixing.sum(dim=1), torch.ones(12))
    torch.testing.assert_close(mixing[:6, :6], torch.eye(6))
    assert mixing[6, 7] == pytest.approx(0.1)
    assert mixing[7, 6] == pytest.approx(0.1)
    assert mixing[11, 11] == pytest.approx(1.0)  # nothing lies beyond V6


@pytest.mark.slow
def test_a_tiny_training_learns_and_resumes_exactly(cohort_file, tmp_path):
    from COFTrainingLib.training.loop.loop import LoopConfig

    loop = LoopConfig(
        60, learning_rate=3e-3, ema_decay=0.9, log_every=10, checkpoint_every=20, seed=1, device="cpu", threads=1
    )
    cohort = EcgCohort.load(cohort_file)
    setup = {"cohort": cohort, "records": len(cohort), "batch": 32, "encoder": TINY, "loop": loop}
    whole = train_ecg_encoder(tmp_path / "whole", **setup)
    losses = [event["loss"] for event in read_events(whole.run / "events.jsonl") if event["event"] == "progress"]
    assert losses[-1] < 0.8 * losses[0]

    class Killed(Exception):
        pass

    def kill(event):
        if event["event"] == "progress" and event["step"] == 50:
            raise Killed

    with pytest.raises(Killed):
        train_ecg_encoder(tmp_path / "cut", **setup, progress=kill)
    resumed = train_ecg_encoder(tmp_path / "cut", **setup, resume=True)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
