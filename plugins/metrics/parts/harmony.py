"""A piece as one chord word a measure: the degree, quality and inversion of what sounds longest.

The key is found by correlation with profiles (Krumhansl & Kessler 1982), a chord by the template it differs least from.
"""

import numpy as np

from plugins.metrics.parts.notes import Floats, Integers, Notes

LONGEST = 4  # pitches of a measure that make its chord
EMPTY = "-"

_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
_QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "min7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "dim": (0, 3, 6),
    "hdim7": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "fifth": (0, 7),
    "third": (0, 4),
    "lowthird": (0, 3),
    "note": (0,),
}
_TEMPLATES = [(root, name) for name in _QUALITIES for root in range(12)]
_MEMBERS = np.zeros((len(_TEMPLATES), 12), dtype=bool)
for _row, (_root, _name) in enumerate(_TEMPLATES):
    _MEMBERS[_row, [(_root + step) % 12 for step in _QUALITIES[_name]]] = True


def key_of(notes: Notes) -> tuple[int, str]:
    """Tonic (pitch class) and mode of the profile that the sounding times of the pitch classes correlate with best."""
    times = np.bincount(notes.pitch % 12, notes.end - notes.onset, minlength=12)
    profiles = np.stack([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
    centered = profiles - profiles.mean(axis=1, keepdims=True)
    fit = centered @ (times - times.mean()) / np.linalg.norm(centered, axis=1)
    best = int(fit.argmax())
    return best % 12, "major" if best < 12 else "minor"


def sounding_times(notes: Notes, measure: int) -> Floats:
    """How long each pitch sounds in each measure of `measure` steps: (measures, 128)."""
    count = -(-notes.length // measure)
    times = np.zeros((count, 128))
    first, last = notes.onset // measure, (notes.end - 1) // measure
    for offset in range(int((last - first).max(initial=-1)) + 1):
        reach = first + offset <= last
        place = first[reach] + offset
        begin = np.maximum(notes.onset[reach], place * measure)
        end = np.minimum(notes.end[reach], (place + 1) * measure)
        np.add.at(times, (place, notes.pitch[reach]), end - begin)
    return times


def chord(pitches: Integers, tonic: int) -> str:
    """The word of a chord, e.g. "7maj/4" for the first inversion of the dominant; EMPTY without pitches.

    Of templates that differ equally the one over the bass is taken, then the first.
    """
    if not len(pitches):
        return EMPTY
    present = np.zeros(12, dtype=bool)
    present[pitches % 12] = True
    bass = int(pitches.min()) % 12
    differences = (present != _MEMBERS).sum(axis=1) * 2
    differences += np.array([root != bass for root, _ in _TEMPLATES])
    root, name = _TEMPLATES[int(differences.argmin())]
    return f"{(root - tonic) % 12}{name}/{(bass - root) % 12}"


def reduction(notes: Notes, measure: float) -> list[str]:
    """One word for each measure of so many quarters; empty for a piece without notes."""
    if not len(notes):
        return []
    tonic, _ = key_of(notes)
    words = []
    for times in sounding_times(notes, max(round(measure * notes.steps), 1)):
        order = np.argsort(-times, kind="stable")[:LONGEST]  # of equals the lower pitch
        words.append(chord(order[times[order] > 0], tonic))
    return words
