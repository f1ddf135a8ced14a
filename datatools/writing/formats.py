"""The formats that music is written in, by the ending of a file's name."""

from collections.abc import Callable
from pathlib import Path

import symusic

from core.contracts.piece import Piece
from core.errors import HubError, did_you_mean
from core.files import atomic
from datatools.writing import engraving, mirex, musicxml, pianoroll, sound

Writer = Callable[[Piece, Path], None]


def _midi(piece: Piece, path: Path) -> None:
    piece.score.dump_midi(path)


def _png(piece: Piece, path: Path) -> None:
    pianoroll.plot(piece.score, path, title=piece.title)


def _abc(piece: Piece, path: Path) -> None:
    path.write_text(piece.abc, encoding="utf-8")


def _musicxml(piece: Piece, path: Path) -> None:
    path.write_text(musicxml.text(piece.score, piece.title), encoding="utf-8")


def _svg(piece: Piece, path: Path) -> None:
    engraving.write(piece.score, path, piece.title)


def _wav(piece: Piece, path: Path) -> None:
    sound.write(piece.score, path)


def _mirex(piece: Piece, path: Path) -> None:
    path.write_text(mirex.text(piece.score), encoding="utf-8")


# Ending without its dot -> what writes it. MIREX's JSON bears two endings, since .json is a piece's own record.
FORMATS: dict[str, Writer] = {
    "mid": _midi,
    "png": _png,
    "abc": _abc,
    "musicxml": _musicxml,
    "svg": _svg,
    "wav": _wav,
    "mirex": _mirex,
}
_ENDINGS = {"mirex": "mirex.json"}
_GRID = 12  # positions a quarter that notation is put on, where a piece has a finer one: sixteenths and triplets


def check(names: list[str]) -> None:
    """HubError for a format that there is not."""
    for name in names:
        if name not in FORMATS:
            raise HubError(f'there is no format "{name}".{did_you_mean(name, FORMATS)}')


def write(piece: Piece, stem: Path, name: str) -> Path:
    """Writes the piece as stem + ending; ValueError where the format cannot tell it (a note off the grid, say)."""
    path = stem.with_name(f"{stem.name}.{_ENDINGS.get(name, name)}")
    with atomic(path) as temporary:
        FORMATS[name](piece, temporary)
    return path


def quantised(score: symusic.Score) -> symusic.Score:
    """The score with every onset and end moved to the nearest of 12 positions a quarter, for notation."""
    result = score.copy()
    tpq = score.ticks_per_quarter
    for track in result.tracks:
        for note in track.notes:
            start = round(note.time * _GRID / tpq)
            end = max(round((note.time + note.duration) * _GRID / tpq), start + 1)
            note.time, note.duration = start, end - start
    for events in (result.tempos, result.time_signatures, result.key_signatures):
        for event in events:
            event.time = round(event.time * _GRID / tpq)
    result.ticks_per_quarter = _GRID
    return result
