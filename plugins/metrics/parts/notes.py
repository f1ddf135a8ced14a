"""The notes of a score on one grid of time, as every metric counts them.

Shapes: n notes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import symusic
from numpy.typing import NDArray

from core.errors import HubError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = Sequence["symusic.Score | None"]  # None stands for an output that could not be decoded

STEPS = 12  # a quarter: sixteenths and their triplets, the grid of MMT's evaluation (arXiv 2207.06983)
COMMON_TIME = 4.0  # quarters a measure where nothing else is said


@dataclass(frozen=True)
class Notes:
    """Columns (n,) sorted by onset, pitch and end; times in steps, `steps` of them a quarter."""

    onset: Integers
    end: Integers
    pitch: Integers
    steps: int = STEPS

    def __len__(self) -> int:
        return len(self.pitch)

    @property
    def length(self) -> int:
        """The last end of a note, in steps."""
        return int(self.end.max(initial=0))


def notes_of(score: "symusic.Score | None", steps: int = STEPS, *, drums: bool | None = False) -> Notes:
    """The notes of a score, onset and end each rounded to the grid (half to even), none shorter than one step.

    `drums`: False leaves drum tracks out, True takes them alone, None takes all tracks. Notes of no length in the
    score are left out, as are all notes of a score that is None.
    """
    tracks = [] if score is None else score.tracks
    columns = [t.notes.numpy() for t in tracks if len(t.notes) and (drums is None or bool(t.is_drum) == drums)]
    if score is None or not columns:
        nothing = np.zeros(0, dtype=np.int64)
        return Notes(nothing, nothing, nothing, steps)
    time, duration, pitch = (
        np.concatenate([part[name] for part in columns]).astype(np.int64) for name in ("time", "duration", "pitch")
    )
    sounds = duration > 0
    time, duration, pitch = time[sounds], duration[sounds], pitch[sounds]
    ticks = int(score.ticks_per_quarter)
    onset = np.rint(time * steps / ticks).astype(np.int64)
    end = np.maximum(np.rint((time + duration) * steps / ticks).astype(np.int64), onset + 1)
    order = np.lexsort((end, pitch, onset))
    return Notes(onset[order], end[order], pitch[order], steps)


def measure_of(score: "symusic.Score | None") -> float:
    """Quarters a measure by the score's first time signature; common time where it has none."""
    if score is None or not len(score.time_signatures):
        return COMMON_TIME
    first = min(score.time_signatures, key=lambda signature: signature.time)
    quarters = 4.0 * int(first.numerator) / max(int(first.denominator), 1)
    return quarters if quarters > 0 else COMMON_TIME


def split_at(score: symusic.Score, quarters: float) -> tuple[symusic.Score, symusic.Score]:
    """A score's prompt and continuation: the notes that begin before `quarters`, and the others, moved to begin at 0.

    A note that sounds across the border belongs to the prompt. The signature and tempo in force stay in both.
    """
    cut = round(quarters * int(score.ticks_per_quarter))
    head, tail = symusic.Score(int(score.ticks_per_quarter)), symusic.Score(int(score.ticks_per_quarter))
    for part, first in ((head, 0), (tail, cut)):
        for track in score.tracks:
            columns = track.notes.numpy()
            chosen = (columns["time"] >= cut) if first else (columns["time"] < cut)
            columns = {key: values[chosen] for key, values in columns.items()}
            columns["time"] = columns["time"] - first
            made = symusic.Track(name="", program=int(track.program), is_drum=bool(track.is_drum))
            made.notes = symusic.Note.from_numpy(**columns)
            part.tracks.append(made)
    for event in score.time_signatures:
        for part, time in ((head, event.time), (tail, max(event.time - cut, 0))):
            part.time_signatures.append(symusic.TimeSignature(time, event.numerator, event.denominator))
    for event in score.tempos:
        for part, time in ((head, event.time), (tail, max(event.time - cut, 0))):
            part.tempos.append(symusic.Tempo(time, event.qpm))
    return head, tail


def excerpt(score: symusic.Score, begin: float, end: float) -> symusic.Score:
    """The notes that begin from quarter `begin` to before `end`, moved to begin at 0 and none longer than the excerpt.

    Drums stay drums; signatures, tempos and tracks without notes are kept.
    """
    whole, _ = split_at(score, end)
    part = split_at(whole, begin)[1] if begin > 0 else whole
    last = round((end - begin) * int(part.ticks_per_quarter))
    for track in part.tracks:
        columns = track.notes.numpy()
        columns["duration"] = np.minimum(columns["duration"], last - columns["time"])
        track.notes = symusic.Note.from_numpy(**columns)
    return part


def content_key(score: "symusic.Score | None") -> bytes:
    """A digest of the notes on the grid: two scores that no metric can tell apart share it."""
    digest = hashlib.blake2b(digest_size=16)
    for drums in (False, True):
        notes = notes_of(score, drums=drums)
        digest.update(np.stack([notes.onset, notes.end, notes.pitch]).astype("<i8").tobytes() + b"|")
    return digest.digest()


def in_order(scores: Scores) -> list["symusic.Score | None"]:
    """The scores in an order that depends on their content alone, so that no result depends on the one given."""
    return sorted(scores, key=content_key)


def aligned(generated: Scores, reference: Scores, prompts: Scores) -> list[tuple["symusic.Score | None", ...]]:
    """Triples (prompt, generated, reference) in an order of content; HubError unless the three lists are parallel."""
    if not len(generated) == len(reference) == len(prompts):
        raise HubError(
            f"{len(prompts)} prompts, {len(generated)} generated and {len(reference)} reference pieces were given; "
            "expected one continuation and one original for each prompt"
        )
    rows = list(zip(prompts, generated, reference, strict=True))
    return sorted(rows, key=lambda row: [content_key(score) for score in row])


def histogram(values: Iterable[int] | Integers, size: int) -> Floats:
    """Counts of the values 0 .. size - 1; (size,)."""
    return np.bincount(np.asarray(values, dtype=np.int64), minlength=size)[:size].astype(np.float64)


def sounding(notes: Notes) -> Integers:
    """How many different pitches sound at each step: (t,)."""
    length = notes.length
    change: Integers = np.zeros((128, length + 1), dtype=np.int64)
    np.add.at(change, (notes.pitch, notes.onset), 1)
    np.add.at(change, (notes.pitch, notes.end), -1)
    return (np.cumsum(change, axis=1)[:, :length] > 0).sum(axis=0)
