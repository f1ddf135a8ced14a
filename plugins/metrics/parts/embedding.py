"""An embedding of a piece that needs no weights: how its intervals, durations, rhythm and texture are distributed.

Blind to key (intervals and pitch classes are taken from the most frequent one), tempo and velocity.
Shapes: n notes, t onsets, e = 100 numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import symusic

from plugins.metrics.parts.notes import Floats, Integers, Notes, histogram, notes_of, sounding

Embed = Callable[[Sequence[symusic.Score]], Floats]

# Upper borders of times in twelfths of a quarter: 1/48 to 8 quarters, dotted and triplet values kept apart.
_BORDERS = np.array([1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 36, 48, 96])
_WIDEST = 12  # semitones of a melodic step; wider ones count as this
_MOST_AT_ONCE = 8


def melody(notes: Notes) -> tuple[Integers, Integers]:
    """The highest note of each onset: onsets (t,) and pitches (t,)."""
    order = np.lexsort((-notes.pitch, notes.onset))
    onsets, first = np.unique(notes.onset[order], return_index=True)
    return onsets, notes.pitch[order][first]


def distributions(notes: Notes) -> list[Floats]:
    """The counts of each block: melodic intervals (25), intervals above the bass of an onset (12), pitch classes above
    the most frequent one (12), durations (15), times between onsets (15), place of onsets in the quarter (12), number
    of notes at once (9)."""
    onsets, pitches = melody(notes)
    steps = np.clip(np.diff(pitches), -_WIDEST, _WIDEST) + _WIDEST
    bass = np.full(len(onsets), 127, dtype=np.int64)
    place = np.searchsorted(onsets, notes.onset)
    np.minimum.at(bass, place, notes.pitch)
    above = notes.pitch - bass[place]
    classes = histogram(notes.pitch % 12, 12)
    return [
        histogram(steps, 2 * _WIDEST + 1),
        histogram(above[above > 0] % 12, 12),
        np.roll(classes, -int(classes.argmax())),
        histogram(np.searchsorted(_BORDERS, notes.end - notes.onset), len(_BORDERS) + 1),
        histogram(np.searchsorted(_BORDERS, np.diff(onsets)), len(_BORDERS) + 1),
        histogram(onsets % notes.steps, notes.steps),
        histogram(np.minimum(sounding(notes), _MOST_AT_ONCE), _MOST_AT_ONCE + 1),
    ]


def embed(scores: Sequence[symusic.Score]) -> Floats:
    """Square roots of the shares in each block (n e): their distance is Hellinger's, and no block outweighs another."""
    rows = []
    for score in scores:
        blocks = distributions(notes_of(score))
        rows.append(np.concatenate([np.sqrt(block / max(block.sum(), 1.0)) for block in blocks]))
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)
