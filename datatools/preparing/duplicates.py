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
WAITING = 512  # sketches that a search looks through one by one
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
    """Finds, among the sketches added so far, those that are near a given one.

    Bands lie in sorted segments (Bentley and Saxe 1980): new sketches wait in a small table, a full table becomes a
    segment, and segments of like size are merged. That takes 1.3 kB a sketch, and a search is a few binary ones.
    """

    def __init__(self, least: float = NEAR, table: int = WAITING) -> None:
        self.least, self._table = least, table
        self._sketches = np.zeros((table, HASHES), dtype=np.uint32)
        self._names: list[int] = []
        self._known: set[bytes] = set()
        self._waiting = np.zeros((table, BANDS), dtype=np.uint64)
        self._segments: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []  # band keys, ascending, and places

    def add(self, name: int, sketch: Sketch) -> None:
        """Adds a sketch under a number; of equal ones the first is kept, since it is found whenever they would be."""
        digest = hashlib.blake2b(sketch.tobytes(), digest_size=16).digest()
        if digest in self._known:
            return
        self._known.add(digest)
        place = len(self._names)
        if place == len(self._sketches):
            self._sketches = np.concatenate([self._sketches, np.zeros_like(self._sketches)])
        self._sketches[place] = sketch
        self._names.append(name)
        self._waiting[place % self._table] = _band_keys(sketch)
        if len(self._names) % self._table == 0:
            self._file()

    def near(self, sketch: Sketch) -> list[tuple[int, float]]:
        """(number, similarity) of all near ones, the nearest first and of equals the first added."""
        places = self._candidates(_band_keys(sketch))
        parts = [places[start : start + 4096] for start in range(0, len(places), 4096)]
        counts = [np.count_nonzero(self._sketches[part] == sketch, axis=1) for part in parts]
        rates = np.concatenate([np.zeros(0), *counts]) / HASHES  # (candidates,)
        order = [i for i in np.argsort(-rates, kind="stable").tolist() if rates[i] >= self.least]
        return [(self._names[places[i]], float(rates[i])) for i in order]

    def _file(self) -> None:
        """Makes the waiting sketches a segment, and one of every two whose sizes are alike."""
        places = np.arange(len(self._names) - self._table, len(self._names), dtype=np.uint32)
        self._segments.append(_sorted(self._waiting.ravel(), places.repeat(BANDS)))
        while len(self._segments) > 1 and len(self._segments[-2][0]) <= 2 * len(self._segments[-1][0]):
            pair = self._segments[-2:]
            self._segments[-2:] = [_sorted(*(np.concatenate(columns) for columns in zip(*pair, strict=True)))]

    def _candidates(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Places, ascending, of all sketches that share one of the band keys (BANDS,)."""
        count = len(self._names)
        found = np.zeros(count, dtype=bool)
        for stored, places in self._segments:
            begins, ends = np.searchsorted(stored, keys, "left"), np.searchsorted(stored, keys, "right")
            for band in np.flatnonzero(ends > begins).tolist():
                found[places[begins[band] : ends[band]]] = True
        left = count % self._table
        found[count - left :] = (self._waiting[:left] == keys).any(axis=1)
        return np.flatnonzero(found)


def _sorted(keys: NDArray[np.uint64], places: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    order = np.argsort(keys, kind="stable")  # which merges runs that are in order
    return keys[order], places[order]


def _band_keys(sketch: Sketch) -> NDArray[np.uint64]:
    """For each band a number that begins with the band's own and goes on with a hash of its values: (BANDS,)."""
    values = sketch.reshape(BANDS, -1).astype(np.uint64)
    hashes = np.zeros(BANDS, dtype=np.uint64)
    for column in values.T:
        hashes = _mix(hashes ^ column)
    width = np.uint64(64 - (BANDS - 1).bit_length())
    return (np.arange(BANDS, dtype=np.uint64) << width) | (hashes >> (np.uint64(64) - width))
