"""The table of what tokenizers keep: notes that come back, in quarters or by the clock, worked out by hand."""

from types import SimpleNamespace
from typing import Any

import symusic

from core.contracts.piece import Piece
from tests.roundtrip import compared, kept, row, sample


def line(tempo: float, *notes: tuple[int, int]) -> symusic.Score:
    """Notes at ticks of 96 a quarter, with durations."""
    score = symusic.Score(96)
    score.tempos.append(symusic.Tempo(0, tempo))
    score.tracks.append(symusic.Track())
    for time, duration in notes:
        score.tracks[0].notes.append(symusic.Note(time, duration, 60, 80))
    return score


def test_onsets_and_durations_are_kept_within_a_24th() -> None:
    """Of four notes one is gone, one has moved by five ticks and one lasts a quarter more."""
    source = line(120, (0, 96), (96, 96), (192, 96), (288, 96))
    again = line(120, (0, 96), (101, 92), (192, 192))
    assert compared(source, again) == (3, 2, 2)


def test_tokens_that_know_no_beats_are_compared_by_the_clock() -> None:
    """Quarters at 60 a minute are half notes at 120."""
    slow, again = line(60, (0, 96), (96, 96), (192, 48)), line(120, (0, 192), (192, 192), (384, 96))
    piece = Piece("a", "", "", lambda: slow, str)
    assert kept([piece], [again]) == (3, 3, 3)
    assert compared(slow, again) == (2, 2, 0)  # at 0, and the second half note is where the third quarter was


def test_what_is_refused_is_counted() -> None:
    pieces = [Piece(name, "", "", lambda: line(120, (0, 96), (96, 96)), str) for name in "ab"]

    def encode(piece: Any) -> list[int]:
        if piece.source == "b":
            raise ValueError("b: it cannot be told")
        return [1, 2, 3]

    tokenizer = SimpleNamespace(encode=encode, decode=lambda ids: SimpleNamespace(score=line(120, (0, 96))))
    cells = row("toy", tokenizer, pieces).split(" | ")
    assert cells[1:6] == ["1 of 2", "50.0 %", "100.0 %", "100.0 %", "1.50"]
    assert row("none", tokenizer, pieces[1:]).startswith("| none | 0 of 1 |")


def test_a_sample_is_every_kth() -> None:
    assert sample(range(7), 3) == [0, 3, 6] and sample(range(2), 3) == [0, 1]
