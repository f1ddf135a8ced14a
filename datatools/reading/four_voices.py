"""Soprano, alto, tenor and bass on a grid of sixteenths: a score as an array of pitches, and back.

A held note and a repeated one are not told apart, as in the data that Coconet and Music Transformer report on.
Shapes: s steps, a sixteenth each.
"""

from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

VOICES = ("soprano", "alto", "tenor", "bass")
STEPS = 4  # in a quarter
SILENCE = -1
_TICKS = 120  # of a step
_PROGRAM, _VELOCITY, _TEMPO = 52, 80, 100.0  # a choir, mezzo-forte: the array does not tell


def steps_of(score: symusic.Score) -> NDArray[np.int64]:
    """The pitch (s 4) of each voice in each step, up to the last note; ValueError when the score is another kind."""
    quarter = int(score.ticks_per_quarter)
    voices = _voices(score)
    end = max(int((columns["time"] + columns["duration"]).max()) for columns in voices.values())
    steps = np.full((-(-end * STEPS // quarter), len(VOICES)), SILENCE, dtype=np.int64)
    for voice, columns in voices.items():
        pitch, start = columns["pitch"], columns["time"]
        stop = start + columns["duration"]
        off = (start * STEPS % quarter != 0) | (stop * STEPS % quarter != 0)
        if off.any():
            note = int(off.argmax())
            raise ValueError(
                f"a note of the {VOICES[voice]} lasts from quarter {start[note] / quarter:g} to "
                f"{stop[note] / quarter:g}, off the grid; expected sixteenths (multiples of 0.25)"
            )
        at_once = start[1:] < stop[:-1]
        if at_once.any():
            where = start[1:][at_once][0] / quarter
            raise ValueError(f"the {VOICES[voice]} has two notes at once at quarter {where:g}; expected a single line")
        for first, last, sound in zip(start * STEPS // quarter, stop * STEPS // quarter, pitch, strict=True):
            steps[first:last, voice] = sound
    return steps


def _voices(score: symusic.Score) -> dict[int, dict[str, Any]]:
    """The notes of each voice, sorted: tracks that are named after voices are these, others come by mean pitch."""
    tracks = [track for track in score.tracks if len(track.notes)]
    if any(track.is_drum for track in tracks):
        raise ValueError("it has drums; expected the voices soprano, alto, tenor and bass")
    if not 1 <= len(tracks) <= len(VOICES):
        raise ValueError(f"it has {len(tracks)} parts with notes; expected one to {len(VOICES)} voices, a track each")
    names = [track.name.strip().lower() for track in tracks]
    columns = [track.notes.numpy() for track in tracks]
    if len(set(names)) == len(names) and set(names) <= set(VOICES):
        places = [VOICES.index(name) for name in names]
    else:
        by_pitch = sorted(range(len(tracks)), key=lambda i: (-columns[i]["pitch"].mean(), i))
        places = [by_pitch.index(i) for i in range(len(tracks))]
    found = {}
    for place, notes in zip(places, columns, strict=True):
        order = np.lexsort((notes["pitch"], notes["time"]))
        found[place] = {key: notes[key][order].astype(np.int64) for key in ("time", "duration", "pitch")}
    return found


def score_of(steps: NDArray[np.int64]) -> symusic.Score:
    """The score of pitches (s 4): a track a voice that sounds, equal pitches in a row joined to one note."""
    score = symusic.Score(STEPS * _TICKS)
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    score.tempos.append(symusic.Tempo(0, _TEMPO))
    for name, pitches in zip(VOICES, steps.T, strict=True):
        starts = np.flatnonzero(np.diff(pitches, prepend=SILENCE - 1))
        lengths = np.diff(starts, append=len(pitches))
        sounds = pitches[starts] != SILENCE
        starts, lengths = starts[sounds], lengths[sounds]
        if not len(starts):
            continue
        track = symusic.Track(name=name, program=_PROGRAM, is_drum=False)
        track.notes = symusic.Note.from_numpy(
            time=(starts * _TICKS).astype(np.int32),
            duration=(lengths * _TICKS).astype(np.int32),
            pitch=pitches[starts].astype(np.int8),
            velocity=np.full(len(starts), _VELOCITY, dtype=np.int8),
        )
        score.tracks.append(track)
    return score
