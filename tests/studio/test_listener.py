"""Notes that are told token by token are, in the end, those of the whole piece, however little of it is held."""

from pathlib import Path
from typing import Any

import pytest
import symusic

from datatools.reading import scores
from plugins.manager import load_manager
from supervisors.studio import listener
from supervisors.studio.listener import Listener

MUSIC = sorted((Path(__file__).resolve().parents[1] / "golden" / "music").glob("*.mid"))
TOKENIZERS = {
    "bars": ("remi", {}),
    "shifts": ("tsd", {}),
    "releases": ("midilike", {}),
    "tempos and programs": ("remi", {"use_tempos": True, "use_programs": True}),
    "text": ("abc", {}),
}


def told(tokenizer: Any, ids: list[Any], every: int) -> tuple[list[tuple[Any, ...]], int, list[int]]:
    """Notes as they stand at the end, how often one changed, and the tokens that were held."""
    hearing, notes, changes, held = Listener(tokenizer), {}, 0, []
    for place, token in enumerate(ids, 1):
        hearing.add(token)
        if place % every == 0 or place == len(ids):
            heard = hearing.heard()
            held.append(len(hearing))
            for note in heard.notes:
                changes += note.id in notes
                notes[note.id] = note
            for gone in heard.gone:
                del notes[gone]
    rows = [(note.start, note.length, note.pitch, note.velocity, note.program) for note in notes.values()]
    return sorted(rows), changes, held


def wanted(score: symusic.Score) -> list[tuple[Any, ...]]:
    """Notes by symusic's own reckoning of seconds."""
    return sorted(
        (note.time, note.duration, note.pitch, note.velocity, -1 if track.is_drum else track.program)
        for track in score.to("second").tracks
        for note in track.notes
    )


def assert_same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine[2:] == theirs[2:] and mine[:2] == pytest.approx(theirs[:2], abs=2e-3)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_what_is_told_adds_up_to_the_piece(kind: str) -> None:
    name, options = TOKENIZERS[kind]
    manager = load_manager()
    section = manager.section("tokenizer", name)
    for key, value in options.items():
        setattr(section, key, value)
    tokenizer = manager.make("tokenizer", section, None)
    ids = tokenizer.encode(scores.read(MUSIC[0]))
    found, _, _ = told(tokenizer, ids, 5)
    assert_same(found, wanted(tokenizer.decode(ids).score))


def long_piece() -> symusic.Score:
    """Many bars, a change of meter and changes of tempo, notes held over bar lines."""
    score = symusic.Score(24)
    track = symusic.Track(program=0)
    for i in range(1200):
        track.notes.append(symusic.Note(12 * i, 60 if i % 9 == 0 else 12, 60 + i * 7 % 13, 80))
    score.tracks.append(track)
    for bar, beats in ((0, 4), (40, 3)):
        score.time_signatures.append(symusic.TimeSignature(96 * bar, beats, 4))
    for bar, pace in ((0, 100.0), (30, 160.0), (100, 60.0)):
        score.tempos.append(symusic.Tempo(96 * bar, qpm=pace))
    return score


@pytest.mark.parametrize("tempos", [False, True])
def test_a_long_piece_is_not_held(tempos: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "WINDOW", 60)
    manager = load_manager()
    section = manager.section("tokenizer", "remi")
    section.use_tempos = tempos
    tokenizer = manager.make("tokenizer", section, None)
    ids = tokenizer.encode(scores.piece_from_score(long_piece()))
    found, changes, held = told(tokenizer, ids, 3)
    assert_same(found, wanted(tokenizer.decode(ids).score))
    assert changes == 0 and len(ids) > 3000 and max(held) <= 240


def test_a_release_that_comes_late_changes_the_note() -> None:
    manager = load_manager()
    tokenizer = manager.make("tokenizer", manager.section("tokenizer", "midilike"), None)
    ids = tokenizer.encode(scores.piece_from_score(long_piece().clip(0, 480)))
    found, changes, _ = told(tokenizer, ids, 1)
    assert changes > 0
    assert_same(found, wanted(tokenizer.decode(ids).score))
