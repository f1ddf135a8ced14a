"""When two pieces are the same music: an exact key, and a sketch that survives transposition, tempo and small changes.

The sketch is a MinHash (Broder 1997) over shingles of the melodic skyline, the highest note of each onset; candidates
are found by banding (locality-sensitive hashing) and confirmed by the estimated Jaccard similarity.
Shapes: n notes, h hash functions (HASHES).
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import symusic
from numpy.typing import NDArray

from core.seeds import derive, generator

HASHES = 128
BANDS = 32  # of 4 hashes each: a pair of similarity s is a candidate with 1 - (1 - s^4)^32, 0.87 at s = 0.5
SHINGLE = 4  # steps (interval, ratio of inter-onset times) in a row
NEAR = 0.5  # least Jaccard similarity of near-duplicates; the estimate's standard error there is 0.044
Sketch = NDArray[np.uint32]

_MULTIPLIERS = generator("sketch", "multipliers").integers(1, 2**63, HASHES, dtype=np.uint64) | np.uint64(1)
_OFFSETS = generator("sketch", "offsets").integers(0, 2**63, HASHES, dtype=np.uint64)


def exact_key(score: symusic.Score) -> str:
    """A sha256 that two scores share when they hold the same notes up to transposition and leading silence.

    Onsets and durations count in 48ths of a quarter; all tracks are taken together; drums are not transposed; program,
    velocity, tempo, meter and text do not matter.
    """
    pitched, drums = (_notes(score, is_drum) for is_drum in (False, True))
    pitched[:, 2] -= pitched[:, 2].min(initial=127)
    drums[:, 2] += 1000  # never the pitch of another instrument
    notes = np.concatenate([pitched, drums])
    notes[:, 0] -= notes[:, 0].min(initial=np.iinfo(np.int64).max)
    notes = notes[np.lexsort(notes.T[::-1])]
    return hashlib.sha256(np.ascontiguousarray(notes, dtype="<i8").tobytes()).hexdigest()


def sketch(score: symusic.Score) -> Sketch:
    """The MinHash (h,) of a score's melody; drums count only where there is nothing else."""
    return minhash(shingles(score))


def shingles(score: symusic.Score) -> NDArray[np.uint64]:
    """The set of the melody's shingles, as hashes: SHINGLE steps (interval, log-ratio of inter-onset times) each."""
    notes = _notes(score, False)
    if not len(notes):
        notes = _notes(score, True)
    order = np.lexsort((-notes[:, 2], notes[:, 0]))
    onset, first = np.unique(notes[order, 0], return_index=True)
    pitch = notes[order, 2][first]
    gap = np.diff(onset).astype(np.float64)
    # In half octaves of time: a doubled or performed tempo leaves the ratios as they are, or nearly.
    ratio = np.rint(2 * np.log2(gap[1:] / gap[:-1])).astype(np.int64)
    steps = (np.diff(pitch)[1:] + 256) * 128 + np.clip(ratio, -60, 60) + 64
    if not len(steps):  # fewer than three onsets: only the like of it is near
        return np.array([derive("short", *(pitch - pitch[:1]).tolist())], dtype=np.uint64)
    width = min(SHINGLE, len(steps))
    hashes = np.zeros(len(steps) - width + 1, dtype=np.uint64)
    for offset in range(width):
        hashes = _mix(hashes ^ steps[offset : len(steps) - width + 1 + offset].astype(np.uint64))
    return np.unique(hashes)


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


def _notes(score: symusic.Score, drums: bool) -> NDArray[np.int64]:
    """Onset and duration in 48ths of a quarter, and pitch: (n 3)."""
    columns = [track.notes.numpy() for track in score.tracks if bool(track.is_drum) == drums and len(track.notes)]
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
        self._sketches: list[Sketch] = []
        self._names: list[int] = []
        self._same: dict[bytes, int] = {}
        self._bands: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]

    def add(self, name: int, sketch: Sketch) -> None:
        """Adds a sketch under a number; of equal sketches the first is kept, since it finds whatever the others would."""
        if sketch.tobytes() in self._same:
            return
        self._same[sketch.tobytes()] = len(self._sketches)
        for band, key in zip(self._bands, self._keys(sketch), strict=True):
            band.setdefault(key, []).append(len(self._sketches))
        self._sketches.append(sketch)
        self._names.append(name)

    def near(self, sketch: Sketch) -> list[tuple[int, float]]:
        """(number, similarity) of all near ones, the nearest first and of equals the first added."""
        found: set[int] = set()
        for band, key in zip(self._bands, self._keys(sketch), strict=True):
            found.update(band.get(key, ()))
        rated = [(similarity(sketch, self._sketches[place]), place) for place in sorted(found)]
        rated = [pair for pair in rated if pair[0] >= self.least]
        rated.sort(key=lambda pair: (-pair[0], pair[1]))
        return [(self._names[place], rate) for rate, place in rated]

    @staticmethod
    def _keys(sketch: Sketch) -> Iterator[bytes]:
        rows = HASHES // BANDS
        return (sketch[start : start + rows].tobytes() for start in range(0, HASHES, rows))
