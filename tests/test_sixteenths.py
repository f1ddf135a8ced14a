"""Melody and trio on a grid of sixteenths, against sequences worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
import symusic
import torch

from core.errors import HubError
from datatools.reading.scores import piece_from_score
from hparams.tokenizers.sixteenths import MelodyHParams, TrioHParams
from plugins.tokenizers import melody, trio
from plugins.tokenizers.sixteenths.grammar import StepGrammar
from plugins.tokenizers.sixteenths.lines import HOLD, OFF


def made(*tracks: tuple[str, int, bool, list[tuple[float, float, int]]]) -> Any:
    """Tracks of (name, program, drums, notes of (start, length in quarters, pitch))."""
    score = symusic.Score(480)
    for name, program, drums, notes in tracks:
        track = symusic.Track(name=name, program=program, is_drum=drums)
        for start, length, pitch in notes:
            track.notes.append(symusic.Note(round(start * 480), round(length * 480), pitch, 80))
        score.tracks.append(track)
    return piece_from_score(score, source="made")


LINE = ("MELODY", 0, False, [(0.5, 0.5, 60), (1.0, 0.25, 62), (2.0, 1.0, 64)])
CHORD = ("PIANO", 0, False, [(0.0, 4.0, 48), (0.0, 4.0, 55)])


def test_a_melody_by_hand() -> None:
    tokenizer = melody.build(MelodyHParams())
    assert (tokenizer.symbols, tokenizer.vocab_size) == (130, 133)
    ids = tokenizer.encode(made(LINE))
    assert ids == [HOLD, HOLD, 60, HOLD, 62, OFF, HOLD, HOLD, 64, HOLD, HOLD, HOLD]
    notes = tokenizer.decode(ids).score.tracks[0].notes
    assert [(n.time / 480, n.duration / 480, n.pitch) for n in notes] == LINE[3]
    assert tokenizer.bar_starts([HOLD] * 40) == [0, 16, 32]
    assert [tokenizer.token(id) for id in (60, HOLD, OFF, 130)] == ["pitch_60", "hold", "off", "pad"]


def test_chords_are_refused_or_their_outer_note_is_taken() -> None:
    with pytest.raises(ValueError, match=r"made: it has notes at once at quarter 0; expected a single line"):
        melody.build(MelodyHParams()).encode(made(CHORD))
    for choice, pitch in (("highest", 55), ("lowest", 48)):
        assert melody.build(MelodyHParams(chords=choice)).encode(made(CHORD))[0] == pitch  # type: ignore[arg-type]
    named = (f" {LINE[0]} ", *LINE[1:])  # as files have it, with spaces around
    assert melody.build(MelodyHParams(track="melody")).encode(made(CHORD, named))[2] == 60
    with pytest.raises(ValueError, match='no track called "lead"'):
        melody.build(MelodyHParams(track="lead")).encode(made(LINE))


def test_notes_that_fall_onto_one_sixteenth_are_not_said_to_sound_at_once() -> None:
    """32nds, the second of which begins where halves go up: steps 0, 1, 1, 2."""
    short = ("", 0, False, [(k / 8, 1 / 8, 60 + k) for k in range(4)])
    wanted = r"^made: two of its notes fall onto one sixteenth at quarter 0\.25; expected one at a time "
    with pytest.raises(ValueError, match=wanted):
        melody.build(MelodyHParams()).encode(made(short))
    assert melody.build(MelodyHParams(chords="highest")).encode(made(short)) == [60, 62, 63]
    late = ("", 0, False, [(0.0, 0.5, 60), (0.25, 0.25, 64), (0.3, 0.2, 62)])
    with pytest.raises(ValueError, match=r"it has notes at once at quarter 0\.25"):
        melody.build(MelodyHParams()).encode(made(late))


def test_a_trio_by_hand() -> None:
    tokenizer = trio.build(TrioHParams())
    assert tokenizer.symbols == 130 + 130 + 512
    bass = ("", 33, False, [(0.0, 0.25, 40)])
    drums = ("", 0, True, [(0.0, 0.1, 36), (0.0, 0.1, 42), (0.25, 0.1, 38)])
    ids = tokenizer.encode(made(LINE, CHORD, bass, drums))
    # kick and closed hi-hat are classes 0 and 2: 1 + 4; snare is class 1
    assert ids[:9] == [HOLD, 130 + 40, 260 + 5, HOLD, 130 + OFF, 260 + 2, 60, 130 + HOLD, 260]
    found = tokenizer.decode(ids).score
    assert [(track.program, track.is_drum, len(track.notes)) for track in found.tracks] == [
        (0, False, 3),
        (32, False, 1),
        (0, True, 3),
    ]
    up = tokenizer.transpose_table(2)
    assert [up[60], up[130 + 40], up[265], up[127], up[HOLD]] == [62, 130 + 42, 265, -1, HOLD]


def test_a_length_is_of_whole_steps() -> None:
    """Three parts of two symbols, the first of each silent, in at most eight tokens: two steps, then only the end."""
    grammar = StepGrammar([(0, 2, (0,)), (2, 2, (2,)), (4, 2, (4,))], size=9, eos_id=8, exact=0, length=8)
    state = grammar.begin(1)
    for step, id in enumerate([1, 2, 4, 0, 2, 4]):
        part = 2 * (step % 3)
        ends = [8] if step == 3 else []
        assert grammar.allowed(state)[0].nonzero().flatten().tolist() == [part, part + 1, *ends]
        state = grammar.advance(state, torch.tensor([id]))
    assert grammar.allowed(state)[0].nonzero().flatten().tolist() == [8]


def test_drums_fall_into_the_nine_classes_of_general_midi() -> None:
    """A pitch of each class by its name in General MIDI, and what the class sounds like when it is decoded."""
    tokenizer = trio.build(TrioHParams())
    kit = {
        "acoustic bass drum": (35, 0, 36),
        "side stick": (37, 1, 38),
        "hand clap": (39, 1, 38),
        "pedal hi-hat": (44, 2, 42),
        "open hi-hat": (46, 3, 46),
        "low floor tom": (41, 4, 45),
        "hi-mid tom": (48, 5, 48),
        "high tom": (50, 6, 50),
        "crash cymbal 2": (57, 7, 49),
        "ride bell": (53, 8, 51),
    }
    for name, (pitch, number, decoded) in kit.items():
        ids = tokenizer.encode(made(("", 0, True, [(0.0, 0.25, pitch)])))
        assert ids[2] == 260 + 2**number, name
        assert [note.pitch for note in tokenizer.decode(ids).score.tracks[0].notes] == [decoded], name
    with pytest.raises(ValueError, match="made: it has neither melody nor bass nor drums of the nine classes"):
        tokenizer.encode(made(("", 0, True, [(0.0, 0.25, 10)])))


def test_parts_are_the_fullest_tracks_and_their_outer_notes() -> None:
    tokenizer = trio.build(TrioHParams())
    few = ("", 0, False, [(0.0, 2.0, 90)])
    melody = ("", 40, False, [(0.0, 0.25, 60), (0.0, 0.25, 67), (0.5, 0.25, 62)])
    basses = [("", 35, False, [(0.0, 1.0, 47)]), ("", 39, False, [(0.0, 0.5, 36), (0.0, 0.5, 43), (1.0, 0.25, 38)])]
    high = ("", 31, False, [(0.0, 0.25, 100)])  # a guitar, of one note: no bass
    rows = [tokenizer.encode(made(few, melody, *basses, high))[at::3] for at in range(3)]
    assert rows[0] == [67, OFF, 62, OFF, HOLD]  # the higher; it falls silent where the bass goes on
    assert rows[1] == [130 + id for id in (36, HOLD, OFF, HOLD, 38)]  # the lower
    assert rows[2] == [260] * 5
    # a step cut short: what was left out goes on, or is silent
    assert [len(track.notes) for track in tokenizer.decode([67, 130 + 36, 260, 62]).score.tracks] == [2, 1]
    assert tokenizer.decode([67, 130 + 36, 260, 62]).score.tracks[1].notes[0].duration == 2 * 120


def test_a_line_on_the_grid_step_by_step() -> None:
    """Halves of a step go up, no note is shorter than a step, and a step of legato is no chord."""
    tokenizer = melody.build(MelodyHParams())
    rows = [(0.125, 0.02, 60), (0.75, 0.5, 62), (1.0, 0.25, 64)]  # the second lasts a step into the third
    assert tokenizer.encode(made(("", 0, False, rows))) == [HOLD, 60, OFF, 62, 64]
    with pytest.raises(ValueError, match=r"at quarter 0.75; expected a single line \(or tokenizer.chords=highest\)"):
        tokenizer.encode(made(("", 0, False, [(0.75, 0.75, 62), (1.0, 0.25, 64)])))
    overlapping = [(0.0, 1.0, 60), (0.0, 1.0, 64), (0.5, 1.0, 62)]
    for choice, first in (("highest", 64), ("lowest", 60)):
        line = melody.build(MelodyHParams(chords=choice)).encode(made(("", 0, False, overlapping)))  # type: ignore[arg-type]
        assert line == [first, HOLD, 62, HOLD, HOLD, HOLD]
    drums = ("", 0, True, [(0.0, 1.0, 36)])
    assert tokenizer.encode(made(drums, ("", 0, False, [(0.0, 0.25, 60)]))) == [60]
    with pytest.raises(ValueError, match="made: it has no track of pitches"):
        tokenizer.encode(made(drums))


def test_a_saved_tokenizer_is_of_its_options(tmp_path: Path) -> None:
    tokenizer = melody.build(MelodyHParams(chords="highest"))
    tokenizer.save(tmp_path)
    again = melody.build(MelodyHParams(chords="highest"), tmp_path)
    assert again.fingerprint() == tokenizer.fingerprint() != melody.build(MelodyHParams()).fingerprint()
    for other in (MelodyHParams(), MelodyHParams(chords="highest", track="lead")):
        with pytest.raises(HubError, match="other tokens or options than this melody tokenizer's"):
            melody.build(other, tmp_path)
    with pytest.raises(HubError, match="this trio tokenizer's"):
        trio.build(TrioHParams(), tmp_path)
    with pytest.raises(HubError, match="cannot be read"):
        melody.build(MelodyHParams(), tmp_path / "none")


def test_bars_of_three_parts_are_three_times_as_long() -> None:
    tokenizer = trio.build(TrioHParams())
    assert tokenizer.bar_starts([0] * 97) == [0, 48, 96]
    assert [tokenizer.token(id) for id in (60, 130 + HOLD, 130 + 40, 265, 772)] == [
        *("melody_pitch_60", "bass_hold", "bass_pitch_40", "drums_5", "pad"),
    ]
    down = tokenizer.transpose_table(-2)
    assert [down[1], down[2], down[131], down[132], down[772]] == [-1, 0, -1, 130, 772]
