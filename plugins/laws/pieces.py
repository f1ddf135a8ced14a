"""The music that tokenizers are examined on: small made-up pieces, from one note to two tracks, the smallest first."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import symusic

from core.contracts.piece import Piece
from core.seeds import generator
from datatools.reading.scores import piece_from_score

TICKS = 480  # a quarter
Row = tuple[float, float, int]  # start and length in quarters, pitch


@dataclass(frozen=True)
class Specimen:
    """A piece of the examination; `plain` marks a melody that every tokenizer must take and bring through."""

    name: str
    piece: Piece
    plain: bool = False

    def __str__(self) -> str:
        return self.name


class Heard(NamedTuple):
    """A note as it sounds; times in quarters, exact."""

    start: Fraction
    length: Fraction
    pitch: int
    velocity: int
    program: int
    drum: bool


def heard(piece: Any) -> list[Heard]:
    """All notes of a piece, sorted, whatever its ticks and tracks."""
    score = piece.score
    quarter = score.ticks_per_quarter
    return sorted(
        Heard(
            Fraction(note.time, quarter),
            Fraction(note.duration, quarter),
            note.pitch,
            note.velocity,
            track.program,
            track.is_drum,
        )
        for track in score.tracks
        for note in track.notes
    )


def bar_of(score: Any, at: Fraction) -> int:
    """The number, from 1, of the bar in which a time in quarters lies, by the meters that are told, 4/4 before them."""
    begun, length, bars = Fraction(0), Fraction(4), 0
    for meter in sorted(score.time_signatures, key=lambda meter: meter.time):
        time = Fraction(meter.time, score.ticks_per_quarter)
        if time > at:
            break
        bars += math.ceil((time - begun) / length)
        begun, length = time, Fraction(4 * meter.numerator, meter.denominator)
    return bars + math.floor((at - begun) / length) + 1


def specimens() -> list[Specimen]:
    """A new set of pieces, each with a source of its own; the same on every machine."""
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    draw = generator("law pieces")
    pool = [48, 50, 52, 53, 55, 57, 59, *scale]
    texture = [
        (start / 2, float(draw.choice([0.5, 1.0, 2.0])), int(pitch))
        for start in range(64)
        for pitch in sorted(draw.choice(pool, size=int(draw.integers(0, 4)), replace=False))
    ]
    chords = [(4.0 * bar, 4.0, pitch) for bar in range(4) for pitch in (48 + bar, 55 + bar, 64 + bar)]
    bass = [(3.0 * bar, 3.0, 36 + bar) for bar in range(8)]
    wide = [(float(beat), 1.0, pitch) for beat, pitch in enumerate([21, 108, 0, 127, 60, 61, 36, 96])]
    return [
        _specimen("one note", [[(0.0, 1.0, 60)]]),
        _specimen("two equal notes in a row", [[(0.0, 1.0, 60), (1.0, 1.0, 60)]]),
        _specimen("a scale", [[(float(at), 1.0, pitch) for at, pitch in enumerate(scale)]], plain=True),
        _specimen("a late entry and a long rest", [[(6.0, 1.0, 67), (7.0, 1.0, 69), (24.0, 2.0, 71)]]),
        _specimen("notes longer than bars", [[(0.0, 10.0, 50), (10.0, 2.0, 52), (12.0, 16.0, 54)]]),
        _specimen("extreme pitches", [wide]),
        _specimen("triplets", [[(at / 3, 1 / 3, 60 + at % 5) for at in range(12)]]),
        _specimen("chords", [chords]),
        _specimen("a jig", [[(at / 2, 0.5, scale[at * 3 % 8]) for at in range(24)]], meter=(6, 8), plain=True),
        _specimen("a waltz with a bass", [_waltz(scale), bass], meter=(3, 4)),
        _specimen("a texture", [texture], tempo=92.0),
    ]


def _waltz(scale: list[int]) -> list[Row]:
    return [(3.0 * bar + beat, 1.0, scale[(bar + 2 * beat) % 8]) for bar in range(8) for beat in (1, 2)]


def _specimen(
    name: str,
    tracks: Iterable[list[Row]],
    meter: tuple[int, int] = (4, 4),
    tempo: float = 120.0,
    plain: bool = False,
) -> Specimen:
    score = symusic.Score(TICKS)
    score.time_signatures.append(symusic.TimeSignature(0, *meter))
    score.tempos.append(symusic.Tempo(0, tempo))
    for number, rows in enumerate(tracks):
        track = symusic.Track(name=f"voice {number}", program=33 * number, is_drum=False)
        for count, (start, length, pitch) in enumerate(rows):
            velocity = 64 + 16 * (count % 3)
            track.notes.append(symusic.Note(round(start * TICKS), round(length * TICKS), pitch, velocity))
        score.tracks.append(track)
    return Specimen(name, piece_from_score(score, source=f"check/{name.replace(' ', '_')}", title=name), plain)
