"""Encoders of others by name and hash: what they hear, and how their weights are found."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, SCALAR_NAMES
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.generator.encoders import named
from COFGeneratorLib.generator.encoders.named import NamedEncoder, named_encoder, rhythm_strip
from safetensors.torch import save_file
from support.foreign_encoders import st_mem_state

RATE = SCALAR_NAMES.index("rr_ms")


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    file = tmp_path / "st_mem.safetensors"
    save_file(st_mem_state(), file)
    return file


@pytest.mark.parametrize("rr_ms", [400.0, 1000.0, 1700.0])
def test_a_strip_repeats_the_beat_at_its_rate(a_case, rr_ms):
    strip, period = rhythm_strip(a_case.cycle.beat_mv, rr_ms), round(rr_ms * BEAT_FS_HZ / 1000.0)
    assert strip.shape == (12, 2500)
    assert np.array_equal(strip[:, period : 2 * period], strip[:, :period])
    kept = min(period, 256)
    assert np.allclose(strip[:, :kept], a_case.cycle.beat_mv[:, :kept])
    if period > 256:  # the line between beats is straight
        between = strip[0, 255 : period + 1]
        assert np.abs(np.diff(between, 2)).max() < 1e-6


def test_an_option_names_an_encoder_and_its_file(weights):
    found = named_encoder(f"st-mem={weights}")
    assert (found.kind, found.size, found.sha256) == ("st-mem", 64, sha256_of(weights))
    for text in ("st-mem", f"other={weights}", "st-mem="):
        with pytest.raises(BundleError, match="NAME=FILE"):
            named_encoder(text)


def test_rate_and_shape_of_the_beat_are_heard(a_case, weights):
    encoder = named_encoder(f"st-mem={weights}")
    beats = torch.from_numpy(np.repeat(a_case.cycle.beat_mv[None], 3, axis=0).astype(np.float32))
    scalars = torch.from_numpy(np.repeat(a_case.cycle.scalars()[None], 3, axis=0))
    scalars[1, RATE] *= 0.7
    beats[2] = beats[2].flip(1)
    heard = encoder.embedding(beats, scalars)
    assert heard.shape == (3, 64)
    assert (heard[0] - heard[1]).abs().max() > 1e-4
    assert (heard[0] - heard[2]).abs().max() > 1e-4


def test_weights_are_found_by_their_hash_and_others_are_refused(weights, tmp_path, monkeypatch):
    stated = NamedEncoder("st-mem", sha256_of(weights), 64)
    monkeypatch.setattr(named, "models_folders", lambda: [tmp_path / "models"])
    silent = stated.with_weights(None)
    with pytest.raises(BundleError, match="--encoder FILE"):
        silent.embedding(torch.zeros(1, 12, 256), torch.ones(1, 12))
    place = tmp_path / "models" / named.PLACE
    place.mkdir(parents=True)
    (place / "any name.safetensors").write_bytes(weights.read_bytes())
    assert stated.with_weights(None).network is not None
    other = tmp_path / "other.safetensors"
    save_file(st_mem_state(), other)
    with pytest.raises(BundleError, match="SHA-256"):
        stated.with_weights(other)
