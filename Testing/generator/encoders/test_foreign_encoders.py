"""Encoders of others from files of random weights in their layouts: read, checked, one contract."""

import hashlib

import numpy as np
import pytest
import torch
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.encoders import KINDS, load_foreign_encoder
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from safetensors.torch import save_file
from support.foreign_encoders import STATES, st_mem_state
from torch import nn

FS_HZ = 500.0


WRAPPED = {
    "ecgfounder": lambda state: {"state_dict": state, "epoch": 3},
    "st-mem": lambda state: {"model": {f"encoder.{key}": value for key, value in state.items()}},
    "ecg-fm": lambda state: {"model": state},
}
TOKENS = {"ecgfounder": 5000 // 8, "st-mem": 12 * 30, "ecg-fm": 2 * 156}


@pytest.fixture(params=KINDS)
def kind(request):
    torch.manual_seed(4)
    return request.param


@pytest.fixture(scope="module")
def ecg_mv() -> np.ndarray:
    rng = np.random.default_rng(1)
    time = np.arange(5000) / FS_HZ
    beats = np.exp(-(((time % 0.9) - 0.3) ** 2) / 2e-4)
    return np.outer(rng.uniform(-1, 1, 12), beats) + 0.02 * rng.standard_normal((12, 5000))


def test_a_checkpoint_reads_and_encodes(kind, tmp_path, ecg_mv):
    state = STATES[kind]()
    file = tmp_path / "weights.pth"
    torch.save(WRAPPED[kind](state), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    encoder = load_foreign_encoder(kind, file, digest)
    overall, tokens = encoder.encode(ecg_mv, FS_HZ)
    assert overall.shape == (encoder.size,)
    assert tokens.shape == (TOKENS[kind], encoder.size)
    assert torch.isfinite(tokens).all()
    assert encoder.weights_sha256 == digest
    # the same weights as safetensors, the same record at another rate
    save_file(state, tmp_path / "weights.safetensors")
    again = load_foreign_encoder(kind, tmp_path / "weights.safetensors")
    assert torch.equal(again.encode(ecg_mv, FS_HZ)[0], overall)
    other, _ = encoder.encode(ecg_mv[:, ::2], FS_HZ / 2)
    assert float((other - overall).norm() / overall.norm()) < 0.15
    shuffled, _ = encoder.encode(ecg_mv[::-1].copy(), FS_HZ)
    assert not torch.allclose(shuffled, overall, atol=1e-4)


def test_ours_has_the_same_contract(ecg_mv):
    from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
    from COFTrainingLib.phantom.physiology import draw_physiology

    record, _ = synthesise_ecg(draw_physiology(np.random.default_rng(3)), np.random.default_rng(4))
    overall, tokens = EcgEncoder().eval().encode(record.signal_mv, record.fs_hz)
    assert overall.ndim == 1
    assert tokens.shape[1] == overall.shape[0]


def test_voltage_is_what_none_of_them_can_see(kind, tmp_path, ecg_mv):
    save_file(STATES[kind](), tmp_path / "w.safetensors")
    encoder = load_foreign_encoder(kind, tmp_path / "w.safetensors")
    one, double = (encoder.encode(gain * ecg_mv, FS_HZ)[0] for gain in (1.0, 2.0))
    assert torch.allclose(one, double, atol=1e-3)  # so the scalar side channel stays needed


def test_attention_is_torch_s_own(ecg_mv, tmp_path):
    torch.manual_seed(0)
    state = st_mem_state(depth=1)
    save_file(state, tmp_path / "w.safetensors")
    encoder = load_foreign_encoder("st-mem", tmp_path / "w.safetensors")
    layer = nn.MultiheadAttention(64, 1, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(state["block0.attn.fn.to_qkv.weight"])
        layer.in_proj_bias.copy_(state["block0.attn.fn.to_qkv.bias"])
        layer.out_proj.weight.copy_(state["block0.attn.fn.to_out.0.weight"])
        layer.out_proj.bias.copy_(state["block0.attn.fn.to_out.0.bias"])
        x = torch.randn(9, 64)
        normed = encoder._norm(x, "block0.attn.norm")
        expected = x + layer(normed[None], normed[None], normed[None])[0][0]
        inner = nn.functional.gelu(encoder._linear(encoder._norm(expected, "block0.ff.norm"), "block0.ff.fn.net.0"))
        expected = expected + encoder._linear(inner, "block0.ff.fn.net.3")
        assert torch.allclose(encoder._block(x, "block0"), expected, atol=1e-5)


def test_another_file_is_refused(kind, tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(STATES[kind](), file)
    with pytest.raises(BundleError, match="must have SHA-256"):
        load_foreign_encoder(kind, file, "0" * 64)
    save_file({"something.weight": torch.zeros(3)}, file)
    with pytest.raises(BundleError, match="layout of their own"):
        load_foreign_encoder(kind, file)
    with pytest.raises(BundleError, match="ecgfounder, st-mem, ecg-fm"):
        load_foreign_encoder("hubert", file)
    with pytest.raises(BundleError, match="local file"):
        load_foreign_encoder(kind, tmp_path / "nowhere.pth")


class Trap:
    def __reduce__(self):
        return print, ("unpickled",)


def test_nothing_is_unpickled(tmp_path, capsys):
    torch.save({"model": {"weight": torch.zeros(2)}, "cfg": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(BundleError, match="as safetensors"):
        load_foreign_encoder("ecg-fm", tmp_path / "trap.pt")
    assert "unpickled" not in capsys.readouterr().out
