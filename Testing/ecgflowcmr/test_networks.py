"""PA-MAE, VAE, transformer: sizes of the paper, and what each must and must not see."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecgflowcmr.model import Amdf, EcgFlowModel, FlowDefaults, PlaneGrid, periodic, rate_scalars
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae, PaMaeConfig, phase_labels, prepare_record
from COFGeneratorLib.ecgflowcmr.transformer import DitConfig, VelocityTransformer, _patches, _unpatches
from COFGeneratorLib.ecgflowcmr.video_vae import VaeConfig, VideoVae
from COFGeneratorLib.errors import EcgError
from COFTrainingLib.training.ecgflowcmr.settings import read_settings
from COFTrainingLib.training.ecgflowcmr.vae_losses import PatchCritic, hinge
from torch import nn

SMALL = PaMaeConfig((8, 8, 12, 16), 1, (1, 1, 2, 4), 16, (12, 8, 8, 8), 8)


def millions(module: nn.Module) -> float:
    return sum(value.numel() for value in module.parameters()) / 1e6


def test_the_papers_configuration_has_the_papers_sizes():
    config = read_settings("ecgflowcmr")
    with torch.device("meta"):
        pa_mae, vae = PaMae(config.pa_mae.network), VideoVae(config.vae.network)
        velocity = VelocityTransformer(config.dit())
        assert 4.0 < millions(pa_mae) - millions(pa_mae.decoder) < 4.8
        assert 0.7 < millions(pa_mae.decoder) < 1.2
        assert 20 < millions(vae.encoder) < 30
        assert 32 < millions(vae.decoder) < 46
        assert 65 < millions(velocity) < 80
        tokens, phase = pa_mae.encode(torch.zeros(1, 12, 5000))
        assert tokens.shape == (1, 768, 625)
        assert phase.shape == (1, 2, 625)
        mean, _ = vae.encode(torch.zeros(1, 1, 50, 96, 96))
        assert mean.shape == (1, 4, 50, 12, 12)
        assert vae.decode(mean).shape == (1, 1, 50, 96, 96)
    assert (config.amdf.alpha, config.amdf.sampler.steps, config.pa_mae.network.mask_ratio) == (1.0, 10, 0.5)


def test_the_masked_part_of_the_input_is_not_seen():
    model = PaMae(SMALL)
    signal = torch.randn(2, 12, 400)
    masked = model.draw_mask(2, 400, torch.Generator().manual_seed(1))
    assert masked.float().mean(dim=1).tolist() == [0.5, 0.5]
    other = torch.where(masked[:, None], torch.randn(2, 12, 400), signal)
    assert torch.equal(model.reconstruct(signal, masked), model.reconstruct(other, masked))
    seen = torch.where(masked[:, None], signal, signal + 1.0)
    assert not torch.equal(model.reconstruct(signal, masked), model.reconstruct(seen, masked))


def test_masked_passes_leave_the_running_statistics_to_whole_signals():
    model = PaMae(SMALL).train()
    before = [value.clone() for name, value in model.stages.state_dict().items() if "running" in name]
    model.reconstruct(torch.randn(2, 12, 400), model.draw_mask(2, 400, torch.Generator().manual_seed(1)))
    after = [value for name, value in model.stages.state_dict().items() if "running" in name]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    model.encode(torch.randn(2, 12, 400))
    after = [value for name, value in model.stages.state_dict().items() if "running" in name]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_phase_is_nought_at_r_half_a_turn_midway_and_unknown_outside():
    phase, known = phase_labels(np.array([800, 1600, 2000]), 625)
    assert phase[:, 100] == pytest.approx([0, 1], abs=1e-6)
    assert phase[:, 150] == pytest.approx([0, -1], abs=1e-6)
    assert phase[:, 225] == pytest.approx([0, -1], abs=1e-6)
    assert known[[99, 100, 250, 251]].tolist() == [0, 1, 1, 0]


def test_voltage_and_rate_of_recording_survive_preparation(record):
    signal = prepare_record(record)
    assert signal.shape == (12, 5000)
    from dataclasses import replace

    tall = prepare_record(replace(record, signal_mv=2.0 * record.signal_mv))
    assert tall.max() > signal.max() + 0.4
    half = prepare_record(replace(record, signal_mv=record.signal_mv[:, ::2], fs_hz=250.0))
    assert np.corrcoef(half[1, 100:4900], signal[1, 100:4900])[0, 1] > 0.99


def test_too_short_a_record_is_refused(record):
    from dataclasses import replace

    with pytest.raises(EcgError, match=r"2\.5 s"):
        prepare_record(replace(record, signal_mv=record.signal_mv[:, :900]))


def test_the_vae_keeps_time_and_shrinks_space():
    vae = VideoVae(VaeConfig(2, (8, 16), 1, (1,), True, 2, 4, (1,), 4))
    mean, log_variance = vae.encode(torch.randn(2, 1, 7, 16, 16))
    assert mean.shape == log_variance.shape == (2, 4, 7, 4, 4)
    assert vae.decode(mean).shape == (2, 1, 7, 16, 16)


def test_a_fresh_transformer_does_nothing_and_patches_come_back():
    config = DitConfig(5, 4, 3, 2, 16, 2, 2, 2, 8, 50, True)
    model = VelocityTransformer(config)
    z = torch.randn(2, 3, 5, 4, 4)
    assert torch.equal(_unpatches(_patches(z, 2), config), z)
    out = model(z, torch.rand(2), torch.randn(2, 50, 8), torch.randn(2, 2))
    assert torch.equal(out, torch.zeros_like(z))  # adaLN-Zero


def test_the_time_embedding_tells_neighbouring_steps_apart():
    config = DitConfig(4, 2, 2, 1, 32, 1, 2, 2, 8)
    model = VelocityTransformer(config)
    from COFGeneratorLib.ecgflowcmr.transformer import TIME_SCALE, sinusoids

    grid = sinusoids(TIME_SCALE * torch.linspace(0, 1, 11), 32)
    apart = torch.cdist(grid, grid) + 10 * torch.eye(11)
    assert apart.min() > 1.0
    assert model.time(grid).shape == (11, 32)


def _model(velocity=None, amdf=None):
    config = DitConfig(6, 2, 3, 1, 16, 1, 2, 2, 16)
    amdf = amdf or Amdf(PaMae(SMALL), velocity or VelocityTransformer(config))
    vae = VideoVae(VaeConfig(1, (8, 8), 1, (), False, 2, 3, (), 4))
    return EcgFlowModel(
        PlaneGrid("sax", 6, 4, 8.0), amdf, vae, torch.zeros(1, 3, 1, 2, 2), scale=1.0, defaults=FlowDefaults()
    ).eval()


class _Straight(nn.Module):
    """The exact velocity towards a target, and towards another one without an ECG."""

    def __init__(self, target, free):
        super().__init__()
        self.velocity = VelocityTransformer(DitConfig(6, 2, 3, 1, 16, 1, 2, 2, 16))
        self.target, self.free = target, free

    def forward(self, z, t, tokens, scalars):
        aim = self.target if tokens.abs().sum() > 0 else self.free
        return (aim - z) / (1 - t).view(-1, 1, 1, 1, 1)


def test_the_sampler_follows_the_flow_from_the_template_to_the_data():
    target = torch.randn(1, 3, 6, 2, 2)
    model = _model(amdf=_Straight(target, torch.zeros_like(target)))
    tokens, scalars = torch.ones(1, 50, 16), torch.ones(1, 2)
    for alpha, seed in ((0.0, 0), (1.0, 3)):
        assert torch.allclose(model.sample(tokens, scalars, alpha=alpha, seed=seed), target, atol=1e-5)
    guided = model.sample(tokens, scalars, alpha=0.0, guidance=2.0, steps=1)
    assert torch.allclose(guided, 2.0 * target, atol=1e-5)


def test_another_number_of_frames_comes_from_the_periodic_latent():
    def wave(count):
        phase = 2 * torch.pi * torch.arange(count) / count
        return (0.3 + phase.cos() + 0.5 * (2 * phase).sin()).view(1, 1, -1, 1, 1)

    for count in (25, 10):
        for frames in (50, 12, count):
            assert torch.allclose(periodic(wave(count), frames), wave(frames), atol=1e-5)


def test_padding_cycles_changes_nothing_and_the_rate_comes_through():
    amdf = _model().amdf
    signal = torch.randn(1, 12, 800)
    bounds = torch.tensor([[[10.0, 60.0], [60.0, 97.0]]])
    real = torch.ones(1, 2, dtype=torch.bool)
    padded = torch.cat([bounds, torch.zeros(1, 3, 2)], dim=1)
    with torch.no_grad():
        a = amdf.condition(signal, bounds, real)
        b = amdf.condition(signal, padded, torch.tensor([[True, True, False, False, False]]))
    assert torch.allclose(a[0], b[0], atol=1e-5)
    assert torch.allclose(a[1], b[1])
    fast = rate_scalars(torch.tensor([[[0.0, 31.25]]]), torch.ones(1, 1, dtype=torch.bool))
    assert fast[0].tolist() == pytest.approx([4 * np.log(0.5), 0.0], abs=1e-5)


def test_the_critic_learns_from_its_own_loss_only():
    critic = PatchCritic(8)
    made = torch.randn(1, 1, 3, 16, 16, requires_grad=True)
    critic.frozen(made).mean().backward()
    assert made.grad.abs().sum() > 0
    assert all(value.grad is None for value in critic.parameters())
    made.grad = None
    hinge(critic(torch.randn(1, 1, 3, 16, 16)), critic(made.detach())).backward()
    assert made.grad is None
    assert all(value.grad is not None for value in critic.parameters())
