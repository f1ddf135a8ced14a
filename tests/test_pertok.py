"""PerTok against MidiTok's own tokens and decoding, its laws with every option, and its grammar."""

from pathlib import Path
from typing import Any

import pytest
import symusic
import torch

from core.errors import HubError
from datatools.reading.scores import piece_from_score, read
from hparams.tokenizers.pertok import PerTokHParams
from plugins.checks import tokenizer_checks
from plugins.laws.pieces import heard
from plugins.tokenizers import pertok
from plugins.tokenizers.note_tokens.options import library
from plugins.tokenizers.note_tokens.quantise import quantise
from plugins.tokenizers.pertok.grammar import FIELDS, MicroGrammar
from tests.odd_pieces import piece

BAND = Path(__file__).parent / "music" / "band.mid"
ALL: dict[str, Any] = {
    "use_velocities": True,
    "use_programs": True,
    "options": {"programs": [-1, 0, 32, 33]},  # few, which is faster
}
COARSE: dict[str, Any] = {"beat_res": {"0_4": 4}, "max_microtiming_shift": 0.125, "num_microtiming_bins": 24}
OPTIONS: list[dict[str, Any]] = [
    {},
    ALL | {"num_microtiming_bins": 6},
    ALL
    | {
        "use_pitchdrum_tokens": False,
        "beat_res": {"0_4": 4},
        "max_microtiming_shift": 0.15,
        "num_microtiming_bins": 6,
    },
    {"use_microtiming": False, "use_velocities": True},
    {"beat_res": {"0_2": 8, "2_4": 4}, "max_microtiming_shift": 0.25, "num_microtiming_bins": 24},
    {"ticks_per_quarter": 220, "beat_res": {"0_4": 4}, "max_microtiming_shift": 0.15, "num_microtiming_bins": 6},
]


@pytest.mark.parametrize(*tokenizer_checks(pertok.build, PerTokHParams(**ALL, **COARSE)))
def test_the_laws_hold_with_all_that_can_be_told(law: Any) -> None:
    law()


def without_echoes(tokens: list[str]) -> list[str]:
    """MidiTok's tokens without the microtiming of instruments."""
    pairs = zip(["", *tokens], tokens, strict=False)
    return [now for before, now in pairs if not (before.startswith("Program") and now.startswith("MicroTiming"))]


@pytest.mark.parametrize("options", OPTIONS)
def test_tokens_and_music_are_miditoks(options: dict[str, Any]) -> None:
    tokenizer = pertok.build(PerTokHParams(**options))
    other = tokenizer._tokenizer
    for source in [read(BAND), *(piece(seed, tpq=(480, 96, 1024)[seed % 3]) for seed in range(2))]:
        ids = tokenizer.encode(source)
        found = other.encode(quantise(source.score, tokenizer.grid), no_preprocess_score=True)
        theirs = (found[0] if isinstance(found, list) else found).tokens
        names = [tokenizer.token(id) for id in ids]
        assert names == without_echoes(theirs)
        sequence = library().TokSequence(tokens=names, ids=ids)
        told = other.decode(sequence if other.one_token_stream else [sequence])
        assert heard(tokenizer.decode(ids)) == heard(piece_from_score(told))


def walked(grammar: MicroGrammar, seed: int, rows: int, most: int) -> list[list[int]]:
    """Rows drawn under a grammar by someone who likes notes close together."""
    drawn = torch.Generator().manual_seed(seed)
    state, ids, over = grammar.begin(rows), [[] for _ in range(rows)], [False] * rows  # type: ignore[var-annotated]
    for _ in range(most):
        allowed = grammar.allowed(state)
        assert allowed.any(1).all()
        weights = allowed * torch.rand(allowed.shape, generator=drawn)
        weights[:, grammar.eos_id] *= 1e-3
        weights[:, grammar.bar_ids] *= 0.98
        chosen = weights.argmax(1)
        over = [was or bool(now) for was, now in zip(over, chosen == grammar.eos_id, strict=True)]
        for row, id in enumerate(chosen.tolist()):
            if not over[row]:
                ids[row].append(id)
        if all(over):
            break
        state = grammar.advance(state, chosen)
    return ids


def whole(tokenizer: Any, ids: list[int]) -> list[int]:
    """Up to the last note."""
    return ids[: 1 + max(at for at, id in enumerate(ids) if tokenizer.token(id).startswith("Duration"))]


@pytest.mark.parametrize("options", [*OPTIONS, {"pitch_range": (60, 61)}])
def test_every_token_drawn_is_told_again(options: dict[str, Any]) -> None:
    tokenizer = pertok.build(PerTokHParams(**options))
    for drawn in walked(tokenizer.grammar(), 1, rows=12, most=120):
        ids = whole(tokenizer, drawn)
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_bars_and_length_are_kept() -> None:
    tokenizer = pertok.build(PerTokHParams(pitch_range=(60, 64)))
    for ids in walked(tokenizer.grammar(bars=3), 2, rows=8, most=4000):
        assert len(tokenizer.bar_starts(ids)) == 3 and whole(tokenizer, ids) == ids
    for ids in walked(tokenizer.grammar(length=31), 3, rows=8, most=40):
        assert len(ids) <= 31 and whole(tokenizer, ids) == ids


def test_no_shift_leads_to_where_no_note_is_open() -> None:
    """The highest key at the last onset of a bar: a shift within the bar would leave nothing to say but the end."""
    tokenizer = pertok.build(PerTokHParams())
    made = symusic.Score(480)
    made.tracks.append(symusic.Track())
    # A bar has 1920 ticks and a place every 40; 1900 is the last onset that is told before its end.
    for time, pitch in ((1860, 60), (1900, tokenizer.grid.pitches[1])):
        made.tracks[0].notes.append(symusic.Note(time, 480, pitch, 80))
    grammar = tokenizer.grammar(bars=2)
    state = grammar.begin(1)
    for id in tokenizer.encode(piece_from_score(made)):
        state = grammar.advance(state, torch.tensor([id]))
    told = {tokenizer.token(id).partition("_")[0] for id in grammar.allowed(state)[0].nonzero()[:, 0].tolist()}
    assert told == {"Bar"}


class Deaf(MicroGrammar):
    """Forgets what sounds."""

    def advance(self, state: Any, ids: Any) -> Any:
        return {**super().advance(state, ids), "busy": state["busy"]}


class Loose(MicroGrammar):
    """Lets a note be as far off its place as there are tokens for it."""

    def advance(self, state: Any, ids: Any) -> Any:
        after = super().advance(state, ids)
        place = after["fields"][:, FIELDS.index("place")]
        after["fields"][:, FIELDS.index("last")] = place + self.steps.reach
        return after


@pytest.mark.parametrize("grammar", [Deaf, Loose])
def test_a_faulty_grammar_is_caught(grammar: Any) -> None:
    tokenizer = pertok.build(PerTokHParams(pitch_range=(60, 62)))
    found = walked(grammar(tokenizer._vocabulary, tokenizer.steps, tokenizer.eos_id, 0, 0), 1, rows=8, most=80)
    assert any(tokenizer.encode(tokenizer.decode(ids)) != ids for ids in (whole(tokenizer, each) for each in found))


def test_a_bar_by_hand() -> None:
    score = symusic.Score(480)
    track = symusic.Track()
    for time in (0, 491, 950, 1912):  # the last is 8 ticks before the second bar
        track.notes.append(symusic.Note(time, 240, 60, 64))
    score.tracks.append(track)
    tokenizer = pertok.build(PerTokHParams())
    names = [tokenizer.token(id) for id in tokenizer.encode(piece_from_score(score))]
    note = ["Pitch_60", "MicroTiming_0", "Duration_0.240.480"]
    late = ["TimeShift_1.0.480", "Pitch_60", "MicroTiming_12", "Duration_0.240.480"]
    early = ["TimeShift_1.0.480", "Pitch_60", "MicroTiming_-8", "Duration_0.240.480"]
    assert names == [*note, *late, *early, "Bar_None", *early[1:]]


def test_notes_of_a_pitch_closer_than_the_shortest_duration_are_one() -> None:
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for time in (0, 20, 44, 60):
        score.tracks[0].notes.append(symusic.Note(time, 10, 60, 64))
    tokenizer = pertok.build(PerTokHParams())
    found = heard(tokenizer.decode(tokenizer.encode(piece_from_score(score))))
    assert [int(note.start * 480) for note in found] == [0, 44]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"num_microtiming_bins": 30}, "equal steps"),
        ({"num_microtiming_bins": 5}, "an even number"),
        ({"max_microtiming_shift": 0.03}, "whole ticks of 480"),
        ({"ticks_per_quarter": 100}, "a multiple of 12"),
        ({"beat_res": {"0_4": 4}}, "28 ticks is not"),
        ({"beat_res": {"0_2": 12}}, "ticks is not"),
        ({"use_tempos": True}, "PerTok tells notes and nothing else"),
    ],
)
def test_what_it_cannot_tell_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PerTokHParams(**wrong)


def test_options_that_it_does_not_know_are_refused() -> None:
    with pytest.raises(HubError, match="use_sustain_pedals cannot be used: PerTok tells notes"):
        pertok.build(PerTokHParams(options={"use_sustain_pedals": True}))


def test_why_miditoks_tempos_and_meters_are_not_told() -> None:
    """MidiTok tells a tempo where the note before it lies, and counts twelve quarters in a bar of 6/8."""
    miditok = library()
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for time in (0, 960, 2880):
        score.tracks[0].notes.append(symusic.Note(time, 480, 60, 64))
    score.tempos.extend([symusic.Tempo(0, 120), symusic.Tempo(960, 60)])
    score.time_signatures.append(symusic.TimeSignature(0, 6, 8))
    options = {"ticks_per_quarter": 480, "use_microtiming": False, "max_microtiming_shift": 0.0}
    other = miditok.PerTok(miditok.TokenizerConfig(use_tempos=True, use_time_signatures=True, **options))
    sequence = other.encode(score)
    names = sequence[0].tokens
    assert [mark.time for mark in other.decode(sequence).tempos] == [0, 0]
    assert "TimeSig_6/8" in names and "Bar_None" not in names  # the last note lies in the third bar of 6/8
