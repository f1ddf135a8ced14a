"""Music Transformer: its relative term against the naive double loop, counts, memory, planted faults."""

import math

import pytest
import torch

from core.model.language_model import LanguageModel
from hparams.backbones.music_transformer import MusicTransformerHParams
from plugins.backbones import music_transformer
from plugins.backbones.music_transformer import build
from plugins.backbones.parts.attending import relative
from plugins.backbones.parts.attending.relative import relative_attention, relative_lookup
from tests import packing
from tests.backbones.judging import KEY, broken


def drawn(length, tables, distances, heads=2, width=3):
    q, k, v = (packing.noise(2, heads, length, width, dtype=torch.float64, seed=seed) for seed in range(3))
    return q, k, v, packing.noise(tables, distances, width, dtype=torch.float64, seed=3)


def naive(q, k, v, table, first):
    """The double loop over queries and keys."""
    batch, heads, length, width = q.shape
    out = torch.zeros_like(q)
    for b in range(batch):
        for h in range(heads):
            for i in range(length):
                keys = range(int(first[b, i]), i + 1)
                logits = []
                for j in keys:
                    embedded = table[h % len(table), min(i - j, table.shape[1] - 1)]
                    logits.append((q[b, h, i] @ k[b, h, j] + q[b, h, i] @ embedded) / math.sqrt(width))
                weights = torch.stack(logits).softmax(0)
                out[b, h, i] = weights @ v[b, h, list(keys)]
    return out


@pytest.mark.parametrize(("tables", "distances"), [(1, 20), (2, 20), (1, 5)])
def test_skewing_equals_the_double_loop(tables, distances, monkeypatch):
    monkeypatch.setattr(relative, "_BLOCK", 7)  # several blocks, the last one shorter
    q, k, v, table = drawn(17, tables, distances)
    starts = torch.zeros(2, 17, dtype=torch.bool)
    starts[0, [4, 9]] = True
    first = torch.where(starts, torch.arange(17), 0).cummax(1).values
    for marks in (None, first):
        expected = naive(q, k, v, table, torch.zeros(2, 17, dtype=torch.int64) if marks is None else marks)
        packing.assert_near(relative_attention(q, k, v, table, marks), expected, 1e-10)
    steps = torch.arange(17)
    mask = ((steps <= steps[:, None]) & (steps >= first[..., None]))[:, None]
    distance = (steps[:, None] - steps).expand(2, -1, -1)
    packing.assert_near(relative_lookup(q, k, v, table, distance, mask), expected, 1e-10)


def test_the_gradient_of_skewing_is_true(monkeypatch):
    monkeypatch.setattr(relative, "_BLOCK", 4)
    inputs = [each.requires_grad_() for each in drawn(9, 2, 6)]
    first = torch.tensor([[0, 0, 0, 3, 3, 3, 3, 7, 7], [0] * 9])
    assert torch.autograd.gradcheck(lambda *given: relative_attention(*given, first), inputs)


def test_a_token_goes_in_as_in_the_transformer_s_paper():
    """Vaswani et al., 3.4 and 3.5: x sqrt(d) + PE, PE(p, 2i) = sin(p / 10000^(2i/d)), PE(p, 2i + 1) = cos of it."""
    model = build(MusicTransformerHParams(dim=8, layers=1, heads=2, hidden=8, dropout=0.0)).double()
    model.layers, model.norm = torch.nn.ModuleList(), torch.nn.Identity()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    starts = torch.tensor([[True, False, False, True, False]])
    for mask, places in ((None, range(5)), (starts, (0, 1, 2, 0, 1))):
        found = model(x, starts=mask)[0]
        for step, place in enumerate(places):
            for i in range(8):
                angle = place / 10000 ** ((i - i % 2) / 8)
                expected = float(x[0, step, i]) * math.sqrt(8) + (math.cos(angle) if i % 2 else math.sin(angle))
                assert math.isclose(float(found[0, step, i]), expected, abs_tol=1e-12), (step, i)


@pytest.mark.parametrize(("vocabulary", "count"), [(512, 58_299_392), (376, 57_512_448 + 1537 * 376)])
def test_parameter_counts(vocabulary, count):
    settings = {"dim": 768, "layers": 12, "heads": 12, "hidden": 1536, "distances": 1024}
    with torch.device("meta"):
        model = LanguageModel(build(MusicTransformerHParams(**settings)), vocabulary, tie=False)
    assert model.parameter_count() + vocabulary == count  # ours has a head without a bias


@pytest.mark.parametrize("table", ["shared", "per_head"])
def test_keeps_the_laws(table):
    assert not broken(build, MusicTransformerHParams(distances=8, table=table), *KEY)


def test_memory_grows_with_the_length_and_not_with_its_square():
    """What the backward pass needs is kept: of a row twice as long, hardly more than twice as much."""

    def kept(length):
        sizes = []
        q, k, v, table = (each.requires_grad_() for each in drawn(length, 1, 2 * length))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            relative_attention(q, k, v, table, None)
        return sum(sizes)

    assert kept(600) < 2.2 * kept(300)


def test_a_relative_index_off_by_one_is_caught(monkeypatch):
    right = music_transformer.distances
    monkeypatch.setattr(music_transformer, "distances", lambda plan, pieces: right(plan, pieces) + 1)
    assert broken(build, MusicTransformerHParams(), "chunks equal whole")


def test_a_skew_off_by_one_is_caught(monkeypatch):
    right = relative.skew
    monkeypatch.setattr(relative, "skew", lambda logits: right(logits).roll(1, -1))
    assert broken(build, MusicTransformerHParams(), "chunks equal whole")
    with pytest.raises(AssertionError):
        test_skewing_equals_the_double_loop(1, 20, monkeypatch)
