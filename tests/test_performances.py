"""Performance events against hand-worked sequences, and what a pedal, a fast repetition and odd ids come to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic

from core.errors import HubError
from datatools.reading.scores import piece_from_score
from plugins.tokenizers import performance_240, performance_388

ALL = [performance_240, performance_388]


def built(module: Any) -> Any:
    name = module.__name__.rpartition(".")[2].replace("performance_", "Performance")
    return module.build(getattr(module, f"{name}HParams")())


def played(*rows: tuple[int, int, int, int], pedals: tuple[tuple[int, int], ...] = (), tempo: float = 120.0) -> Any:
    """Notes (start, length in ms at 120 quarters a minute, pitch, velocity)."""
    score = symusic.Score(500)
    score.tempos.append(symusic.Tempo(0, tempo))
    track = symusic.Track()
    for row in rows:
        track.notes.append(symusic.Note(*row))
    for start, length in pedals:
        track.pedals.append(symusic.Pedal(start, length))
    score.tracks.append(track)
    return piece_from_score(score, source="played")


def names(tokenizer: Any, piece: Any) -> list[str]:
    return [tokenizer.token(id) for id in tokenizer.encode(piece)]


def test_published_ids() -> None:
    # Magenta: 0-127 note-on, 128-255 note-off, 256-355 shifts, 356-387 velocities
    tokenizer = built(performance_388)
    assert tokenizer.events.first == (0, 128, 356, 256) and tokenizer.events.size == 388
    piece = played((0, 500, 60, 77), (1500, 500, 64, 80))
    # velocity 77 is step 19, 80 is step 20 (1, 5, 9 ...): 356 + 19, and the second is the nearest to 81
    assert tokenizer.encode(piece) == [356 + 19, 60, 256 + 49, 128 + 60, 256 + 99, 356 + 20, 64, 256 + 49, 128 + 64]
    # djosix: note-on 0-87 from pitch 21, note-off 88-175, velocity 176-207, shift 208-239
    tokenizer = built(performance_240)
    assert tokenizer.events.first == (0, 88, 176, 208) and tokenizer.events.size == 240
    assert tokenizer.events.shifts[:3] == (15, 18, 20) and tokenizer.events.shifts[-1] == 1171


def test_the_pedal_holds_notes_until_it_is_lifted_or_they_are_struck_again() -> None:
    piece = played((0, 100, 60, 80), (0, 100, 64, 80), (500, 100, 60, 80), pedals=((50, 950),))
    notes = built(performance_388).decode(built(performance_388).encode(piece)).score.tracks[0].notes
    assert [(n.time, n.duration, n.pitch) for n in notes] == [(0, 50, 60), (0, 100, 64), (50, 50, 60)]  # of 10 ms
    plain = built(performance_240).decode(built(performance_240).encode(piece)).score.tracks[0].notes
    assert max(n.duration for n in plain) < 130


def test_tempo_counts_and_errors_do_not_add_up() -> None:
    for module in ALL:
        tokenizer = built(module)
        piece = played(*((at * 37, 30, 60 + at % 7, 80) for at in range(2000)), tempo=120.0)
        found = tokenizer.decode(tokenizer.encode(piece)).score
        ms = [n.time / found.ticks_per_quarter * 500 for n in found.tracks[0].notes]
        assert len(ms) == 2000 and max(abs(at * 37 - time) for at, time in enumerate(ms)) <= 8
    slow = played((1000, 500, 60, 80), tempo=60.0)
    assert names(built(performance_388), slow)[:3] == ["time_shift_100", "time_shift_100", "velocity_81"]


@pytest.mark.parametrize("module", ALL)
def test_whatever_is_decoded_settles(module: Any) -> None:
    tokenizer = built(module)
    rng = np.random.default_rng(5)
    for _ in range(40):
        rows = [(int(rng.integers(3000)), int(rng.integers(1, 400)), int(rng.integers(50, 60)), 80) for _ in range(60)]
        once = tokenizer.decode(tokenizer.encode(played(*rows)))
        assert tokenizer.decode(tokenizer.encode(once)).score.tracks == once.score.tracks
    with pytest.raises(ValueError, match=r"no note can be told; expected pitches"):
        drums = symusic.Score(500)
        drums.tracks.append(symusic.Track(is_drum=True))
        drums.tracks[0].notes.append(symusic.Note(0, 100, 36, 80))
        tokenizer.encode(piece_from_score(drums, source="drums"))
    with pytest.raises(ValueError, match="performances have none"):
        tokenizer.grammar(bars=4)


def test_seconds_are_counted_through_every_tempo() -> None:
    """A quarter at 120, then two at 60: half a second and two; a tempo that is told at 0 holds from there."""
    score = symusic.Score(500)
    score.tempos.append(symusic.Tempo(500, 60.0))
    score.tempos.append(symusic.Tempo(1500, 240.0))
    score.tracks.append(symusic.Track())
    for start, length in ((0, 500), (500, 1000), (1500, 500)):
        score.tracks[0].notes.append(symusic.Note(start, length, 60, 80))
    drums = symusic.Track(is_drum=True)
    drums.notes.append(symusic.Note(0, 500, 60, 80))
    score.tracks.append(drums)
    tokenizer = built(performance_388)
    ids = tokenizer.encode(piece_from_score(score, source="slower"))
    found = tokenizer.decode(ids).score.tracks
    assert len(found) == 1  # no drums
    assert [(note.time / 100, note.duration / 100) for note in found[0].notes] == [(0, 0.5), (0.5, 2.0), (2.5, 0.25)]
    # velocity, on, 50; off, on, 100, 100; off, on, 25, off: the time before each is told
    expected = [0, 0, 0, 0.5, 0.5, 0.5, 1.5, 2.5, 2.5, 2.5, 2.75]
    assert tokenizer.times(ids) == pytest.approx(expected) and tokenizer.times([]) == []
    told = ["other", "pitch", "onset", "duration", "pitch", "onset", "onset", "duration", "pitch", "onset", "duration"]
    assert [tokenizer.kind_of(id) for id in ids] == told
    assert tokenizer.kind_of(tokenizer.eos_id) == "other"


def test_what_is_struck_again_at_once_is_one_note_as_long_and_loud_as_either() -> None:
    tokenizer = built(performance_240)  # the least shift is 15 ms
    piece = played((0, 300, 60, 90), (10, 100, 60, 40), (200, 5, 64, 80))
    notes = tokenizer.decode(tokenizer.encode(piece)).score.tracks[0].notes
    near = [(round(note.time, -1), round(note.duration, -1), note.pitch) for note in notes]
    assert near == [(0, 300, 60), (200, 20, 64)]  # of 1 ms; no note is shorter than a shift
    assert abs(notes[0].velocity - 90) <= 2


def test_maps_reach_to_the_ends_of_the_keyboard_and_of_loudness() -> None:
    tokenizer = built(performance_240)  # on 0 to 87 of pitches 21 to 108, off from 88, velocities from 176, shifts 208
    up = tokenizer.transpose_table(3)
    assert [up[0], up[84], up[85], up[88], up[88 + 84], up[88 + 85], up[176], up[208]] == [
        *(3, 87, -1, 91, 88 + 87, -1, 176, 208),
    ]
    down = tokenizer.transpose_table(-3)
    assert [down[3], down[2], down[91], down[90]] == [0, -1, 88, -1]
    louder = tokenizer.velocity_table(2)
    assert [louder[176], louder[205], louder[206], louder[0], louder[208]] == [178, 207, -1, 0, 208]
    assert tokenizer.velocity_table(-1)[176] == -1
    specials = [tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id]
    assert specials == [240, 241, 242] and [up[id] for id in specials] == specials == [louder[id] for id in specials]
    assert tokenizer.events.velocities[:3] == (21, 24, 27) and tokenizer.events.velocities[-1] == 109
    assert [tokenizer.token(id) for id in (0, 88, 207, 239, 240)] == [
        *("note_on_21", "note_off_21", "velocity_109", "time_shift_1171", "pad"),
    ]


def test_releases_come_before_what_begins_and_a_saved_one_is_known_again(tmp_path: Path) -> None:
    tokenizer = built(performance_388)
    assert names(tokenizer, played((0, 500, 72, 80), (500, 500, 60, 80))) == [
        *("velocity_81", "note_on_72", "time_shift_50", "note_off_72", "note_on_60", "time_shift_50", "note_off_60"),
    ]
    tokenizer.save(tmp_path)
    assert performance_388.build(performance_388.Performance388HParams(), tmp_path).fingerprint() == (
        tokenizer.fingerprint()
    )
    with pytest.raises(HubError, match="other events than performance_240's"):
        performance_240.build(performance_240.Performance240HParams(), tmp_path)
    with pytest.raises(HubError, match="cannot be read"):
        performance_388.build(performance_388.Performance388HParams(), tmp_path / "none")
