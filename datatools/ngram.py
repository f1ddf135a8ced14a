"""The floor that a model has to beat: unigram and n-gram with interpolated modified Kneser-Ney smoothing.

Source: Chen and Goodman, An empirical study of smoothing techniques for language modeling (1999), section 3. As in
KenLM (Heafield et al. 2013), n-grams that begin with bos keep their plain counts in lower orders, and discounts that
the counts of counts cannot give are 0.5, 1 and 1.5.

A token of several streams is as many symbols of the text, each stream with symbols of its own, so that the sum over
them is the joint cost of the token; one stream has a symbol a token.

Shapes: n positions of a text, v symbols, b rows, o orders, k streams. A gram of some symbols is known by a number: its
place in the ascending array of (number of all but its last symbol) * v + last symbol; the gram of no symbol is the
stream of the symbol that comes next.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.dataset import Split
from core.contracts.tokenizer import Ids, Tokenizer, vocab_sizes
from core.errors import HubError
from core.seeds import generator
from datatools.batching.batches import Store

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Piece = Sequence[Any] | NDArray[Any]  # (tokens) or (tokens k)

_FALLBACK = (0.5, 1.0, 1.5)
_LEAST_DISCOUNT = 0.1  # keeps every token possible after every context


@dataclass(frozen=True)
class _Level:
    """One order's share: probability of a gram = `own[gram] + back[context] * (probability one order lower)`."""

    own: Floats  # by gram
    back: Floats  # by context, a gram of one token less


class Ngram:
    """Counts of all orders up to `max_order`, from which the probabilities of each of these orders follow.

    Predicted are all ids but bos and pad, eos included; bos fills the context before a piece. `vocab_size` counts each
    stream's ids where there are several.
    """

    def __init__(
        self,
        pieces: Iterable[Piece],
        *,
        vocab_size: int | Sequence[int],
        bos_id: int,
        eos_id: int,
        pad_id: int,
        max_order: int = 6,
    ) -> None:
        sizes = np.atleast_1d(np.asarray(vocab_size))  # (k)
        self.vocab_size, self.streams, self.max_order = int(sizes.sum()), len(sizes), max_order
        self._bos, self._eos = bos_id, eos_id
        self._first = np.cumsum(sizes) - sizes  # each stream's first symbol (k)
        self._stream = np.repeat(np.arange(self.streams), sizes)  # of each symbol (v)
        self._next = (self._stream + 1) % self.streams  # the stream behind each symbol (v)
        self._next[[bos_id, eos_id, pad_id]] = 0  # which stand alone
        predicted = np.ones(self.vocab_size, dtype=bool)
        predicted[[bos_id, pad_id]] = False
        self._even = predicted / np.bincount(self._stream, predicted)[self._stream]  # chances without any count (v)
        text = self._text(pieces)  # (n)
        counted = text != bos_id
        if not counted.any():
            raise HubError("an n-gram model needs at least one piece to learn from")
        self._codes: list[Ints] = []  # by order - 1
        self._highest: list[_Level] = []  # by order - 1
        self._lower: list[_Level] = []  # by order - 1; of the highest order there is none
        grams = self._next[text]  # the gram that ends at each position (n)
        size, counts, first_bos = self.streams, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        for order in range(1, max_order + 1):
            longer = np.concatenate([[0], grams[:-1]]) * self.vocab_size + text  # (n)
            codes, example, inverse = np.unique(longer, return_index=True, return_inverse=True)
            longer_counts = np.bincount(inverse[counted], minlength=len(codes))
            if order > 1:
                # Below the highest order a gram counts once for each token that it occurs after; where it begins with
                # bos nothing else can stand before it, and its plain count says more.
                occurs = example[longer_counts > 0]
                after = np.bincount(grams[occurs], minlength=size)
                self._lower.append(self._level(np.where(first_bos, counts, after), order - 1))
            self._codes.append(codes)
            self._highest.append(self._level(longer_counts, order))
            grams, size, counts = inverse, len(codes), longer_counts
            first_bos = text[np.maximum(example - (order - 1), 0)] == bos_id

    def symbols(self, piece: Piece) -> Ints:
        """The symbols of a piece, without its ends: (tokens * k)."""
        ids = np.asarray(piece, dtype=np.int64).reshape(-1, self.streams)
        return (ids + self._first).ravel()

    def _tokens(self, symbols: list[int]) -> Ids:
        """The tokens that symbols tell."""
        if self.streams == 1:
            return symbols
        ids: Ids = (np.array(symbols, dtype=np.int64).reshape(-1, self.streams) - self._first).tolist()
        return ids

    def _text(self, pieces: Iterable[Piece]) -> Ints:
        """All pieces in one row (n), each between eos and enough bos to fill the longest context."""
        parts: list[NDArray[Any]] = []
        for piece in pieces:
            parts += [np.full(self.max_order, self._bos), self.symbols(piece), np.array([self._eos])]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)

    def _level(self, counts: Ints, order: int) -> _Level:
        """Discounts the counts of the grams of `order` and leaves what was taken to the order below."""
        codes = self._codes[order - 1]
        contexts = codes // self.vocab_size
        size = len(self._codes[order - 2]) if order > 1 else self.streams
        ones, twos, threes, fours = (int((counts == k).sum()) for k in (1, 2, 3, 4))
        discounts = np.array([0.0, *_FALLBACK])
        if ones and twos and threes and fours:
            share = ones / (ones + 2 * twos)
            fitted = [1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes]
            discounts[1:] = np.clip(fitted, _LEAST_DISCOUNT, [1.0, 2.0, 3.0])
        taken = discounts[np.minimum(counts, 3)]
        total = np.bincount(contexts, counts, minlength=size)
        some = np.where(total > 0, total, 1.0)
        back = np.where(total > 0, np.bincount(contexts, taken, minlength=size) / some, 1.0)
        return _Level((counts - taken) / some[contexts], back)

    def _find(self, order: int, context: Ints, tokens: Ints) -> Ints:
        """The numbers (n) of the grams of `order` made of a shorter one and a token; -1 where it never occurred."""
        codes = self._codes[order - 1]
        wanted = np.where(context >= 0, context * self.vocab_size + tokens, -1)
        place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        return np.where(codes[place] == wanted, place, -1)

    def _orders(self, contexts: Ints, tokens: Ints) -> Iterator[Floats]:
        """Probabilities (n) of symbols after contexts (o n), under order 1, 2, ...

        `contexts[i]` has the number of the gram of the i symbols before, -1 for one that never occurred.
        """
        below = np.where(self._stream[tokens] == contexts[0], self._even[tokens], 0.0)
        for order, context in enumerate(contexts, 1):
            gram = self._find(order, context, tokens)
            levels = [self._highest[order - 1], *self._lower[order - 1 : order]]
            highest, *lower = (
                np.where(gram >= 0, level.own[gram], 0.0) + np.where(context >= 0, level.back[context], 1.0) * below
                for level in levels
            )
            yield highest
            below = lower[0] if lower else below

    def nats(self, pieces: Iterable[Piece]) -> Floats:
        """The cost in nats (o n) under each order of each symbol of the pieces, the ends included, in their order."""
        text = self._text(pieces)
        contexts = np.zeros((self.max_order, len(text)), dtype=np.int64)
        contexts[0, 1:] = self._next[text[:-1]]
        for order in range(1, self.max_order):
            grams = self._find(order, contexts[order - 1], text)
            contexts[order] = np.concatenate([[-1], grams[:-1]])
        counted = text != self._bos
        chances = self._orders(contexts[:, counted], text[counted])
        return -np.log(np.stack(list(chances)).reshape(self.max_order, -1))

    def distribution(self, contexts: Ints, order: int) -> Floats:
        """Probabilities (b v) of every symbol after contexts (o b) of `begin` and `advance`; rows sum to 1."""
        rows = contexts.shape[1]
        tokens = np.tile(np.arange(self.vocab_size), rows)
        chances = list(self._orders(np.repeat(contexts[:order], self.vocab_size, axis=1), tokens))[-1]
        return chances.reshape(rows, self.vocab_size)

    def begin(self, rows: int) -> Ints:
        """The contexts (o b) before the first symbol."""
        contexts = np.full((self.max_order, rows), -1)
        contexts[0] = 0
        for _ in range(self.max_order):
            contexts = self.advance(contexts, np.full(rows, self._bos))
        return contexts

    def advance(self, contexts: Ints, tokens: Ints) -> Ints:
        """The contexts (o b) after one more symbol (b) a row."""
        after = contexts.copy()
        after[0] = self._next[tokens]
        for order in range(1, self.max_order):
            after[order] = self._find(order, contexts[order - 1], tokens)
        return after

    def sample(
        self,
        prompts: Sequence[Piece],
        length: int,
        seed: int,
        *,
        order: int | None = None,
        top_p: float = 1.0,
    ) -> list[Ids]:
        """Continues each prompt (it may be empty) by at most `length` tokens, without eos; the prompt is not repeated.

        Piece i depends on (seed, i) and its prompt only. With `top_p` below 1 the fewest likeliest ids are drawn from
        whose probabilities sum to at least this.
        """
        count, length = len(prompts), length * self.streams
        points = np.stack([generator(seed, "ngram", row).random(length) for row in range(count)])  # (b l)
        pieces: list[list[int]] = [[] for _ in range(count)]
        contexts, alive = self._after(prompts), np.arange(count)
        for step in range(length):
            chances = _likeliest(self.distribution(contexts, order or self.max_order), top_p)  # (b v)
            cumulative = chances.cumsum(axis=1)
            point = np.nextafter(points[alive, step] * cumulative[:, -1], 0)
            tokens = (cumulative <= point[:, None]).sum(axis=1)  # (b)
            going = tokens != self._eos
            alive, contexts, tokens = alive[going], contexts[:, going], tokens[going]
            if not len(alive):
                break
            for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
                pieces[row].append(token)
            contexts = self.advance(contexts, tokens)
        return [self._tokens(piece) for piece in pieces]

    def _after(self, prompts: Sequence[Piece]) -> Ints:
        """The contexts (o b) behind prompts of any lengths."""
        contexts, told = self.begin(len(prompts)), [self.symbols(prompt) for prompt in prompts]
        for position in range(max(map(len, told), default=0)):
            rows = np.array([row for row, prompt in enumerate(told) if position < len(prompt)])
            tokens = np.array([int(told[row][position]) for row in rows])
            contexts[:, rows] = self.advance(contexts[:, rows], tokens)
        return contexts


def _likeliest(chances: Floats, top_p: float) -> Floats:
    """Chances (b v) with 0 for all but the fewest likeliest ids that hold `top_p` of each row."""
    if top_p >= 1:
        return chances
    order = np.argsort(-chances, axis=1, kind="stable")
    ranked = np.take_along_axis(chances, order, axis=1)
    ranked[ranked.cumsum(axis=1) - ranked >= top_p] = 0.0
    kept = np.zeros_like(chances)
    np.put_along_axis(kept, order, ranked, axis=1)
    return kept


def fit(store: Store, tokenizer: Tokenizer, max_order: int | None = None) -> Ngram:
    """Counts the training split; of several streams the longest context holds a whole token at least."""
    pieces = (store.ids("train", k) for k in range(len(store.pieces("train"))))
    return Ngram(
        pieces,
        vocab_size=vocab_sizes(tokenizer),
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        max_order=max_order or max(6, 2 * tokenizer.streams + 1),
    )


def baselines(
    store: Store, tokenizer: Tokenizer, max_order: int | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """What models without a memory worth the name reach on the splits that are not trained on.

    {"valid" | "test": {"unigram" | "ngram": {"order", "nats_per_token", "nats_per_note", "tokens", "notes"}}}, where
    `tokens` counts what was scored (each token and each piece's end once) and `notes` those of the source pieces. The
    n-gram's order is the best on "valid"; there is no "test" where the dataset keeps its test pieces back. HubError
    when a split has no note.
    """
    model = fit(store, tokenizer, max_order)
    splits: tuple[Split, ...] = ("valid", "test")
    result: dict[str, dict[str, dict[str, float]]] = {}
    best = 1
    for split in splits:
        infos = store.pieces(split)
        if split == "test" and not infos:
            continue
        notes = sum(info.notes for info in infos)
        if not notes:
            raise HubError(f"the split {split} has no notes to score; add music to the dataset")
        tokens = sum(len(store.ids(split, k)) + 1 for k in range(len(infos)))
        nats = model.nats(store.ids(split, k) for k in range(len(infos)))
        totals = [math.fsum(order) for order in nats]
        if split == "valid":
            best = 1 + totals.index(min(totals))
        result[split] = {
            name: {
                "order": order,
                "nats_per_token": totals[order - 1] / tokens,
                "nats_per_note": totals[order - 1] / notes,
                "tokens": tokens,
                "notes": notes,
            }
            for name, order in (("unigram", 1), ("ngram", best))
        }
    return result
