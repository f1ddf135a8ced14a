"""The mLSTM: parity with transformers' xLSTM, the literal recurrence, planted faults."""

import pytest
import torch
from torch.nn import functional as F

from hparams.backbones.mlstm import MlstmHParams
from plugins.backbones import mlstm
from plugins.backbones.mlstm import build
from plugins.backbones.parts.recurrences import matrix_memory
from tests import packing
from tests.backbones.judging import KEY, broken

SMALL = MlstmHParams(hidden=32, heads=2)


def drawn(length, dtype=torch.float64):
    q, k = (packing.noise(2, length, 3, 4, dtype=dtype, seed=seed) for seed in (0, 1))
    v = packing.noise(2, length, 3, 8, dtype=dtype, seed=2)
    i, f = (3 * packing.noise(2, length, 3, dtype=dtype, seed=seed) for seed in (3, 4))
    return q, k, v, i, F.logsigmoid(f)


def test_equals_the_literal_recurrence():
    length = 150
    q, k, v, i, f = drawn(length)
    starts = torch.rand(2, length, generator=torch.Generator().manual_seed(5)) < 0.05
    starts[0, 0] = True
    C, n, m = torch.zeros(2, 3, 4, 8).double(), torch.zeros(2, 3, 4).double(), torch.zeros(2, 3).double()
    expected = []
    for t in range(length):
        keep = (~starts[:, t]).double()[:, None]
        C, n, m = C * keep[..., None, None], n * keep[..., None], m * keep
        new = torch.maximum(f[:, t] + m, i[:, t])
        forget, write = torch.exp(f[:, t] + m - new), torch.exp(i[:, t] - new)
        C = forget[..., None, None] * C + write[..., None, None] * k[:, t, ..., None] * v[:, t, :, None]
        n, m = forget[..., None] * n + write[..., None] * k[:, t], new
        norm = torch.maximum((n * q[:, t]).sum(-1).abs(), torch.exp(-m)) + 1e-6
        expected.append((C * q[:, t, ..., None]).sum(2) / norm[..., None])
    found, (memory, peak) = matrix_memory.scan(q, k, v, i, f, None, starts)
    packing.assert_near(found, torch.stack(expected, 1), 1e-11)
    packing.assert_near(memory, torch.cat([C, n[..., None]], -1), 1e-11)
    packing.assert_near(peak, m, 1e-11)


def test_equals_transformers_with_the_same_weights():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = build(MlstmHParams(dim=32, layers=2, heads=2, hidden=0, dropout=0.0))
    for parameter in ours.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape))
    config = transformers.xLSTMConfig(
        hidden_size=32, embedding_dim=32, num_blocks=2, num_hidden_layers=2, num_heads=2, vocab_size=3, chunk_size=16,
        autocast_kernel_dtype="float32", weight_mode="single", qk_dim_factor=0.5, v_dim_factor=1.0, use_bias=False,
        chunkwise_kernel="chunkwise--native_autograd", sequence_kernel="native_sequence__native",
        step_kernel="native",
    )  # fmt: skip
    theirs = transformers.xLSTMModel(config).train()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.missing_keys == ["embeddings.weight"] and not missing.unexpected_keys
    x = packing.noise(2, 48, 32, dtype=torch.float32, seed=0)
    with torch.no_grad():
        packing.assert_near(ours(x)[0], theirs(inputs_embeds=x, use_cache=False).last_hidden_state, 2e-5)


def test_keeps_the_laws():
    assert not broken(build, SMALL, *KEY)


def test_a_peak_that_outlives_its_piece_is_caught(monkeypatch):
    """m begins at 0 in each piece, and is no mere rescaling where exp(-m) bounds what is divided by."""
    monkeypatch.setattr(matrix_memory, "_latest", lambda at_start, chunks: torch.zeros_like(at_start))
    assert broken(build, SMALL, "packed equals separate")


def test_a_step_that_forgets_its_peak_is_caught(monkeypatch):
    def step(q, k, v, i, f, before):
        return matrix_memory.step(q, k, v, i, f, (before[0], torch.zeros_like(before[1])))

    class Faulty:
        scan = staticmethod(matrix_memory.scan)

    Faulty.step = staticmethod(step)
    monkeypatch.setattr(mlstm, "matrix_memory", Faulty)
    assert broken(build, SMALL, "chunks equal whole")
