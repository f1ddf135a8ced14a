"""Performance events against hand-worked sequences, and what a pedal, a fast repetition and odd ids come to."""

from typing import Any

import numpy as np
import pytest
import symusic

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
