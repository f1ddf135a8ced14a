"""Hybrids: the string, the window against a mask, the laws over every letter, planted faults."""

import pytest
import torch
from torch.nn import functional as F

from hparams.backbones.hybrid import LETTERS, HybridHParams, spelled
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.hybrid import build
from plugins.backbones.parts.attending import window
from plugins.backbones.parts.attending.window import WindowAttention
from plugins.backbones.stack import Pieces
from plugins.backbones.transformer import build as build_transformer
from tests import packing
from tests.backbones.judging import broken


@pytest.mark.parametrize(
    ("pattern", "letters"),
    [
        ("mmma", "mmma"),
        ("(mmma)x2", "mmmammma"),
        ("2222w", "2222w"),
        ("((ma)x2 w)x2 g", "mamawmamawg"),
        ("(2)x2 3", "223"),
    ],
)
def test_patterns_are_spelled_out(pattern, letters):
    assert spelled(pattern) == letters


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("mmq", r'"q" in column 3; expected one of m mamba'),
        ("mm)a", r'"\)" in column 3; expected a "\("'),
        ("(mma", r'expected a "\)" at its end'),
        ("(mm)", "with an end; expected x and a number"),
        ("(mm)x0", r'"x" in column 5; expected x and a number from 1'),
        ("(mm)ma", r'"m" in column 5; expected x and a number'),
        ("", "at least one block"),
    ],
)
def test_a_faulty_pattern_names_letter_and_column(pattern, message):
    with pytest.raises(ValueError, match=message):
        HybridHParams(pattern=pattern)


def test_only_letters_with_heads_ask_for_a_width_that_they_divide():
    HybridHParams(pattern="mm", dim=20)
    with pytest.raises(ValueError, match=r"backbone.dim is 20; expected a multiple of twice backbone.heads \(4\)"):
        HybridHParams(pattern="ma", dim=20)


@pytest.mark.parametrize("length", [1, 4, 5, 8, 19])
def test_the_window_equals_a_mask(length):
    torch.manual_seed(0)
    layer = WindowAttention(TransformerHParams(dim=16, heads=2, kv_heads=1), 5).double()
    x = packing.noise(2, length, 16, dtype=torch.float64, seed=0)
    starts = torch.zeros(2, length, dtype=torch.bool)
    starts[0, length // 3] = True
    pieces = Pieces(x, None, starts)
    q, k, v = (each.transpose(1, 2) for each in layer.heads_of(x, pieces))
    steps, piece = torch.arange(length), starts.cumsum(1)
    back = steps[:, None] - steps
    mask = (back >= 0) & (back < 5) & (piece[:, :, None] == piece[:, None])
    logits = (q @ k.transpose(-1, -2)) / 8**0.5
    expected = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1) @ v
    found, _ = layer(x, None, pieces)
    packing.assert_near(found, layer.o_proj(expected.transpose(1, 2).flatten(2)), 1e-12)


def test_a_window_as_long_as_the_piece_is_the_transformer():
    torch.manual_seed(0)
    ours = build(HybridHParams(dim=16, pattern="ww", heads=2, hidden=32, window=64, dropout=0.0))
    theirs = build_transformer(TransformerHParams(dim=16, layers=2, heads=2, hidden=32, dropout=0.0))
    theirs.load_state_dict(ours.state_dict())
    x = packing.noise(2, 33, 16, dtype=torch.float32, seed=0)
    packing.assert_near(ours(x)[0], theirs(x)[0], 1e-5)


def test_the_cache_of_a_window_does_not_grow():
    model = build(HybridHParams(dim=16, pattern="w", heads=2, window=6))
    assert model.init_state(3, 1000)["keys.0"].shape == (3, 5, 2, 8)


def test_every_letter_is_known_to_the_builder():
    for letter in LETTERS:
        model = build(HybridHParams(dim=32, pattern=letter, hidden=32))
        assert model(torch.zeros(1, 3, 32))[0].shape == (1, 3, 32)


def test_a_window_off_by_one_in_steps_is_caught(monkeypatch):
    right = window.visible

    def faulty(size, pieces):
        mask = right(size, pieces)
        return mask if pieces.before is None else F.pad(mask[..., 1:], (1, 0))

    monkeypatch.setattr(window, "visible", faulty)
    assert broken(build, HybridHParams(pattern="w", heads=2, hidden=32, window=5), "chunks equal whole")
