"""The phenotype head: what it is told, and that the flow does not bend it; windows of ECGs; warm starts."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecgflowcmr.model import Amdf
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae, PaMaeConfig
from COFGeneratorLib.ecgflowcmr.phenotype import PhenotypeHead
from COFGeneratorLib.ecgflowcmr.transformer import DitConfig, VelocityTransformer
from COFGeneratorLib.errors import BundleError, TrainingError
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.training.ecgflowcmr.data import RHYTHMS, TRUTHS, Examples, make_records, truths_of
from COFTrainingLib.training.ecgflowcmr.settings import read_settings
from COFTrainingLib.training.ecgflowcmr.stages import run_stage
from COFTrainingLib.training.ecgflowcmr.train_amdf import amdf_loss
from COFTrainingLib.training.ecgflowcmr.train_pa_mae import phase_loss, phenotype_loss
from COFTrainingLib.training.ecgflowcmr.warm_start import take_over
from COFTrainingLib.training.ecgflowcmr.windows import cut, true_cycles, whole, with_cycles
from safetensors.torch import load_file
from torch import nn

NAMES = ("ef", "qrsd_ms")
CONFIG = PaMaeConfig((8, 8, 12, 16), 1, (1, 1, 2, 4), 16, (12, 8, 8, 8), 8, phenotypes=NAMES, phenotype_hidden=8)


@pytest.fixture(scope="module")
def records():
    """Return six phantom ECGs without images."""
    return make_records(41, 6, read_settings("ecgflowcmr-smoke").data)


def test_a_reading_is_the_same_in_standard_and_own_units():
    head = PhenotypeHead(16, NAMES, 8)
    values = torch.tensor([[0.62, 140.0], [0.30, float("nan")]])
    told = head.in_units(head.standard(values))
    assert told["ef"].tolist() == pytest.approx([0.62, 0.30])
    assert told["qrsd_ms"][0] == pytest.approx(140.0)
    assert torch.isnan(told["qrsd_ms"][1])
    with pytest.raises(BundleError, match="colour"):
        PhenotypeHead(16, ("colour",), 8)


def test_a_configuration_with_an_unknown_phenotype_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "ecgflowcmr-smoke"\n[pa_mae.network]\nphenotypes = ["age"]\n')
    with pytest.raises(TrainingError, match="age"):
        read_settings(path)
    assert read_settings("ecgflowcmr").pa_mae.network.phenotypes == ()


def test_what_is_not_known_costs_nothing():
    model = PaMae(CONFIG)
    batch = {
        "phenotypes": torch.tensor([[0.55, float("nan")], [0.65, 100.0], [0.10, 50.0]]),
        "real": torch.tensor([[True], [True], [False]]),  # the third has no cycle to be read from
    }
    reading = torch.zeros(3, 2)
    assert float(phenotype_loss(model.phenotype, reading, batch)) == pytest.approx((0 + 1 + 0) / 3)
    reading[0, 1] = reading[2, 0] = 9.0
    assert float(phenotype_loss(model.phenotype, reading, batch)) == pytest.approx(1 / 3)


def test_the_flow_hears_the_reading_and_does_not_bend_it():
    config = DitConfig(6, 2, 3, 1, 16, 1, 2, 2, 16, 50, False, 2 + len(NAMES))
    amdf = Amdf(PaMae(CONFIG), VelocityTransformer(config))
    for layer in (amdf.velocity.last, amdf.velocity.last_modulation):
        nn.init.normal_(layer.weight, std=0.1)
    signal, bounds = torch.randn(2, 12, 800), torch.tensor([[[10.0, 60.0]], [[20.0, 90.0]]])
    real = torch.ones(2, 1, dtype=torch.bool)
    tokens, scalars, _ = amdf.condition(signal, bounds, real)
    assert scalars.shape == (2, 4)
    z, t = torch.randn(2, 3, 6, 2, 2), torch.rand(2)
    moved = scalars.detach().clone()
    moved[:, 2] += 3.0
    assert not torch.allclose(amdf(z, t, tokens, scalars), amdf(z, t, tokens, moved), atol=1e-4)

    settings = read_settings("ecgflowcmr-smoke")
    from dataclasses import replace

    settings = replace(settings, amdf=replace(settings.amdf, phase=0.0, phenotype=0.0, encoder_gradient=0.0, drop=0.0))
    batch = {
        "signal": signal, "bounds": bounds, "real": real, "latent": torch.randn(2, 3, 6, 2, 2),
        "phase": torch.zeros(2, 2, 100), "known": torch.ones(2, 100), "phenotypes": torch.full((2, 2), torch.nan),
    }  # fmt: skip
    total, _ = amdf_loss(settings, torch.zeros(1, 3, 1, 2, 2))(amdf, batch, torch.Generator().manual_seed(0))
    total.backward()
    assert amdf.velocity.overall[0].weight.grad.abs().sum() > 0
    for value in amdf.pa_mae.parameters():
        assert value.grad is None or not value.grad.any()


def test_records_without_images_have_the_physiology_of_the_subject(records):
    assert records.clips is None
    for seed, truth in zip(records.seeds.tolist(), records.truths_by_ecg(), strict=True):
        assert truth.tolist() == pytest.approx(truths_of(draw_subject(seed, RHYTHMS).physiology), rel=1e-5)


def test_a_window_holds_a_whole_cycle_at_its_place(records):
    cycles = true_cycles(records)
    rng = np.random.default_rng(0)
    batch, inside = cut(records, np.arange(6), cycles, 1280, rng)
    assert batch["signal"].shape == (6, 12, 1280)
    assert batch["phase"].shape == (6, 2, 160)
    for number, own in enumerate(inside):
        assert len(own) >= 1
        for start in own[:, 0]:  # phase is a whole turn where a cycle begins
            near = batch["phase"][number, :, round(float(start))]
            assert near[1] > 0.8
    filled = with_cycles(batch, inside, records.truths_by_ecg(), NAMES)
    assert filled["phenotypes"][:, 0].tolist() == pytest.approx(records.truths[:, TRUTHS.index("ef")].tolist())
    assert filled["real"].any(dim=1).all()


def test_a_record_without_a_cycle_has_none_that_is_real(records):
    batch = with_cycles(whole(records, [0]), [np.empty((0, 2))], records.truths[:1], NAMES)
    assert not batch["real"].any()
    assert batch["bounds"].shape == (1, 1, 2)


def test_the_phase_error_counts_more_at_r():
    wanted = torch.tensor([[[0.0, 0.0], [1.0, -1.0]]])  # R, and half a turn away
    known = torch.ones(1, 2)
    at_r, away = wanted.clone(), wanted.clone()
    at_r[0, 1, 0] += 1.0
    away[0, 1, 1] += 1.0
    assert phase_loss(at_r, wanted, known) == phase_loss(away, wanted, known)
    assert phase_loss(at_r, wanted, known, 3.0) == pytest.approx(4.0 * float(phase_loss(away, wanted, known, 3.0)))


def test_a_warm_start_with_more_conditions_computes_what_it_did():
    old = VelocityTransformer(DitConfig(4, 2, 2, 1, 16, 1, 2, 2, 8))
    new = VelocityTransformer(DitConfig(4, 2, 2, 1, 16, 1, 2, 2, 8, scalars=4))
    for value in old.parameters():
        nn.init.normal_(value, std=0.2)
    assert take_over(new, old.state_dict()) == []
    z, t, tokens = torch.randn(2, 2, 4, 2, 2), torch.rand(2), torch.randn(2, 50, 8)
    scalars = torch.randn(2, 4)
    assert torch.allclose(old(z, t, tokens, scalars[:, :2]), new(z, t, tokens, scalars), atol=1e-5)
    assert take_over(nn.Linear(3, 5), {"weight": torch.zeros(4, 3)}) == ["weight", "bias"]


def test_a_run_begins_from_a_bundle_and_takes_whole_stages_over(smoke_bundle, smoke_run, tmp_path):
    path = tmp_path / "more.toml"
    path.write_text('base = "ecgflowcmr-smoke"\n[data]\nrecords = 4\n[vae.loop]\nsteps = 0\n')
    config = read_settings(path)
    run = tmp_path / "run"
    (run / "data").mkdir(parents=True)
    for name in ("train", "valid"):
        Examples.load(smoke_run / "data" / f"{name}.safetensors").save(run / "data" / f"{name}.safetensors")
    run_stage("vae", run, config, start=smoke_bundle)
    before, after = (load_file(folder / "vae" / "model.safetensors") for folder in (smoke_run, run))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in after)
    with pytest.raises(TrainingError, match="start"):
        run_stage("vae", run, config)  # a run that starts from nothing is another run
    with pytest.raises(TrainingError, match="taken over whole"):
        run_stage("vae", tmp_path / "other", _only_data(config, run, tmp_path / "other"))


def _only_data(config, run, other):
    (other / "data").mkdir(parents=True)
    for name in ("train", "valid"):
        Examples.load(run / "data" / f"{name}.safetensors").save(other / "data" / f"{name}.safetensors")
    return config
