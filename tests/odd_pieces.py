"""Pieces with everything that is hard for a tokenizer, and MidiTok's tokenizers by name."""

from pathlib import Path
from typing import Any

import numpy as np
import symusic

from core.contracts.piece import Piece
from datatools.reading.scores import piece_from_score
from hparams.tokenizers.note_tokens import RemiHParams, TsdHParams
from plugins.tokenizers import remi, tsd
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer

KINDS = ("remi", "tsd")
METERS = ((4, 4), (3, 4), (6, 8), (9, 8), (12, 8), (5, 4), (3, 2), (2, 2), (4, 2), (7, 8), (2, 8), (6, 4))


def built(kind: str, folder: Path | None = None, **options: Any) -> MidiTokTokenizer:
    if kind == "remi":
        return remi.build(RemiHParams(**options), folder)
    return tsd.build(TsdHParams(**options), folder)


def notes(piece: Any) -> list[tuple[int, bool, list[tuple[int, int, int, int]]]]:
    return [
        (t.program, t.is_drum, [(n.time, n.duration, n.pitch, n.velocity) for n in t.notes]) for t in piece.score.tracks
    ]


def piece(seed: int, tpq: int = 480, tracks: int = 3, marks: bool = True) -> Piece:
    """A piece with everything that is hard: unquantised, overlapping, off-range notes and meters in odd places."""
    rng = np.random.default_rng(seed)
    score = symusic.Score(tpq)
    for index in range(tracks):
        track = symusic.Track(program=int(rng.integers(0, 128)), is_drum=index == 2)
        grid = tpq // int(rng.choice([1, 2, 4, 12, tpq]))
        for time in np.sort(rng.integers(0, 24 * tpq // grid, 60)) * grid:
            length = int(rng.integers(1, 20)) * max(1, grid // 2)
            track.notes.append(symusic.Note(int(time), length, int(rng.integers(15, 115)), int(rng.integers(1, 128))))
        score.tracks.append(track)
    if marks:
        for time in np.sort(rng.integers(0, 20 * tpq, 4)):
            beats, unit = METERS[int(rng.integers(len(METERS)))]
            score.time_signatures.append(symusic.TimeSignature(int(time), beats, unit))
            score.tempos.append(symusic.Tempo(int(time), float(rng.uniform(30, 300))))
            score.key_signatures.append(symusic.KeySignature(int(time), int(rng.integers(-7, 8)), 0))
    return piece_from_score(score, source=f"piece {seed}")


def chromatic() -> Piece:
    """The same three notes from each of twelve pitches, so that byte pairs have transpositions."""
    score = symusic.Score(480)
    track = symusic.Track()
    for index in range(12 * 12):
        track.notes.append(symusic.Note(index * 480, 480, 50 + index // 12 + (0, 4, 7)[index % 3], 80))
    score.tracks.append(track)
    return piece_from_score(score, source="chromatic")


def in_meter(beats: int, unit: int, bars: int = 4) -> Piece:
    """A note on each beat, low on the first of a bar."""
    score = symusic.Score(480)
    score.time_signatures.append(symusic.TimeSignature(0, beats, unit))
    track = symusic.Track()
    beat = 480 * 4 // unit
    for index in range(bars * beats):
        track.notes.append(symusic.Note(index * beat, beat, 72 if index % beats else 48, 80))
    score.tracks.append(track)
    return piece_from_score(score, source="meter")
