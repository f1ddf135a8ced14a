"""MuMIDI against MidiTok's own tokens and decoding, its laws, and its grammar."""

from pathlib import Path
from typing import Any

import pytest
import symusic
import torch

from core.contracts.tokenizer import token_names
from datatools.reading.scores import piece_from_score, read
from hparams.tokenizers.mumidi import MuMidiHParams
from plugins.checks import tokenizer_checks
from plugins.laws.pieces import heard
from plugins.tokenizers import mumidi
from plugins.tokenizers.mumidi.grammar import PITCH, TURN, TracksInTurnGrammar
from plugins.tokenizers.note_tokens.options import config, library
from plugins.tokenizers.note_tokens.quantise import quantise
from tests.odd_pieces import piece

BAND = Path(__file__).parent / "music" / "band.mid"
ALL: dict[str, Any] = {"use_velocities": True, "use_tempos": True}
OPTIONS: list[dict[str, Any]] = [{}, ALL, {"use_velocities": True, "beat_res": {"0_2": 8, "2_4": 2}}]


@pytest.mark.parametrize(*tokenizer_checks(mumidi.build, MuMidiHParams(**ALL)))
def test_the_laws_hold_with_all_that_can_be_told(law: Any) -> None:
    law()


@pytest.mark.parametrize("options", OPTIONS)
def test_tokens_and_music_are_miditoks(options: dict[str, Any]) -> None:
    hparams = MuMidiHParams(**options)
    tokenizer: Any = mumidi.build(hparams)
    other = library().MuMIDI(config(hparams, "MuMIDI"))
    for source in [read(BAND), *(piece(seed, marks=False) for seed in range(3))]:
        ids = tokenizer.encode(source)
        theirs = other.encode(quantise(source.score, tokenizer.grid), no_preprocess_score=True)
        names = [[name for name in token_names(tokenizer, token) if name != "Ignore_None"] for token in ids]
        assert names == theirs.tokens
        assert heard(tokenizer.decode(ids)) == heard(piece_from_score(other.decode(theirs)))


def test_a_bar_bears_the_tempo_where_it_begins() -> None:
    score = symusic.Score(12)
    score.tracks.append(symusic.Track())
    score.tracks[0].notes.extend([symusic.Note(0, 12, 60, 64), symusic.Note(60, 12, 62, 64)])
    score.tempos.extend([symusic.Tempo(0, 120), symusic.Tempo(60, 60)])
    tokenizer: Any = mumidi.build(MuMidiHParams(use_tempos=True))
    ids = tokenizer.encode(piece_from_score(score))
    assert [" ".join(token_names(tokenizer, token)) for token in ids] == [
        "Bar_None BarPosEnc_0 PositionPosEnc_None Tempo_120.0 Ignore_None",
        "Position_0 BarPosEnc_0 PositionPosEnc_0 Tempo_120.0 Ignore_None",
        "Program_0 BarPosEnc_0 PositionPosEnc_0 Tempo_120.0 Ignore_None",
        "Pitch_60 BarPosEnc_0 PositionPosEnc_0 Tempo_120.0 Duration_1.0.12",
        "Bar_None BarPosEnc_1 PositionPosEnc_None Tempo_120.0 Ignore_None",
        "Position_12 BarPosEnc_1 PositionPosEnc_12 Tempo_60.0 Ignore_None",
        "Program_0 BarPosEnc_1 PositionPosEnc_12 Tempo_60.0 Ignore_None",
        "Pitch_62 BarPosEnc_1 PositionPosEnc_12 Tempo_60.0 Duration_1.0.12",
    ]
    assert tokenizer.bar_starts(ids) == [0, 4]
    assert [(mark.time, mark.qpm) for mark in tokenizer.decode(ids).score.tempos] == [(0, 120), (60, 60)]
    other = library().MuMIDI(config(tokenizer.hparams, "MuMIDI"))
    assert [mark.time for mark in other.decode(other.encode(score)).tempos] == [0, 48]  # too early


def walked(grammar: TracksInTurnGrammar, seed: int, rows: int, most: int) -> list[list[list[int]]]:
    """Rows drawn under a grammar by someone who likes drums and the piano and stays where he is."""
    drawn = torch.Generator().manual_seed(seed)
    state, ids, over = grammar.begin(rows), [[] for _ in range(rows)], [False] * rows  # type: ignore[var-annotated]
    shares = torch.ones(grammar.sizes[0])
    shares[grammar.program_ids[2:]], shares[grammar.eos_id], shares[grammar.bar_id] = 0.2, 1e-3, 0.95
    for _ in range(most):
        allowed = grammar.allowed(state)
        assert allowed.any(1).all()
        known = (allowed * shares * torch.rand(allowed.shape, generator=drawn)).argmax(1, keepdim=True)
        over = [was or bool(now) for was, now in zip(over, known[:, 0] == grammar.eos_id, strict=True)]
        for _ in grammar.sizes[1:]:
            mask = grammar.allowed(state, known)
            assert (mask.any(1) | torch.tensor(over)).all()
            known = torch.cat([known, (mask * torch.rand(mask.shape, generator=drawn)).argmax(1, keepdim=True)], 1)
        for row, token in enumerate(known.tolist()):
            if not over[row]:
                ids[row].append(token)
        if all(over):
            break
        state = grammar.advance(state, known)
    return ids


def whole(tokenizer: Any, ids: list[list[int]]) -> list[list[int]]:
    """Up to the last note."""
    return ids[: 1 + max(at for at, token in enumerate(ids) if token[-1])]


@pytest.mark.parametrize("options", [*OPTIONS, {"pitch_range": (60, 61)}])
def test_every_token_drawn_is_told_again(options: dict[str, Any]) -> None:
    tokenizer = mumidi.build(MuMidiHParams(max_bar_embedding=8, **options))
    for drawn in walked(tokenizer.grammar(), 1, rows=12, most=60):
        ids = whole(tokenizer, drawn)
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_bars_and_length_are_kept() -> None:
    tokenizer = mumidi.build(MuMidiHParams(max_bar_embedding=8))
    for ids in walked(tokenizer.grammar(bars=3), 2, rows=6, most=600):
        assert len(tokenizer.bar_starts(ids)) == 3 and whole(tokenizer, ids) == ids
    for ids in walked(tokenizer.grammar(length=9), 3, rows=8, most=12):
        assert len(ids) <= 9 and whole(tokenizer, ids) == ids
    with pytest.raises(ValueError, match="at most 8"):
        tokenizer.grammar(bars=9)


class Deaf(TracksInTurnGrammar):
    """Forgets what sounds."""

    def advance(self, state: Any, ids: Any) -> Any:
        return {**super().advance(state, ids), "busy": state["busy"]}


class Unordered(TracksInTurnGrammar):
    """Lets pitches of an instrument fall."""

    def advance(self, state: Any, ids: Any) -> Any:
        after = super().advance(state, ids)
        after["fields"][:, PITCH] = -1
        return after


class Disorderly(TracksInTurnGrammar):
    """Lets instruments of one place come in any order."""

    def _first(self, state: Any) -> Any:
        fields = state["fields"].clone()
        mask = super()._first(state)
        fields[:, TURN] = -1
        mask[:, self.program_ids] |= super()._first({**state, "fields": fields})[:, self.program_ids]
        return mask


@pytest.mark.parametrize("grammar", [Deaf, Unordered, Disorderly])
def test_a_faulty_grammar_is_caught(grammar: Any) -> None:
    tokenizer = mumidi.build(MuMidiHParams(max_bar_embedding=8, pitch_range=(60, 62)))
    found = [whole(tokenizer, ids) for ids in walked(grammar(tokenizer, 0, 0), 1, rows=8, most=60)]
    assert any(tokenizer.encode(tokenizer.decode(ids)) != ids for ids in found)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"use_programs": False}, "MuMIDI always tells it"),
        ({"use_pitchdrum_tokens": False}, "MuMIDI always tells it"),
        ({"use_time_signatures": True}, "do not tell it"),
        ({"bpe": 500}, "not joined"),
        ({"max_bar_embedding": 0}, "1 to 4096 bars"),
    ],
)
def test_what_it_cannot_tell_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        MuMidiHParams(**wrong)
