"""Tokenizers on fuzzed scores, and decoders on fuzzed ids.

Encoding ends in ids of music or in one line of reason. Decoding always gives a Piece, whatever the ids: its score is in
canonical order, is written as MIDI and, where ABC can tell it, as ABC, and both are read again; what has a note is
encoded again or refused in one line.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer, vocab_sizes
from core.errors import HubError
from datatools.reading.scores import piece_from_score
from plugins.manager import load_manager
from tests import fuzz_cases, made_scores

SECONDS = 20.0
Sizes = tuple[int, ...]
SHORT = 120  # notes and quarters
EVERYTHING: dict[str, Any] = {
    f"use_{what}": True
    for what in ("velocities", "rests", "chords", "tempos", "time_signatures", "key_signatures", "programs")
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "remi": {"remi, BPE 600": {"bpe": 600}, "remi, all told": EVERYTHING},
    "abc": {"abc, all told": {"chord_symbols": True, "lyrics": True}},
    "tsd": {"tsd, BPE 600": {"bpe": 600}, "tsd, all told": EVERYTHING},
}


@cache
def built() -> dict[str, Tokenizer]:
    """Every registered tokenizer with its defaults, and variants of some."""
    made: dict[str, Tokenizer] = {}
    tunes = [piece_from_score(score) for score in made_scores.tunes(12)]
    tokenizers = load_manager().tokenizers
    for name in tokenizers:
        entry = tokenizers[name]
        assert entry.build is not None and entry.hparams is not None
        for label, options in {name: {}, **VARIANTS.get(name, {})}.items():
            made[label] = entry.build(entry.hparams(**options))
            if options.get("bpe"):
                made[label].train(tunes)  # type: ignore[attr-defined]
    return made


def read_case(seed: int, number: int, good: fuzz_cases.Corpus, place: Path) -> Piece:
    """A piece of the `number`-th fuzzed file, or of the first variation of it that reads; most are short."""
    random = Random(f"piece {seed} {number}")
    while True:
        kind = "midi" if random.random() < 0.7 else "abc"
        data = fuzz_cases.case(kind, seed, random.randrange(1 << 40), good)
        path = place / f"input{fuzz_cases.KINDS[kind][0]}"
        path.write_bytes(data)
        try:
            piece = fuzz_cases.scores.read(path)
        except ValueError:
            continue
        score = piece.score
        long = score.note_num() > SHORT or score.end() > SHORT * score.ticks_per_quarter
        if not long or random.random() < 0.01:
            return piece


def encoding(tokenizer: Tokenizer, piece: Piece, ids: Ids) -> fuzz_cases.Outcome:
    """How encoding ends; `ids` takes the result."""

    def work() -> None:
        ids.extend(tokenizer.encode(piece))
        special, sizes = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}, vocab_sizes(tokenizer)
        said = [[token] if tokenizer.streams == 1 else token for token in ids]
        assert ids and all(len(token) == len(sizes) for token in said), "ids of another number of streams"
        inside = (type(id) is int and 0 <= id < size for token in said for id, size in zip(token, sizes, strict=True))
        assert all(inside), "ids out of range"
        assert not special & {token[0] for token in said}, "special ids"
        assert tokenizer.decode(ids).score.note_num(), "no note is left"

    return fuzz_cases.ending(work, SECONDS)


def decoding(tokenizer: Tokenizer, ids: Ids, write: bool) -> fuzz_cases.Outcome:
    """How decoding ends: `read` when there is a note in it, `refused` when there is none; `write` has it written."""
    empty: list[bool] = []

    def work() -> None:
        piece = tokenizer.decode(ids)
        if not piece.score.note_num():
            empty.append(True)
            return
        if write:
            fuzz_cases.written(piece)
        try:
            again = tokenizer.encode(piece)
        except (ValueError, HubError) as error:
            raise AssertionError(f"what was decoded cannot be encoded: {error}") from error
        assert tokenizer.decode(again).score.note_num(), "no note is left"

    def strict() -> None:
        try:
            work()
        except ValueError as error:  # decode has no reason to refuse anything
            raise AssertionError(f"refused: {error}") from error

    outcome = fuzz_cases.ending(strict, SECONDS)
    return outcome._replace(end="refused", why="the ids tell no note") if empty else outcome


def fuzzed_ids(random: Random, sizes: Sizes, ids: Ids, other: Ids) -> Ids:
    """Ids of real music changed at many places or few, cut short, spliced, repeated; or ids by chance, or none."""
    ids, way = list(ids), random.randrange(10)
    if way == 0 or not ids:
        return [token(random, sizes) for _ in range(random.choice((0, 1, 3, 50, 400)))]
    if way == 1:
        wild = [token(random, sizes, low=-5, more=200) for _ in range(200)]
        return [*wild, *(id if len(sizes) == 1 else [id] * random.randrange(6) for id in (2**31, -(2**40)))]
    if way == 2:
        return ids[: random.randrange(len(ids))]
    if way == 3:
        kinds = sorted(set(ids)) if len(sizes) == 1 else [list(one) for one in sorted(set(map(tuple, ids)))]
        return random.choices(kinds, k=random.choice((30, 600)))
    if way == 4:
        return [random.choice(ids)] * random.choice((2, 30, 30, 1000))
    for _ in range(random.choice((1, 1, 3, 3, 10, 40))):
        if ids:
            random.choice(_CHANGES if len(sizes) == 1 else (*_CHANGES, _stream))(random, ids, sizes, other)
    return ids


def token(random: Random, sizes: Sizes, low: int = 0, more: int = 0) -> Any:
    """A token by chance: an id, or one of each of several streams, from `low` to `more` above the vocabulary."""
    ids = [random.randrange(low, size + more) for size in sizes]
    return ids[0] if len(ids) == 1 else ids


def _other(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    ids[random.randrange(len(ids))] = token(random, sizes)


def _stream(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    at, stream = random.randrange(len(ids)), random.randrange(len(sizes))
    ids[at] = [*ids[at][:stream], random.randrange(sizes[stream]), *ids[at][stream + 1 :]]


def _more(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    ids.insert(random.randrange(len(ids) + 1), token(random, sizes))


def _less(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    at = random.randrange(len(ids))
    del ids[at : at + random.choice((1, 1, 5, 30))]


def _twice(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    at = random.randrange(len(ids))
    ids[at:at] = ids[at : at + random.choice((1, 4, 20))] * random.choice((1, 1, 1, 5))


def _splice(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    at = random.randrange(len(other) + 1)
    place = random.randrange(len(ids) + 1)
    ids[place:place] = other[at : at + random.choice((1, 10, 40))]


def _swap(random: Random, ids: Ids, sizes: Sizes, other: Ids) -> None:
    one, two = random.randrange(len(ids)), random.randrange(len(ids))
    ids[one], ids[two] = ids[two], ids[one]


_CHANGES: tuple[Callable[[Random, Ids, Sizes, Ids], None], ...] = (_other, _more, _less, _twice, _splice, _swap)
