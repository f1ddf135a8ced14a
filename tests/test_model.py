"""The language model around a backbone: shift, padding, tying, loss."""

import math

import pytest
import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.language_model import LanguageModel


class Memory(nn.Module):
    """A backbone that adds up what it hears, fading."""

    packs = True

    def __init__(self, dim: int = 8, fade: float = 0.7) -> None:
        super().__init__()
        self.dim, self.fade = dim, fade
        self.mix = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        h = x.new_zeros(len(x), self.dim) if state is None else state["h"]
        hidden = []
        for t in range(x.shape[1]):
            if starts is not None:
                h = h.masked_fill(starts[:, t, None], 0)
            h = self.fade * h + x[:, t]
            hidden.append(h)
        return self.mix(torch.stack(hidden, 1)), None if state is None else {"h": h}

    def init_state(self, batch: int, max_length: int) -> State:
        return {"h": self.mix.weight.new_zeros(batch, self.dim)}


class Echo(nn.Module):
    """A backbone that gives back what it gets."""

    packs = True
    dim = 16

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        return x, state

    def init_state(self, batch: int, max_length: int) -> State:
        return {}


def test_shapes_and_precision() -> None:
    model = LanguageModel(Memory(), 11)
    ids = torch.randint(0, 11, (2, 5))
    logits, state = model(ids)
    assert logits.shape == (2, 5, 11) and logits.dtype == torch.float32 and state is None
    logits, state = model(ids, model.init_state(2, 5))
    assert state is not None and state["h"].shape == (2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = model(ids)
        nats, _ = model.loss(ids, ids)
    assert logits.dtype == nats.dtype == torch.float32
    assert model.double()(ids)[0].dtype == torch.float64


def test_loss_is_the_cross_entropy_of_given_targets() -> None:
    model = LanguageModel(Memory(), 11)
    ids, targets = torch.randint(0, 11, (2, 6)), torch.randint(0, 11, (2, 6))
    targets[0, 2:] = -100
    nats, _ = model.loss(ids, targets)
    logits, _ = model(ids)
    for row in range(2):
        for t in range(6):
            target = int(targets[row, t])
            chances = [math.exp(x) for x in logits[row, t].tolist()]
            expected = 0.0 if target == -100 else -math.log(chances[target] / sum(chances))
            assert nats[row, t].item() == pytest.approx(expected, abs=1e-5)


def test_bf16_logits_lose_nothing_in_the_loss() -> None:
    model = LanguageModel(Echo(), 1000)
    ids = torch.randint(0, 1000, (1, 64))
    with torch.autocast("cpu", torch.bfloat16):
        nats, _ = model.loss(ids, ids.roll(1))
        logits, _ = model(ids)
    expected = -logits.log_softmax(-1).gather(-1, ids.roll(1)[..., None])[..., 0]
    torch.testing.assert_close(nats, expected, rtol=1e-6, atol=1e-6)


def test_padding_of_the_vocabulary_is_never_trained() -> None:
    for tie in (True, False):
        torch.manual_seed(0)
        model = LanguageModel(Memory(), 11, tie=tie)
        assert model.embedding.num_embeddings == model.head.out_features == 16
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
        for _ in range(3):
            nats, _ = model.loss(torch.randint(0, 11, (2, 5)), torch.randint(0, 11, (2, 5)))
            optimizer.zero_grad()
            nats.sum().backward()
            optimizer.step()
        for weight in (model.embedding.weight, model.head.weight):
            assert not weight[11:].any() and weight[:11].any(-1).all()


def test_a_pad_token_is_not_trained() -> None:
    model = LanguageModel(Memory(), 8, tie=False)
    pad = 0
    ids = torch.tensor([[1, 3, 4, pad, pad], [1, 5, 6, 7, 3]])
    targets = torch.tensor([[3, 4, 2, -100, -100], [5, 6, 7, 3, 2]])
    nats, _ = model.loss(ids, targets)
    nats.sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient is not None and not gradient[pad].any() and gradient[1].any()


def test_copying_the_input_scores_badly() -> None:
    model = LanguageModel(Echo(), 16)
    with torch.no_grad():
        model.embedding.weight.copy_(30 * torch.eye(16))
    music = torch.arange(2, 14)[None]
    copied, _ = model.loss(music[:, :-1], music[:, :-1])
    told, _ = model.loss(music[:, :-1], music[:, 1:])
    assert copied.max() < 1e-3 and told.min() > 100


def test_loss_is_independent_of_padding_and_batch_shape() -> None:
    model = LanguageModel(Memory(), 11).double()
    pieces = [torch.randint(3, 11, (n,)) for n in (4, 7, 5)]

    def row(pieces: list[Tensor], length: int) -> tuple[Tensor, Tensor, Tensor]:
        ids, targets = torch.zeros(length, dtype=torch.long), torch.full((length,), -100)
        starts, at = torch.zeros(length, dtype=torch.bool), 0
        for piece in pieces:
            n = len(piece) - 1
            ids[at : at + n], targets[at : at + n], starts[at] = piece[:-1], piece[1:], True
            at += n
        starts[at:] = True
        return ids, targets, starts

    def total(rows: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        ids, targets, starts = (torch.stack(parts) for parts in zip(*rows, strict=True))
        return model.loss(ids, targets, starts)[0].sum()

    alone = sum((total([row([piece], len(piece) - 1)]) for piece in pieces), torch.zeros(()))
    padded = total([row([piece], 12) for piece in pieces])
    packed = total([row(pieces, 20)])
    torch.testing.assert_close(alone, padded, rtol=1e-12, atol=0)
    torch.testing.assert_close(alone, packed, rtol=1e-12, atol=0)


def test_state_carries_the_loss_over_chunks() -> None:
    model = LanguageModel(Memory(), 11).double()
    ids, targets = torch.randint(0, 11, (2, 9)), torch.randint(0, 11, (2, 9))
    whole, none = model.loss(ids, targets)
    assert none is None
    state: State | None = model.init_state(2, 9)
    parts = []
    for chunk in (slice(0, 4), slice(4, 5), slice(5, 9)):
        nats, state = model.loss(ids[:, chunk], targets[:, chunk], state=state)
        parts.append(nats)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-12, atol=0)


def test_parameter_count_counts_shared_weights_once() -> None:
    backbone = 8 * 8 + 8
    assert LanguageModel(Memory(), 11, tie=True).parameter_count() == 16 * 8 + backbone
    assert LanguageModel(Memory(), 16, tie=False).parameter_count() == 2 * 16 * 8 + backbone
    tied = LanguageModel(Memory(), 11)
    assert tied.head.weight is tied.embedding.weight


def test_first_loss_is_that_of_guessing() -> None:
    torch.manual_seed(0)
    model = LanguageModel(Memory(64), 300)
    nats, _ = model.loss(torch.randint(0, 300, (4, 64)), torch.randint(0, 300, (4, 64)))
    assert nats.mean().item() == pytest.approx(math.log(300), rel=0.02)
