"""A score on the grid of a MidiTok vocabulary, so that its tokens tell everything and decode to the very same notes.

What MidiTok 3.1.0 would lose, delay or mix up on the way is settled here, before it sees the score:
meters change at bar lines only (a shorter bar gets a meter of its own length where there is one), onsets lie on the
grid of their bar, durations are among those of the vocabulary, of several notes of one pitch and onset the longest
stays, and a note ends where the next one of its pitch begins.
"""

from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import symusic

from core.distinct import changes
from core.log import logger
from core.words import agree, counted
from plugins.tokenizers.note_tokens.grid import DRUMS, Array, Grid, Meter, Sections

T = TypeVar("T")


class Raw(NamedTuple):
    """Music as it was found: columns (n,) of its notes in int64, times in ticks of which a quarter has `tpq`."""

    tpq: int
    rank: Array  # program, DRUMS for drums
    time: Array
    duration: Array
    pitch: Array
    velocity: Array
    meters: list[tuple[int, Meter]]
    tempos: list[tuple[int, int]]  # microseconds a quarter
    keys: list[tuple[int, tuple[int, int]]]  # fifths, mode


class Music(NamedTuple):
    """Music on a grid: columns (n,) of its notes, by rank, time and pitch, and what changes when."""

    sections: Sections
    rank: Array
    time: Array
    duration: Array
    pitch: Array
    velocity: Array
    tempos: list[tuple[int, float]]  # quarters a minute
    keys: list[tuple[int, tuple[int, int]]]


def raw(score: symusic.Score) -> Raw:
    """The columns of a score."""
    columns = [track.notes.numpy() for track in score.tracks]
    ranks = [DRUMS if track.is_drum else int(track.program) for track in score.tracks]

    def joined(key: str) -> Array:
        return np.concatenate([np.empty(0, np.int64), *(notes[key] for notes in columns)])

    tempos = score.tempos.numpy()
    return Raw(
        int(score.ticks_per_quarter),
        np.repeat(np.array(ranks, dtype=np.int64), [len(notes["time"]) for notes in columns]),
        joined("time"),
        joined("duration"),
        joined("pitch"),
        joined("velocity"),
        [(mark.time, (int(mark.numerator), int(mark.denominator))) for mark in score.time_signatures],
        list(zip(tempos["time"].tolist(), tempos["mspq"].tolist(), strict=True)),
        [(mark.time, (int(mark.key), int(mark.tonality))) for mark in score.key_signatures],
    )


def settle(found: Raw, grid: Grid, source: str = "") -> Music:
    """What was found as the grid tells it; a second time nothing changes. It may be left without notes."""
    sections = Sections(grid, found.meters, found.tpq, source)
    rank = found.rank if grid.programs is not None else np.where(found.rank < DRUMS, 0, DRUMS)
    (low, high), (lowest, highest) = grid.pitches, grid.drum_pitches
    drums, pitch = rank == DRUMS, found.pitch
    fits = np.where(drums, (pitch >= lowest) & (pitch <= highest), (pitch >= low) & (pitch <= high))
    fits &= grid.told[rank] & (found.time >= 0)
    if not fits.all():
        left = int((~fits).sum())
        told = f"{counted(left, 'note')} that the vocabulary cannot tell {agree(left, 'is', 'are')} left out"
        logger.info("%s: %s", source or "a score", told)
        found = found._replace(**{key: getattr(found, key)[fits] for key in COLUMNS})
        rank = rank[fits]
    if source and not grid.free:  # of what a model made up nobody asks
        longest = max(int(bins[-1]) for bins in grid.durations.values())
        shortened = int((found.duration * grid.ticks > longest * found.tpq).sum())
        if shortened:
            told = f"{counted(shortened, 'note')} {agree(shortened, 'is', 'are')}"
            logger.info("%s: %s longer than any duration of the vocabulary", source, told)
    columns = _notes(found._replace(rank=rank), grid, sections, source)
    if grid.shifts is not None and len(rank):
        moved = _stepped(columns["time"], grid.shifts, source)
        stepped = Raw(grid.ticks, **(columns | {"time": moved}), meters=[], tempos=[], keys=[])
        columns = _notes(stepped, grid, sections, source)
    last = int(columns["time"].max()) if len(rank) else -1
    sections.cut(max(last, 0))
    return Music(sections, **columns, tempos=_tempos(found, sections, last), keys=_keys(found, sections, last))


COLUMNS = ("rank", "time", "duration", "pitch", "velocity")


def score_of(music: Music) -> symusic.Score:
    """The score of music on a grid, drums last; a track for each program."""
    result = symusic.Score(music.sections.grid.ticks)
    for start, end in pairwise([*changes(music.rank).nonzero()[0].tolist(), len(music.rank)]):
        rank = int(music.rank[start])
        track = symusic.Track(program=rank % DRUMS, is_drum=rank == DRUMS)
        track.notes = symusic.Note.from_numpy(
            **{key: getattr(music, key)[start:end].astype(kind) for key, kind in _TYPES.items()}
        )
        result.tracks.append(track)
    for tick, (beats, unit) in zip(music.sections.starts, music.sections.meters, strict=True):
        result.time_signatures.append(symusic.TimeSignature(tick, beats, unit))
    for tick, tempo in music.tempos:
        result.tempos.append(symusic.Tempo(tick, tempo))
    for tick, (fifths, mode) in music.keys:
        result.key_signatures.append(symusic.KeySignature(tick, fifths, mode))
    return result


_TYPES = {"time": np.int32, "duration": np.int32, "pitch": np.int8, "velocity": np.int8}


def quantise(score: symusic.Score, grid: Grid, source: str = "") -> symusic.Score:
    """`score` as the grid tells it; a second time nothing changes. It may be left without notes."""
    music = settle(raw(score), grid, source)
    result = score_of(music)
    if grid.extras:
        for out in result.tracks:
            program = None if grid.programs is None else out.program
            same = [t for t in score.tracks if t.is_drum == out.is_drum and program in (None, t.program)]
            _carry(same, out, music.sections, int(score.ticks_per_quarter))
    return result


def same(a: symusic.Score, b: symusic.Score) -> bool:
    """Whether two quantised scores tell the same."""
    if len(a.tracks) != len(b.tracks):
        return False
    for one, other in zip(a.tracks, b.tracks, strict=True):
        if (one.program, one.is_drum) != (other.program, other.is_drum):
            return False
        if not all(np.array_equal(x, other.notes.numpy()[key]) for key, x in one.notes.numpy().items()):
            return False
    marks = ("time_signatures", "tempos", "key_signatures")
    return all(getattr(a, mark) == getattr(b, mark) for mark in marks)


def _notes(found: Raw, grid: Grid, sections: Sections, source: str) -> dict[str, Array]:
    tpq, rank, pitch = found.tpq, found.rank, found.pitch
    time = sections.quantised(found.time, tpq)
    if grid.free:
        sections.cut(int(time.max(initial=0)))  # what is behind the last onset must not tell where notes end
    duration = np.empty_like(time)
    if grid.free:
        steps = np.array([grid.step(meter[1]) for meter in sections.meters])[sections.index(time)]
        duration = np.maximum(sections.quantised(found.time + found.duration, tpq) - time, steps)
    for unit, here in () if grid.free else sections.by_unit(time):
        bins = grid.durations[unit]
        middles = (bins[1:] + bins[:-1]) * tpq  # twice the middle between neighbours
        lengths = bins[middles.searchsorted(2 * found.duration[here] * grid.ticks)]
        if grid.untimed:
            same = max(1, int(grid.untimed_beats * grid.ticks * 4 // unit))
            lengths = np.where(grid.timed[rank[here]], lengths, same)
        duration[here] = lengths
    velocity = grid.loudness[found.velocity]
    # Of the notes with one pitch and onset the longest comes last, and stays with the loudness of the loudest.
    key = rank * 128 + pitch
    order = np.argsort((key << 48) + (time << 17) + duration)  # 15, 31 and 17 bits: three times as fast as lexsort
    time, duration, velocity, key = time[order], duration[order], velocity[order], key[order]
    first = (changes(time) | changes(key)).nonzero()[0]
    if len(first) < len(time):
        velocity = np.maximum.reduceat(velocity, first)
        stay = np.append(first[1:], len(time)) - 1
        time, duration, key = time[stay], duration[stay], key[stay]
    shortest = 0 if grid.free else min(int(bins[0]) for bins in grid.durations.values())
    if shortest > min(grid.step(meter[1]) for meter in sections.meters):
        apart = _apart(key, time, shortest)
        if source and not apart.all():  # of what a model made up nobody asks
            left = int((~apart).sum())
            told = agree(left, "follows one of its key", "follow one of their key")
            told = f"{counted(left, 'note')} that {told} sooner than the shortest duration {agree(left, 'is', 'are')}"
            logger.info("%s: %s left out", source, told)
        time, duration, velocity, key = time[apart], duration[apart], velocity[apart], key[apart]
    follows = (key[1:] == key[:-1]).nonzero()[0]  # by one of its key, before whose onset it ends
    gap = time[follows + 1] - time[follows]
    late = duration[follows] > gap
    follows, gap = follows[late], gap[late]
    if grid.free:
        duration[follows] = gap
    for unit, here in () if grid.free else sections.by_unit(time[follows]):
        bins = grid.durations[unit]
        duration[follows[here]] = bins[bins.searchsorted(gap[here], side="right") - 1]
    if grid.rests:
        _end_on_grid(time, duration, grid, sections)
    rank, pitch = key >> 7, key & 127
    order = np.argsort((rank << 48) + (time << 7) + pitch)
    columns = (rank, time, duration, pitch, velocity)
    return {name: column[order] for name, column in zip(COLUMNS, columns, strict=True)}


def _apart(key: Array, time: Array, shortest: int) -> Array:
    """(n,): which notes begin no sooner behind the last one of their key that stays than a note lasts at least."""
    apart = np.ones(len(time), dtype=bool)
    before = 0
    for index in range(1, len(time)):
        apart[index] = key[index] != key[before] or time[index] - time[before] >= shortest
        if apart[index]:
            before = index
    return apart


def _stepped(time: Array, shifts: Array, source: str) -> Array:
    """Onsets (n,) of which each is one of the shifts behind the one before; longer silence is shortened."""
    onsets, where = np.unique(time, return_inverse=True)
    longest = int(shifts[-1])
    middles = (shifts[1:] + shifts[:-1]) / 2
    nearest = shifts[np.searchsorted(middles, np.arange(longest + 1))].tolist()
    now, late = 0, 0
    found: list[int] = []
    for onset in onsets.tolist():
        gap = onset - late - now
        if gap > longest:
            late += gap - longest
            gap = longest
        if onset or found:
            now += nearest[max(gap, 0)]
        found.append(now)
    if late:
        logger.info("%s: silence longer than any shift of the vocabulary is shortened", source or "a score")
    moved: Array = np.array(found, dtype=np.int64)[where]
    return moved


def _end_on_grid(time: Array, duration: Array, grid: Grid, sections: Sections) -> None:
    """Shortens, in place, the notes that end off the grid of the meter in which they end."""
    units = sections.units(time)

    def off(ends: Array) -> Array:
        return sections.quantised(ends, grid.ticks) != ends

    for index in np.flatnonzero(off(time + duration)):
        bins = grid.durations[int(units[index])]
        bins = bins[bins <= duration[index]]
        duration[index] = bins[~off(time[index] + bins)][-1]  # within its own section any is on the grid


def _tempos(found: Raw, sections: Sections, last: int) -> list[tuple[int, float]]:
    grid = sections.grid
    if grid.tempos is None:
        return [(0, grid.tempo)]
    marks = {0: float(grid.tempo)}
    times = sections.quantised(np.array([tick for tick, _ in found.tempos], dtype=np.int64), found.tpq)
    for tick, (_, mspq) in zip(times.tolist(), found.tempos, strict=True):
        if 0 <= tick <= last:
            marks[tick] = float(grid.tempos[np.abs(grid.tempos - 6e7 / max(mspq, 1)).argmin()])
    return _changes(marks)


def _keys(found: Raw, sections: Sections, last: int) -> list[tuple[int, tuple[int, int]]]:
    if not sections.grid.keys:
        return []
    marks: dict[int, tuple[int, int]] = {}
    times = sections.quantised(np.array([tick for tick, _ in found.keys], dtype=np.int64), found.tpq)
    for tick, (_, (fifths, mode)) in zip(times.tolist(), found.keys, strict=True):
        if 0 <= tick <= last and -7 <= fifths <= 7 and mode in (0, 1):
            marks[tick] = (fifths, mode)
    return _changes(marks)


def _changes(marks: dict[int, T]) -> list[tuple[int, T]]:
    """What changes when, in order and without what repeats."""
    changes: list[tuple[int, T]] = []
    for tick in sorted(marks):
        if not changes or changes[-1][1] != marks[tick]:
            changes.append((tick, marks[tick]))
    return changes


def _carry(tracks: list[Any], out: Any, sections: Sections, tpq: int) -> None:
    for kind, maker in (
        ("controls", symusic.ControlChange),
        ("pitch_bends", symusic.PitchBend),
        ("pedals", symusic.Pedal),
    ):
        parts = [getattr(track, kind).numpy() for track in tracks if len(getattr(track, kind))]
        if not parts:
            continue
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        end = columns["time"] + columns.get("duration", 0)
        columns["time"] = sections.quantised(columns["time"], tpq).astype(np.int32)
        if "duration" in columns:
            columns["duration"] = (sections.quantised(end, tpq) - columns["time"]).clip(1).astype(np.int32)
        order = np.argsort(columns["time"], kind="stable")
        setattr(out, kind, maker.from_numpy(**{key: values[order] for key, values in columns.items()}))
