"""A tune of ABC to a symusic score.

Ticks: 480 a quarter note. Onsets and ends are rounded from exact sums, so nothing drifts; a note lasts at least one
tick.
"""

from fractions import Fraction

import numpy as np
import symusic

from datatools.abc.lyrics import is_text, shown
from datatools.abc.tune import Bar, Event, Tune

TICKS_PER_QUARTER = 480
VELOCITY = 80
GRACE_TICKS = 40  # a twelfth of a quarter, or less where the main note is short
LONGEST_SCORE = 100_000  # whole notes: beyond it ticks would leave what a MIDI file can hold


def score_of(tune: Tune) -> symusic.Score:
    """A track a voice, notes by (time, pitch, duration), program 0, velocity 80; meter, key and tempo as the tune says.

    A track's lyrics are its syllables, with a hyphen where a word goes on.
    """
    result = symusic.Score(TICKS_PER_QUARTER)
    for index, voice in enumerate(tune.voices):
        name = tune.names[index] if index < len(tune.names) and len(tune.voices) > 1 else ""  # as canonical text says
        track = symusic.Track(name or (tune.title if index == 0 else ""), 0, False)
        lyrics: list[tuple[int, str]] = []
        rows = np.array(sorted(_notes(voice, lyrics)), dtype=np.int32).reshape(-1, 3)
        if not len(rows):
            continue  # a voice of rests only
        track.notes = symusic.Note.from_numpy(
            time=rows[:, 0].copy(),
            duration=rows[:, 2].copy(),
            pitch=rows[:, 1].astype(np.int8),
            velocity=np.full(len(rows), VELOCITY, dtype=np.int8),
        )
        for time, syllable in lyrics:
            track.lyrics.append(symusic.TextMeta(time, syllable))
        result.tracks.append(track)
    _signatures(result, tune)
    return result


def _ticks(time: Fraction) -> int:
    return round(time * (4 * TICKS_PER_QUARTER))


def _notes(voice: list[Bar], lyrics: list[tuple[int, str]]) -> list[tuple[int, int, int]]:
    """(time, pitch, duration) in ticks; tied notes are one. What is sung, and when, is added to `lyrics`."""
    notes: list[tuple[int, int, int]] = []
    held: dict[int, int] = {}  # pitch -> onset of the note that a tie keeps sounding
    time = Fraction(0)
    for bar in voice:
        for event in bar.events:
            start, end = _ticks(time), _ticks(time + event.duration)
            if event.graces:
                start = _grace(event, start, end, notes)
            if is_text(event.syllable):
                lyrics.append((start, shown(event.syllable)))
            still: dict[int, int] = {}
            ties = event.ties or (False,) * len(event.pitches)
            for pitch, tie in zip(event.pitches, ties, strict=True):
                onset = held.get(pitch.midi, start)
                if tie:
                    still[pitch.midi] = onset
                else:
                    notes.append((onset, pitch.midi, max(end - onset, 1)))
            held = still
            time += event.duration
            if time > LONGEST_SCORE:
                raise ValueError(f"it lasts more than {LONGEST_SCORE} whole notes")
    return notes


def _grace(event: Event, start: int, end: int, notes: list[tuple[int, int, int]]) -> int:
    """Adds the grace notes at the main note's start and returns when the main note begins."""
    each = max(1, min(GRACE_TICKS, (end - start) // 2 // len(event.graces)))
    for pitch in event.graces:
        notes.append((start, pitch.midi, each))
        start += each
    return start


def _signatures(result: symusic.Score, tune: Tune) -> None:
    time = Fraction(0)
    meter, key = (0, 0), ""
    for bar in tune.voices[0] if tune.voices else []:
        if (bar.meter or (4, 4)) != meter:
            meter = bar.meter or (4, 4)
            result.time_signatures.append(symusic.TimeSignature(_ticks(time), *meter))
        for event in bar.events:
            if event.key.name != key:
                key = event.key.name
                result.key_signatures.append(symusic.KeySignature(_ticks(time), event.key.fifths, int(event.key.minor)))
            time += event.duration
    tempo = None
    for at, qpm in sorted(_tempos(tune).items()):
        if qpm != tempo:
            tempo = qpm
            result.tempos.append(symusic.Tempo(_ticks(at), qpm=tempo))


def _tempos(tune: Tune) -> dict[Fraction, float]:
    """By time. A tempo holds for all voices, whichever of them has it; where two disagree, the upper one's."""
    tempos: dict[Fraction, float] = {}
    for voice in tune.voices:
        time = Fraction(0)
        for event in (event for bar in voice for event in bar.events):
            if event.tempo:
                tempos.setdefault(time, event.tempo)
            time += event.duration
    return {Fraction(0): tune.tempo} | tempos if tune.tempo else tempos
