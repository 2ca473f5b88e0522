"""The two families of comparators: their parts against closed forms, and that few steps learn."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import TrainingError
from COFTrainingLib.training.comparators.ecg_tokens import EcgTokensSettings, FrameTokenizer
from COFTrainingLib.training.comparators.frames import FrameCoder
from COFTrainingLib.training.comparators.latent_flow import LatentFlowAutoencoder, LatentFlowSettings
from COFTrainingLib.training.comparators.settings import read_settings
from COFTrainingLib.training.comparators.told import Heard, guided

NAMES = ("latent-flow-smoke", "ecg-tokens-smoke")


def beating(count: int, frames: int, size: int) -> torch.Tensor:
    """Return clips of a bright disc that shrinks and grows, (count, frames, size, size) in −1 … 1."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = size * (0.3 - 0.1 * np.sin(np.pi * np.arange(frames) / frames) ** 2)
    one = np.tanh((radius[:, None, None] - np.hypot(y, x)) / 1.0)
    return torch.from_numpy(np.repeat(one[None], count, axis=0)).float()


@pytest.mark.parametrize("name", NAMES)
def test_both_stages_learn_from_a_few_steps(name):
    torch.manual_seed(0)
    config = read_settings(name)
    family = config.build(16)
    clips = beating(4, config.clips.frames, config.clips.size)
    heard = Heard(torch.randn(4, 16), torch.randn(4, 5, 16))

    def learn(network, loss, steps):
        optimiser = torch.optim.Adam(network.parameters(), 5e-3)
        found = []
        for _ in range(steps):
            value, _ = loss(torch.Generator().manual_seed(3))  # the same draw, so that figures compare
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            found.append(float(value.detach()))
        return found

    first = learn(family.autoencoder, lambda rng: family.autoencoder_loss(clips, rng), 30)
    assert first[-1] < 0.7 * first[0]
    family.autoencoder.requires_grad_(False)
    family.prepare(clips)
    second = learn(family.generator, lambda rng: family.generator_loss(clips, heard, rng), 30)
    assert second[-1] < 0.9 * second[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_is_a_function_of_image_ecg_and_seed(name):
    torch.manual_seed(0)
    config = read_settings(name)
    family = config.build(16)
    for part in (family.autoencoder, family.generator):
        part.eval()
        for parameter in part.parameters():  # untrained networks end in zeros, which hear nothing
            parameter.data += 0.1 * torch.randn_like(parameter)
    images = beating(3, 4, config.clips.size)[:, 0]
    heard, other = (Heard(torch.randn(3, 16), torch.randn(3, 5, 16)) for _ in range(2))

    def draw(heard, seed):
        return family.sample(images, heard, 4, torch.Generator().manual_seed(seed))

    one = draw(heard, 1)
    assert tuple(one.shape) == (3, 4, config.clips.size, config.clips.size)
    assert torch.equal(one, draw(heard, 1))
    assert not torch.equal(one, draw(heard, 2))
    assert not torch.equal(one, draw(other, 1))


def test_a_latent_flow_of_one_pixel_moves_features_by_one_pixel():
    network = LatentFlowAutoencoder(FrameCoder(8, 1), LatentFlowSettings(latent=1, predictor=(4, 4)))
    network.decoder = torch.nn.Identity()
    latents = torch.zeros(1, 1, 8, 8)
    latents[0, 0, 4, 5] = 1.0
    still, whole = torch.zeros(1, 2, 8, 8), torch.ones(1, 1, 8, 8)
    assert torch.allclose(network.moved(latents, still, whole), latents, atol=1e-5)
    down = still.clone()
    down[:, 0] = 1.0  # a pull field: each pixel shows what lies one row below it
    assert torch.allclose(network.moved(latents, down, whole), latents.roll(-1, dims=2), atol=1e-5)
    assert torch.allclose(network.moved(latents, still, 0.25 * whole), 0.25 * latents, atol=1e-5)


def test_an_untrained_latent_flow_stands_still_and_hides_little():
    network = LatentFlowAutoencoder(FrameCoder(8, 1), LatentFlowSettings(latent=2, predictor=(4, 4)))
    found = network.flow(torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16))
    assert tuple(found.shape) == (2, 3, 8, 8)
    assert float(found[:, :2].detach().abs().max()) == 0.0
    assert float(torch.sigmoid(found[:, 2:]).detach().min()) > 0.9


def test_a_sequence_is_noised_in_units_of_its_own_spread():
    torch.manual_seed(0)
    config = read_settings("latent-flow-smoke")
    family, clips = config.build(16), beating(6, config.clips.frames, config.clips.size)
    with torch.no_grad():
        family.autoencoder.head.weight.normal_(std=0.3)
    family.prepare(clips)
    found = family._sequence(clips).movedim(1, 0).flatten(1)
    assert found.mean(dim=1).abs().max() < 1e-4
    assert found.std(dim=1).sub(1.0).abs().max() < 1e-3
    raw = family._sequence(clips, raw=True)[:, 2]
    assert float(raw.min()) >= -1.0
    assert float(raw.max()) <= 1.0


def test_codes_are_the_signs_of_the_latents():
    tokenizer = FrameTokenizer(FrameCoder(8, 1), EcgTokensSettings(bits=3))
    tokenizer.encoder = torch.nn.Identity()
    tokenizer.decoder = torch.nn.Identity()
    latents = torch.tensor([[0.3, -2.0], [1.0, 0.4], [-0.1, -5.0]])[None, :, None]  # (1, 3 bits, 1, 2)
    codes = tokenizer.codes(latents)
    assert codes.tolist() == [[[1 + 2, 2]]]
    assert tokenizer.images(codes)[0, :, 0].tolist() == [[1, -1], [1, 1], [-1, -1]]


def test_guidance_leads_away_from_what_is_predicted_without_an_ecg():
    told, nothing = torch.tensor([3.0]), torch.tensor([1.0])
    assert guided(lambda told: told, told, nothing, 1.0).tolist() == [3.0]
    assert guided(lambda told: told, told, nothing, 2.0).tolist() == [5.0]
    assert guided(lambda told: told, told, nothing, 0.0).tolist() == [1.0]


def test_settings_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "own.toml"
    for words, match in (
        ('family = "gan"', "family is latent-flow or ecg-tokens"),
        ("[clips]\nsize = 18\n[frames]\nlevels = 2", "multiple of"),
        ("batch = 0", "at least one clip"),
        ("[frames]\nwidth = 6", "multiple of 4"),
    ):
        path.write_text(words)
        with pytest.raises(TrainingError, match=match):
            read_settings(path)


def test_both_families_ship_with_the_same_batch_steps_and_clips():
    one, other = (read_settings(name) for name in ("latent-flow", "ecg-tokens"))
    assert (one.batch, one.clips, one.autoencoder_loop, one.generator_loop) == (
        other.batch, other.clips, other.autoencoder_loop, other.generator_loop,
    )  # fmt: skip
