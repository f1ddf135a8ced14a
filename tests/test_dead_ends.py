"""A grammar allows a token only where something may follow it, on tokens by hand and on vocabularies of few pitches."""

from typing import Any

import pytest
import torch

from hparams.tokenizers.note_tokens import MidiLikeHParams, StructuredHParams
from plugins.tokenizers import midilike, structured
from tests.odd_pieces import built

MANY: dict[str, Any] = {"use_programs": True, "use_velocities": True, "use_tempos": True}
BEGINS = {"remi": "Bar_None TimeSig_4/4 Position_0", "tsd": "TimeSig_4/4"}
LATER = {"remi": "Position_4", "tsd": "TimeShift_1.0.12"}


def may(tokenizer: Any, said: str, **limits: int) -> set[str]:
    """What may follow, by name; the compiled step and the plain one must agree."""
    ids = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
    found = []
    for plain in (False, True):
        grammar = tokenizer.grammar(**limits)
        if plain:
            grammar.native = None
        state = grammar.begin(1)
        for name in said.split():
            assert grammar.allowed(state)[0, ids[name]], name
            state = grammar.advance(state, torch.tensor([ids[name]]))
        found.append({tokenizer.token(id) for id in grammar.allowed(state)[0].nonzero()[:, 0].tolist()})
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("kind", ["remi", "tsd"])
def test_drums_are_announced_only_where_one_is_silent_above_the_last(kind: str) -> None:
    """88 is the highest of the drums: while it sounds, 87 is the last that may begin."""
    tokenizer = built(kind, **MANY)
    for length, open in (("4.0.4", False), ("0.4.12", True)):  # of 88, four quarters and a third of one
        said = f"{BEGINS[kind]} Program_-1 PitchDrum_88 Velocity_127 Duration_{length} {LATER[kind]}"
        said += " Program_-1 PitchDrum_87 Velocity_127 Duration_1.0.12"
        assert ("Program_-1" in may(tokenizer, said)) is open
        assert "Program_-1" in may(tokenizer, said.replace("PitchDrum_87", "PitchDrum_86"))  # 87 is left


def test_a_program_is_announced_only_where_a_pitch_of_it_is_silent() -> None:
    """An instrument whose three pitches sound is not, another is."""
    tokenizer = built("remi", pitch_range=(60, 62), use_programs=True, options={"programs": [0, 5]})
    chord = " ".join(f"Program_5 Pitch_{pitch} Duration_4.0.4" for pitch in (60, 61, 62))
    after = may(tokenizer, f"{BEGINS['remi']} {chord} Position_4")
    assert "Program_0" in after and "Program_5" not in after


def test_no_place_is_told_where_every_pitch_sounds() -> None:
    """Three pitches sound for two quarters: the next note may begin at the third, eighth 8 of a grid of four."""
    tokenizer = built("remi", pitch_range=(60, 62), beat_res={"0_4": 4})
    chord = " ".join(f"Pitch_{pitch} Duration_2.0.4" for pitch in (60, 61, 62))
    after = may(tokenizer, f"{BEGINS['remi']} {chord}")
    assert {name for name in after if name.startswith("Position")} == {f"Position_{n}" for n in range(8, 16)}
    # Four quarters fill the only bar: the piece may end; of two bars the second is open, and no place in the first.
    chord = chord.replace("2.0.4", "4.0.4")
    assert may(tokenizer, f"{BEGINS['remi']} {chord}", bars=1) == {"EOS_None"}
    assert may(tokenizer, f"{BEGINS['remi']} {chord}", bars=2) == {"Bar_None"}


def test_no_duration_reaches_over_the_bar_that_must_have_a_note() -> None:
    """The last silent pitch from the fourth quarter of the first of two bars, whose second must have a note."""
    tokenizer = built("tsd", pitch_range=(60, 61), beat_res={"0_8": 2}, time_signature_range={"4": [4]})
    said = "TimeSig_4/4 Pitch_60 Duration_8.0.2 TimeShift_3.0.2 Pitch_61"
    longest = {"Duration_4.0.2", "Duration_4.1.2", "Duration_5.0.2"}
    assert may(tokenizer, said, bars=2) & longest == {"Duration_4.0.2", "Duration_4.1.2"}  # up to its last eighth
    assert may(tokenizer, said) & longest == longest


def test_structured_does_not_stay_at_the_highest_pitch() -> None:
    tokenizer = structured.build(StructuredHParams(pitch_range=(60, 62)))
    for pitch, stays in ((61, True), (62, False)):
        after = may(tokenizer, f"TimeShift_0.0.1 Pitch_{pitch} Duration_1.0.12")
        assert ("TimeShift_0.0.1" in after) is stays and "TimeShift_1.0.12" in after


def test_midilike_drums_that_are_all_struck_are_not_announced() -> None:
    """Two drums, 35 and 36, pressed at one tick: no third is there, and none may be released."""
    hparams = MidiLikeHParams(use_programs=True, options={"drums_pitch_range": [35, 36]})
    tokenizer = midilike.build(hparams)
    both = "TimeSig_4/4 Program_-1 DrumOn_35 Program_-1 DrumOn_36"
    assert "Program_-1" not in may(tokenizer, both) and "Program_0" in may(tokenizer, both)
    assert "Program_-1" in may(tokenizer, f"{both} TimeShift_1.0.12")  # to be released
