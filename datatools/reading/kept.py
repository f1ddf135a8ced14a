"""Scores read from slow formats, kept by content: MusicXML and kern take far longer to parse than MIDI.

A file of readings/ is named by the sha256 of the music file; it holds a checksum, a line of JSON with title and
remarks, and the score as symusic serializes it. Another version of a reader or of symusic has a folder of its own.
"""

import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import symusic

from core.contracts.piece import Piece
from core.files import atomic
from core.log import logger
from datatools.reading import scores

SLOW = scores.XML | {".krn"}
READERS = ("reading", "abc")  # the folders whose code decides what is read


@cache
def version() -> str:
    """Changes with our readers' code and with the libraries below them."""
    tools = Path(__file__).parents[1]
    whole = hashlib.sha256()
    for path in sorted(path for folder in READERS for path in (tools / folder).rglob("*.py")):
        whole.update(path.read_bytes())
    whole.update(f"symusic {metadata.version('symusic')}".encode())
    return whole.hexdigest()[:16]


def read(path: str, index: int, folder: Path) -> Piece:
    """As `scores.read`, from the reading kept in `folder` where there is one."""
    file = Path(path)
    if file.suffix.lower() not in SLOW or not file.is_file() or file.stat().st_size > scores.MOST_BYTES:
        return scores.read(path, index)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    kept = folder / version() / sha256[:2] / sha256
    piece = _load(kept, path, sha256)
    if piece is None:
        piece = scores.read(path, index)
        try:
            _save(kept, piece)
        except OSError as error:  # the reading itself is good; it will only have to be done again
            logger.debug("the reading of %s cannot be kept: %s", path, error)
    return piece


def _save(kept: Path, piece: Piece) -> None:
    body = json.dumps([piece.title, piece.remarks]).encode() + b"\n" + piece.score.__getstate__()
    with atomic(kept) as temporary:
        temporary.write_bytes(hashlib.sha256(body).digest() + body)


def _load(kept: Path, path: str, sha256: str) -> Piece | None:
    try:
        data = kept.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    head, _, state = data[32:].partition(b"\n")
    title, remarks = json.loads(head)
    kind: Any = type(symusic.Score(1))
    score = kind.__new__(kind)
    score.__setstate__(state)
    return scores.piece_from_score(score, source=path, title=title, sha256=sha256, remarks=remarks)
