"""The canonical form of a score: what every reader returns, and what every score must satisfy to be used.

Tracks keep the order of the file, empty ones left out; the notes of a track are sorted by (time, pitch, duration,
velocity), everything else by time. A note of no length (struck and released in one tick) lasts one tick. A tempo of
nought and a meter of nought beats mean nothing and are dropped; a remark says so.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import symusic

from core.words import counted

# A longer span is a corrupt delta time, not music: it would also make tokenizers write bars for minutes.
MOST_QUARTERS = 1_000_000
MOST_SECONDS = 24 * 3600.0
# Slowest tempo that counts towards MOST_SECONDS, in microseconds a quarter, where a file gives none.
_DEFAULT_MSPQ = 500_000


def canonical(score: symusic.Score, remarks: list[str] | None = None) -> symusic.Score:
    """A sorted copy of `score`; ValueError with a one-line reason when it holds no usable music.

    What was dropped is added to `remarks`.
    """
    remarks = [] if remarks is None else remarks
    tpq = int(score.ticks_per_quarter)
    if tpq < 1:
        raise ValueError(f"it has {tpq} ticks a quarter; expected 1 or more")
    result = symusic.Score(tpq)
    end = 0
    for track in score.tracks:
        if len(track.notes):
            columns = track.notes.numpy()
            result.tracks.append(_track(track, columns))
            end = max(end, int((columns["time"].astype(np.int64) + columns["duration"]).max()))
    if not len(result.tracks):
        raise ValueError("it has no notes")
    result.tempos = symusic.Tempo.from_numpy(**_kept(score.tempos, ("mspq",), remarks, "tempo"))
    result.time_signatures = symusic.TimeSignature.from_numpy(
        **_kept(score.time_signatures, ("numerator", "denominator"), remarks, "meter")
    )
    if len(score.key_signatures):
        result.key_signatures = symusic.KeySignature.from_numpy(**_by_time(score.key_signatures.numpy()))
    _check_span(result, end)
    return result


def _track(track: Any, columns: dict[str, np.ndarray]) -> Any:
    try:
        name = track.name
    except UnicodeDecodeError:  # the name's bytes are no UTF-8; it plays no part in the music
        name = ""
    result = symusic.Track(name=name, program=int(track.program), is_drum=bool(track.is_drum))
    result.notes = _sorted_notes(track.notes, columns)
    for kind, maker in (
        ("controls", symusic.ControlChange),
        ("pitch_bends", symusic.PitchBend),
        ("pedals", symusic.Pedal),
    ):
        events = getattr(track, kind)
        if len(events):
            setattr(result, kind, maker.from_numpy(**_by_time(events.numpy())))
    for lyric in sorted(track.lyrics, key=lambda lyric: lyric.time):
        result.lyrics.append(lyric)
    return result


def _sorted_notes(notes: Any, columns: dict[str, np.ndarray]) -> Any:
    """A copy of one track's notes, whose columns are given, in canonical order and none shorter than one tick."""
    time, duration = columns["time"], columns["duration"]
    if (time < 0).any():
        raise ValueError("it has notes before time 0")
    places = time.astype(np.int64) << 8 | columns["pitch"]
    if (places[1:] > places[:-1]).all() and duration.min() > 0:  # as in most files
        return notes.copy()
    order = np.lexsort((columns["velocity"], duration, columns["pitch"], time))
    longer = columns | {"duration": np.maximum(duration, 1)}
    return symusic.Note.from_numpy(**{key: values[order] for key, values in longer.items()})


def _by_time(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    time = columns["time"]
    if (time[1:] >= time[:-1]).all():
        return columns
    order = time.argsort(kind="stable")
    return {key: values[order] for key, values in columns.items()}


def _kept(events: Any, positive: Iterable[str], remarks: list[str], what: str) -> dict[str, np.ndarray]:
    """Columns of the events in time order, without those whose `positive` columns are not all above nought."""
    columns = _by_time(events.numpy())
    keep = np.logical_and.reduce([columns[key] > 0 for key in positive])
    if keep.all():
        return columns
    remarks.append(f"dropped {counted(int((~keep).sum()), what)} of nought")
    return {key: values[keep] for key, values in columns.items()}


def _check_span(score: symusic.Score, end: int) -> None:
    """ValueError where the notes, the last of which ends at tick `end`, last longer than music does."""
    quarters = end / score.ticks_per_quarter
    if quarters > MOST_QUARTERS:
        raise ValueError(f"it spans {quarters:.0f} quarters; expected at most {MOST_QUARTERS} (a corrupt delta time?)")
    columns = score.tempos.numpy()
    if quarters * columns["mspq"].max(initial=_DEFAULT_MSPQ) <= MOST_SECONDS * 1e6:  # as in most files
        return
    times = np.concatenate(([0], columns["time"].astype(np.int64).clip(0, end), [end]))
    mspq = np.concatenate(([_DEFAULT_MSPQ], columns["mspq"].astype(np.float64)))
    seconds = float((np.diff(times) * mspq).sum()) / 1e6 / score.ticks_per_quarter
    if seconds > MOST_SECONDS:
        raise ValueError(f"it lasts {seconds / 3600:.0f} hours; expected at most {MOST_SECONDS / 3600:.0f}")
