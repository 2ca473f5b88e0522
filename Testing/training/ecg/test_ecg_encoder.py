"""The ECG encoder keeps its contract, and its training learns and resumes exactly."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import EcgError
from COFGeneratorLib.generator.networks.ecg_encoder import (
    LOG_VARIANCES,
    MISHAPS,
    READING_UNITS,
    EcgEncoder,
    EcgEncoderConfig,
    SingleBeats,
)
from COFGeneratorLib.jobs.events import read_events
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.lead_field import DOWER, twelve_leads
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.training.ecg.ecg_cohort import TARGETS, EcgCohort, synthesise_cohort
from COFTrainingLib.training.ecg.ecg_encoder import (
    _electrodes,
    _turns,
    augment,
    calibrate_territories,
    encoder_loss,
    held_out_of,
    jitter_scalars,
    train_ecg_encoder,
)
from scipy.spatial.transform import Rotation

TINY = EcgEncoderConfig(widths=(8, 12, 16, 16), blocks=1, embedding=16)


@pytest.fixture(scope="module")
def cohort():
    return synthesise_cohort(96, seed=5, mishaps=0.2)


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
    assert reading.mishap_logits.shape == (3, len(MISHAPS))
    assert all(getattr(reading, name).shape == (3,) for name in LOG_VARIANCES.values())
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


def test_a_record_unfit_to_tell_teaches_only_that_it_is(cohort):
    torch.manual_seed(0)
    encoder = EcgEncoder(TINY).eval()
    unfit = cohort.targets["mishap"] > 0
    assert 8 < int(unfit.sum()) < 35
    other = {name: value.clone() for name, value in cohort.targets.items()}
    for name in ("ef", "rv_ef", "t_es_over_rr", "qrsd_ms", "infarct_extent"):
        other[name][unfit] = 10.0
    other["territory"][unfit] = 3.0
    reading = encoder.latents(encoder(cohort.beat_mv, cohort.scalars)[0])
    (one, numbers), (two, same) = (encoder_loss(reading, targets) for targets in (cohort.targets, other))
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(numbers["ef_mae_percent"], same["ef_mae_percent"])
    other["ef"][~unfit] += 0.1
    assert encoder_loss(reading, other)[0] > one


def test_territories_become_as_likely_as_they_are_among_natural_records(cohort):
    torch.manual_seed(0)
    encoder = EcgEncoder(TINY)
    with torch.no_grad():  # an encoder that cries infarct, and is sure of it
        encoder.head[-1].bias[len(READING_UNITS) + len(LOG_VARIANCES) :][1:4] += 5.0
    calibrate_territories(encoder, cohort)
    rows = slice(len(cohort) - held_out_of(cohort), None)
    natural = (cohort.targets["mishap"][rows] == 0) & (cohort.targets["natural"][rows] > 0)
    reading = encoder.latents(encoder(cohort.beat_mv[rows], cohort.scalars[rows])[0])
    stated = reading.territory_logits.softmax(1)[natural].mean(0)
    share = torch.bincount(cohort.targets["territory"][rows][natural].long(), minlength=4) / natural.sum()
    torch.testing.assert_close(stated, share, atol=0.06, rtol=0)


def single_beats(cohort, present):
    """Each record's average beat as its single beats, some of them absent."""
    mv = cohort.beat_mv[:4, None].expand(-1, 3, -1, -1).clone()
    mv[:, 2] = 99.0  # never looked at where absent
    rhythm = torch.ones(4, 3, 2)
    return SingleBeats(mv, rhythm, torch.tensor(present).expand(4, 3))


def test_single_beats_are_pooled_by_attention_and_absent_ones_are_not_looked_at(cohort):
    torch.manual_seed(0)
    encoder = EcgEncoder(EcgEncoderConfig(widths=(8, 12, 16, 16), blocks=1, embedding=16, beats=3)).eval()
    beat, scalars = cohort.beat_mv[:4], cohort.scalars[:4]
    alone = encoder(beat, scalars)[0]
    beats = single_beats(cohort, [True, True, False])
    torch.testing.assert_close(encoder(beat, scalars, beats)[0], alone)  # closed at first
    with torch.no_grad():
        encoder.beats.gain.fill_(1.0)
    with_beats = encoder(beat, scalars, beats)[0]
    assert (with_beats - alone).norm() > 1e-3
    other = SingleBeats(beats.mv.clone(), beats.rr_ratio.clone(), beats.present)
    other.mv[:, 2], other.rr_ratio[:, 2] = -5.0, 0.7
    torch.testing.assert_close(encoder(beat, scalars, other)[0], with_beats)
    other.rr_ratio[:, 1] = 0.8
    assert (encoder(beat, scalars, other)[0] - with_beats).norm() > 1e-4
    torch.testing.assert_close(encoder(beat, scalars)[0], alone)  # a record without them is read, too


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
    part = synthesise_cohort(10, seed=5, mishaps=0.2)
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
