"""Small parts of the core by hand: vectors of controls in a batch and in the model, fresh seeds, trials of kernels."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from core.model.conditioning import Conditioning, Known, known_of
from core.model.language_model import LanguageModel
from core.model.trial import trial
from core.seeds import fresh_seed
from datatools.batching.controls import Beside
from tests.test_model import Memory

A = SimpleNamespace(dim=2, transposed=lambda rows, semitones: rows + np.float32(semitones))
B = SimpleNamespace(dim=1, transposed=lambda rows, semitones: rows)


def beside(dropout: float = 0.0) -> Beside:
    """A knows one vector a piece, B one a token of piece 0, which has three, and of piece 1, which has one; of piece 2
    nothing is known."""
    of_a = {0: [[1, 2]], 1: [[3, 4]], 2: np.zeros((0, 2))}
    of_b = {0: [[5], [6], [7]], 1: [[8]], 2: np.zeros((0, 1))}
    stores: Any = [
        SimpleNamespace(rows=lambda split, piece, of=of: np.array(of[piece], dtype=np.float32)) for of in (of_a, of_b)
    ]
    controls: Any = [A, B]
    return Beside(controls, stores, dropout, 5)


def test_vectors_of_a_piece_lie_at_its_positions_and_the_end_knows_the_last() -> None:
    found = beside()
    assert (found.width, found.count) == (3, 2)
    for piece, positions, semitones, values, given in (
        (0, 4, 0, [[1, 2, 5], [1, 2, 6], [1, 2, 7], [1, 2, 7]], [True, True]),
        (0, 4, 3, [[4, 5, 5], [4, 5, 6], [4, 5, 7], [4, 5, 7]], [True, True]),
        (1, 2, 0, [[3, 4, 8], [3, 4, 8]], [True, True]),
        (2, 3, 3, [[0, 0, 0]] * 3, [False, False]),
    ):
        vectors, told = found.of("train", piece, positions, semitones)
        assert vectors.tolist() == values and told.tolist() == given and vectors.dtype == np.float32


def test_a_share_is_left_out_anew_in_each_epoch_and_never_without_one() -> None:
    found = beside(0.25)
    told = np.array([found.of("train", 0, 4, epoch=epoch)[1] for epoch in range(400)])
    assert (abs(told.mean(0) - 0.75) < 0.08).all() and 0.5 < told.all(1).mean() < 0.63  # 0.75 squared: each by itself
    assert (told == [found.of("train", 0, 4, epoch=epoch)[1] for epoch in range(400)]).all()
    assert all(found.of("train", 0, 4)[1].all() for _ in range(20))
    assert not any(found.of("train", 2, 4, epoch=epoch)[1].any() for epoch in range(20))


def test_what_is_known_at_some_positions() -> None:
    values, given = torch.arange(24.0).view(2, 4, 3), torch.rand(2, 4, 2) > 0.5
    part = Known(values, given).part(slice(1, 3))
    assert torch.equal(part.values, values[:, 1:3]) and torch.equal(part.given, given[:, 1:3])
    everywhere = Known(values[:, :1], given[:, :1])
    assert everywhere.part(slice(1, 3)) is everywhere
    assert known_of({"ids": values}) is None
    found = known_of({"controls": values, "given": given})
    assert found is not None and torch.equal(found.values, values) and torch.equal(found.given, given)


def test_controls_are_mapped_one_by_one_and_summed() -> None:
    module = Conditioning(4, [2, 1], 0.5)
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    values, given = torch.randn(3, 5, 3), torch.rand(3, 5, 2) > 0.4
    first, second = (linear.weight.detach().double().numpy() for linear in module.maps)  # type: ignore[union-attr]
    nulls = [null.detach().double().numpy() for null in module.nulls]
    expected = np.zeros((3, 5, 4))
    for b in range(3):
        for t in range(5):
            x = values[b, t].double().numpy()
            expected[b, t] += first @ x[:2] if given[b, t, 0] else nulls[0]
            expected[b, t] += second @ x[2:] if given[b, t, 1] else nulls[1]
    assert module(Known(values, given)).detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert module(None).detach().numpy() == pytest.approx(nulls[0] + nulls[1], abs=1e-6)


def test_a_fresh_seed_has_up_to_nine_digits() -> None:
    seeds = [fresh_seed() for _ in range(64)]
    assert len(set(seeds)) > 60 and all(0 <= seed < 10**9 for seed in seeds)
    assert max(seeds) > 10**8  # which 64 draws miss once in 10^63


def test_each_stream_of_three_is_told_the_ids_before_it() -> None:
    """By hand in float64: a stream's hidden state takes in the embedding of the id before, brought to unit size."""
    torch.manual_seed(3)
    model = LanguageModel(Memory(), (5, 12, 3), tie=False).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    ids, targets = torch.tensor([[[1, 2, 0], [4, 0, 2]]]), torch.tensor([[[4, 0, 2], [3, 11, 1]]])
    hidden, _ = model.read(ids)
    nats, _ = model.loss(ids, targets)
    array = {name: value.detach().numpy() for name, value in model.named_parameters()}
    tables = [array["embedding.weight"], array["chain.0.embedding.weight"]]
    heads = [array[f"{name}.weight"] for name in ("head", "chain.0.head", "chain.1.head")]
    gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
    for t in range(2):
        h = hidden[0, t].detach().numpy()
        for stream, size in enumerate((5, 12, 3)):
            if stream:
                told = tables[stream - 1][targets[0, t, stream - 1]]
                told = told / math.sqrt((told**2).mean() + np.finfo(np.float64).eps)
                link = f"chain.{stream - 1}"
                h = h + array[f"{link}.out.weight"] @ gelu(h + array[f"{link}.known.weight"] @ told)
            logits = (heads[stream] @ h)[:size]
            expected = math.log(np.exp(logits).sum()) - logits[targets[0, t, stream]]
            assert nats[0, t, stream].item() == pytest.approx(expected, rel=1e-6)


def test_a_trial_hears_nothing_of_the_call_it_stands_in() -> None:
    """A product's gradient in float32, by hand, under all that a first call may stand in."""

    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise AssertionError("what the trial keeps is none of the caller's business")

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), saved_tensors_hooks(refuse, refuse):
        with trial("cpu"):
            x = torch.tensor([[1.0, 2.0]], requires_grad=True)
            y = x @ torch.tensor([[1.001], [3.0]])
            (grad,) = torch.autograd.grad(y.sum(), x)
        assert y.dtype == torch.float32 and float(y) == pytest.approx(7.001, abs=1e-6)
        assert grad.tolist() == [pytest.approx([1.001, 3.0])]
        assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
