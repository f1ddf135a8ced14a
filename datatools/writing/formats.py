"""The formats that music is written in, by the ending of a file's name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import symusic

from core.errors import HubError
from core.files import atomic
from core.log import warn_once
from core.names import did_you_mean
from datatools.abc import writer as abc_writer
from datatools.writing import engraving, mirex, musicxml, pianoroll, sound

Writer = Callable[[symusic.Score, Path, str], None]  # what, where to, title


def _midi(score: symusic.Score, path: Path, title: str) -> None:
    score.dump_midi(path)


def _abc(score: symusic.Score, path: Path, title: str) -> None:
    path.write_text(abc_writer.write(score, title=title), encoding="utf-8")


def _musicxml(score: symusic.Score, path: Path, title: str) -> None:
    path.write_text(musicxml.text(score, title), encoding="utf-8")


def _wav(score: symusic.Score, path: Path, title: str) -> None:
    sound.write(score, path)


def _mirex(score: symusic.Score, path: Path, title: str) -> None:
    path.write_text(mirex.text(score), encoding="utf-8")


# Ending without its dot -> what writes it.
FORMATS: dict[str, Writer] = {
    "mid": _midi,
    "png": pianoroll.plot,
    "abc": _abc,
    "musicxml": _musicxml,
    "svg": engraving.write,
    "wav": _wav,
    "mirex": _mirex,
}
NOTATION = ("abc", "musicxml", "svg")
_ENDINGS = {"mirex": "mirex.json"}  # .json alone is a piece's own record
_GRID = 12  # positions a quarter that notation is put on where music has a finer one: sixteenths and triplets


def check(key: str, names: Sequence[str]) -> None:
    """HubError, naming the hyper-parameter `key`, for a format that there is not."""
    for name in names:
        if name not in FORMATS:
            raise HubError(f'{key} has "{name}", which is no format.{did_you_mean(name, FORMATS)}')


def write(piece: Any, stem: Path, name: str, title: str = "") -> Path:
    """Writes a Piece, or anything with `.score`, as stem + ending; see `save`."""
    return save(piece, stem.with_name(f"{stem.name}.{_ENDINGS.get(name, name)}"), title)


def save(piece: Any, path: Path, title: str = "") -> Path:
    """Writes a Piece, or anything with `.score`, in the format of the path's ending.

    Music off the grid is moved to the nearest place for notation, and that is said once; ValueError for an ending that
    there is not, or where the format has no means for what is in the piece.
    """
    name = _format_of(path)
    with atomic(path) as temporary:
        own = _own_text(piece) if name == "abc" else None
        if own is not None:
            temporary.write_text(_titled(own, title), encoding="utf-8")
            return path
        score = piece.score
        if name in NOTATION and not on_grid(score):
            warn_once(f"{name}: music off the grid is written to the nearest of {_GRID} places a quarter")
            score = quantised(score)
        FORMATS[name](score, temporary, title)
    return path


def _format_of(path: Path) -> str:
    endings = {_ENDINGS.get(name, name): name for name in FORMATS} | {"midi": "mid", "xml": "musicxml"}
    for ending in sorted(endings, key=len, reverse=True):
        if path.name.lower().endswith(f".{ending}"):
            return endings[ending]
    raise ValueError(f'its ending is "{path.suffix}"; expected one of {" ".join(f".{end}" for end in sorted(endings))}')


def _own_text(piece: Any) -> str | None:
    """The ABC that a piece itself has, and that says more than its notes; None where it has none."""
    try:
        text: str | None = getattr(piece, "abc", None)
    except ValueError:
        return None
    return text


def _titled(text: str, title: str) -> str:
    """ABC with a title, where it has none of its own."""
    if not title or not text.startswith("X:") or "\nT:" in text:
        return text
    first, _, rest = text.partition("\n")
    return f"{first}\nT:{' '.join(title.split())}\n{rest}"


def on_grid(score: symusic.Score) -> bool:
    """Whether every onset and end lies on the 24 steps a quarter that notation is written from."""
    tpq = score.ticks_per_quarter
    columns = [track.notes.numpy() for track in score.tracks]
    return all(((c["time"] * 24 % tpq == 0) & ((c["time"] + c["duration"]) * 24 % tpq == 0)).all() for c in columns)


def quantised(score: symusic.Score) -> symusic.Score:
    """The score with every onset and end moved to the nearest of 12 positions a quarter, for notation."""
    result = score.copy()
    tpq = score.ticks_per_quarter
    for track in result.tracks:
        for note in track.notes:
            start = round(note.time * _GRID / tpq)
            end = max(round((note.time + note.duration) * _GRID / tpq), start + 1)
            note.time, note.duration = start, end - start
        for lyric in track.lyrics:
            lyric.time = round(lyric.time * _GRID / tpq)
    for events in (result.tempos, result.time_signatures, result.key_signatures):
        for event in events:
            event.time = round(event.time * _GRID / tpq)
    result.ticks_per_quarter = _GRID
    return result
