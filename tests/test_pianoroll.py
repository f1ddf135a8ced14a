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


def test_no_two_tracks_share_a_colour() -> None:
    colours = [pianoroll.colour(number) for number in range(64)]
    assert len(set(colours)) == 64 and colours[:8] == list(pianoroll.COLOURS)
    rgb = np.array([[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in colours[:24]])
    apart = np.abs(rgb[:, None] - rgb[None]).sum(axis=2) + 999 * np.eye(24)
    assert apart.min() > 20


def test_drums_are_diamonds_and_the_prompt_ends_at_a_line() -> None:
    piece = score([(0, 1920, 60, 80)], tracks=2)
    piece.tracks[1].is_drum = True
    first, second = (coloured(pianoroll.image(piece), colour).sum() for colour in pianoroll.COLOURS[:2])
    assert 0 < second < first / 4, "a stroke is no longer than its onset"
    figure = pianoroll._figure(piece, "", given=2.0)
    (axes, *_) = figure.axes
    (line,) = [line for line in axes.lines if line.get_color() == "#B00020"]
    assert set(line.get_xdata()) == {2.0} and "prompt ends" in [text.get_text().strip() for text in axes.texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()][1].endswith("(drums)")
