"""Tokens of several streams: the joint probability is exact, and every part of the hub carries them.

The tokenizer of two streams is the foreign one of `third_party/pairs_example`; the literal twins here know nothing of
the hub's way to compute a loss, to keep a state or to count.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.generation import Generated, generate
from core.model.language_model import IGNORED, LanguageModel
from core.model.sampling import Sampling, draw
from datatools.batching.batches import Batches, whole
from datatools.ngram import Ngram, baselines
from datatools.preparing.cache import TokenStore, prepare
from hparams.base import AugmentHParams, DataHParams
from plugins.checks import tokenizer_checks, tokenizer_laws
from plugins.datasets.folder import Folder
from supervisors.evaluation.kinds import KINDS, token_kinds
from supervisors.evaluation.scoring import score_pieces, token_nats
from tests.test_model import Memory
from tests.third_party.pairs_example.pairs_plugin import (
    FIRST_PITCH,
    NOTHING,
    REST,
    Pairs,
    PairsGrammar,
    PairsHParams,
    build,
)

PAD, BOS, EOS = Pairs.pad_id, Pairs.bos_id, Pairs.eos_id
STEPS, PITCHES = Pairs.vocab_sizes


@pytest.mark.parametrize(*tokenizer_checks(build, PairsHParams()))
def test_two_streams_keep_the_laws(law) -> None:
    law()


class Shuffled(Pairs):
    """Tells the streams in another order than it reads them."""

    def encode(self, piece):
        return [[pitch, step] for step, pitch in super().encode(piece)]


class Lagging(Pairs):
    """Its second stream comes a token late."""

    def encode(self, piece):
        ids = super().encode(piece)
        return [[step, pitch] for (step, _), (_, pitch) in zip(ids, [[0, FIRST_PITCH], *ids], strict=False)]


class Miscounted(Pairs):
    vocab_sizes = Pairs.vocab_sizes[::-1]


class OneStream(Pairs):
    def encode(self, piece):
        return [step for step, _ in super().encode(piece)]


class TablesShuffled(Pairs):
    def transpose_table(self, semitones):
        return super().transpose_table(semitones)[::-1]


class EndsInTheWrongStream(Pairs):
    def encode(self, piece):
        return [[EOS, pitch] for _, pitch in super().encode(piece)]


class Deaf(PairsGrammar):
    """Its second mask does not hang on the first stream."""

    def allowed(self, state, known=None):
        return super().allowed(state, None if known is None else torch.full_like(known, REST - 1))


class Careless(PairsGrammar):
    """Lets pitches fall within an onset."""

    def allowed(self, state, known=None):
        return super().allowed({**state, "pitch": torch.zeros_like(state["pitch"])}, known)


class DeadEnd(PairsGrammar):
    """Has no second id beside a rest."""

    def allowed(self, state, known=None):
        mask = super().allowed(state, known)
        return mask if known is None else mask & (torch.arange(PITCHES) != NOTHING)


def with_grammar(grammar):
    return type(grammar.__name__, (Pairs,), {"grammar": lambda self, **asked: grammar()})


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Shuffled, "ids in range"),
        (Lagging, "a plain melody comes through"),
        (Miscounted, "declares its vocabulary"),
        (OneStream, "ids in range"),
        (TablesShuffled, "transposition commutes"),
        (EndsInTheWrongStream, "specials never emitted"),
        (with_grammar(Deaf), "grammar allows real music"),
        (with_grammar(DeadEnd), "grammar always leaves a token"),
    ],
)
def test_shuffled_streams_are_caught(fault, name: str) -> None:
    (law,) = [law for law in tokenizer_laws(fault, PairsHParams()) if law.name == name]
    verdict = law.judge()
    assert verdict.passed is False and verdict.detail


def joint(model: LanguageModel, hidden: Tensor) -> Tensor:
    """p(a, b) of every pair (v w) after one hidden state (d), written out from the weights."""
    weights = {name: weight.double() for name, weight in model.state_dict().items()}
    v, w = model.vocab_sizes
    first = torch.softmax(hidden @ weights["head.weight"][:v].T, -1)
    rows = []
    for a in range(v):
        known = weights["embedding.weight"][a]
        known = known / torch.sqrt((known**2).mean() + torch.finfo(torch.float64).eps)
        inner = hidden + weights["chain.0.known.weight"] @ known
        inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
        told = hidden + weights["chain.0.out.weight"] @ inner
        rows.append(first[a] * torch.softmax(told @ weights["chain.0.head.weight"][:w].T, -1))
    return torch.stack(rows)


@pytest.mark.parametrize("tie", [True, False])
def test_the_chained_loss_is_the_brute_force_joint(tie: bool) -> None:
    torch.manual_seed(0)
    model = LanguageModel(Memory(), (5, 7), tie=tie).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    ids = torch.stack([torch.randint(0, size, (2, 6)) for size in (5, 7)], -1)
    targets = ids.roll(-1, 1)
    targets[0, 4, 1] = targets[1, 3:] = IGNORED
    nats, _ = model.loss(ids, targets)
    assert nats.shape == (2, 6, 2)
    hidden, _ = model.read(ids)
    for row in range(2):
        for at in range(6):
            chances = joint(model, hidden[row, at].detach())
            assert float(chances.sum()) == pytest.approx(1, abs=1e-12)
            a, b = targets[row, at].tolist()
            expected = 0.0 if a == IGNORED else -math.log(chances[a].sum() if b == IGNORED else chances[a, b])
            assert float(nats[row, at].detach().sum()) == pytest.approx(expected, rel=1e-9)
    marginal = joint(model, hidden[0, 0].detach())
    assert not torch.allclose(marginal[0] / marginal[0].sum(), marginal[1] / marginal[1].sum(), atol=1e-3)


def test_every_parameter_learns_and_padding_does_not() -> None:
    model = LanguageModel(Memory(), (5, 7, 9))
    ids = torch.stack([torch.randint(0, size, (3, 8)) for size in (5, 7, 9)], -1)
    model.loss(ids, ids.roll(-1, 1))[0].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    for weight, size in ((model.embedding.weight, 5), (model.chain[0].head.weight, 7), (model.chain[1].head.weight, 9)):
        assert not weight[size:].any() and not weight.grad[size:].any()


class Normal(Memory):
    """Gives hidden states of unit size, as backbones do that close with a norm."""

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        hidden, state = super().forward(x, state, starts)
        return nn.functional.rms_norm(hidden, hidden.shape[-1:]), state


def test_a_second_stream_that_hangs_on_first_and_past_together_costs_nothing() -> None:
    """b is 1 where a and the token before agree: neither alone says anything about b."""
    torch.manual_seed(1)
    model = LanguageModel(Normal(32, fade=0.0), (4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        a = torch.randint(0, 2, (16, 9))
        ids = torch.stack([a, torch.cat([a[:, :1], (a[:, 1:] == a[:, :-1]).long()], 1)], -1)
        nats, _ = model.loss(ids[:, :-1], ids[:, 1:])
        optimizer.zero_grad()
        nats.sum(-1).mean().backward()
        optimizer.step()
    first, second = nats.detach()[:, 1:].mean((0, 1)).tolist()
    assert first == pytest.approx(math.log(2), rel=0.05) and second < 0.05


def test_one_stream_is_the_model_of_before() -> None:
    torch.manual_seed(3)
    one = LanguageModel(Memory(), 11)
    torch.manual_seed(3)
    same = LanguageModel(Memory(), [11])
    assert list(one.state_dict()) == ["embedding.weight", "backbone.mix.weight", "backbone.mix.bias", "head.weight"]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))


SAMPLING = Sampling(temperature=1.1, top_p=0.95, seed=4, repetition_penalty=1.1)
PROMPTS = [[[8, 61], [3, 65]], [], [[REST, NOTHING]], [[5, 40], [REST, NOTHING], [9, 41]], [[3, 65], [4, 66]]]


class Blurred(Memory):
    """Counts its positions, so that a wrong budget is seen."""

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        hidden, after = super().forward(x, state, starts)
        if state is not None and after is not None:
            after["left"] = state["left"] - x.shape[1]
            assert (after["left"] >= 0).all()
        return torch.tanh(hidden), after

    def init_state(self, batch: int, max_length: int) -> State:
        return {**super().init_state(batch, max_length), "left": torch.full((batch,), max_length)}


def made_model() -> LanguageModel:
    torch.manual_seed(2)
    model = LanguageModel(Blurred(16), Pairs.vocab_sizes)
    with torch.no_grad():
        model.embedding.weight.mul_(40)
        model.chain[0].embedding.weight.mul_(40)
        model.chain[0].known.weight.mul_(3)
    return model.eval()


def drawn(model: LanguageModel, prompts: list, grammar: PairsGrammar | None = None, **more: int) -> list[Generated]:
    specials = {"bos_id": BOS, "eos_id": EOS, "pad_id": PAD}
    return generate(model, prompts, length=12, sampling=SAMPLING, grammar=grammar, **specials, **more)


def literal(model: LanguageModel, prompt: list, row: int, grammar: PairsGrammar | None) -> Generated:
    """One piece, the whole prefix read anew for each token, the ids of a token drawn in turn."""
    ids, state = list(prompt), PairsGrammar().begin(1)
    for token in prompt:
        state = PairsGrammar().advance(state, torch.tensor([token]))
    for step in range(12):
        first = torch.ones(1, STEPS, dtype=torch.bool) if grammar is None else grammar.allowed(state)
        first[0, [PAD, BOS, *([EOS] if step == 0 and grammar is None else [])]] = False
        seen = [torch.zeros(1, size, dtype=torch.bool) for size in Pairs.vocab_sizes]
        for token in ids:
            seen[0][0, token[0]] = seen[1][0, token[1]] = True
        with torch.no_grad():
            hidden = model.read(torch.tensor([[[BOS, 0], *ids]]))[0][:, -1]
            a = draw(model.logits(hidden), SAMPLING, torch.tensor([row]), 2 * step, first, seen[0])
            if int(a) == EOS:
                return Generated(ids, len(prompt), True)
            second = None if grammar is None else grammar.allowed(state, a[:, None])
            told = model.logits(model.told(hidden, 0, a), 1)
            b = draw(told, SAMPLING, torch.tensor([row]), 2 * step + 1, second, seen[1])
        ids.append([int(a), int(b)])
        state = PairsGrammar().advance(state, torch.tensor([ids[-1]]))
    return Generated(ids, len(prompt), False)


@pytest.mark.parametrize("grammar", [None, PairsGrammar()], ids=["free", "grammar"])
def test_cached_generation_equals_reading_anew(grammar: PairsGrammar | None) -> None:
    model = made_model()
    expected = [literal(model, prompt, row, grammar) for row, prompt in enumerate(PROMPTS)]
    assert drawn(model, PROMPTS, grammar) == expected
    assert drawn(model, PROMPTS, grammar, max_batch=2) == expected
    assert drawn(model, PROMPTS[2:], grammar, first_row=2) == expected[2:]
    if grammar is not None:
        for piece in drawn(model, [[]] * 20, grammar):
            assert all((pitch == NOTHING) == (step == REST) for step, pitch in piece.ids)


def test_prompts_that_are_no_tokens_are_refused() -> None:
    for bad in ([3, PITCHES], [-1, 3], [EOS, 3], [3], 3):
        with pytest.raises(ValueError, match="prompt 0 holds"):
            drawn(made_model(), [[[5, 61], bad]])


@pytest.fixture(scope="module")
def store(music_folder: Path) -> TokenStore:
    data = DataHParams(workers=1)
    return prepare(Folder(str(music_folder)), build_from, "pairs", data, progress=False)


def build_from(folder: Path | None = None) -> Pairs:
    return Pairs(PairsHParams(), folder)


def batches(store: TokenStore, **augment: int) -> Batches:
    return Batches(
        store,
        "train",
        bos_id=BOS,
        eos_id=EOS,
        pad_id=PAD,
        length=32,
        batch_size=4,
        seed=0,
        packs=True,
        augment=AugmentHParams(**augment),
        tokenizer=Pairs(None),
    )


def test_a_store_holds_both_streams(store: TokenStore) -> None:
    assert store.manifest["tokenizer"]["streams"] == 2
    ids = store.ids("train", 0)
    assert ids.shape == (store.lengths("train")[0], 2) and ids.dtype == np.uint16
    total = sum(int(store.lengths(split).sum()) for split in ("train", "valid", "test"))
    assert (store.folder / "tokens.bin").stat().st_size == 2 * 2 * total
    info = store.pieces("train")[0]
    assert len(ids) == info.tokens and info.told == sum(pitch != NOTHING for _, pitch in ids.tolist())


def test_batches_tell_every_token_once_an_epoch(store: TokenStore) -> None:
    made = batches(store)
    counts: Counter[tuple[int, int]] = Counter()
    for step in range(made.steps_per_epoch):
        batch = made.batch(step, 0, 0, 1)
        ids, targets, starts = (batch[key] for key in ("ids", "targets", "starts"))
        assert ids.shape == targets.shape == (4, 32, 2) and starts.shape == (4, 32)
        told = targets[..., 0] != IGNORED
        assert made.counted(step) == int(told.sum())
        assert ((targets[..., 1] == IGNORED) == (~told | (targets[..., 0] == EOS))).all()
        assert not ids[..., 1][(ids[..., 0] == BOS) | (ids[..., 0] == PAD)].any()
        inner = told[:, :-1] & ~starts[:, 1:]
        assert torch.equal(ids[:, 1:][inner], targets[:, :-1][inner])
        if step < made.steps_per_epoch - 1:  # the last step reaches into the next epoch
            counts.update(map(tuple, targets[told].tolist()))
    music = Counter(tuple(token) for k in range(store.count("train")) for token in store.ids("train", k).tolist())
    assert not {token: n for token, n in counts.items() if token[0] != EOS and n > music[token]}
    assert sum(counts.values()) > 0.5 * sum(music.values())


def test_augmentation_moves_pitches_alone(store: TokenStore) -> None:
    plain, moved = batches(store).batch(0, 0, 0, 1)["ids"], batches(store, transpose=5).batch(0, 0, 0, 1)["ids"]
    assert torch.equal(plain[..., 0], moved[..., 0])
    by = (moved - plain)[..., 1]
    assert by.any() and by.abs().max() <= 5 and not by[plain[..., 1] == NOTHING].any()


def test_scores_are_joint_and_shared_out_to_kinds(store: TokenStore) -> None:
    model, pairs = made_model(), Pairs(None)
    kinds = token_kinds(pairs)
    assert [len(table) for table in kinds] == [STEPS, PITCHES]
    assert KINDS[kinds[1][FIRST_PITCH]] == "pitch" and KINDS[kinds[0][5]] == "onset"
    scores = score_pieces(model, whole(store, "valid", BOS, EOS, PAD), kinds, torch.autocast("cpu", enabled=False))
    for score in scores:
        ids = store.ids("valid", score.number).astype(np.int64)
        entries = torch.from_numpy(np.concatenate([[[BOS, 0]], ids, [[EOS, 0]]]))[None]
        targets = entries[:, 1:].clone()
        targets[0, -1, 1] = IGNORED
        nats = token_nats(model, entries[:, :-1], targets, torch.autocast("cpu", enabled=False))
        assert score.nats == pytest.approx(float(nats.sum()), rel=1e-6) and score.tokens == len(ids) + 1
        assert sum(cost for cost, _ in score.kinds) == pytest.approx(score.nats)
        assert sum(cost for cost, _ in score.depths) == pytest.approx(score.nats)
        assert sum(count for _, count in score.kinds) == 2 * len(ids) + 1


def test_an_ngram_knows_which_stream_it_tells(store: TokenStore) -> None:
    pieces = [[[3, 1], [4, 2]], [[3, 2]], [[4, 2], [3, 1]]]
    model = Ngram(pieces, vocab_size=(6, 3), bos_id=BOS, eos_id=EOS, pad_id=PAD, max_order=4)
    contexts = model.begin(1)
    for symbol in (3, 6 + 1, 4, 6 + 2, 3):
        for order in (1, 2, 4):
            chances = model.distribution(contexts, order)[0]
            inside = chances[6:] if contexts[0, 0] else chances[:6]
            assert inside.sum() == pytest.approx(1) == chances.sum()
        contexts = model.advance(contexts, np.array([symbol]))
    # By hand, order 1: stream 1 holds 1, 2, 2, 2, 1 with discounts 1 (n1 = 0: fallback 0.5, 1, 1.5 for 1, 2, 3 times).
    even = 1 / 3
    two = (3 - 1.5) / 5 + (1 + 1.5) / 5 * even
    one = (2 - 1.0) / 5 + (1 + 1.5) / 5 * even
    behind = model.advance(model.begin(1), np.array([3]))
    assert model.distribution(behind, 1)[0, 6:] == pytest.approx([2.5 / 5 * even, one, two])
    nats = model.nats([[[3, 1]]])
    assert nats.shape == (4, 3), "two symbols of a token, and the end"
    assert all(len(token) == 2 for piece in model.sample([[], [[3, 1]]], 5, 0) for token in piece)
    found = baselines(store, Pairs(None))
    tokens = int((store.lengths("valid") + 1).sum())
    assert found["valid"]["ngram"]["tokens"] == tokens
    assert found["valid"]["ngram"]["nats_per_token"] <= found["valid"]["unigram"]["nats_per_token"]


def test_parts_of_a_model_lie_where_they_are_named() -> None:
    """A later stream's weights have names of their own, and its head is its embedding where it is tied."""
    model = LanguageModel(Memory(), (5, 7))
    later = [name for name in model.state_dict() if name.startswith("chain.")]
    assert later == [f"chain.0.{name}.weight" for name in ("embedding", "head", "known", "out")]
    assert isinstance(model.chain[0].head.weight, nn.Parameter)
    assert model.chain[0].head.weight is model.chain[0].embedding.weight
