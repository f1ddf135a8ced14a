"""Tokens as notes while they come: what each new token adds to the music, changes in it, or takes back.

Any tokenizer serves, for all that is asked of it is `decode`. The tokens since some bar are decoded again and again;
when they are many and the tokenizer knows its bars, the older ones are let go, once it is seen that the later ones
decode to the same notes without them. So an endless piece takes constant memory and time.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import symusic

from core.contracts.tokenizer import Ids, Tokenizer

WINDOW = 384  # tokens that are decoded again at most, where older ones can be let go
TRIES = 4  # bars at which that is tried, before the window is doubled


class Note(NamedTuple):
    """One note; times in quarters (`beat`, `beats`) and in seconds from the beginning of the piece."""

    id: int  # the same id again replaces the note, which then has grown or shrunk
    beat: float
    beats: float
    start: float
    length: float
    pitch: int
    velocity: int
    program: int  # of General MIDI; -1: drums


@dataclass
class Heard:
    """What some tokens brought; `beats` and `seconds` say how far the music goes now."""

    notes: list[Note] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    beats: float = 0.0
    seconds: float = 0.0


# onset in ticks, program, pitch, how many such were before: what makes two notes the same
_Key = tuple[int, int, int, int]
_Value = tuple[int, int]  # length in ticks, velocity


class Listener:
    """Hears one piece from its beginning; `heard` says what is new since it was last asked."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._decode = tokenizer.decode
        self._bar_starts = getattr(tokenizer, "bar_starts", None)
        self._window: Ids = []
        self._most = WINDOW
        self._told: dict[_Key, tuple[int, _Value]] = {}  # of the window: number and value
        self._count = 0
        self._beat, self._second = 0.0, 0.0  # where the window begins
        self._pace: float | None = None  # quarters a minute there, where the window itself does not tell

    def __len__(self) -> int:
        """Tokens that the next call of `heard` decodes."""
        return len(self._window)

    def add(self, token: Any) -> None:
        """Takes one more token."""
        self._window.append(token)

    def heard(self) -> Heard:
        """Decodes what came and says how the music differs from what was said before."""
        score = self._decode(self._window).score
        clock = Clock(score, self._pace)
        now = _notes(score)
        found = Heard()
        for key, value in now.items():
            before = self._told.get(key)
            if before is None or before[1] != value:
                number = self._count if before is None else before[0]
                self._count += before is None
                self._told[key] = number, value
                found.notes.append(self._note(number, key, value, clock))
        for key in [key for key in self._told if key not in now]:
            found.gone.append(self._told.pop(key)[0])
        end = max((key[0] + value[0] for key, value in now.items()), default=0)
        found.beats, found.seconds = self._beat + clock.beats(end), self._second + clock.seconds(end)
        if len(self._window) > self._most:
            self._let_go(now, clock)
        return found

    def _note(self, number: int, key: _Key, value: _Value, clock: "Clock") -> Note:
        onset, program, pitch, _ = key
        start, stop = clock.seconds(onset), clock.seconds(onset + value[0])
        beat = self._beat + clock.beats(onset)
        length = clock.beats(value[0])
        return Note(
            number, beat, length, round(self._second + start, 4), round(stop - start, 4), pitch, value[1], program
        )

    def _let_go(self, now: dict[_Key, _Value], clock: "Clock") -> None:
        """Forgets the tokens before a bar, if the rest means the same without them."""
        starts = self._bar_starts(self._window) if self._bar_starts is not None else ()
        later = [start for start in starts if start >= len(self._window) // 2][:TRIES]
        for start in later:
            rest = self._window[start:]
            score = self._decode(rest).score
            alone = _notes(score)
            if not alone:
                continue
            tail = sorted(now.items())[-len(alone) :]
            shift = tail[0][0][0] - min(alone)[0]
            moved = {_moved(key, shift): value for key, value in alone.items()}
            same = {key: now.get(key) for key in moved} == moved and min(moved) == tail[0][0]
            end = max(key[0] + value[0] for key, value in now.items())
            held = any(key[0] < shift and key[0] + value[0] == end for key, value in now.items())  # may yet grow
            if shift <= 0 or not same or held or not clock.agrees(score, shift):
                continue
            self._told = {_moved(key, -shift): self._told[key] for key in moved}
            self._beat, self._second = self._beat + clock.beats(shift), self._second + clock.seconds(shift)
            self._pace, self._window = clock.pace(shift), rest
            return
        self._most *= 2


class Clock:
    """Ticks of a score as quarters and seconds; `pace` is the tempo until the score tells the first one behind 0."""

    def __init__(self, score: symusic.Score, pace: float | None = None) -> None:
        self.ticks = score.ticks_per_quarter
        told = [(tempo.time, float(tempo.qpm)) for tempo in score.tempos]
        first = told[0][1] if told and told[0][0] == 0 else 120.0
        self.told = [(0, first if pace is None else pace), *(one for one in told if one[0] > 0)]
        self.at = [0.0]
        for (start, qpm), (stop, _) in pairwise(self.told):
            self.at.append(self.at[-1] + (stop - start) / self.ticks * 60 / qpm)

    def beats(self, tick: int) -> float:
        """Quarters."""
        return tick / self.ticks

    def seconds(self, tick: int) -> float:
        """Seconds from the beginning of the score."""
        place = max(i for i, (start, _) in enumerate(self.told) if start <= max(tick, 0))
        start, qpm = self.told[place]
        return self.at[place] + (tick - start) / self.ticks * 60 / qpm

    def pace(self, tick: int) -> float:
        """The tempo that holds there."""
        return max((start, qpm) for start, qpm in self.told if start <= tick)[1]

    def agrees(self, score: symusic.Score, shift: int) -> bool:
        """Whether `score`, the music from tick `shift` on alone, has the same tempos behind its first."""
        alone = [(tempo.time + shift, float(tempo.qpm)) for tempo in score.tempos if tempo.time > 0]
        return alone == [one for one in self.told if one[0] > shift] and score.ticks_per_quarter == self.ticks


def _moved(key: _Key, ticks: int) -> _Key:
    onset, program, pitch, number = key
    return onset + ticks, program, pitch, number


def _notes(score: symusic.Score) -> dict[_Key, _Value]:
    found: dict[_Key, _Value] = {}
    for track in score.tracks:
        program = -1 if track.is_drum else int(track.program)
        columns = track.notes.numpy()
        rows = zip(*(columns[name].tolist() for name in ("time", "pitch", "duration", "velocity")), strict=True)
        for onset, pitch, length, velocity in rows:
            number = 0
            while (onset, program, pitch, number) in found:
                number += 1
            found[onset, program, pitch, number] = length, velocity
    return found
