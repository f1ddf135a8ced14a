"""MMM against MidiTok's own tokens and decoding, its laws, and its grammar."""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import HubError
from datatools.reading.scores import piece_from_score, read
from hparams.tokenizers.mmm import MmmHParams
from plugins.checks import tokenizer_checks
from plugins.laws.pieces import heard
from plugins.tokenizers import mmm
from plugins.tokenizers.mmm.grammar import TracksGrammar
from plugins.tokenizers.note_tokens.options import library
from plugins.tokenizers.note_tokens.quantise import quantise
from tests.odd_pieces import piece

BAND = Path(__file__).parent / "music" / "band.mid"
FEW: dict[str, Any] = {"options": {"programs": [-1, 0, 32, 33]}}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"use_velocities": True, "base_tokenizer": "TSD"},
    {"use_pitchdrum_tokens": False, "beat_res": {"0_2": 8, "2_4": 2}},
]


@pytest.mark.parametrize(*tokenizer_checks(mmm.build, MmmHParams(use_velocities=True, **FEW)))
def test_the_laws_hold(law: Any) -> None:
    law()


@pytest.mark.parametrize("options", OPTIONS)
def test_tokens_and_music_are_miditoks(options: dict[str, Any]) -> None:
    tokenizer = mmm.build(MmmHParams(**options))
    other = tokenizer._tokenizer
    for source in [read(BAND), *(piece(seed, tpq=(480, 96, 1024)[seed % 3]) for seed in range(3))]:
        ids = tokenizer.encode(source)
        theirs = other.encode(quantise(source.score, tokenizer.grid), no_preprocess_score=True)
        names = [tokenizer.token(id) for id in ids]
        assert names == theirs.tokens
        told = other.decode(library().TokSequence(tokens=names, ids=ids))
        assert heard(tokenizer.decode(ids)) == heard(piece_from_score(told))


def walked(grammar: TracksGrammar, seed: int, rows: int, most: int) -> list[list[int]]:
    """Rows drawn under a grammar by someone who goes on for long."""
    drawn = torch.Generator().manual_seed(seed)
    state, ids, over = grammar.begin(rows), [[] for _ in range(rows)], [False] * rows  # type: ignore[var-annotated]
    for _ in range(most):
        allowed = grammar.allowed(state)
        assert allowed.any(1).all()
        weights = allowed * torch.rand(allowed.shape, generator=drawn)
        weights[:, [grammar.eos_id, grammar.end]] *= torch.tensor([0.5, 1.03])
        chosen = weights.argmax(1)
        over = [was or bool(now) for was, now in zip(over, chosen == grammar.eos_id, strict=True)]
        for row, id in enumerate(chosen.tolist()):
            if not over[row]:
                ids[row].append(id)
        if all(over):
            break
        state = grammar.advance(state, chosen)
    return ids


def whole(grammar: TracksGrammar, ids: list[int]) -> list[int]:
    """Up to the end of the last whole instrument."""
    ends = [at for at, id in enumerate(ids) if id == grammar.end]
    return ids[: ends[-1] + 1] if ends else []


@pytest.mark.parametrize("options", [*OPTIONS, FEW | {"pitch_range": (60, 61)}])
def test_every_token_drawn_is_told_again(options: dict[str, Any]) -> None:
    tokenizer = mmm.build(MmmHParams(**options))
    grammar = tokenizer.grammar()
    found = [whole(grammar, ids) for ids in walked(grammar, 1, rows=12, most=200)]
    assert sum(map(bool, found)) > 6 and max(ids.count(grammar.start) for ids in found) > 1
    for ids in filter(None, found):
        music, again = tokenizer.decode(ids), tokenizer.encode(tokenizer.decode(ids))
        told = [tokenizer.token(id).partition("_")[0] for id in ids]
        assert len(heard(music)) == told.count("Duration") and heard(tokenizer.decode(again)) == heard(music)
        # TSD has several words for one time, and where all pitches sound nothing but an end is left.
        assert again == ids or options.get("pitch_range") or options.get("base_tokenizer") == "TSD"


def test_bars_and_length_are_kept() -> None:
    tokenizer = mmm.build(MmmHParams(**FEW))
    bar = tokenizer.base_tokens.index("Bar_None")
    grammar = tokenizer.grammar(bars=3)
    for ids in walked(grammar, 2, rows=8, most=4000):
        assert ids == whole(grammar, ids) and ids.count(bar) == 3 * ids.count(grammar.start)
    grammar = tokenizer.grammar(length=40)
    for ids in walked(grammar, 3, rows=16, most=50):
        assert ids == whole(grammar, ids) and 0 < len(ids) <= 40
    with pytest.raises(ValueError, match="or 7 tokens for a note"):
        tokenizer.grammar(length=6)


class Unordered(TracksGrammar):
    """Lets an instrument come twice."""

    def advance(self, state: Any, ids: Any) -> Any:
        after = super().advance(state, ids)
        after["frame"][:, 1] = torch.where(after["frame"][:, 0] == 1, -1, after["frame"][:, 1])
        return after


class Forgetful(TracksGrammar):
    """Takes the drums for an instrument of pitches."""

    def advance(self, state: Any, ids: Any) -> Any:
        self.drums = -2
        return super().advance(state, ids)


@pytest.mark.parametrize("faulty", [Unordered, Forgetful])
def test_a_faulty_grammar_is_caught(faulty: Any) -> None:
    tokenizer = mmm.build(MmmHParams(options={"programs": [-1, 0]}))
    grammar = faulty(tokenizer._vocabulary, tokenizer.eos_id, 0, 0)
    found = [whole(grammar, ids) for ids in walked(grammar, 1, rows=12, most=200)]
    assert any(tokenizer.encode(tokenizer.decode(ids)) != ids for ids in filter(None, found))


@pytest.mark.parametrize("vocabulary", ["bpe", "wordpiece"])
def test_a_learnt_vocabulary_stands_for_the_same_tokens(vocabulary: Any) -> None:
    plain = mmm.build(MmmHParams(**FEW))
    tokenizer = mmm.build(MmmHParams(bpe=450, vocabulary=vocabulary, **FEW))
    pieces = [piece(seed) for seed in range(3)]
    tokenizer.train(pieces)
    assert len(tokenizer.base_tokens) < tokenizer.vocab_size <= 450
    for source in pieces:
        ids = tokenizer.encode(source)
        assert tokenizer.base_ids(ids) == plain.encode(source) and len(ids) < len(plain.encode(source))
        assert heard(tokenizer.decode(ids)) == heard(plain.decode(plain.encode(source)))
    with pytest.raises(ValueError, match="no grammar for MMM with a learnt vocabulary"):
        tokenizer.grammar()


def test_what_stands_outside_the_frames_is_not_read() -> None:
    tokenizer = mmm.build(MmmHParams())
    ids = tokenizer.encode(read(BAND))
    note = ids[2:7]
    assert heard(tokenizer.decode([*note, *ids, *note])) == heard(tokenizer.decode(ids))
    assert not heard(tokenizer.decode(note)) and not hasattr(tokenizer, "bar_starts")
    assert len(heard(tokenizer.decode(ids[:-1]))) == len(heard(tokenizer.decode(ids)))  # cut short


@pytest.mark.parametrize("wrong", [{"use_tempos": True}, {"use_programs": False}, {"use_programs": "auto"}])
def test_what_it_cannot_tell_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Mmm tells"):
        MmmHParams(**wrong)


def test_options_that_it_does_not_know_are_refused() -> None:
    with pytest.raises(HubError, match="use_sustain_pedals cannot be used: Mmm tells notes"):
        mmm.build(MmmHParams(options={"use_sustain_pedals": True}))
