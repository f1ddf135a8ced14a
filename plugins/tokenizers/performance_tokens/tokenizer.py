"""A performance tokenizer: music in seconds, whatever its bars, as events; tempo and meter play no part.

All pitched instruments become one; drums are left out.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import symusic

from core.contracts.piece import Piece
from core.errors import HubError
from core.log import logger
from core.words import agree, counted
from plugins.tokenizers.performance_tokens.events import (
    KINDS,
    OFF,
    SHIFT,
    VELOCITY,
    Array,
    Events,
    apart,
    read,
    written,
)

if TYPE_CHECKING:
    from plugins.tokenizers.performance_tokens.grammar import EventGrammar

FILE = "performance.json"
TEMPO = 120.0  # of what is decoded: a quarter is half a second
SPECIALS = ("pad", "bos", "eos")


class PerformanceTokenizer:
    """`folder` holds what `save` wrote."""

    streams = 1

    def __init__(self, name: str, events: Events, folder: Path | None = None) -> None:
        self.name, self.events = name, events
        self.vocab_size = events.size + len(SPECIALS)
        self.pad_id, self.bos_id, self.eos_id = range(events.size, self.vocab_size)
        # In quarters at TEMPO, how far the time between two notes may be out: half the least shift at either end.
        self.time_error = events.shifts[0] / events.steps_per_second * TEMPO / 60
        if folder is not None:
            self._check(Path(folder) / FILE)

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the piece; ValueError naming it when there is no note that they can tell."""
        start, end, pitch, velocity = self._notes(piece)
        times, where = np.unique(np.concatenate((start, end)), return_inverse=True)
        start, end = np.split(self.events.reached(times)[where], 2)
        ids: list[int] = written(self.events, start, end, pitch, velocity).tolist()
        return ids

    def _notes(self, piece: Piece) -> tuple[Array, Array, Array, Array]:
        """Start and end in steps, pitch and velocity of the notes that can be told."""
        low, high = self.events.pitches
        found, left_out = [], 0
        for track in piece.score.tracks:
            columns = track.notes.numpy()
            inside = (columns["pitch"] >= low) & (columns["pitch"] <= high) & (not track.is_drum)
            left_out += int((~inside).sum())
            start = columns["time"][inside].astype(np.int64)
            end = start + columns["duration"][inside]
            if self.events.pedal and len(track.pedals):
                end = _held(end, track.pedals.numpy())
            pair = seconds(piece.score, start), seconds(piece.score, end)
            found.append((*pair, columns["pitch"][inside], columns["velocity"][inside]))
        source = piece.source or "a piece"
        if not sum(len(columns[0]) for columns in found):
            raise ValueError(f"{source}: no note can be told; expected pitches {low} to {high}, and no drums")
        if left_out:
            are = agree(left_out, "is", "are")
            logger.info("%s: %s that the vocabulary cannot tell %s left out", source, counted(left_out, "note"), are)
        start, end, pitch, velocity = (np.concatenate(columns) for columns in zip(*found, strict=True))
        start, end = (np.rint(each * self.events.steps_per_second).astype(np.int64) for each in (start, end))
        # errors made good are below half the least shift, so that what lasts one here still lasts one then
        return apart(start, end, pitch.astype(np.int64), velocity.astype(np.int64), self.events.shifts[0])

    def decode(self, ids: Sequence[int]) -> Piece:
        """A Piece from any ids; what is no event is left out."""
        known = np.array([id for id in ids if 0 <= id < self.events.size], dtype=np.int64)
        start, end, pitch, velocity = read(self.events, known)
        score = symusic.Score(round(self.events.steps_per_second * 60 / TEMPO))
        score.tempos.append(symusic.Tempo(0, TEMPO))
        score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
        if len(start):
            order = np.lexsort((pitch, start))
            track = symusic.Track()
            track.notes = symusic.Note.from_numpy(
                time=start[order].astype(np.int32),
                duration=(end - start)[order].astype(np.int32),
                pitch=pitch[order].astype(np.int8),
                velocity=velocity[order].astype(np.int8),
            )
            score.tracks.append(track)
        return Piece("", "", "", lambda: score, lambda: _abc(score))

    def token(self, id: int) -> str:
        """Such as note_on_60, note_off_60, velocity_64, time_shift_10 (in steps of time), or a special."""
        if id >= self.events.size:
            return SPECIALS[id - self.events.size]
        return f"{KINDS[self.events.kinds[id]]}_{self.events.values[id]}"

    def times(self, ids: Sequence[int]) -> list[float]:
        """Seconds that have passed when each token is told."""
        steps = [int(self.events.values[id]) * (self.events.kinds[id] == SHIFT) for id in ids]
        return (np.cumsum([0, *steps[:-1]]) / self.events.steps_per_second).tolist()[: len(ids)]

    def kind_of(self, id: int) -> str:
        """What a token tells."""
        if id >= self.events.size or self.events.kinds[id] == VELOCITY:
            return "other"
        return {SHIFT: "onset", OFF: "duration"}.get(int(self.events.kinds[id]), "pitch")

    @property
    def description(self) -> str:
        """What the ids mean, as JSON."""
        fields = {key: getattr(self.events, key) for key in self.events.__dataclass_fields__}
        return json.dumps({"format": 1, "name": self.name, **fields}, indent=1) + "\n"

    def fingerprint(self) -> str:
        """sha256 of what the ids mean."""
        return hashlib.sha256(self.description.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Writes what the ids mean."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / FILE).write_text(self.description, encoding="utf-8")

    def _check(self, path: Path) -> None:
        try:
            saved = path.read_text(encoding="utf-8")
        except OSError as error:
            raise HubError(f"{path} cannot be read ({error.strerror}); expected a saved tokenizer") from error
        if saved != self.description:
            raise HubError(f"{path} tells of other events than {self.name}'s; expected the folder of such a tokenizer")

    def transpose_table(self, semitones: int) -> list[int]:
        """id -> id of the same music `semitones` higher, -1 where a pitch leaves the vocabulary."""
        low, high = self.events.pitches
        keys = self.events.kinds <= OFF
        inside = ~keys | ((self.events.values + semitones >= low) & (self.events.values + semitones <= high))
        moved = np.where(inside, np.arange(self.events.size) + semitones * keys, -1)
        return [*moved.tolist(), self.pad_id, self.bos_id, self.eos_id]

    def velocity_table(self, steps: int) -> list[int]:
        """id -> id of the same music `steps` steps of loudness up, -1 where there is none."""
        loud = self.events.kinds == VELOCITY
        ids = np.arange(self.events.size)
        level = ids - self.events.first[VELOCITY] + steps
        inside = ~loud | ((level >= 0) & (level < len(self.events.velocities)))
        return [*np.where(inside, ids + steps * loud, -1).tolist(), self.pad_id, self.bos_id, self.eos_id]

    def grammar(self, bars: int = 0, length: int = 0) -> "EventGrammar":
        """What may follow what; `length` > 0: pieces of at most so many tokens, ended in time. There are no bars."""
        from plugins.tokenizers.performance_tokens.grammar import EventGrammar

        if bars:
            raise ValueError(f"bars is {bars}, and performances have none; give a length in tokens")
        return EventGrammar(self.events, self.vocab_size, self.eos_id, length)


def seconds(score: symusic.Score, ticks: Array) -> Array:
    """The seconds (n,) from the beginning of a score at which ticks (n,) come."""
    columns = score.tempos.numpy()
    times = np.concatenate(([0], columns["time"])).astype(np.int64)
    lengths = np.concatenate(([60e6 / TEMPO], columns["mspq"])) / 1e6 / score.ticks_per_quarter  # of a tick
    before = np.concatenate(([0.0], np.cumsum(np.diff(times) * lengths[:-1])))
    index = np.searchsorted(times, ticks, side="right") - 1
    passed: Array = before[index] + (ticks - times[index]) * lengths[index]
    return passed


def _held(end: Array, pedals: dict[str, Array]) -> Array:
    """When notes (n,) end that the pedal may hold, in ticks."""
    start = pedals["time"].astype(np.int64)
    lifted = np.maximum.accumulate(start + pedals["duration"])
    index = np.searchsorted(start, end, side="right") - 1
    held: Array = np.where(index >= 0, np.maximum(end, lifted[index]), end)
    return held


def _abc(score: symusic.Score) -> str:
    raise ValueError("a performance is not quantised, which ABC text needs")
