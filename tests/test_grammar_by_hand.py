"""The grammars on a few tokens by hand: what a byte pair does, what a note still takes, when an ABC piece may end."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hparams.tokenizers.note_tokens import MidiLikeHParams
from plugins.tokenizers import midilike
from plugins.tokenizers.note_tokens.effects import NEVER, Phase, Vocabulary, effect
from tests.test_abc_tokens import TOKENIZER, ids, words


@pytest.mark.parametrize(
    ("bars", "meters", "programs", "velocities", "needs"),
    [  # the tokens that a note still takes: [bar [meter] position] | [meter], [program] pitch [velocity] duration
        (True, True, True, True, {"START": 7, "BAR": 6, "METER": 5, "TIME": 4, "PROGRAM": 3, "DRUMS": 3, "PITCH": 2}),
        (True, True, False, False, {"START": 5, "BAR": 4, "METER": 3, "TIME": 2}),
        (True, False, True, False, {"START": 5, "METER": 4, "TEMPO": 3, "PROGRAM": 2}),
        (False, True, True, True, {"START": 5, "METER": 4, "KEY": 4, "PROGRAM": 3, "DRUMS": 3, "PITCH": 2}),
        (False, False, False, True, {"START": 3, "TIME": 3, "PITCH": 2}),
    ],
)
def test_tokens_until_a_note_is_whole(
    bars: bool, meters: bool, programs: bool, velocities: bool, needs: dict[str, int]
) -> None:
    grid: Any = SimpleNamespace(meters=((4, 4),) if meters else (), programs={0, 5} if programs else None)
    found = Vocabulary((), grid, bars, velocities, False, {}).needs()
    assert {phase: found[Phase[phase]] for phase in needs} == needs
    assert (found[Phase.VELOCITY], found[Phase.NOTE]) == (1, 0)


@pytest.mark.parametrize(
    ("said", "fits", "first", "second", "last"),
    [  # keys are 128 times the rank of the program and the pitch; HEAD is the first pitch's, whose program is not said
        ("Pitch_60 Duration_1 Program_0 Pitch_62 Duration_1 Program_0 Pitch_64 Duration_1", True, NEVER, 62, 64),
        ("Pitch_60 Duration_1 Program_0 Pitch_64 Duration_1 Program_0 Pitch_62 Duration_1", False, NEVER, 64, 62),
        ("Pitch_60 Duration_1 Program_5 Pitch_60 Duration_1", True, NEVER, 188, 188),
        ("Program_0 Pitch_60 Duration_1 Program_5 Pitch_60 Duration_1", True, 60, NEVER, 188),
        ("Program_5 Pitch_60 Duration_1 Program_0 Pitch_64 Duration_1", False, 188, NEVER, 64),
        ("TimeShift_1 Program_5 Pitch_60 Duration_1 TimeShift_1 Program_0 Pitch_64", True, NEVER, NEVER, 64),
        ("Program_0 Pitch_60 Duration_2 TimeShift_1 Program_0 Pitch_60 Duration_1", False, 60, NEVER, 60),
        ("Duration_1 Program_0 Pitch_60 Duration_1", True, 60, NEVER, 60),
    ],
)
def test_keys_rise_within_a_byte_pair(said: str, fits: bool, first: int, second: int, last: int) -> None:
    names = ("Pitch_60", "Pitch_62", "Pitch_64", "Program_0", "Program_5", "Duration_1", "Duration_2", "TimeShift_1")
    grid: Any = SimpleNamespace(meters=((4, 4),), programs={0, 5}, bar=lambda meter: 48, step=lambda unit: 1)
    ticks = {4: {"1": 12, "2": 24}}
    found = effect(Vocabulary(names, grid, False, False, False, ticks), [names.index(n) for n in said.split()], 0)
    assert (found.fits, found.first_key, found.second_key, found.last_key) == (fits, first, second, last)
    if said.startswith(("Pitch_60", "Duration_1")):
        assert found.head_end == 12 and found.head_pitch == (60 if said[0] == "P" else None)


@pytest.mark.parametrize(
    ("said", "fits", "first"),
    [
        ("Position_0 Pitch_60 Duration_1 Position_3 Pitch_60 Duration_1", True, 0),
        ("Position_3 Pitch_60 Duration_1 Position_3 Pitch_62 Duration_1", False, 3),
        ("Position_3 Pitch_60 Duration_1 Position_0 Pitch_62 Duration_1", False, 3),
        ("Position_3 Pitch_60 Duration_1 Bar_None Position_0 Pitch_62 Duration_1", True, 3),
        ("Bar_None Position_0 Pitch_60", True, NEVER),
        ("Position_7 Pitch_60", True, 7),
        ("Position_8 Pitch_60", False, 8),  # a bar of two beats of four positions
    ],
)
def test_positions_rise_within_a_bar_of_a_byte_pair(said: str, fits: bool, first: int) -> None:
    names = tuple(dict.fromkeys(said.split()))
    grid: Any = SimpleNamespace(meters=((2, 4),), programs=None, positions=4, bar=lambda meter: 24, step=lambda unit: 3)
    found = effect(
        Vocabulary(names, grid, True, False, False, {4: {"1": 1}}), [names.index(n) for n in said.split()], 0
    )
    assert (found.fits, found.first_position) == (fits, first)
    assert found.bars == said.count("Bar")


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_a_piece_ends_after_so_many_bars_and_not_before(bars: int) -> None:
    for said in ("M:4/4 L:1/8 K:Cmaj" + " C 8 |" * 3, "M:4/4 L:1/8 K:Cmaj" + " V:1 C 8 | V:2 D 8 |" * 3):
        grammar, rounds = TOKENIZER.grammar(bars=bars), 0
        state = grammar.begin(1)
        for word in said.split():
            assert grammar.allowed(state)[0, ids(word)].all()
            state = grammar.advance(state, torch.tensor(ids(word)))
            rounds += word == "|"
            whole = rounds == bars * (2 if "V:2" in said else 1)
            assert grammar.allowed(state)[0, TOKENIZER.eos_id] == (whole and word == "|")
            if whole:
                assert words(grammar.allowed(state)[0].nonzero()[:, 0].tolist()) == ["<eos>"]
                break
        assert whole


def test_several_voices_begin_where_tokens_are_left_for_five_bars() -> None:
    """Five of 18 tokens, beyond the three of the header and the eight that a clean end may take."""
    for length, may in ((101, False), (102, True), (0, True)):
        grammar = TOKENIZER.grammar(length=length)
        state = grammar.begin(1)
        for id in ids("M:4/4 L:1/8 K:Cmaj"):
            state = grammar.advance(state, torch.tensor([id]))
        assert bool(grammar.allowed(state)[0, ids("V:1")]) is may


@pytest.mark.parametrize("said", ["V:2 C | V:1", "M:4/4 L:1/8 K:Cmaj C V:2 D |", "V:3 M:3/4 K:Dmaj F"])
def test_a_row_does_not_hang_on_the_others(said: str) -> None:
    """Beside a row of several voices a prompt that names a voice where none may come is read as it is alone."""
    grammar = TOKENIZER.grammar(bars=2)
    alone = beside = grammar.begin(1)
    for id in ids("M:4/4 L:1/8 K:Cmaj V:1 C 8 |"):
        beside = grammar.advance(beside, torch.tensor([id]))
    both = {key: torch.cat((alone[key], beside[key])) for key in alone}
    for id, other in zip(ids(said), ids("V:2 D 8 | V:1 E 4 F")):
        alone, both = grammar.advance(alone, torch.tensor([id])), grammar.advance(both, torch.tensor([id, other]))
        assert all(torch.equal(alone[key][0], both[key][0]) for key in alone)
        assert torch.equal(grammar.allowed(alone)[0], grammar.allowed(both)[0])


def test_keys_are_pressed_released_and_a_piece_of_two_bars_ends_in_the_second() -> None:
    tokenizer = midilike.build(MidiLikeHParams(use_tempos=True))
    known = {name: id for id, name in enumerate(tokenizer.base_tokens)}
    grammar = tokenizer.grammar(bars=2)
    state = grammar.begin(1)

    def say(*names: str) -> dict[str, set[str]]:
        """What may come next, by kind."""
        nonlocal state
        for name in names:
            assert grammar.allowed(state)[0, known[name]], name
            state = grammar.advance(state, torch.tensor([known[name]]))
        found: dict[str, set[str]] = {}
        for id in grammar.allowed(state)[0].nonzero()[:, 0].tolist():
            kind, _, value = tokenizer.base_tokens[id].partition("_")
            found.setdefault(kind, set()).add(value)
        return found

    pitches = {str(pitch) for pitch in range(21, 110)}
    assert say().keys() == {"TimeSig"}
    then = say("TimeSig_4/4")
    assert then.keys() == {"Tempo", "TimeShift", "NoteOn"} and then["NoteOn"] == pitches
    assert "8.0.4" in then["TimeShift"] and "8.1.4" not in then["TimeShift"]  # no farther than the second bar's end
    then = say("NoteOn_60")
    assert then.keys() == {"TimeShift", "NoteOn"} and then["NoteOn"] == pitches - {"60"}
    then = say("TimeShift_4.0.4")  # where the second bar would begin: it has not
    assert then.keys() == {"TimeSig", "Tempo", "TimeShift", "NoteOn", "NoteOff"}
    assert then["NoteOff"] == {"60"} and "4/4" not in then["TimeSig"]
    assert "EOS" not in say("NoteOff_60")
    then = say("NoteOn_62", "TimeShift_0.1.12")
    assert then["EOS"] == {"None"} and "TimeSig" not in then
    assert "EOS" not in say("NoteOn_64") | say("NoteOff_62")  # what is pressed must last, whatever is released
    then = say("TimeShift_3.11.12")  # the end of the second bar
    assert then.keys() == {"NoteOff", "EOS"} and then["NoteOff"] == {"64"}
    assert say("NoteOff_64").keys() == {"EOS"}


def test_of_releases_too_a_length_leaves_time_to_end() -> None:
    """A note takes three tokens with its meter: pressed, time; in four a second one may come, but never a fifth."""
    tokenizer = midilike.build(MidiLikeHParams())
    known = {name: id for id, name in enumerate(tokenizer.base_tokens)}
    with pytest.raises(ValueError, match="a length from 3 on"):
        tokenizer.grammar(length=2)
    grammar = tokenizer.grammar(length=4)
    state = grammar.begin(1)
    for name, may, must_not in (
        ("TimeSig_4/4", ("NoteOn_60", "TimeShift_1.0.12"), ()),
        ("NoteOn_60", ("NoteOn_61", "TimeShift_1.0.12"), ("EOS_None",)),
        ("NoteOn_61", ("TimeShift_1.0.12",), ("NoteOn_62", "EOS_None")),
        ("TimeShift_1.0.12", ("EOS_None",), ("NoteOff_60", "TimeShift_1.0.12")),
    ):
        state = grammar.advance(state, torch.tensor([known[name]]))
        allowed = grammar.allowed(state)[0]
        assert all(allowed[known[each]] for each in may) and not any(allowed[known[each]] for each in must_not), name
