"""Melody and trio on a grid of sixteenths, against sequences worked out by hand."""

from typing import Any

import pytest
import symusic
import torch

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
    assert melody.build(MelodyHParams(track="melody")).encode(made(CHORD, LINE))[2] == 60
    with pytest.raises(ValueError, match='no track called "lead"'):
        melody.build(MelodyHParams(track="lead")).encode(made(LINE))


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
