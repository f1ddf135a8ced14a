"""A large corpus made from a small one: windows of real pieces, strung together anew and dealt out to voices.

Every piece is a function of its number and the sources. One in 25 is the piece before it transposed and slowed, with a
few notes changed, one in 500 is no music, one in 10 is ABC.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import symusic
from numpy.typing import NDArray
from tqdm import tqdm

from core.contracts.dataset import Dataset
from core.contracts.piece import Piece
from core.seeds import generator
from datatools.reading.scores import piece_from_score, read

QUARTERS = 8  # of a window
TICKS = 480  # to a quarter
LEAST_NOTES = 8  # of a window
VARIANTS, BROKEN, WRITTEN, IN_FOLDER = 25, 500, 10, 1000

Window = NDArray[np.int32]  # (notes 4): onset in the window, duration, pitch, velocity


def pieces_of(dataset: Dataset) -> Iterator[Piece]:
    """All pieces of a dataset that can be read."""
    for item in dataset.items():
        with suppress(ValueError):
            yield read(item.path, item.index)


def windows(pieces: Iterable[Piece], step: int | None = None) -> list[Window]:
    """The windows of all tracks of all pieces; with `step`, of those pieces alone whose notes lie on its grid."""
    found: list[Window] = []
    for piece in pieces:
        try:
            score = piece.score.resample(TICKS, min_dur=1)
        except ValueError:
            continue
        for track in score.tracks:
            notes = track.notes.numpy()
            columns = [notes[name].astype(np.int32) for name in ("time", "duration", "pitch", "velocity")]
            table = np.stack(columns, axis=1)
            if track.is_drum or (step is not None and (table[:, :2] % step).any()):
                continue
            place = table[:, 0] // (QUARTERS * TICKS)
            for cut in np.split(table, np.flatnonzero(np.diff(place)) + 1):
                if len(cut) >= LEAST_NOTES:
                    found.append(cut - [cut[0, 0] // (QUARTERS * TICKS) * QUARTERS * TICKS, 0, 0, 0])
    return found


def recombined(number: int, pool: list[Window], voices: int) -> symusic.Score:
    """Three to six windows in a row for each voice, the second an octave below, all moved by one interval."""
    random = generator("scale", number)
    score, count, shift = symusic.Score(TICKS), int(random.integers(3, 7)), int(random.integers(-4, 5))
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    for voice in range(voices):
        track = symusic.Track(("upper", "lower")[voice], 0, False)
        chosen = [pool[k] for k in random.integers(0, len(pool), count)]
        table = np.concatenate(
            [cut + np.array([place * QUARTERS * TICKS, 0, 0, 0]) for place, cut in enumerate(chosen)]
        )
        table[:, 2] = np.clip(table[:, 2] + shift - 12 * voice, 21, 108)
        track.notes = symusic.Note.from_numpy(*(np.ascontiguousarray(column) for column in table.T))
        score.tracks.append(track)
    return score


def variant(score: symusic.Score, number: int) -> symusic.Score:
    """The same music transposed and slowed, a note in twenty changed."""
    random = generator("scale", "variant", number)
    for track in score.tracks:
        for note in track.notes:
            note.pitch = min(108, note.pitch + 2 + int(random.random() < 0.05))
            note.time, note.duration = note.time * 2, note.duration * 2
    return score


def write(number: int, folder: Path, performed: list[Window], notated: list[Window]) -> None:
    """Writes piece `number` below `folder`, unless it is there."""
    written = number % WRITTEN == 3
    path = folder / f"{number // IN_FOLDER:03d}" / f"{number:06d}.{'abc' if written else 'mid'}"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    if number % BROKEN == 7:
        temporary.write_bytes([b"", b"MThd\0\0\0\6", b"<!DOCTYPE html><html>404</html>"][number // BROKEN % 3])
    elif written:
        temporary.write_text(piece_from_score(recombined(number, notated, 1), title=f"Tune {number}").abc)
    else:
        copy = number % VARIANTS == 1
        score = recombined(number - copy, performed, 1 + (number - copy) % 2)
        (variant(score, number) if copy else score).dump_midi(str(temporary))
    temporary.rename(path)


def make(count: int, folder: Path, performed: list[Window], notated: list[Window]) -> None:
    """Writes all pieces; those that are there already stay."""
    for number in tqdm(range(count), desc="writing", unit="piece"):
        write(number, folder, performed, notated)
