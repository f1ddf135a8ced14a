"""RWKV-7: the literal recurrence, a whole layer from its formula, counts and the published start, planted faults."""

import math

import pytest
import torch
from torch.nn import functional as F

from core.model.language_model import LanguageModel
from hparams.backbones.rwkv7 import Rwkv7HParams
from plugins.backbones import rwkv7
from plugins.backbones.parts.recurrences import dplr
from plugins.backbones.rwkv7 import build
from tests import packing
from tests.backbones.judging import KEY, broken

SMALL = Rwkv7HParams(hidden=32)


def test_equals_the_literal_recurrence():
    shape, length = (2, 100, 3, 8), 100
    r, k, v, a, b = (packing.noise(*shape, dtype=torch.float64, seed=seed) for seed in range(5))
    a, b = F.normalize(a, dim=-1), -F.normalize(a, dim=-1) * torch.sigmoid(b)
    logs = -math.exp(-0.5) * torch.sigmoid(3 * packing.noise(*shape, dtype=torch.float64, seed=6))
    before = packing.noise(2, 3, 8, 8, dtype=torch.float64, seed=7)
    starts = torch.rand(2, length, generator=torch.Generator().manual_seed(8)) < 0.06
    state, expected = before, []
    for t in range(length):
        state = state * (~starts[:, t])[:, None, None, None]
        taken = torch.einsum("bhvk,bhk->bhv", state, a[:, t])
        state = state * logs[:, t].exp()[:, :, None] + taken[..., None] * b[:, t, :, None]
        state = state + v[:, t, ..., None] * k[:, t, :, None]
        expected.append(torch.einsum("bhvk,bhk->bhv", state, r[:, t]))
    found, last = dplr.scan(r, logs, k, v, a, b, before, starts)
    packing.assert_near(found, torch.stack(expected, 1), 1e-11)
    packing.assert_near(last, state, 1e-11)


def test_the_model_is_what_the_paper_draws():
    """Two blocks step by step from their formulas and the names of the weights alone."""
    torch.manual_seed(0)
    model = build(Rwkv7HParams(dim=16, head=4, layers=2, hidden=24, dropout=0.0)).double()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape))
    w = {name: value.squeeze() for name, value in model.state_dict().items()}
    x = packing.noise(1, 12, 16, dtype=torch.float64, seed=0)[0]

    def norm(y, name):
        return F.layer_norm(y, (16,), w[f"{name}.weight"], w[f"{name}.bias"])

    past_att, past_ffn = torch.zeros(2, 16, dtype=x.dtype), torch.zeros(2, 16, dtype=x.dtype)
    memory = torch.zeros(2, 4, 4, 4, dtype=x.dtype)
    outputs = []
    for token in x:
        stream, first = norm(token, "blocks.0.ln0"), None
        for i in range(2):
            p = f"blocks.{i}.att."
            y = norm(stream, f"blocks.{i}.ln1")
            r, wx, k, v, a, g = (y + (past_att[i] - y) * w[f"{p}x_{letter}"] for letter in "rwkvag")
            past_att[i] = y
            v_in = v
            r, k, v = (w[f"{p}{name}.weight"] @ each for name, each in (("receptance", r), ("key", k), ("value", v)))
            decay = torch.exp(-math.exp(-0.5) * torch.sigmoid(w[f"{p}w0"] + torch.tanh(wx @ w[f"{p}w1"]) @ w[f"{p}w2"]))
            a = torch.sigmoid(w[f"{p}a0"] + a @ w[f"{p}a1"] @ w[f"{p}a2"])
            g = torch.sigmoid(g @ w[f"{p}g1"]) @ w[f"{p}g2"]
            if i == 0:
                first = v
            else:
                v = v + (first - v) * torch.sigmoid(w[f"{p}v0"] + v_in @ w[f"{p}v1"] @ w[f"{p}v2"])
            kk = F.normalize((k * w[f"{p}k_k"]).view(4, 4), dim=-1, eps=1e-12)
            k = k * (1 + (a - 1) * w[f"{p}k_a"])
            heads = [each.view(4, 4) for each in (r, decay, k, v, a)]
            out = torch.zeros(4, 4, dtype=x.dtype)
            for h in range(4):
                rh, wh, kh, vh, ah = (each[h] for each in heads)
                S = memory[i, h]
                S = S @ torch.diag(wh) - torch.outer(S @ kk[h], kk[h] * ah) + torch.outer(vh, kh)
                memory[i, h] = S
                out[h] = S @ rh
            flat = F.group_norm(out.view(1, 16), 4, w[f"{p}ln_x.weight"], w[f"{p}ln_x.bias"], eps=64e-5)[0]
            bonus = (heads[0] * heads[2] * w[f"{p}r_k"]).sum(-1, keepdim=True) * heads[3]
            stream = stream + w[f"{p}output.weight"] @ ((flat + bonus.flatten()) * g)
            y = norm(stream, f"blocks.{i}.ln2")
            k = y + (past_ffn[i] - y) * w[f"blocks.{i}.ffn.x_k"]
            past_ffn[i] = y
            stream = stream + w[f"blocks.{i}.ffn.value.weight"] @ (w[f"blocks.{i}.ffn.key.weight"] @ k).relu().square()
        outputs.append(norm(stream, "ln_out"))
    with torch.no_grad():
        packing.assert_near(model(x[None])[0][0], torch.stack(outputs), 1e-10)


@pytest.mark.parametrize(
    ("vocabulary", "dim", "layers", "count"),
    [(65_536, 768, 12, 191_034_624), (512, 256, 6, 5_485_824), (512, 128, 4, 1_083_264), (512, 64, 2, 195_136)],
)
def test_parameter_counts(vocabulary, dim, layers, count):
    with torch.device("meta"):
        model = LanguageModel(build(Rwkv7HParams(dim=dim, layers=layers, head=64, hidden=0)), vocabulary, tie=False)
    assert model.parameter_count() == count


def test_the_start_is_the_published_one():
    model = build(Rwkv7HParams(dim=128, layers=3, head=64))
    for block in model.blocks:
        assert (block.att.output.weight == 0).all() and (block.ffn.value.weight == 0).all()
        assert (block.att.w1 == 0).all() and torch.equal(block.att.k_a, torch.full((1, 1, 128), 1.02))
        decay = torch.exp(-math.exp(-0.5) * torch.sigmoid(block.att.w0))
        assert decay.min() > 0.54 and decay.max() < 1
    assert build(Rwkv7HParams(dim=32, layers=1)).blocks[0].att.x_r.isfinite().all()
    decayed = [(name, p) for name, p in model.named_parameters() if not getattr(p, "_no_weight_decay", False)]
    assert all(name.endswith(".weight") for name, p in decayed if p.dim() > 1)


def test_every_layer_starts_as_the_published_trainer_has_it():
    """Number by number, from the layer and the channel (RWKV-LM, RWKV-v7/train_temp/src/model.py)."""
    width, layers, head = 12, 3, 4
    for layer, block in enumerate(build(Rwkv7HParams(dim=width, layers=layers, head=head)).blocks):
        falling, rising = 1 - layer / layers, layer / (layers - 1)
        att = {name: value.flatten().tolist() for name, value in block.att.state_dict().items()}
        ffn = block.ffn.x_k.flatten().tolist()
        for n in range(width):
            share, line = n / width, n / (width - 1)
            zigzag = (n % head - (head - 1) / 2) / ((head - 1) / 2)
            zigzag *= abs(zigzag)
            expected = {
                f"x_{letter}": 1 - share ** (power * falling)
                for letter, power in {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}.items()
            }
            expected["w0"] = -6 + 6 * line ** (1 + rising**0.3) + 0.5 + 2.5 * zigzag
            expected["a0"] = -0.19 + 0.3 * zigzag + 0.4 * (line - 0.5)
            expected |= {"k_k": 0.71 - 0.1 * (line - 0.5), "k_a": 1.02, "r_k": -0.04}
            expected |= {"v0": 0.73 - 0.4 * (line - 0.5)} if layer else {}
            expected["ln_x.weight"] = ((1 + layer) / layers) ** 0.7
            assert {name: att[name][n] for name in expected} == pytest.approx(expected, abs=1e-5), (layer, n)
            assert ffn[n] == pytest.approx(1 - share ** (falling**4), abs=1e-6)


def test_keeps_the_laws():
    assert not broken(build, SMALL, *KEY)


def test_a_shift_over_the_start_of_a_piece_is_caught(monkeypatch):
    right = rwkv7.shifted
    monkeypatch.setattr(rwkv7, "shifted", lambda x, before, starts: right(x, before, None))
    assert broken(build, SMALL, "packed equals separate")


def test_a_decay_beyond_its_bound_would_show(monkeypatch):
    """Chunks are exact because w has a bound: without it the factors overflow, and the literal twin tells."""
    monkeypatch.setattr(dplr, "_CHUNK", 1024)
    shape = (1, 1024, 1, 4)
    one = packing.noise(*shape, dtype=torch.float32, seed=0)
    found, _ = dplr.scan(one, -torch.ones(shape), one, one, 0 * one, one, None, None)
    assert not found.isfinite().all()
