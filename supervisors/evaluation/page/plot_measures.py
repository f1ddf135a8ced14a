"""A picture of how eight measures of single pieces are distributed: real music, the model, the n-gram."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from plugins.metrics.parts.density import Density
from plugins.metrics.parts.embedding import melody
from plugins.metrics.parts.notes import Floats, Notes, notes_of
from plugins.metrics.pitch import pitch_class_entropy, pitch_range, scale_consistency
from plugins.metrics.polyphony import polyphony
from plugins.metrics.repetition import repeated_share
from plugins.metrics.rhythm import groove_consistency
from supervisors.evaluation.page.canvas import NAMES, ROWS, draw, save
from supervisors.evaluation.sets import Output, Setting


def density_of_notes(notes: Notes) -> float | None:
    """Notes in a quarter."""
    return len(notes) * notes.steps / notes.length if notes.length else None


def melodic_step(notes: Notes) -> float | None:
    """The mean size of a step of the melody, in semitones."""
    _, pitches = melody(notes)
    return float(np.abs(np.diff(pitches)).mean()) if len(pitches) > 1 else None


def _of_notes(measure: Callable[[Notes], float | None]) -> Callable[[Output], float | None]:
    def value(score: Output) -> float | None:
        notes = notes_of(score)
        return measure(notes) if len(notes) else None

    return value


# Each with the least and the most that it can be.
MEASURES: dict[str, tuple[Callable[[Output], float | None], float, float]] = {
    "pitch-class entropy (bits)": (_of_notes(pitch_class_entropy), 0, math.log2(12)),
    "scale consistency (share of notes)": (_of_notes(scale_consistency), 0, 1),
    "pitch range (semitones)": (_of_notes(pitch_range), 0, 127),
    "polyphony (pitches at once)": (_of_notes(polyphony), 1, 128),
    "notes a beat": (_of_notes(density_of_notes), 0, math.inf),
    "melodic step (semitones)": (_of_notes(melodic_step), 0, 127),
    "groove consistency (share of steps)": (_of_notes(groove_consistency), 0, 1),
    "repeated melody (share of runs)": (repeated_share, 0, 1),
}
SETS = {"real": 0.13, "generated": 0.09, "ngram": 0.05}  # heights of the marks of means, so that none hides another


def measures(path: Path, free: Setting) -> None:
    """Writes the picture: a density and a mean for each set of pieces, the reference standing for real music."""
    figure, axes = draw(2, 4, 13, 5.2)
    sets = {"real": free.reference, "generated": free.rows["generated"], "ngram": free.rows["ngram"]}
    usual: list[int] = []  # of the first panel, which the legend tells
    for axis, (name, (measure, least, most)) in zip(axes.flat, MEASURES.items(), strict=True):
        found = {row: np.array([v for v in map(measure, pieces) if v is not None]) for row, pieces in sets.items()}
        curves(axis, {row: values for row, values in found.items() if len(values)}, least, most)
        counts = [len(values) for values in found.values()]
        usual = usual or counts
        if counts != usual:
            told = f"n = {', '.join(map(str, counts))}"
            axis.text(1, 0.99, told, transform=axis.transAxes, ha="right", va="top", fontsize=8)
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_yticks([])
        axis.set_ylim(0, 1.15 * max(axis.dataLim.y1, 1e-9))
        axis.locator_params(axis="x", nbins=5)
        axis.spines["left"].set_visible(False)
    handles = axes.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save(figure, path)


def curves(axis: Any, found: dict[str, Floats], least: float, most: float) -> None:
    """Densities of the values of each row, drawn over what is near to any value and possible, and their means."""
    if not found:
        return
    everything = np.concatenate(list(found.values()))
    low, high = float(everything.min()), float(everything.max())
    margin = 0.08 * (high - low) or 0.5
    points = np.linspace(max(low - margin, least), min(high + margin, most), 300)
    for row, values in found.items():
        color = ROWS[row]
        if values.min() < values.max():  # else there is no density to see, and the mean says all
            heights = Density(values, (low, high))(points)
            axis.plot(points, heights, color=color, lw=1.8)
            if row == "real":
                axis.fill_between(points, heights, color=color, alpha=0.25, lw=0)
        label, place = f"{NAMES[row]} (n = {len(values)})", axis.get_xaxis_transform()
        axis.plot([values.mean()] * 2, [0, SETS[row]], color=color, lw=3, transform=place, label=label)
