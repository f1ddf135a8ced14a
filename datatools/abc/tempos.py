"""Tempos put into a tune that has none."""

from collections.abc import Sequence
from fractions import Fraction

from datatools.abc.repeats import read_tune
from datatools.abc.text import text_of


def marked(text: str, tempos: Sequence[tuple[float, float]]) -> str:
    """Canonical ABC of a tune with these tempos, (quarters from its beginning, quarters a minute) in order of time.

    The first holds from the beginning, whenever it stands; one within a note from the next note on.
    """
    tune = read_tune(text, silent=True)
    tune.tempo = tempos[0][1]
    coming = list(tempos[1:])
    time = Fraction(0)
    for event in (event for bar in tune.voices[0] for event in bar.events):
        while coming and coming[0][0] <= 4 * time:
            event.tempo = coming.pop(0)[1]
        time += event.duration
    return text_of(tune)
