"""The statement of EF is fitted to an encoder: limits flag few of the training's own, intervals cover what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecg import analyse_ecg
from COFGeneratorLib.generator.ef_statement import EfEstimator, EfStatement, StatementConfig
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.training.ecg.ecg_training import EcgTraining, adopt_encoder, load_encoder, load_statement, train_ecg
from COFTrainingLib.training.ecg.statement_cohort import draw_statement_cohort, far_out_record, subject_measures
from COFTrainingLib.training.ecg.statement_training import (
    FLAGGED,
    StatementTraining,
    conformal_z,
    fit_domain,
    fit_estimator,
    fit_statement,
    read_cohort,
)
from COFTrainingLib.training.loop.loop import LoopConfig

TINY = EcgEncoderConfig(widths=(8, 12), blocks=1, embedding=16)
SMALL = StatementTraining(patients=24, held_out=10, far_out=4, components=6, hidden=12, steps=60)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return EcgEncoder(TINY).eval()


@pytest.fixture(scope="module")
def cohort():
    return draw_statement_cohort(48, 900)


def test_a_patient_depends_on_its_seed_alone(cohort):
    part = draw_statement_cohort(3, 902)
    torch.testing.assert_close(part.measures, cohort.measures[2:5])
    torch.testing.assert_close(part.ef, cohort.ef[2:5])
    assert len(cohort) > 44
    assert 0.05 < float((cohort.ef < 0.40).float().mean()) < 0.35


def test_a_failing_heart_measures_larger():
    rng = np.random.default_rng(0)
    healthy = {"infarct_territory": "", "hypertrophy": False, "rv_load": "", "athlete": False, "sex": "m"}
    well, ill = (
        np.mean([subject_measures(draw_subject(seed, ef=ef, **healthy), rng) for seed in range(6)], axis=0)
        for ef in (0.60, 0.25)
    )
    assert ill[0] > well[0] + 0.25  # log of LV volume
    assert ill[3] > well[3] + 0.1  # diameter
    assert ill[7] < well[7]  # the right ventricle beside it


def test_limits_flag_few_of_the_own_kind_and_most_of_the_far_out(encoder, cohort):
    statement = EfStatement(StatementConfig(16, 6, 8))
    embedding, reading = read_cohort(encoder, cohort)
    fit_domain(statement.domain, (embedding, cohort.scalars), (embedding, reading), cohort)
    domain = statement.domain
    flagged = (domain.distance(embedding) > domain.distance_limit) | (
        domain.excess(cohort.scalars).amax(dim=1) > domain.scalar_limit
    )
    assert flagged.float().mean() <= max(FLAGGED, 1 / len(cohort))
    assert domain.distance(embedding).mean() == pytest.approx(1.0, abs=0.15)
    away = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(0))
    assert (domain.distance(embedding + 6.0 * embedding.std(dim=0) * away) > domain.distance_limit).all()


def test_the_width_is_the_conformal_quantile():
    errors = torch.arange(1, 10) / 10
    assert conformal_z(errors, torch.ones(9), 0.9) == pytest.approx(0.9)  # ceil(0.9 · 10) = the ninth of nine
    rng = np.random.default_rng(0)
    sds = torch.from_numpy(rng.uniform(0.01, 0.05, 4000))
    errors = 1.4 * sds * torch.from_numpy(rng.standard_t(4, 4000))
    z90 = conformal_z(errors[:2000], sds[:2000], 0.9)
    assert float((errors[2000:].abs() <= z90 * sds[2000:]).double().mean()) == pytest.approx(0.9, abs=0.025)


def test_far_out_records_differ_from_the_record_they_come_from():
    rng = np.random.default_rng(0)
    record, _ = synthesise_ecg(draw_subject(3).physiology, rng)
    for _ in range(6):
        other = far_out_record(record, rng)
        scale = np.ptp(other.signal_mv) / np.ptp(record.signal_mv)
        assert other.fs_hz != record.fs_hz or not 0.5 < scale < 1.15


def test_an_estimator_learns_mean_and_spread():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3000, 4, generator=generator) * torch.tensor([3.0, 0.1, 1.0, 50.0])
    sd = 0.02 + 0.06 * (values[:, 2] > 0)  # surer for one half than for the other
    ef = 0.5 + 0.03 * values[:, 0] + sd * torch.randn(3000, generator=generator)
    estimator = EfEstimator(4, 16)
    fit_estimator(estimator, values[:2000], ef[:2000], 600)
    with torch.inference_mode():
        mean, stated = estimator(values[2000:])
    assert (mean - 0.5 - 0.03 * values[2000:, 0]).abs().mean() < 0.012
    wide = values[2000:, 2] > 0.5
    assert stated[wide].mean() == pytest.approx(0.08, rel=0.25)
    assert stated[values[2000:, 2] < -0.5].mean() == pytest.approx(0.02, rel=0.4)


@pytest.mark.slow
def test_the_fitted_statement_speaks_and_never_narrows_where_it_doubts(encoder, cohort):
    statement = fit_statement(encoder, SMALL)
    assert (statement.widths[:, 1] >= statement.widths[:, 0]).all()
    torch.testing.assert_close(statement.widths[:, 2], statement.widths[:, 1])
    assert 0.45 < float(statement.prior[0]) < 0.65
    cycle = analyse_ecg(synthesise_ecg(draw_subject(7).physiology, np.random.default_rng(7))[0])
    stated = statement.state(encoder, cycle, cohort.measures[0].numpy())
    assert 0.05 <= stated.mean <= 0.80
    assert "10 synthetic patients" in stated.notes[-1]


@pytest.mark.slow
def test_a_run_leaves_encoder_and_statement_and_both_are_adopted(tmp_path):
    loop = LoopConfig(4, warmup_steps=0, log_every=2, checkpoint_every=2, seed=1, device="cpu", threads=1)
    config = EcgTraining(
        batch=8, records=40, held_out=20, encoder=TINY, loop=loop,
        statement=replace(SMALL, patients=8, held_out=6, far_out=2, steps=10),
    )  # fmt: skip
    train_ecg(tmp_path / "run", config)
    adopt_encoder(tmp_path / "run", tmp_path / "taken", TINY)
    cycle = analyse_ecg(synthesise_ecg(draw_subject(7).physiology, np.random.default_rng(7))[0])
    first, second = (
        load_statement(folder).state(load_encoder(folder), cycle, None)
        for folder in (tmp_path / "run", tmp_path / "taken")
    )
    assert first == second
    assert load_encoder(tmp_path / "run").territory_factor != 1.0  # calibrated
