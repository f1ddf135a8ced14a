"""The smallest tokenizer that the data path can carry: one id for each note's pitch, one for each step of time."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import symusic

from core.contracts.piece import Piece

PAD, BOS, EOS, STEP, PITCH = 0, 1, 2, 3, 4


class ToyTokenizer:
    """Pitches in order of onset with one step id between onsets; `train` remembers how many pieces it saw."""

    vocab_size = PITCH + 128
    pad_id, bos_id, eos_id = PAD, BOS, EOS
    streams = 1

    def __init__(self, folder: Path | None = None) -> None:
        self.seen: list[str] = [] if folder is None else json.loads((folder / "toy.json").read_text())

    def train(self, pieces: Sequence[Piece]) -> None:
        self.seen = sorted(piece.title for piece in pieces)

    def encode(self, piece: Piece) -> list[int]:
        notes = sorted((note.time, note.pitch) for track in piece.score.tracks for note in track.notes)
        if any(pitch == 127 for _, pitch in notes):
            raise ValueError(f"{piece.source}: pitch 127 is beyond this tokenizer")
        ids = [PITCH + notes[0][1]]
        for (before, _), (time, pitch) in pairwise(notes):
            ids += [STEP] * (time > before) + [PITCH + pitch]
        return ids

    def decode(self, ids: Sequence[int]) -> Piece:
        score, track, time = symusic.Score(480), symusic.Track("toy", 0, False), 0
        for token in ids:
            if token == STEP:
                time += 480
            elif token >= PITCH:
                track.notes.append(symusic.Note(time, 480, token - PITCH, 64))
        score.tracks.append(track)
        return Piece("toy", "", "", lambda: score, lambda: "")

    def token(self, id: int) -> str:
        return {PAD: "pad", BOS: "bos", EOS: "eos", STEP: "step"}.get(id, f"pitch {id - PITCH}")

    def fingerprint(self) -> str:
        return f"toy {len(self.seen)}"

    def save(self, folder: Path) -> None:
        (folder / "toy.json").write_text(json.dumps(self.seen))


def build(folder: Path | None = None) -> ToyTokenizer:
    return ToyTokenizer(folder)
