"""Music that a person sends: a file, read in a process of its own with limits, or notes that were clicked or played."""

import tempfile
import threading
from pathlib import Path
from typing import Any

import symusic

from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from datatools.reading import scores
from datatools.workers.pool import Failure, Seat, greeting

SECONDS, MEGABYTES = 20.0, 2048  # for one file, in its process
MOST_NOTES = 20_000
TICKS = 480  # a quarter, for notes that were clicked
LONGEST = 4096.0  # quarters


def read_file(path: str) -> tuple[str, symusic.Score, str | None]:
    """Title, score and, of an ABC file, its own text; what the process of its own does."""
    piece = scores.read(path)
    return piece.title, piece.score, piece.abc if path.endswith(".abc") else None


class Reader:
    """Reads files one after the other; a file that crashes or hangs its process takes nothing else along."""

    def __init__(self) -> None:
        self._seat = Seat(greeting(read_file, None, MEGABYTES), SECONDS)
        self._lock = threading.Lock()

    def read(self, name: str, content: bytes) -> Piece:
        """The piece in a file of that name, of which only the ending counts; HubError in one line for what is none."""
        ending = Path(name).suffix.lower()
        if ending not in scores.EXTENSIONS:
            raise HubError(f'its ending is "{ending[:20]}"; expected one of {" ".join(sorted(scores.EXTENSIONS))}')
        with tempfile.TemporaryDirectory() as folder, self._lock:
            path = Path(folder) / f"sent{ending}"
            path.write_bytes(content)
            over = threading.Event()
            watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
            watch.start()
            try:
                found = self._seat.run(str(path))
            finally:
                over.set()
                watch.join()
        if isinstance(found, Failure):
            raise HubError(f"the file cannot be read: {found.reason}".replace(str(path), "it"))
        title, score, abc = found
        if score.note_num() > MOST_NOTES:
            raise HubError(f"the file has {score.note_num():,} notes; expected at most {MOST_NOTES:,}")
        if abc is not None:
            return scores.piece_from_abc(abc, source="sent.abc", title=title)
        return scores.piece_from_score(score, source=f"sent{ending}", title=title)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.5):
            self._seat.look()

    def close(self) -> None:
        """Ends the process."""
        self._seat.kill()
        with self._lock:
            self._seat.close()


def of_notes(notes: list[Any], tempo: float) -> Piece:
    """The piece of notes [beat, beats, pitch, velocity] in quarters, in 4/4; HubError naming the first bad one."""
    if not notes or len(notes) > MOST_NOTES:
        raise HubError(f"{len(notes):,} notes; expected 1 to {MOST_NOTES:,}")
    score, track = symusic.Score(TICKS), symusic.Track(program=0)
    for note in notes:
        fits = isinstance(note, list) and len(note) == 4 and all(type(value) in (int, float) for value in note)
        if not fits or not (0 <= note[0] < LONGEST and 0 < note[1] <= LONGEST):
            raise HubError(f"a note is {str(note)[:60]}; expected [beat, beats, pitch, velocity] in quarters from 0")
        pitch, velocity = int(note[2]), int(note[3])
        if not (0 <= pitch <= 127 and 1 <= velocity <= 127):
            raise HubError(f"a note is {str(note)[:60]}; expected a pitch from 0 to 127 and a velocity from 1 to 127")
        track.notes.append(symusic.Note(round(note[0] * TICKS), max(round(note[1] * TICKS), 1), pitch, velocity))
    score.tracks.append(track)
    score.tempos.append(symusic.Tempo(0, qpm=tempo))
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    return scores.piece_from_score(score, source="played notes", title="played notes")


def as_prompt(tokenizer: Tokenizer, piece: Piece) -> Ids:
    """The tokens of a piece as another goes on from it; HubError where they cannot tell it."""
    opening = getattr(tokenizer, "opening", list)
    try:
        return list(opening(tokenizer.encode(piece)))
    except ValueError as error:
        raise HubError(f"the model's tokens cannot tell this music: {error}") from error
