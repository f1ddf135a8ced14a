"""Mamba-2: parity with transformers, the literal recurrence, parameter counts, and faults that the laws catch."""

import math

import pytest
import torch
from torch.nn import functional as F

from hparams.backbones.mamba2 import Mamba2HParams
from plugins.backbones import mamba2
from plugins.backbones.mamba2 import Mixer, build
from plugins.backbones.parts.recurrences import state_space_duality
from plugins.backbones.parts.recurrences.chunks import Chunks, Decays
from tests import packing
from tests.backbones.judging import KEY, broken

SMALL = Mamba2HParams(state=8, head=8, groups=2)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shaken(hparams):
    torch.manual_seed(0)
    model = build(hparams)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    return model


def test_equals_transformers_with_the_same_weights():
    transformers = pytest.importorskip("transformers")
    ours = shaken(Mamba2HParams(dim=32, layers=2, state=16, head=16, dropout=0.0))
    config = transformers.Mamba2Config(
        hidden_size=32, num_hidden_layers=2, state_size=16, head_dim=16, num_heads=4, n_groups=1, expand=2,
        vocab_size=3, chunk_size=32, layer_norm_epsilon=1e-5, time_step_limit=(0.0, float("inf")),
    )  # fmt: skip
    theirs = transformers.Mamba2Model(config)
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.missing_keys == ["embeddings.weight"] and not missing.unexpected_keys
    x = packing.noise(2, 150, 32, dtype=torch.float32, seed=0)
    with torch.no_grad():
        packing.assert_near(ours(x)[0], theirs(inputs_embeds=x).last_hidden_state, 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_literal_recurrence(groups):
    batch, length, heads, width, states = 2, 150, 4, 3, 5
    x = packing.noise(batch, length, heads, width, dtype=torch.float64, seed=0)
    logs = -packing.noise(batch, length, heads, dtype=torch.float64, seed=1).exp()
    B, C = (packing.noise(batch, length, groups, states, dtype=torch.float64, seed=seed) for seed in (2, 3))
    starts = torch.rand(batch, length, generator=torch.Generator().manual_seed(4)) < 0.05
    before = packing.noise(batch, heads, width, states, dtype=torch.float64, seed=5)
    state, expected = before, []
    for t in range(length):
        state = state * (~starts[:, t])[:, None, None, None] * logs[:, t].exp()[..., None, None]
        group = [head * groups // heads for head in range(heads)]
        state = state + x[:, t, ..., None] * B[:, t, group][:, :, None]
        expected.append((state * C[:, t, group][:, :, None]).sum(-1))
    found, last = state_space_duality.scan(x, logs, B, C, before, starts)
    packing.assert_near(found, torch.stack(expected, 1), 1e-12)
    packing.assert_near(last, state, 1e-12)


@pytest.mark.parametrize(
    ("dim", "state", "head", "count"),
    [(64, 64, 64, 34_310), (128, 128, 64, 134_412), (256, 64, 64, 431_768), (768, 128, 64, 3_764_552)],
)
def test_parameter_counts(dim, state, head, count):
    with torch.device("meta"):
        mixer = Mixer(Mamba2HParams(dim=dim, state=state, head=head))
    assert sum(parameter.numel() for parameter in mixer.parameters()) == count


def test_keeps_the_laws_with_groups():
    assert not broken(build, SMALL, *KEY)


def test_the_start_is_the_published_one():
    torch.manual_seed(0)
    mixer = Mixer(Mamba2HParams(dim=256, layers=4))
    assert (mixer.D == 1).all() and (mixer.norm.weight == 1).all()
    assert mixer.A_log.exp().min() >= 1 and mixer.A_log.exp().max() <= 16
    steps = F.softplus(mixer.dt_bias)
    assert steps.min() > 0.99e-3 and steps.max() < 0.101
    assert mixer.out_proj.weight.abs().max() <= 1 / math.sqrt(512) / 2


class DecayAcrossPieces(Chunks):
    """The mask of decays is causal, and knows no pieces."""

    def decays(self, logs):
        whole = Chunks(self.length, self.size, None).decays(logs)
        return Decays(whole.within, *super().decays(logs)[1:])


def norm_before_gate(y, z, weight, width, eps):
    return F.rms_norm(y, (y.shape[-1],), weight, eps) * F.silu(z)


def first_step_from_ones(x, logs, B, C, before, starts):
    heads = (x.shape[0], x.shape[2], x.shape[3], B.shape[3])
    return state_space_duality.scan(x, logs, B, C, x.new_ones(heads) if before is None else before, starts)


def test_a_decay_mask_across_pieces_is_caught(monkeypatch):
    monkeypatch.setattr(state_space_duality, "Chunks", DecayAcrossPieces)
    assert broken(build, SMALL, "packed equals separate")


def test_a_first_state_that_is_not_empty_is_caught(monkeypatch):
    class Faulty:
        scan, step = staticmethod(first_step_from_ones), staticmethod(state_space_duality.step)

    monkeypatch.setattr(mamba2, "state_space_duality", Faulty)
    assert broken(build, SMALL, "chunks equal whole")


def test_a_gate_after_the_norm_is_caught(monkeypatch):
    monkeypatch.setattr(mamba2, "gate_then_norm", norm_before_gate)
    with pytest.raises(AssertionError):
        test_equals_transformers_with_the_same_weights()


@pytest.mark.parametrize(
    ("given", "message"),
    [({"head": 7}, r"backbone.head is 7; .*512"), ({"groups": 3}, r"backbone.groups is 3; .*heads \(8\)")],
)
def test_what_does_not_fit_is_refused_with_its_key(given, message):
    with pytest.raises(ValueError, match=message):
        Mamba2HParams(**given)
