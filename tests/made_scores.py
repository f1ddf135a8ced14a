"""Small scores made from numbers, for tests of what is measured on them."""

from collections.abc import Iterable

import symusic

from core.seeds import generator


def score(
    *tracks: Iterable[tuple[float, float, int]], ticks: int = 480, drums: tuple[int, ...] = (), meter: str = ""
) -> symusic.Score:
    """A score of tracks of (onset, duration, pitch), times in quarters; `drums` are numbers of tracks."""
    made = symusic.Score(ticks)
    for number, notes in enumerate(tracks):
        track = symusic.Track(name="", program=0, is_drum=number in drums)
        for onset, duration, pitch in notes:
            track.notes.append(symusic.Note(round(onset * ticks), round(duration * ticks), pitch, 80))
        made.tracks.append(track)
    if meter:
        numerator, denominator = meter.split("/")
        made.time_signatures.append(symusic.TimeSignature(0, int(numerator), int(denominator)))
    return made


def line(pitches: Iterable[int], duration: float = 1.0, begin: float = 0.0) -> list[tuple[float, float, int]]:
    """Notes of equal length, one after another."""
    return [(begin + place * duration, duration, pitch) for place, pitch in enumerate(pitches)]


def tune(seed: int, notes: int = 60, scale: tuple[int, ...] = (0, 2, 4, 5, 7, 9, 11)) -> list[tuple[float, float, int]]:
    """A melody by chance: a walk on a scale with quarters, eighths and halves."""
    draws = generator("tune", seed)
    onset, place, found = 0.0, 14, []
    for _ in range(notes):
        place = min(max(place + int(draws.integers(-3, 4)), 0), 28)
        duration = float(draws.choice([0.5, 0.5, 1.0, 1.0, 2.0]))
        found.append((onset, duration, 48 + 12 * (place // 7) + scale[place % 7]))
        onset += duration
    return found


def tunes(count: int, first: int = 0, notes: int = 60) -> list[symusic.Score]:
    """Melodies by chance over a bass of whole notes."""
    made = []
    for seed in range(first, first + count):
        melody = tune(seed, notes)
        bass = [(onset, 4.0, 36 + 5 * (int(onset) // 4 % 3)) for onset in range(0, int(melody[-1][0]) + 1, 4)]
        made.append(score(melody, bass))
    return made
