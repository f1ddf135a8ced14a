"""When two pieces are the same music: an exact key, and a sketch that survives transposition, tempo and small changes.

The sketch is a MinHash (Broder 1997) over shingles of each track's skyline, the highest note of each onset; candidates
are found by banding (locality-sensitive hashing) and confirmed by the estimated Jaccard similarity.
Shapes: n notes, h hash functions (HASHES).
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from core.distinct import changes, distinct
from core.seeds import derive, generator

HASHES = 128
BANDS = 64  # of 2 hashes each: a pair of similarity s is a candidate with 1 - (1 - s^2)^64, 0.984 at s = 0.25
SHINGLE = 4  # steps (interval, ratio of inter-onset times) in a row
CHUNK = 128  # hashes that are mixed at once, so that they stay in the processor's cache
_TRACK = 40  # bits of an onset, above which its track is told
NEAR = 0.25  # least Jaccard similarity of near-duplicates; the estimate's standard error there is 0.04
Sketch = NDArray[np.uint32]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = generator("sketch", "multipliers").integers(1, 2**63, HASHES, dtype=np.uint64) | np.uint64(1)
_OFFSETS = generator("sketch", "offsets").integers(0, 2**63, HASHES, dtype=np.uint64)


def exact_key(score: symusic.Score) -> str:
    """A sha256 that two scores share when they hold the same notes up to transposition and leading silence.

    Onsets and durations count in 48ths of a quarter; all tracks are taken together; drums are not transposed; program,
    velocity, tempo, meter and text do not matter.
    """
    track, onset, duration, pitch = _columns(score.tracks, score)
    drums = np.array([bool(track.is_drum) for track in score.tracks])[track]
    pitch = np.where(drums, pitch + 1000, pitch - pitch[~drums].min(initial=127))  # a drum is never another's pitch
    onset -= onset.min()
    return hashlib.sha256(_in_order(onset, duration, pitch).T.astype("<i8", copy=False).tobytes()).hexdigest()


def _in_order(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Onsets, durations and pitches (n,) by all three: (3 n). Sorting one number a note takes a third of the time."""
    onset, duration, pitch = columns
    if ((onset | duration) >> 26 | pitch >> 11).any():  # one is negative or does not fit
        return np.array(columns)[:, np.lexsort(columns[::-1])]
    packed = np.sort(onset << 37 | duration << 11 | pitch)
    return np.array([packed >> 37, packed >> 11 & (1 << 26) - 1, packed & (1 << 11) - 1])


def sketch(score: symusic.Score) -> Sketch:
    """The MinHash (h,) of a score's melodies; drums count only where there is nothing else."""
    return minhash(shingles(score))


def shingles(score: symusic.Score) -> NDArray[np.uint64]:
    """The set of the shingles of all tracks' skylines, as hashes: (n,).

    Track by track, because arrangements of one song share their melody and not what sounds above it.
    """
    tracks = [track for track in score.tracks if len(track.notes) and not track.is_drum]
    track, onset, _, pitch = _columns(tracks or score.tracks, score)
    place = track << _TRACK | onset
    if (place[1:] < place[:-1]).any():
        order = place.argsort(kind="stable")
        place, pitch = place[order], pitch[order]
    first = changes(place).nonzero()[0]
    return distinct(_runs(place[first], np.maximum.reduceat(pitch, first)))


def _runs(place: NDArray[np.int64], pitch: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hashes of SHINGLE steps in a row, a step being (interval, log-ratio of inter-onset times): (n,) (n,) -> (m,).

    `place` is the number of the track above the onset, and rises; a run stays within a track.
    """
    track, gap = place >> _TRACK, np.diff(place).astype(np.float64)
    # In half octaves of time: a doubled or performed tempo leaves the ratios as they are, or nearly.
    ratio = np.rint(2 * np.log2(gap[1:] / gap[:-1])).astype(np.int64)
    steps = (np.diff(pitch)[1:] + 256) * 128 + np.minimum(np.maximum(ratio, -60), 60) + 64
    count = max(0, len(steps) - SHINGLE + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(SHINGLE):
        hashes = _mix(hashes ^ steps[offset : offset + count].astype(np.uint64))
    hashes = hashes[track[:count] == track[len(track) - count :]]
    edges = track.searchsorted(np.arange(track[-1] + 2)).tolist()  # where each track begins, and the last one ends
    short = [  # a track too short for a shingle: only the like of it is near
        derive("short", *(pitch[at:end] - pitch[at : at + 1]).tolist(), *steps[at : max(at, end - 2)].tolist())
        for at, end in pairwise(edges)
        if end - at < SHINGLE + 2
    ]
    return np.concatenate([hashes, np.array(short, dtype=np.uint64)])


def minhash(hashes: NDArray[np.uint64]) -> Sketch:
    """The least value of each of h hash functions over a set of 64-bit hashes: (n,) -> (h,)."""
    result = np.full(HASHES, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(hashes), CHUNK):
        values = hashes[start : start + CHUNK, None] * _MULTIPLIERS  # (n h)
        values += _OFFSETS + _GOLDEN
        np.minimum(result, _spread(values).min(axis=0), out=result)
    return (result >> np.uint64(32)).astype(np.uint32)


def similarity(one: Sketch, other: Sketch) -> float:
    """The estimated Jaccard similarity of two sketches."""
    return float(np.mean(one == other))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A step of splitmix64 (Steele et al. 2014), which spreads every bit over all."""
    return _spread(values + _GOLDEN)


def _spread(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Its finalizer, in place."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= np.right_shift(values, np.uint64(31), out=shifted)
    return values


def _columns(tracks: Sequence[Any], score: symusic.Score) -> list[NDArray[np.int64]]:
    """Of all notes of some tracks: the track's number among them, onset and duration in 48ths of a quarter, pitch."""
    columns = [track.notes.numpy() for track in tracks]
    ticks = int(score.ticks_per_quarter)
    onset, duration, pitch = (
        np.concatenate([part[name] for part in columns], dtype=np.int64) for name in ("time", "duration", "pitch")
    )
    track = np.arange(len(tracks)).repeat([len(part["time"]) for part in columns])
    return [track, (onset * 48 + ticks // 2) // ticks, (duration * 48 + ticks // 2) // ticks, pitch]


class NearIndex:
    """Finds, among those of some sketches that were added so far, the ones near to a given one of them.

    All sketches are known beforehand, so that each band is sorted once; that takes 1.3 kB a sketch.
    """

    def __init__(self, sketches: Sequence[Sketch]) -> None:
        """Of sketches (h,), none of which is added yet; each has the number of its place."""
        kinds: dict[bytes, int] = {}
        self._kind = np.array([kinds.setdefault(sketch.tobytes(), len(kinds)) for sketch in sketches], dtype=np.int64)
        self._own = np.frombuffer(b"".join(kinds), dtype=np.uint32).reshape(-1, HASHES)  # (k h), one of each kind
        self._first = np.full(len(self._own), -1)  # (k,) the first sketch of a kind that was added
        keys = self._own.view(np.uint64)  # (k BANDS): two hashes each
        self._members = np.zeros((BANDS, len(keys)), dtype=np.uint32)  # kinds, those of one key beside each other
        self._bounds = np.zeros((len(keys), 2, BANDS), dtype=np.uint32)  # where those of each kind's key begin and end
        for band, key in enumerate(keys.T):
            order = key.argsort()
            edges = np.append(changes(key[order]).nonzero()[0], len(key))
            run = np.arange(len(edges) - 1).repeat(np.diff(edges))
            self._members[band] = order
            self._bounds[order, 0, band], self._bounds[order, 1, band] = edges[run], edges[run + 1]

    def add(self, number: int) -> None:
        """Adds a sketch; of equal ones the first added is kept, since it is found whenever they would be."""
        if self._first[self._kind[number]] < 0:
            self._first[self._kind[number]] = number

    def near(self, number: int) -> list[tuple[int, float]]:
        """(number, similarity) of all that are near to a sketch, the nearest first and of equals the lesser number."""
        kind = self._kind[number]
        begins, ends = self._bounds[kind].tolist()
        runs = [self._members[i, b:e] for i, (b, e) in enumerate(zip(begins, ends, strict=True)) if e - b > 1]
        kinds = distinct(np.concatenate([np.array([kind]), *runs]))
        kinds = kinds[self._first[kinds] >= 0]
        if not kinds.size:
            return []
        parts = [kinds[start : start + 4096] for start in range(0, len(kinds), 4096)]
        counts = [np.count_nonzero(self._own[part] == self._own[kind], axis=1) for part in parts]
        rates = np.concatenate(counts) / HASHES
        numbers = self._first[kinds]
        order = np.lexsort((numbers, -rates))
        return [(int(numbers[i]), float(rates[i])) for i in order[: np.count_nonzero(rates >= NEAR)]]
