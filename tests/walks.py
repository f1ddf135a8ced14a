"""A small folder of music made on the spot: random walks over a scale with a bass, each its own."""

from pathlib import Path

import numpy as np
import symusic


def write_walks(folder: Path, count: int = 24) -> None:
    """Writes `count` MIDI files of eight bars in 4/4, always the same."""
    for number in range(count):
        random = np.random.default_rng(number)
        score = symusic.Score(480)
        score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
        melody, bass = symusic.Track("melody", 0, False), symusic.Track("bass", 0, False)
        degree, time = 7, 0
        while time < 480 * 4 * 8:
            degree = int(np.clip(degree + random.integers(-2, 3), 0, 14))
            length = int(random.choice([240, 480, 480, 960]))
            pitch = 60 + 12 * (degree // 7) + [0, 2, 4, 5, 7, 9, 11][degree % 7]
            melody.notes.append(symusic.Note(time, length, pitch, 80))
            if time % 960 == 0:
                bass.notes.append(symusic.Note(time, 960, pitch - 24, 70))
            time += length
        score.tracks.extend([melody, bass])
        score.dump_midi(folder / f"walk_{number:02d}.mid")
