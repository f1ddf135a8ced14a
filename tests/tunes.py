"""Music for the tests of the data path, made from a seed: melodies that differ, and changes that should not matter."""

from pathlib import Path

import numpy as np
import symusic

from core.seeds import generator


def tune(seed: int, *, notes: int = 60, shift: int = 0, stretch: int = 1, changed: int = 0) -> symusic.Score:
    """A random melody of `notes` notes, `shift` semitones up, `stretch` times as slow, with `changed` notes altered."""
    rng = generator("tune", seed)
    pitches = 60 + np.cumsum(rng.integers(-4, 5, notes)) % 24
    durations = rng.choice([120, 240, 480], notes) * stretch
    times = np.concatenate([[0], np.cumsum(durations)[:-1]])
    pitches[generator("changed", seed).choice(notes, changed, replace=False)] += 1
    score = symusic.Score(480)
    track = symusic.Track(f"tune {seed}", 0, False)
    for time, duration, pitch in zip(times.tolist(), durations.tolist(), (pitches + shift).tolist(), strict=True):
        track.notes.append(symusic.Note(time, duration, pitch, 80))
    score.tracks.append(track)
    return score


def write(folder: Path, seeds: range, **changes: int) -> list[Path]:
    """Writes one MIDI file a seed, named by it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"tune-{seed:03d}.mid" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        tune(seed, **changes).dump_midi(str(path))
    return paths
