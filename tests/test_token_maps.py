"""Where bars begin in tokens of notes, and what transposing and other tempos make of them, name by name."""

from pathlib import Path
from typing import Any

import pytest
import symusic

from core.errors import HubError
from core.log import logger
from datatools.reading.scores import piece_from_score
from hparams.tokenizers.note_tokens import MidiLikeHParams, StructuredHParams
from plugins.tokenizers import midilike, structured
from plugins.tokenizers.note_tokens.maps import faster, transposed
from tests.made_scores import score
from tests.odd_pieces import built, chromatic


def told(tokenizer: Any, text: str) -> list[int]:
    """The ids of base tokens by name."""
    return [tokenizer.base_tokens.index(name) for name in text.split()]


def starts(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.bar_starts(told(tokenizer, text)))


QUARTER, BAR, THREE = "Duration_1.0.12", "TimeShift_4.0.4", "TimeShift_3.0.12"


def test_bars_are_counted_from_where_the_meter_was_told() -> None:
    tsd = built("tsd")
    note = f"Pitch_60 {QUARTER}"
    # bars of three, then after two of them bars of four: the note behind the second shift stands in the fourth bar
    assert starts(tsd, f"TimeSig_3/4 {note} {THREE} {note} {THREE} TimeSig_4/4 {note} {BAR} {note}") == [0, 4, 7, 11]
    # nothing sounds in the second bar; a chord begins its bar once; a shift of two quarters enters none
    text = f"{note} TimeShift_8.0.4 {note} Pitch_64 {QUARTER} TimeShift_2.0.12 {note}"
    assert starts(tsd, f"TimeSig_4/4 {text}") == [0, 4]
    assert starts(tsd, f"{QUARTER} {note}") == [1]  # what begins within a note begins no bar


def test_a_bar_in_which_notes_only_end_is_none() -> None:
    plain = midilike.build(MidiLikeHParams())
    assert starts(plain, f"TimeSig_4/4 NoteOn_60 {BAR} NoteOff_60") == [0]
    assert starts(plain, f"NoteOn_60 {BAR} NoteOff_60 NoteOn_62 {BAR} NoteOff_62 {BAR} NoteOn_64") == [0, 2, 7]
    band = midilike.build(MidiLikeHParams(use_programs=True))
    on, off = "Program_0 NoteOn_60", "Program_0 NoteOff_60"
    assert starts(band, f"{on} {BAR} {off} Program_-1 DrumOn_36 {BAR} Program_-1 DrumOff_36") == [0, 3]


def test_bars_of_structured_are_those_of_their_notes() -> None:
    tokenizer = structured.build(StructuredHParams())
    note = f"Pitch_60 {QUARTER}"
    text = f"TimeShift_0.0.1 {note} {THREE} {note} TimeShift_1.0.12 {note} TimeShift_0.0.1 {note} {BAR} {note}"
    assert starts(tokenizer, text) == [0, 6, 12]


def test_a_bar_of_a_learnt_vocabulary_begins_with_the_mark_before_it() -> None:
    tokenizer = built("remi", bpe=400, vocabulary="unigram")
    tokenizer.train([chromatic()])
    ids = tokenizer.encode(chromatic())
    found = tokenizer.bar_starts(ids)
    assert len(found) == 36 and found[0] == 0
    for start in found:
        base = tokenizer.base_ids(ids[start : start + 2])
        assert tokenizer.base_tokens[base[0]] == "Bar_None"
        assert not start or tokenizer.base_ids(ids[start - 1 : start])


@pytest.mark.parametrize(
    ("semitones", "images"),
    [
        (0, {"0:0": "0:0", "7:0": "7:0"}),
        (2, {"0:0": "2:0", "-3:1": "-1:1", "5:0": "-5:0"}),  # C to D, C minor to D minor, B to D flat
        (1, {"0:0": "-5:0", "1:0": "-4:0", "0:1": "-5:1"}),  # C to D flat, G to A flat, A minor to B flat minor
        (6, {"0:0": "-6:0"}),  # to G flat, not to F sharp
        (-3, {"0:0": "3:0", "-3:1": "0:1"}),  # to A; C minor to A minor
        (12, {"7:0": "7:0", "-7:1": "-7:1"}),
    ],
)
def test_keys_move_with_the_music(semitones: int, images: dict[str, str]) -> None:
    tokenizer = built("remi", use_key_signatures=True)
    names = tokenizer.base_tokens
    table = transposed(names, semitones, tokenizer._tokenizer.config)
    assert {key: names[table[names.index(f"KeySig_{key}")]] for key in images} == {
        key: f"KeySig_{image}" for key, image in images.items()
    }
    assert table[names.index("Bar_None")] == names.index("Bar_None")


def test_tempos_go_to_the_nearest_and_no_farther_than_half_a_step_beyond_the_ends() -> None:
    names = [f"Tempo_{tempo}" for tempo in (40.0, 45.0, 50.0)] + ["Pitch_60"]
    assert faster(names, 1.06) == [0, 2, -1, 3]  # 42.4, 47.7, and 53 is farther than 52.5
    assert faster(names, 1.05) == [0, 1, 2, 3]  # 42, 47.25, 52.5
    assert faster(names, 1.04) == [0, 1, 2, 3]  # 41.6, 46.8, 52
    assert faster(names, 0.95) == [0, 1, 1, 3]  # 38, 42.75, 47.5
    assert faster(names, 0.9) == [-1, 0, 1, 3]  # 36 is farther than 37.5


def test_roots_of_chords_cannot_be_transposed() -> None:
    options = {"chord_tokens_with_root_note": True}
    with pytest.raises(ValueError, match="leave chord_tokens_with_root_note off"):
        built("remi", use_chords=True, options=options).transpose_table(1)


def test_a_piece_that_has_no_tokens_is_passed_over_in_learning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level("WARNING")
    drums = piece_from_score(score([(0.0, 1.0, 36)], drums=(0,)), source="drums")
    first, second = (built("tsd", bpe=100_000) for _ in range(2))
    first.train([chromatic()])
    second.train([drums, chromatic()])
    assert second.fingerprint() == first.fingerprint() and first.vocab_size < 100_000
    assert caplog.messages == [f"tokenizer.bpe is 100000; the music gives no more than {first.vocab_size} tokens"] * 2


@pytest.mark.parametrize(
    "option",
    [
        *("special_tokens", "one_token_stream_for_programs", "max_bar_embedding", "remove_duplicated_notes"),
        *("delete_equal_successive_tempo_changes", "delete_equal_successive_time_sig_changes"),
    ],
)
def test_options_that_would_break_the_contract_are_refused(option: str) -> None:
    with pytest.raises(HubError, match=f"tokenizer.options.{option} cannot be used: "):
        built("remi", options={option: True})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("tsd", {"use_chords": True}),
        ("remi", {"use_rests": True}),
        ("tsd", {"options": {"use_sustain_pedals": True}}),
        ("tsd", {"options": {"use_pitch_bends": True}}),
        ("tsd", {"options": {"use_control_changes": True}}),
        ("tsd", {"options": {"program_changes": True}, "use_programs": True}),
        ("tsd", {"options": {"use_note_duration_programs": [0]}, "use_programs": True}),
        ("remi", {"options": {"use_bar_end_tokens": True}}),
        ("remi", {"options": {"add_trailing_bars": True}}),
    ],
)
def test_what_the_grammar_does_not_know_is_named(kind: str, options: dict[str, Any]) -> None:
    name = next(iter(options.get("options", options)))
    with pytest.raises(ValueError, match=f"there is no grammar for {kind.upper()} with {name}; leave"):
        built(kind, **options).grammar()


def test_no_grammar_of_releases_knows_a_learnt_vocabulary() -> None:
    learnt = midilike.build(MidiLikeHParams(bpe=420))
    learnt.train([chromatic()])
    with pytest.raises(ValueError, match="MIDILike with a learnt vocabulary; leave"):
        learnt.grammar()


def test_drums_are_told_within_both_ranges(tmp_path: Path) -> None:
    """MidiTok has tokens of drums from 27 to 88, and pitches are asked for from 30."""
    tokenizer = built("tsd", use_programs=True, pitch_range=(30, 100))
    made = symusic.Score(480)
    made.tracks.append(symusic.Track(is_drum=True))
    for pitch in (28, 30, 87, 88, 90):
        made.tracks[0].notes.append(symusic.Note(0, 480, pitch, 80))
    found = tokenizer.decode(tokenizer.encode(piece_from_score(made))).score.tracks[0]
    assert [note.pitch for note in found.notes] == [30, 87, 88]
