"""Gated DeltaNet: parity with transformers' functions, the literal recurrence, counts, planted faults."""

import pytest
import torch
from torch.nn import functional as F

from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from plugins.backbones import gated_deltanet
from plugins.backbones.gated_deltanet import Mixer, build
from plugins.backbones.parts.recurrences import gated_delta_rule
from plugins.backbones.parts.recurrences.chunks import Chunks, Decays
from plugins.backbones.stack import Pieces
from tests import packing
from tests.backbones.judging import KEY, broken

SMALL = GatedDeltanetHParams(head=8, heads=2, hidden=16, allow_neg_eigval=True)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(length, most=1.0, dtype=torch.float64):
    """q, k (2 l 3 8) of length 1, v (2 l 3 16), logs and beta (2 l 3), a state."""
    q, k = (F.normalize(packing.noise(2, length, 3, 8, dtype=dtype, seed=seed), dim=-1) for seed in (0, 1))
    v, g = packing.noise(2, length, 3, 16, dtype=dtype, seed=2), packing.noise(2, length, 3, dtype=dtype, seed=3)
    beta = most * torch.sigmoid(packing.noise(2, length, 3, dtype=dtype, seed=4))
    return q * 8**-0.5, k, v, -F.softplus(g), beta, packing.noise(2, 3, 8, 16, dtype=dtype, seed=5)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100])
def test_equals_the_chunked_function_of_transformers(length):
    pytest.importorskip("transformers")
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    q, k, v, logs, beta, before = drawn(length, dtype=torch.float32)
    expected, last = torch_chunk_gated_delta_rule(
        q * 8**0.5, k, v, logs, beta, initial_state=before, output_final_state=True
    )
    found, state = gated_delta_rule.scan(q, k, v, logs, beta, before, None)
    packing.assert_near(found, expected, 1e-5)
    packing.assert_near(state, last, 1e-5)


@pytest.mark.parametrize("most", [1.0, 2.0])
def test_equals_the_literal_recurrence(most):
    length = 140
    q, k, v, logs, beta, before = drawn(length, most)
    starts = torch.rand(2, length, generator=torch.Generator().manual_seed(6)) < 0.05
    state, expected = before, []
    for t in range(length):
        state = state * (~starts[:, t])[:, None, None, None] * logs[:, t].exp()[..., None, None]
        held = torch.einsum("bhcv,bhc->bhv", state, k[:, t])
        state = state + torch.einsum("bhc,bhv->bhcv", k[:, t], beta[:, t, :, None] * (v[:, t] - held))
        expected.append(torch.einsum("bhcv,bhc->bhv", state, q[:, t]))
    found, last = gated_delta_rule.scan(q, k, v, logs, beta, before, starts)
    packing.assert_near(found, torch.stack(expected, 1), 1e-11)
    packing.assert_near(last, state, 1e-11)


def test_the_layer_is_what_the_paper_draws():
    """One layer from its formula, without a word of ours: convolutions, lengths, gates, norm before gate."""
    torch.manual_seed(0)
    mixer = Mixer(GatedDeltanetHParams(dim=16, head=4, heads=2, allow_neg_eigval=True)).double()
    mixer.o_norm.weight.data.normal_()
    w = mixer.state_dict()
    x = packing.noise(1, 9, 16, dtype=torch.float64, seed=0)

    def convolved(name):
        y = F.pad((x @ w[f"{name}_proj.weight"].T).transpose(1, 2), (3, 0))
        kernel = w[f"{name}_conv1d.weight"]
        return F.silu(F.conv1d(y, kernel, groups=len(kernel))).transpose(1, 2).unflatten(-1, (2, -1))

    q, k, v = (convolved(name) for name in "qkv")
    q, k = (each / (each.square().sum(-1, keepdim=True) + 1e-6).sqrt() for each in (q, k))
    beta = 2 * torch.sigmoid(x @ w["b_proj.weight"].T)
    decay = torch.exp(-w["A_log"].exp() * F.softplus(x @ w["a_proj.weight"].T + w["dt_bias"]))
    state, outputs = torch.zeros(1, 2, 4, 8, dtype=torch.float64), []
    for t in range(9):
        state = decay[:, t, :, None, None] * state
        state = state + k[:, t, :, :, None] * (
            beta[:, t, :, None] * (v[:, t] - (k[:, t, :, :, None] * state).sum(2))
        ).unsqueeze(2)
        outputs.append((q[:, t, :, :, None] * state).sum(2) / 2)
    y = torch.stack(outputs, 1)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w["o_norm.weight"]
    y = y * F.silu((x @ w["g_proj.weight"].T).unflatten(-1, (2, -1)))
    found, _ = mixer(x, None, Pieces(x, None, None))
    packing.assert_near(found, y.flatten(2) @ w["o_proj.weight"].T, 1e-12)


@pytest.mark.parametrize(
    ("dim", "head", "heads", "count"),
    [
        (64, 16, 3, 25_766),
        (128, 32, 3, 100_678),
        (256, 64, 3, 397_958),
        (512, 64, 6, 1_585_292),
        (768, 64, 9, 3_562_130),
    ],
)
def test_parameter_counts_and_the_automatic_heads(dim, head, heads, count):
    with torch.device("meta"):
        mixer = Mixer(GatedDeltanetHParams(dim=dim))
    assert (mixer.head, mixer.heads) == (head, heads)
    assert sum(parameter.numel() for parameter in mixer.parameters()) == count


def test_keeps_the_laws_with_negative_eigenvalues():
    assert not broken(build, SMALL, *KEY)


class ReachesOverStarts(Chunks):
    """What comes before a chunk is seen by all of it, whatever starts in between."""

    def decays(self, logs):
        whole = Chunks(self.length, self.size, None).decays(logs)
        ours = super().decays(logs)
        return Decays(ours.within, whole.into, ours.out, ours.across)


def test_a_state_that_reaches_over_a_start_is_caught(monkeypatch):
    monkeypatch.setattr(gated_delta_rule, "Chunks", ReachesOverStarts)
    assert broken(build, SMALL, "a start inside a continued state")


def test_a_write_before_the_decay_is_caught(monkeypatch):
    def step(q, k, v, logs, beta, before):
        held = (k[:, :, None] @ before).squeeze(2)
        state = before * logs.exp()[..., None, None] + k[..., None] * (beta[..., None] * (v - held))[:, :, None]
        return (q[:, :, None] @ state).squeeze(2), state

    class Faulty:
        scan = staticmethod(gated_delta_rule.scan)

    Faulty.step = staticmethod(step)
    monkeypatch.setattr(gated_deltanet, "gated_delta_rule", Faulty)
    assert broken(build, SMALL, "chunks equal whole")
