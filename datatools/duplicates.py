"""When two pieces are the same music: an exact key, and a sketch that survives transposition, tempo and small changes.

The sketch is a MinHash (Broder 1997) over shingles of each track's skyline, the highest note of each onset; candidates
are found by banding (locality-sensitive hashing) and confirmed by the estimated Jaccard similarity.
Shapes: n notes, h hash functions (HASHES).
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from core.seeds import derive, generator

HASHES = 128
BANDS = 64  # of 2 hashes each: a pair of similarity s is a candidate with 1 - (1 - s^2)^64, 0.984 at s = 0.25
SHINGLE = 4  # steps (interval, ratio of inter-onset times) in a row
NEAR = 0.25  # least Jaccard similarity of near-duplicates; the estimate's standard error there is 0.04
Sketch = NDArray[np.uint32]

_MULTIPLIERS = generator("sketch", "multipliers").integers(1, 2**63, HASHES, dtype=np.uint64) | np.uint64(1)
_OFFSETS = generator("sketch", "offsets").integers(0, 2**63, HASHES, dtype=np.uint64)


def exact_key(score: symusic.Score) -> str:
    """A sha256 that two scores share when they hold the same notes up to transposition and leading silence.

    Onsets and durations count in 48ths of a quarter; all tracks are taken together; drums are not transposed; program,
    velocity, tempo, meter and text do not matter.
    """
    pitched = _columns([track for track in score.tracks if not track.is_drum], score)
    drums = _columns([track for track in score.tracks if track.is_drum], score)
    pitched[:, 2] -= pitched[:, 2].min(initial=127)
    drums[:, 2] += 1000  # never the pitch of another instrument
    notes = np.concatenate([pitched, drums])
    notes[:, 0] -= notes[:, 0].min(initial=np.iinfo(np.int64).max)
    notes = notes[np.lexsort(notes.T[::-1])]
    return hashlib.sha256(np.ascontiguousarray(notes, dtype="<i8").tobytes()).hexdigest()


def sketch(score: symusic.Score) -> Sketch:
    """The MinHash (h,) of a score's melodies; drums count only where there is nothing else."""
    return minhash(shingles(score))


def shingles(score: symusic.Score) -> NDArray[np.uint64]:
    """The set of the shingles of all tracks' skylines, as hashes: (n,).

    Track by track, because arrangements of one song share their melody and not what sounds above it.
    """
    tracks = [track for track in score.tracks if len(track.notes) and not track.is_drum]
    return np.unique(np.concatenate([_steps(_columns([track], score)) for track in tracks or score.tracks]))


def _steps(notes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hashes of SHINGLE steps in a row, a step being (interval, log-ratio of inter-onset times): (n 3) -> (m,)."""
    order = np.lexsort((-notes[:, 2], notes[:, 0]))
    onset, first = np.unique(notes[order, 0], return_index=True)
    pitch = notes[order, 2][first]
    gap = np.diff(onset).astype(np.float64)
    # In half octaves of time: a doubled or performed tempo leaves the ratios as they are, or nearly.
    ratio = np.rint(2 * np.log2(gap[1:] / gap[:-1])).astype(np.int64)
    steps = (np.diff(pitch)[1:] + 256) * 128 + np.clip(ratio, -60, 60) + 64
    if len(steps) < SHINGLE:  # too short for a shingle: only the like of it is near
        return np.array([derive("short", *(pitch - pitch[:1]).tolist(), *steps.tolist())], dtype=np.uint64)
    count = len(steps) - SHINGLE + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(SHINGLE):
        hashes = _mix(hashes ^ steps[offset : offset + count].astype(np.uint64))
    return hashes


def minhash(hashes: NDArray[np.uint64]) -> Sketch:
    """The least value of each of h hash functions over a set of 64-bit hashes: (n,) -> (h,)."""
    result = np.full(HASHES, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(hashes), 4096):
        values = _mix(hashes[start : start + 4096, None] * _MULTIPLIERS + _OFFSETS) >> np.uint64(32)  # (n h)
        result = np.minimum(result, values.min(axis=0).astype(np.uint32))
    return result


def similarity(one: Sketch, other: Sketch) -> float:
    """The estimated Jaccard similarity of two sketches."""
    return float(np.mean(one == other))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele et al. 2014), which spreads every bit over all."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _columns(tracks: Iterable[Any], score: symusic.Score) -> NDArray[np.int64]:
    """Onset and duration in 48ths of a quarter, and pitch, of all notes of some tracks: (n 3)."""
    columns = [track.notes.numpy() for track in tracks if len(track.notes)]
    if not columns:
        return np.zeros((0, 3), dtype=np.int64)
    ticks = int(score.ticks_per_quarter)
    onset, duration, pitch = (
        np.concatenate([part[name] for part in columns]).astype(np.int64) for name in ("time", "duration", "pitch")
    )
    return np.stack([(onset * 48 + ticks // 2) // ticks, (duration * 48 + ticks // 2) // ticks, pitch], axis=1)


class NearIndex:
    """Finds, among the sketches added so far, those that are near a given one."""

    def __init__(self, least: float = NEAR) -> None:
        self.least = least
        self._sketches = np.zeros((64, HASHES), dtype=np.uint32)
        self._names: list[int] = []
        self._known: set[bytes] = set()
        self._bands: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]

    def add(self, name: int, sketch: Sketch) -> None:
        """Adds a sketch under a number; of equal ones the first is kept, since it is found whenever they would be."""
        if sketch.tobytes() in self._known:
            return
        self._known.add(sketch.tobytes())
        place = len(self._names)
        if place == len(self._sketches):
            self._sketches = np.concatenate([self._sketches, np.zeros_like(self._sketches)])
        self._sketches[place] = sketch
        self._names.append(name)
        for band, key in zip(self._bands, _bands(sketch), strict=True):
            band.setdefault(key, []).append(place)

    def near(self, sketch: Sketch) -> list[tuple[int, float]]:
        """(number, similarity) of all near ones, the nearest first and of equals the first added."""
        found: set[int] = set()
        for band, key in zip(self._bands, _bands(sketch), strict=True):
            found.update(band.get(key, ()))
        places = np.array(sorted(found), dtype=np.int64)
        rates = (self._sketches[places] == sketch).mean(axis=1)  # (candidates,)
        order = [i for i in np.argsort(-rates, kind="stable").tolist() if rates[i] >= self.least]
        return [(self._names[places[i]], float(rates[i])) for i in order]


def _bands(sketch: Sketch) -> Iterator[bytes]:
    rows = HASHES // BANDS
    return (sketch[start : start + rows].tobytes() for start in range(0, HASHES, rows))
