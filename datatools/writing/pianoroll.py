"""Pictures of scores: one colour a track, beats along, pitches up, bar lines where the meter puts them.

Drums are diamonds at their onsets, as their notes have a beginning alone; the part that was given is shaded.
"""

import colorsys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from datatools.bar_lines import bar_lines
from datatools.writing.instruments import label

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#6B6B6B")
# Turn of the hue from one further colour to the next, the golden section of the circle: none comes back.
_TURN = 0.61803398875
# Quarters in one line of the picture, and lines at most; what comes after is told in the title.
_LINE = 48.0
_MOST_LINES = 8


def colour(number: int) -> str:
    """The colour of a track, "#rrggbb": no two tracks have the same."""
    if number < len(COLOURS):
        return COLOURS[number]
    further = number - len(COLOURS)
    light = (0.38, 0.56, 0.7)[further % 3]
    parts = colorsys.hls_to_rgb((0.07 + further * _TURN) % 1, light, 0.65)
    return "#" + "".join(f"{round(part * 255):02X}" for part in parts)


def plot(score: symusic.Score, path: str | Path, title: str = "", given: float = 0.0) -> None:
    """Writes the piano roll as PNG; a long piece is wrapped into lines of equal length.

    `given` marks where a prompt of so many quarters ends.
    """
    figure = _figure(score, title, given)
    figure.savefig(path, dpi=100, format="png", metadata={"Software": None})


def image(score: symusic.Score, title: str = "") -> np.ndarray:
    """The piano roll as (h w 3) uint8."""
    figure = _figure(score, title)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # h w 3


def _figure(score: symusic.Score, title: str, given: float = 0.0) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tracks = [_quarters(track, score.ticks_per_quarter) for track in score.tracks]
    end = max([float((t["time"] + t["duration"]).max()) for t in tracks if len(t["time"])], default=4.0)
    line = _LINE if end > _LINE * 1.25 else max(end, 8.0)
    lines = min(_MOST_LINES, max(1, int(np.ceil(end / line - 1e-6))))
    pitches = np.concatenate([t["pitch"] for t in tracks]) if tracks else np.array([60])
    low, high = (int(pitches.min()), int(pitches.max())) if len(pitches) else (60, 72)
    low, high = min(low, 127) - 2, max(high, low + 12) + 2
    height = 0.6 + lines * (0.45 + np.clip((high - low) * 0.045, 1.1, 2.6))
    width = float(np.clip(line * 0.28, 7, 14))
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    bars = [(start, number) for number, start in enumerate(bar_lines(score, end), 1)]
    rows = figure.subplots(lines, 1, squeeze=False)[:, 0]
    for index, axes in enumerate(rows):
        _draw(axes, tracks, bars, index * line, (index + 1) * line, low, high)
        _mark(axes, given, index * line, (index + 1) * line)
    cut = f" (the first {lines * line:.0f} of {end:.0f} quarters)" if lines * line < end - 1e-6 else ""
    if title or cut:
        rows[0].set_title(_plain(title) + cut, fontsize=11, loc="left", pad=14)
    rows[-1].set_xlabel("time (quarters); numbers above are bars", fontsize=8)
    names = [_plain(label(track)) for track in score.tracks]
    if names:
        _legend(figure, names)
    return figure


def _plain(text: str) -> str:
    """Text that the drawing library takes as it is: no formulas, no letters that its font lacks, no endless line."""
    return "".join(c if c.isprintable() and ord(c) < 0x2E80 else " " for c in text).replace("$", r"\$")[:90]


def _quarters(track: Any, tpq: int) -> dict[str, np.ndarray]:
    columns = track.notes.numpy()
    return {
        "time": columns["time"] / tpq,
        "duration": columns["duration"] / tpq,
        "pitch": columns["pitch"].astype(int),
        "velocity": columns["velocity"].astype(int),
        "drum": np.full(len(columns["time"]), track.is_drum),
    }


def _draw(
    axes: Any,
    tracks: list[dict[str, np.ndarray]],
    bars: list[tuple[float, int]],
    start: float,
    end: float,
    low: int,
    high: int,
) -> None:
    from matplotlib.collections import PolyCollection

    for pitch in range(low, high + 1):
        if pitch % 12 in (1, 3, 6, 8, 10):
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f3f3f6", lw=0, zorder=0)
        if pitch % 12 == 0:
            axes.axhline(pitch - 0.5, color="#c8c8d0", lw=0.6, zorder=1)
    for beat in np.arange(np.ceil(start), end):
        axes.axvline(beat, color="#ececf0", lw=0.5, zorder=1)
    shown = [bar for bar in bars if start - 1e-6 <= bar[0] < end - 1e-6]
    step = next(s for s in (1, 2, 4, 8, 16, 32, 64, 10**9) if len(shown) / s <= 26)
    for at, number in shown:
        axes.axvline(at, color="#8f8f9c", lw=0.8, zorder=2)
        if (number - 1) % step == 0:
            axes.text(at, high + 0.6, str(number), fontsize=6.5, color="#55555f", ha="left", va="bottom")
    for index, notes in enumerate(tracks):
        inside = (notes["time"] < end) & (notes["time"] + notes["duration"] > start)
        left = np.maximum(notes["time"][inside], start)
        right = np.minimum((notes["time"] + notes["duration"])[inside], end)
        right = np.maximum(left + 0.02, right - np.minimum(0.06, (right - left) * 0.15))  # a gap parts repeated notes
        bottom, top = notes["pitch"][inside] - 0.42, notes["pitch"][inside] + 0.42
        corners: Any = np.stack([left, bottom, left, top, right, top, right, bottom], axis=1).reshape(-1, 4, 2)  # n 4 2
        if notes["drum"].any():
            onset, pitch = notes["time"][inside], notes["pitch"][inside]
            spots = [onset, bottom, onset - 0.12, pitch, onset, top, onset + 0.12, pitch]
            corners = np.stack(spots, axis=1).reshape(-1, 4, 2)
        axes.add_collection(PolyCollection(corners, facecolors=colour(index), edgecolors="none", alpha=0.88, zorder=3))
    axes.set_xlim(start, end)
    axes.set_ylim(low - 0.5, high + 0.5)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves], fontsize=8)
    step = 4 if end - start <= 64 else 8
    axes.set_xticks(np.arange(np.ceil(start / step) * step, end + 1e-6, step))
    axes.tick_params(axis="x", labelsize=7, length=2)
    axes.tick_params(axis="y", length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _mark(axes: Any, given: float, start: float, end: float) -> None:
    """Shades what was given, and a line where it ends."""
    if given > start:
        axes.axvspan(start, min(given, end), color="#e4e4ea", lw=0, zorder=0.5)
    if start < given <= end:
        axes.axvline(given, color="#B00020", lw=1.4, ls="--", zorder=4)
        axes.text(given, axes.get_ylim()[0], " prompt ends", fontsize=7, color="#B00020", va="bottom")


def _legend(figure: Any, names: list[str]) -> None:
    from matplotlib.patches import Patch

    make: Callable[..., Any] = Patch
    patches = [make(color=colour(number), label=name) for number, name in enumerate(names)]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(4, len(names)), fontsize=8, frameon=False)
