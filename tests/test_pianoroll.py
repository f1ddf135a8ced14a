"""Piano rolls show every note in its track's colour, at its place."""

from pathlib import Path

import numpy as np
import pytest
import symusic

from datatools.writing import pianoroll

pytest.importorskip("matplotlib")


def score(notes: list[tuple[int, int, int, int]], tracks: int = 1) -> symusic.Score:
    result = symusic.Score(480)
    for index in range(tracks):
        track = symusic.Track(name=f"$voice_{index}$ \x00")
        for row in notes:
            track.notes.append(symusic.Note(row[0], row[1], row[2] + index, row[3]))
        result.tracks.append(track)
    return result


def coloured(image: np.ndarray, colour: str) -> np.ndarray:
    """(h w) bool: the pixels near a colour drawn on white."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return np.abs(image.astype(int) - (rgb * 0.88 + 255 * 0.12)).sum(axis=2) < 24


def test_each_track_has_its_colour_and_place() -> None:
    image = pianoroll.image(score([(0, 960, 60, 80), (1920, 960, 72, 80)], tracks=2), "title")
    assert image.dtype == np.uint8 and image.shape[2] == 3
    first, second = (coloured(image, colour) for colour in pianoroll.COLOURS[:2])
    assert first.sum() > 200 and second.sum() > 200
    # the higher of the two notes is drawn above and to the right of the lower one
    upper, lower = np.argwhere(first[: image.shape[0] // 2]), np.argwhere(first)
    assert upper[:, 1].max() > lower[lower[:, 0] > upper[:, 0].max()][:, 1].min()


def test_same_file_twice(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        pianoroll.plot(score([(0, 480, 60, 80)]), tmp_path / name, "A $title$ \N{MUSICAL SYMBOL G CLEF}")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_long_and_empty_scores() -> None:
    long = pianoroll.image(score([(i * 480, 480, 60 + i % 20, 80) for i in range(2000)]))
    short = pianoroll.image(score([(i * 480, 480, 60 + i % 20, 80) for i in range(20)]))
    assert short.shape[0] < long.shape[0] <= 2600 and long.shape[1] <= 1400
    assert pianoroll.image(symusic.Score(480)).ndim == 3
