"""The n-gram baselines against the definition, worked out in dictionaries."""

import itertools
import math
import time
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from core.errors import HubError
from datatools.ngram import Ngram, baselines, fit
from tests.test_batches import BOS, EOS, PAD, Memory, Plain

Gram = tuple[int, ...]


class Literal:
    """Interpolated modified Kneser-Ney of one order, term by term."""

    def __init__(self, pieces: list[list[int]], order: int, vocabulary: list[int]) -> None:
        self.order, self.vocabulary = order, vocabulary
        self.counts: dict[int, Counter[Gram]] = {n: Counter() for n in range(1, order + 1)}
        before: dict[Gram, set[int]] = defaultdict(set)
        for piece in pieces:
            text = [BOS] * order + piece + [EOS]
            for t in range(order, len(text)):
                for n in range(1, order + 1):
                    gram = tuple(text[t - n + 1 : t + 1])
                    if n == order or gram[0] == BOS:
                        self.counts[n][gram] += 1
                    elif text[t - n] not in before[gram]:
                        before[gram].add(text[t - n])
                        self.counts[n][gram] += 1
        self.discounts = {n: self.discount(list(self.counts[n].values())) for n in self.counts}

    @staticmethod
    def discount(counts: list[int]) -> list[float]:
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if not n1 * n2 * n3 * n4:
            return [0, 0.5, 1, 1.5]
        y = n1 / (n1 + 2 * n2)
        fitted = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return [0, *(min(max(d, 0.1), k) for k, d in enumerate(fitted, 1))]

    def chance(self, context: Gram, token: int, n: int) -> float:
        if n == 0:
            return 1 / len(self.vocabulary)
        history = context[len(context) - n + 1 :]
        lower = self.chance(context, token, n - 1)
        after = {w: self.counts[n][(*history, w)] for w in self.vocabulary}
        total = sum(after.values())
        if not total:
            return lower
        d = self.discounts[n]
        taken = sum(d[min(count, 3)] for count in after.values())
        return (after[token] - d[min(after[token], 3)]) / total + taken / total * lower

    def nats(self, piece: list[int]) -> list[float]:
        text = [BOS] * self.order + piece + [EOS]
        return [
            -math.log(self.chance(tuple(text[t - self.order + 1 : t]), text[t], self.order))
            for t in range(self.order, len(text))
        ]


def melodies(count: int, size: int, seed: int, longest: int = 30) -> list[list[int]]:
    """Walks that repeat themselves, so that counts of all sizes occur."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(count):
        piece = [int(rng.integers(3, 3 + size))]
        for _ in range(int(rng.integers(0, longest))):
            step = int(rng.choice([-1, 0, 1, 1, 2]))
            piece.append(3 + (piece[-1] - 3 + step) % size)
        pieces.append(piece)
    return [*pieces, []]


def fitted(pieces: list[list[int]], vocab: int, max_order: int = 6) -> Ngram:
    return Ngram(pieces, vocab_size=vocab, bos_id=BOS, eos_id=EOS, pad_id=PAD, max_order=max_order)


@pytest.mark.parametrize("size,count", [(4, 3), (9, 25), (30, 12)])
def test_nats_equal_the_literal_version(size: int, count: int) -> None:
    train, held_out = melodies(count, size, 0), melodies(4, size + 2, 1, 12)
    vocab = size + 5
    found = fitted(train, vocab).nats(held_out)
    assert found.shape == (6, sum(len(piece) + 1 for piece in held_out))
    for order in range(1, 7):
        literal = Literal(train, order, [id for id in range(vocab) if id not in (PAD, BOS)])
        expected = [nats for piece in held_out for nats in literal.nats(piece)]
        np.testing.assert_allclose(found[order - 1], expected, rtol=1e-10)


def test_probabilities_sum_to_one_after_any_context() -> None:
    model = fitted(melodies(8, 5, 0), 9)
    rng = np.random.default_rng(0)
    contexts = model.begin(50)
    for _ in range(12):
        for order in range(1, 7):
            chances = model.distribution(contexts, order)
            np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-12)
            assert not chances[:, [PAD, BOS]].any() and (np.delete(chances, [PAD, BOS], axis=1) > 0).all()
        contexts = model.advance(contexts, rng.integers(2, 9, 50))


def test_distributions_and_nats_tell_the_same() -> None:
    model, piece = fitted(melodies(8, 5, 0), 9), [3, 4, 5, 5, 6, 8, 3]
    nats, contexts = model.nats([piece]), model.begin(1)
    for t, token in enumerate([*piece, EOS]):
        for order in range(1, 7):
            assert -math.log(model.distribution(contexts, order)[0, token]) == pytest.approx(nats[order - 1, t])
        contexts = model.advance(contexts, np.array([token]))


def test_longer_contexts_pay_where_music_has_them() -> None:
    """A melody of period 4 in which three notes tell the fourth, and noise in which nothing tells anything."""
    pattern = [[3, 3, 4, 5, 3, 4, 4, 5] * 9] * 6
    nats = fitted(pattern, 7).nats([pattern[0]]).mean(axis=1)
    assert nats[2] < 0.5 * nats[0] and nats[3] < nats[2]
    rng = np.random.default_rng(0)
    noise = [rng.integers(3, 23, 500).tolist() for _ in range(4)]
    nats = fitted(noise[:3], 23).nats(noise[3:]).mean(axis=1)
    assert nats[0] == pytest.approx(math.log(20), rel=0.02) and nats.argmin() <= 1


class Splits:
    """A store of three splits."""

    def __init__(self, **splits: list[list[int]]) -> None:
        self.splits = {name: Memory(*pieces) for name, pieces in splits.items()}

    def pieces(self, split: str) -> Any:
        return self.splits[split].pieces(split)

    def ids(self, split: str, k: int) -> Any:
        return self.splits[split].ids(split, k)


class Named(Plain):
    vocab_size, pad_id, bos_id, eos_id = 14, PAD, BOS, EOS


def test_baselines_choose_the_order_on_validation() -> None:
    train, valid, test = melodies(30, 9, 0), melodies(9, 9, 1), melodies(9, 9, 2)
    found = baselines(Splits(train=train, valid=valid, test=test), Named())  # type: ignore[arg-type]
    model = fitted(train, 14)
    for split, pieces in (("valid", valid), ("test", test)):
        tokens, notes = sum(len(piece) + 1 for piece in pieces), sum(len(piece) // 3 for piece in pieces)
        best = int(model.nats(valid).sum(axis=1).argmin()) + 1
        assert best > 1
        for name, order in (("unigram", 1), ("ngram", best)):
            nats = math.fsum(model.nats(pieces)[order - 1])
            assert found[split][name] == {
                "order": order,
                "tokens": tokens,
                "notes": notes,
                "nats_per_token": pytest.approx(nats / tokens),
                "nats_per_note": pytest.approx(nats / notes),
            }


def test_the_order_is_not_chosen_anew_on_test() -> None:
    """Validation goes on as training does, where long contexts pay; of the test pieces they know nothing."""
    pattern = [[3, 3, 4, 5, 3, 4, 4, 5] * 9] * 6
    noise = [np.random.default_rng(0).integers(3, 6, 300).tolist()]
    found = baselines(Splits(train=pattern, valid=pattern[:1], test=noise), Named())  # type: ignore[arg-type]
    nats = fitted(pattern, 14).nats(noise).sum(axis=1)
    assert found["test"]["ngram"]["order"] == found["valid"]["ngram"]["order"] > 1 + nats.argmin()


def test_splits_without_music_are_errors() -> None:
    some = [[3, 4, 5]]
    with pytest.raises(HubError, match="the split valid has no notes"):
        baselines(Splits(train=some, valid=[], test=some), Named())  # type: ignore[arg-type]
    kept_back = baselines(Splits(train=some, valid=some, test=[]), Named())  # type: ignore[arg-type]
    assert kept_back.keys() == {"valid"}
    with pytest.raises(HubError, match="at least one piece"):
        baselines(Splits(train=[], valid=some, test=some), Named())  # type: ignore[arg-type]


def test_samples_repeat_and_follow_the_counts() -> None:
    model = fitted(melodies(60, 9, 0), 12)
    nothing: list[list[int]] = [[]] * 40
    pieces = model.sample(nothing, 25, seed=1)
    assert pieces == model.sample(nothing, 25, seed=1) and pieces[:3] == model.sample(nothing[:3], 25, seed=1)
    assert pieces != model.sample(nothing, 25, seed=2)
    steps = Counter((b - a) % 9 for piece in pieces for a, b in itertools.pairwise(piece))
    assert sum(steps[step] for step in (8, 0, 1, 2)) > 0.9 * sum(steps.values())
    assert all(len(piece) <= 25 and set(piece) <= set(range(3, 12)) for piece in pieces)


def test_samples_continue_prompts_of_any_length() -> None:
    text = [3, 4, 5, 6, 7, 8, 9, 10, 11]
    model = fitted([text] * 8, 12)
    prompts = [text[:2], [], text[:6], text]
    assert model.sample(prompts, 25, seed=0, top_p=0.5) == [text[2:], text, text[6:], []]
    # The likeliest alone: what is drawn does not depend on the seed.
    assert model.sample(prompts, 25, seed=1, top_p=1e-9) == model.sample(prompts, 25, seed=2, top_p=1e-9)


def test_large_texts_take_seconds() -> None:
    rng = np.random.default_rng(0)
    steps = rng.choice([-2, -1, 1, 3], 300_000)
    pieces = list(np.split(3 + np.cumsum(steps) % 200, 300))
    begun = time.perf_counter()
    model = Ngram(pieces, vocab_size=203, bos_id=BOS, eos_id=EOS, pad_id=PAD)
    model.nats(pieces[:30])
    assert time.perf_counter() - begun < 6, "20 seconds for two million tokens, with room for a busy machine"


def test_a_context_holds_a_whole_token_of_several_streams() -> None:
    """Six symbols for one stream, nine for four: the token before and the others of this one."""

    class Wide(Named):
        def __init__(self, streams: int) -> None:
            self.streams, self.vocab_sizes = streams, (14,) * streams

    for streams, order in ((1, 6), (2, 6), (4, 9)):
        pieces = np.full((5, streams) if streams > 1 else 5, 4)
        store = Splits(train=[pieces])  # type: ignore[list-item]
        assert fit(store, Wide(streams)).max_order == order  # type: ignore[arg-type]
    assert fit(store, Wide(4), 3).max_order == 3  # type: ignore[arg-type]
