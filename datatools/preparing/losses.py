"""What a piece loses on its way to tokens, by cause, told by comparing it with what its tokens decode to.

Nothing here knows a tokenizer: what is gone is seen in the two scores, and which setting would keep it the tokenizer's
hyper-parameters say themselves, in a class attribute `remedies` (cause -> settings).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from core.contracts.piece import Piece
from core.words import counted

# Each cause in words; all are counted in notes (words in those that begin with a syllable), but tempos and chord
# symbols in marks.
CAUSES = {
    "drums": "drums",
    "programs": "the instrument",
    "velocities": "the loudness",
    "pitches": "pitches out of range",
    "unisons": "unisons merged",
    "repeats": "struck again too soon",
    "others": "left out by the tokenizer",
    "durations": "durations cut",
    "words": "the words sung",
    "symbols": "chord symbols",
    "tempos": "tempos",
    "clipped": "tempos beyond the slowest or fastest",
}
_MARKS = ("symbols", "tempos", "clipped")
# Why no setting keeps what a tokenizer names no remedy for; of others that it cannot tell them.
_REASONS = {
    "unisons": "notes of one pitch at one onset are one token",
    "repeats": "the steps of its time are too coarse",
    "durations": "its longest duration is shorter",
}
_NONE = np.zeros(0, dtype=np.int64)
_ROUNDED = 4  # quarters a minute: a tempo is clipped that lies further beyond all that are told; half a step is less
_LONGER = 1.05  # a note is cut that lasts longer than the longest that is told, rounding aside


def losses_of(read: Piece, told: Piece) -> dict[str, int]:
    """What `losses` counts, and what only the text of ABC tells, the chord symbols, in marks."""
    found = losses(read.score, told.score)
    if symbols := _symbols(vars(read).get("abc", "")):  # made already where the piece was read from ABC
        with suppress(ValueError):  # it cannot be written in ABC, and its score holds none
            symbols -= _symbols(told.abc)
    return found | ({"symbols": symbols} if symbols > 0 else {})


def losses(read: symusic.Score, told: symusic.Score) -> dict[str, int]:
    """Notes (for tempos: marks) that are lost, by cause; a cause that costs nothing is left out."""
    before, after = _pitched(read), _pitched(told)
    told_pitches = _among(before["pitch"], after["pitch"])
    pitches = int(np.count_nonzero(~told_pitches))
    programs = int(np.count_nonzero(~_among(before["program"], after["program"])))
    rest = max(0, before["pitch"].size - after["pitch"].size - pitches)
    kept = {key: column[told_pitches] for key, column in before.items()}
    unisons, repeats = _merged(kept, after, rest, apart=not programs) if rest else (0, 0)
    tempos, told_tempos = _tempos(read), _tempos(told)
    found = {
        "drums": max(0, _drums(read) - _drums(told)),
        "programs": programs,
        "velocities": before["pitch"].size if _several(before) and not _several(after) else 0,
        "pitches": pitches,
        "unisons": unisons,
        "repeats": repeats,
        "others": rest - unisons - repeats,
        "durations": int(np.count_nonzero(before["quarters"] > _LONGER * after["quarters"].max(initial=0.0))),
        "words": max(0, _syllables(read) - _syllables(told)),
        "tempos": max(0, tempos - told_tempos),
        "clipped": _clipped(read, told) if 0 < told_tempos >= tempos else 0,  # or which are lost is open
    }
    return {cause: count for cause, count in found.items() if count}


def contents(score: symusic.Score) -> tuple[bool, bool, bool]:
    """Whether a piece has instruments, loudness and tempos to lose: drums or more than a piano, several, another."""
    pitched = _pitched(score)
    return _drums(score) > 0 or bool(pitched["program"].any()), _several(pitched), _tempos(score) > 0


def _drums(score: symusic.Score) -> int:
    """Notes of drums."""
    return sum(len(track.notes) for track in score.tracks if track.is_drum)


def _pitched(score: symusic.Score) -> dict[str, NDArray[Any]]:
    """Columns (n,) of all notes but drums; onsets and durations in quarters."""
    tracks = [track for track in score.tracks if not track.is_drum]
    columns = [track.notes.numpy() for track in tracks]
    pitch, velocity, duration, time = (
        np.concatenate([_NONE, *(column[key] for column in columns)])
        for key in ("pitch", "velocity", "duration", "time")
    )
    program = np.array([int(track.program) for track in tracks], dtype=np.int64)
    return {
        "pitch": pitch,
        "velocity": velocity,
        "onset": time / score.ticks_per_quarter,
        "quarters": duration / score.ticks_per_quarter,
        "program": program.repeat([len(column["time"]) for column in columns]),
    }


def _among(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the values of 0 to 127 before are among those after."""
    there = np.zeros(128, dtype=bool)
    there[after] = True
    found: NDArray[np.bool_] = there[before]
    return found


def _merged(
    before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]], rest: int, apart: bool
) -> tuple[int, int]:
    """Of `rest` lost notes those that begin with another of their pitch, and those that follow one sooner than any that
    is told does; each instrument by itself if `apart`. All pitches before are among those after.
    """
    gaps, told = _gaps(before, apart), _gaps(after, apart)
    soonest = told[told > 0].min(initial=np.inf)
    unisons = min(rest, int((gaps == 0).sum()))
    return unisons, min(rest - unisons, int(((gaps > 0) & (gaps < (1 - 1e-6) * soonest)).sum()))


def _gaps(notes: Mapping[str, NDArray[Any]], apart: bool) -> NDArray[Any]:
    """Quarters between the onsets of notes of one pitch that follow each other."""
    key = notes["pitch"] + 128 * notes["program"] * apart
    order = np.lexsort((notes["onset"], key))
    onset, key = notes["onset"][order], key[order]
    return (onset[1:] - onset[:-1])[key[1:] == key[:-1]]


def _several(notes: Mapping[str, NDArray[Any]]) -> bool:
    return bool((notes["velocity"][1:] != notes["velocity"][:1]).any())


def _syllables(score: symusic.Score) -> int:
    return sum(len(track.lyrics) for track in score.tracks)


def _symbols(abc: str) -> int:
    """Chord symbols, which alone stand in quotes in canonical ABC, fields aside."""
    return sum(line.count('"') // 2 for line in abc.splitlines() if line[1:2] != ":")


def _tempos(score: symusic.Score) -> int:
    """Marks that say something: another tempo than the one before, 120 quarters a minute at the beginning."""
    speeds = np.concatenate(([120], np.rint(6e7 / np.maximum(score.tempos.numpy()["mspq"], 1))))
    return int(np.count_nonzero(speeds[1:] != speeds[:-1]))


def _clipped(read: symusic.Score, told: symusic.Score) -> int:
    """Marks slower or faster than any that is told, rounding aside."""
    speeds = [tempo.qpm for tempo in told.tempos]
    low, high = min(speeds) - _ROUNDED, max(speeds) + _ROUNDED
    return sum(not low <= tempo.qpm <= high for tempo in read.tempos)


def advice(manifest: Mapping[str, Any], tokenizer: Any) -> list[str]:
    """What the tokens of a store do not tell, the dearest first, with the setting that keeps it; and remarks, if any.

    `tokenizer` are the tokenizer's hyper-parameters.
    """
    remedies = getattr(type(tokenizer), "remedies", {})
    notes = sum(counts["notes"] for counts in manifest["counts"].values())
    lines: list[str] = []
    for cause, count in sorted(manifest.get("lost", {}).items(), key=lambda one: -one[1]):
        share = counted(count, "mark") if cause in _MARKS else f"{_percent(count / max(notes, 1))} of notes"
        remedy = f" ({_REASONS.get(cause, 'this tokenizer cannot tell them')})"
        if cause in remedies:
            done = _set(remedies[cause], tokenizer)
            remedy = " (more than this tokenizer can tell)" if done else f" -> {remedies[cause]}"
        lines.append(f"{'' if lines else 'lost':<13}{share}: {CAUSES.get(cause, cause)}{remedy}")
    if manifest["remarks"]:
        lines.append(f"remarks      on {counted(manifest['remarks'], 'piece')}: remarks.txt in the token store")
    return lines


def _percent(share: float) -> str:
    """In two digits, and all of them for everything."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _set(remedy: str, tokenizer: Any) -> bool:
    """Whether a remedy of the form tokenizer.KEY=true is set already, so that something else has cost what is lost."""
    key, _, value = remedy.partition("=")
    return value == "true" and getattr(tokenizer, key.removeprefix("tokenizer."), None) is True
