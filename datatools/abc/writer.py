"""A quantised symusic score as ABC text.

Every onset and end must lie on a grid of 24 steps a quarter note (so on 12 or on 8 a quarter). Notes that sound
together are chords where they begin and end together, else voices; a track may need several. Its lyrics are sung to
the notes that begin with them. Velocities, programs, controls and changes of tempo have no place in these notes and are
left out; drums are refused.
"""

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from datatools.abc.keys import MODES, Key, Meter, plain_key
from datatools.abc.lyrics import in_abc
from datatools.abc.text import text_of
from datatools.abc.tune import Bar, Event, Pitch, Tune, Tuplet, spelled

STEPS = 96  # steps of a whole note
MOST_VOICES = 32
MOST_NOTES = 100_000
MOST_BARS = 40_000  # of all voices together
_UNITS = (Fraction(1, 8), Fraction(1, 16), Fraction(1, 4))
# Lengths that one note head can bear, with a dot or without, in 32nds (64ths in a triplet).
_HEADS = sorted((head << power for power in range(7) for head in (1, 3)), reverse=True)


class _Chord(NamedTuple):
    start: int  # in steps
    end: int
    pitches: tuple[int, ...]  # MIDI


class _Span(NamedTuple):
    """One bar, in steps."""

    start: int
    end: int
    meter: Meter


def write(score: Any, *, title: str = "", source: str = "") -> str:
    """ABC text whose notes are exactly the score's; ValueError naming the source and the first note that has none."""
    return text_of(tune_of(score, title=title, source=source))


def tune_of(score: Any, *, title: str = "", source: str = "") -> Tune:
    """The Tune of a quantised score, tracks in order, each in as many voices as it needs."""
    name = source or title or "the score"
    voices: list[list[_Chord]] = []
    labels: list[str] = []
    owners: list[int] = []
    lyrics: list[dict[int, str]] = []  # of the voice's track, by step
    for number, track in enumerate(score.tracks):
        if not len(track.notes):
            continue
        if track.is_drum:
            raise ValueError(f"{name}: track {number} is drums, which ABC's notes cannot tell")
        parts = _voices(_chords(track, score.ticks_per_quarter, name))
        voices += parts
        owners += [owners[-1] + 1 if owners else 0] * len(parts)
        labels += [_label(track)] * len(parts)
        lyrics += [_lyrics(track, score.ticks_per_quarter)] * len(parts)
    if not voices:
        raise ValueError(f"{name}: there is no note in it")
    if len(voices) > MOST_VOICES:
        raise ValueError(f"{name}: it needs {len(voices)} voices; ABC is written with at most {MOST_VOICES} here")
    end = max(chord.end for voice in voices for chord in voice)
    spans = _spans(score, end, name)
    if len(spans) * len(voices) > MOST_BARS:
        raise ValueError(
            f"{name}: it has {len(spans)} bars in {len(voices)} voices; expected at most {MOST_BARS} bars in all"
        )
    keys = _keys(score, voices)
    tempos = _tempos(score)
    tune = Tune(_line(title), spans[0].meter, Fraction(1, 8), keys[0][1], tempos[0] if tempos else None)
    serial = 0
    for voice, sung in zip(voices, lyrics, strict=True):
        bars = []
        events = _Events(voice, keys, sung)
        for span in spans:
            bar, serial = events.bar(span, serial)
            bars.append(bar)
        tune.voices.append(bars)
    tune.names = labels if len(set(labels)) > 1 else []
    tune.tracks = owners
    tune.unit = _unit(tune)
    return tune


def _line(text: str) -> str:
    return " ".join(text.split())


def _label(track: Any) -> str:
    try:
        return _line(track.name).replace('"', "'").replace("%", "")
    except UnicodeDecodeError:
        return ""


def _lyrics(track: Any, per_quarter: int) -> dict[int, str]:
    found = ((_step(lyric.time, per_quarter), in_abc(lyric.text)) for lyric in track.lyrics)
    return {step: syllable for step, syllable in found if step is not None and syllable}


def _step(time: int, per_quarter: int) -> int | None:
    """The step of the grid, 24 a quarter, that a tick is; None where it is none.

    Where the file's own ticks cannot tell a step (1024 a quarter: a triplet is 341.33), the tick beside it is meant.
    """
    step = (2 * 24 * time + per_quarter) // (2 * per_quarter)
    off = abs(step * per_quarter - 24 * time)  # in 24ths of a tick
    return step if not off or (per_quarter % 24 and per_quarter >= 96 and off < 24) else None


def _chords(track: Any, per_quarter: int, name: str) -> list[_Chord]:
    """Notes of equal onset and end joined; a note that sounds twice is two chords."""
    columns = track.notes.numpy()
    rows = sorted(zip(*(columns[key].tolist() for key in ("time", "pitch", "duration")), strict=True))
    if len(rows) > MOST_NOTES:
        raise ValueError(f"{name}: it has {len(rows)} notes; expected at most {MOST_NOTES}")
    groups: dict[tuple[int, int, int], list[int]] = {}
    seen: dict[tuple[int, int, int], int] = {}
    for time, pitch, duration in rows:
        start, end = _step(time, per_quarter), _step(time + duration, per_quarter)
        if start is None or end is None or end <= start:
            raise ValueError(
                f"{name}: the note {pitch} at tick {time}, {duration} long, is off the grid of 24 steps a quarter "
                f"({per_quarter} ticks); quantise it to 12 or 8 steps a quarter"
            )
        copies = seen[time, pitch, duration] = seen.get((time, pitch, duration), 0) + 1
        groups.setdefault((start, end, copies), []).append(pitch)
    chords = [_Chord(start, end, tuple(pitches)) for (start, end, _), pitches in groups.items()]
    return sorted(chords, key=lambda chord: (chord.start, -max(chord.pitches), -chord.end))


def _voices(chords: list[_Chord]) -> list[list[_Chord]]:
    """Each chord goes to the first voice that is silent by then; the highest come first."""
    voices: list[list[_Chord]] = []
    for chord in chords:
        for voice in voices:
            if voice[-1].end <= chord.start:
                voice.append(chord)
                break
        else:
            voices.append([chord])
            if len(voices) > MOST_VOICES:
                break
    return voices


def _spans(score: Any, end: int, name: str) -> list[_Span]:
    """The bars up to `end`; a meter that changes in the middle of a bar cuts it short."""
    changes: dict[int, Meter] = {0: (4, 4)}
    for signature in score.time_signatures:
        beats, unit = signature.numerator, signature.denominator
        if not (1 <= beats <= 64 and unit in (1, 2, 4, 8, 16, 32, 64)):
            raise ValueError(f"{name}: the meter {beats}/{unit} at tick {signature.time}; expected e.g. 4/4")
        changes[signature.time * 24 // score.ticks_per_quarter] = (beats, unit)
    times = [*sorted(time for time in changes if time < end), end]
    spans: list[_Span] = []
    for start, stop in pairwise(times):
        meter = changes[start]
        assert meter is not None
        length = STEPS * meter[0] // meter[1]
        last = stop == end
        if (stop - start) // max(length, 1) > MOST_BARS:
            raise ValueError(f"{name}: it has more than {MOST_BARS} bars")
        for at in range(start, stop, max(length, 1)):
            spans.append(_Span(at, at + length if last else min(at + length, stop), meter))
    return spans


def _keys(score: Any, voices: list[list[_Chord]]) -> list[tuple[int, Key]]:
    """(step, key) in order, the first at 0; without a signature, the one that needs the fewest accidentals."""
    found: dict[int, Key] = {}
    for signature in score.key_signatures:
        if -7 <= signature.key <= 7:
            mode = "min" if signature.tonality == 1 else "maj"
            found[signature.time * 24 // score.ticks_per_quarter] = plain_key(signature.key, mode)
    if not found:
        classes = [0] * 12
        for voice in voices:
            for chord in voice:
                for pitch in chord.pitches:
                    classes[pitch % 12] += 1
        inside = {f: sum(classes[7 * place % 12] for place in range(f - 1, f + 6)) for f in range(-6, 7)}
        best = max(inside, key=lambda fifths: (inside[fifths], -abs(fifths), fifths))
        found[0] = plain_key(best, MODES[0])
    first = min(found)
    found[0] = found[first]
    return sorted(found.items())


def _tempos(score: Any) -> list[float]:
    return [tempo.qpm for tempo in score.tempos if tempo.time == 0 and 4 <= tempo.qpm <= 2000][-1:]


def spell(midi: int, key: Key) -> Pitch:
    """The spelling nearest to the key on the line of fifths."""
    low = key.fifths - 3  # up to the leading note of the relative minor
    place = next(place for place in range(low, low + 12) if (7 * place) % 12 == midi % 12)
    place -= 12 * (place > 12) - 12 * (place < -8)
    letter = (4 * place) % 7
    alter = (place + 1) // 7
    octave = (midi - alter) // 12 - 1
    return spelled(octave * 7 + letter, alter)


class _Events:
    """Walks one voice's chords bar by bar, filling gaps with rests and tying over bar lines.

    It takes what is sung to its notes out of `lyrics`, which the voices of a track share.
    """

    def __init__(self, chords: list[_Chord], keys: list[tuple[int, Key]], lyrics: dict[int, str]) -> None:
        self.chords = chords
        self.lyrics, self.sung = lyrics, bool(lyrics)
        self.at = 0
        self.keys = [key for _, key in keys]
        self.key_times = [time for time, _ in keys]

    def bar(self, span: _Span, serial: int) -> tuple[Bar, int]:
        events: list[Event] = []
        time = span.start
        while time < span.end:
            chord = self.chords[self.at] if self.at < len(self.chords) else None
            if chord is None or chord.start >= span.end:
                events += self._heads((), time, span.end, False)
                break
            if chord.start > time:
                events += self._heads((), time, chord.start, False)
                time = chord.start
            end = min(chord.end, span.end)
            events += self._heads(chord.pitches, time, end, chord.end > end)
            time = end
            self.at += chord.end <= span.end
        return Bar(events, span.meter), _group(events, serial)

    def _heads(self, midi: tuple[int, ...], start: int, end: int, on: bool) -> Iterator[Event]:
        """The stretch as note heads tied to one another, the last one `on` into the next bar."""
        key = self.keys[bisect_right(self.key_times, start) - 1]
        pitches = tuple(spell(pitch, key) for pitch in midi)
        steps = end - start
        triplet = steps % 3 != 0
        left = steps if triplet else steps // 3
        while left:
            head = next(head for head in _HEADS if head <= left)
            left -= head
            ties = (bool(left) or on,) * len(pitches)
            length = Fraction(head, 64 if triplet else 32)
            event = Event(pitches, length, key, None, ties, (), Tuplet(3, 2, 0) if triplet else None)
            if self.sung and pitches:
                event.verses = (self.lyrics.pop(start, ""),)
            start += head if triplet else 3 * head
            yield event


def _group(events: list[Event], serial: int) -> int:
    """Joins neighboring triplet notes into groups that fill a dyadic length, of at most 12 notes."""
    group: Tuplet | None = None
    count, filled = 0, Fraction(0)
    for event in events:
        if event.tuplet is None:
            group = None
            continue
        if group is None:
            serial += 1
            group, count, filled = Tuplet(3, 2, serial), 0, Fraction(0)
        event.tuplet = group
        count += 1
        filled += event.duration
        if count == 12 or filled.denominator & (filled.denominator - 1) == 0:
            group = None
    return serial


def _unit(tune: Tune) -> Fraction:
    """The unit length that the most events have."""
    lengths = [event.length for voice in tune.voices for bar in voice for event in bar.events]
    return max(_UNITS, key=lengths.count)
