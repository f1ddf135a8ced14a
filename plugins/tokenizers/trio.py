"""Melody, bass and drums on a grid of sixteenths, one token of each in turn (MusicVAE, arXiv 1803.05428).

Pitches, hold and off for melody and bass, 512 patterns of nine drums. The bass is the track among the basses (programs
32 to 39) with the most notes, the melody that among all other pitched ones; of chords the outer note is taken. A part
that a piece lacks is silent.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from core.contracts.piece import Piece
from hparams.tokenizers.sixteenths import TrioHParams
from plugins import hookimpl
from plugins.tokenizers.sixteenths import lines
from plugins.tokenizers.sixteenths.tokenizer import LINE, Block, StepTokenizer

BASSES = range(32, 40)


class TrioTokenizer(StepTokenizer):
    """Three tokens a sixteenth."""

    blocks = (
        replace(LINE, name="melody"),
        replace(LINE, name="bass"),
        Block("drums", lines.PATTERNS, (0,), False),
    )

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the three parts; ValueError naming the piece when it has none of them."""
        score = piece.score
        tracks = [track for track in score.tracks if len(track.notes)]
        pitched = [track for track in tracks if not track.is_drum]
        bass = _fullest([track for track in pitched if track.program in BASSES])
        melody = _fullest([track for track in pitched if track.program not in BASSES])
        start, _, pitch, _ = lines.steps(score, [track for track in tracks if track.is_drum])
        parts = [
            lines.line_of(*lines.steps(score, melody), "highest"),
            lines.line_of(*lines.steps(score, bass), "lowest"),
            lines.drums_of(start, pitch),
        ]
        length = max(map(len, parts))
        if not length:
            raise ValueError(
                f"{piece.source or 'a piece'}: it has neither melody nor bass nor drums of the nine classes"
            )
        table = np.empty((length, len(parts)), dtype=np.int64)
        for at, (part, filler) in enumerate(zip(parts, (lines.HOLD, lines.HOLD, 0), strict=True)):
            table[:, at] = filler
            if at < 2 and 0 < len(part) < length:
                table[len(part), at] = lines.OFF
            table[: len(part), at] = part
        ids: list[int] = (table + np.array(self.starts)).ravel().tolist()
        return ids

    def score(self, ids: list[int]) -> symusic.Score:
        """The parts as piano, bass and drums; a drum lasts a sixteenth."""
        blocks = [self.starts.index(max(start for start in self.starts if start <= id)) for id in ids]
        due: list[list[int]] = [[]]
        for id, block in zip(ids, blocks, strict=True):
            if block < len(due[-1]) or len(due[-1]) == len(self.blocks):
                due.append([])
            while len(due[-1]) < block:  # a part left out says nothing
                due[-1].append((lines.HOLD, lines.HOLD, 0)[len(due[-1])])
            due[-1].append(id - self.starts[block])
        table = np.array([[*row, *(lines.HOLD, lines.HOLD, 0)[len(row) :]] for row in due], dtype=np.int64)
        score = lines.blank()
        if not ids:
            return score
        lines.add(score, *lines.notes_of(table[:, 0]), program=0)
        lines.add(score, *lines.notes_of(table[:, 1]), program=BASSES[0])
        start, pitch = lines.drums_struck(table[:, 2])
        lines.add(score, start, start + 1, pitch, program=0, drums=True)
        return score


def _fullest(tracks: list[Any]) -> list[Any]:
    """The track with the most notes, the first of equals; none of none."""
    return [max(tracks, key=lambda track: len(track.notes))] if tracks else []


def build(hparams: TrioHParams, folder: Path | None = None) -> TrioTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return TrioTokenizer("trio", {}, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `trio`."""
    register("trio", TrioHParams, build, defaults={"data.augment.transpose": 5})
