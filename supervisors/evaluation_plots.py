"""The pictures of an evaluation's page.

Colors mean the same everywhere: real music gray, the model blue, the n-gram orange, the tokenizer alone green.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.files import atomic
from datatools import pianoroll
from plugins.metrics.density import Density
from plugins.metrics.embedding import melody
from plugins.metrics.notes import Floats, Notes, notes_of
from plugins.metrics.pitch import pitch_class_entropy, pitch_range, scale_consistency
from plugins.metrics.polyphony import polyphony
from plugins.metrics.repetition import repeated_share
from plugins.metrics.rhythm import groove_consistency
from supervisors.evaluation_kinds import KINDS
from supervisors.evaluation_sets import Output, Setting

GRAY, BLUE, ORANGE, GREEN = "#8A8A94", "#0072B2", "#D55E00", "#009E73"
ROWS = {"real": GRAY, "tokenizer": GREEN, "generated": BLUE, "ngram": ORANGE, "others": GRAY}
NAMES = {
    "real": "real music",
    "tokenizer": "tokenizer alone",
    "generated": "model",
    "ngram": "n-gram",
    "others": "another piece's",
    "human": "held-out human pieces",
    "continued": "model, from prompts",
}
ROLLS = 2  # pieces of either kind that are drawn


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


MEASURES: dict[str, Callable[[Output], float | None]] = {
    "pitch-class entropy (bits)": _of_notes(pitch_class_entropy),
    "scale consistency (share of notes)": _of_notes(scale_consistency),
    "pitch range (semitones)": _of_notes(pitch_range),
    "polyphony (pitches at once)": _of_notes(polyphony),
    "notes a beat": _of_notes(density_of_notes),
    "melodic step (semitones)": _of_notes(melodic_step),
    "groove consistency (share of steps)": _of_notes(groove_consistency),
    "repeated melody (share of runs)": repeated_share,
}


def write(folder: Path, result: dict[str, Any], free: Setting, records: Sequence[dict[str, Any]]) -> None:
    """loss.png, measures.png, distances.png, originality.png and piano rolls."""
    loss(folder / "loss.png", result)
    measures(folder / "measures.png", free)
    distances(folder / "distances.png", result["metrics"])
    originality(folder / "originality.png", result["copying"], records)


def loss(path: Path, result: dict[str, Any]) -> None:
    """Nats per note by kind of token, beside the n-gram's; nats per token by what came before."""
    figure, (left, right) = _figure(1, 2, 10.5, 3.6)
    test = result["test"]
    mine, floor = test["kinds"], test["baselines"]["ngram"]["kinds"]
    kinds = [kind for kind in KINDS if mine.get(kind, 0) or floor.get(kind, 0)]
    for offset, color, label, costs in ((-0.2, BLUE, "model", mine), (0.2, ORANGE, "n-gram", floor)):
        places = np.arange(len(kinds)) + offset
        values = [costs.get(kind, 0.0) for kind in kinds]
        left.bar(places, values, 0.38, color=color, label=label)
        for place, value in zip(places, values, strict=True):
            left.text(place, value, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    left.set_xticks(np.arange(len(kinds)), kinds)
    left.set_ylabel("nats per note")
    left.set_title(f"What the loss is made of (n = {test['pieces']:,} test pieces)", loc="left", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    for split, color in (("valid", GRAY), ("test", BLUE)):
        depths = [depth for depth in result[split]["depths"] if depth[2] >= 20]
        right.plot([depth[0] + 1 for depth in depths], [depth[1] for depth in depths], "o-", color=color, label=split)
    right.set_xscale("log", base=2)
    right.set_xlabel("place of the token in its piece; long pieces alone reach the right end")
    right.set_ylabel("nats per token")
    right.set_ylim(0, 1.08 * max(right.dataLim.y1, 0.1))
    right.set_title("Where in a piece it arises", loc="left", fontsize=11)
    right.legend(frameon=False, fontsize=8, loc="lower left")
    _save(figure, path)


def measures(path: Path, free: Setting) -> None:
    """How eight measures of single pieces are distributed: real, model, n-gram."""
    figure, axes = _figure(2, 4, 13, 5.2)
    sets = {"real": free.reference, "generated": free.rows["generated"], "ngram": free.rows["ngram"]}
    usual: list[int] = []  # of the first panel, which the legend tells
    for place, (axis, (name, measure)) in enumerate(zip(axes.flat, MEASURES.items(), strict=True)):
        found = {row: np.array([v for v in map(measure, pieces) if v is not None]) for row, pieces in sets.items()}
        everything = np.concatenate([np.zeros(0), *found.values()])
        if not len(everything):
            continue
        low, high = float(everything.min()), float(everything.max())
        margin = 0.08 * (high - low) or 0.5
        points = np.linspace(low - margin, high + margin, 300)
        for row, values in found.items():
            if not len(values):
                continue
            heights = Density(values, (low, high))(points)
            label = f"{NAMES[row]} (n = {len(values)})"
            axis.plot(points, heights, color=ROWS[row], lw=1.8, label=label)
            if row == "real":
                axis.fill_between(points, heights, color=GRAY, alpha=0.25, lw=0)
            # Of the panel's height: where all values are one, there is no density to see, and the mean says all.
            axis.plot([values.mean()] * 2, [0, 0.07], color=ROWS[row], lw=3, transform=axis.get_xaxis_transform())
        counts = [len(values) for values in found.values()]
        usual = usual or counts
        if counts != usual:
            told = f"n = {', '.join(map(str, counts))}"
            axis.text(1, 0.99, told, transform=axis.transAxes, ha="right", va="top", fontsize=8)
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_yticks([])
        axis.set_ylim(bottom=0)
        axis.spines["left"].set_visible(False)
        if not place:
            handles = axis.get_legend_handles_labels()
            figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    _save(figure, path)


def distances(path: Path, metrics: dict[str, Any]) -> None:
    """Metrics that compare sets: each row with its interval, the better end named."""
    shown = {name: metric for name, metric in metrics.items() if _comparable(metric)}
    if not shown:
        return
    columns = 4
    lines = -(-len(shown) // columns)
    figure, axes = _figure(lines, columns, 13, 1.9 * lines + 0.3)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for number, (axis, (name, metric)) in enumerate(zip(axes.flat, shown.items(), strict=False)):
        rows = [row for row in ("real", "tokenizer", "generated", "ngram") if "value" in metric["rows"].get(row, {})]
        for place, row in enumerate(reversed(rows)):
            one = metric["rows"][row]
            low, high = (one.get(end) if one.get(end) is not None else one["value"] for end in ("low", "high"))
            axis.plot([low, high], [place, place], color=ROWS[row], lw=2.5, solid_capstyle="butt", alpha=0.55)
            axis.plot(one["value"], place, "o", color=ROWS[row], ms=6)
            count = {"ha": "right", "va": "bottom", "fontsize": 6.5, "color": GRAY}
            axis.text(1, place + 0.18, f"n = {one.get('n')}", transform=axis.get_yaxis_transform(), **count)
        axis.set_yticks(range(len(rows)), [NAMES[row] for row in reversed(rows)] if not number % columns else [])
        axis.set_ylim(-0.6, len(rows) - 0.4)
        better = "right" if metric["higher_is_better"] else "left"
        axis.set_title(f"{name.replace('_', ' ')}\n({metric['unit']}; {better} is better)", loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.1)
    _save(figure, path)


def _comparable(metric: dict[str, Any]) -> bool:
    """Whether a metric has a better end, and rows that differ."""
    values = {row["value"] for row in metric["rows"].values() if "value" in row}
    return metric["higher_is_better"] is not None and "value" in metric["rows"]["generated"] and len(values) > 1


def originality(path: Path, copying: dict[str, Any], records: Sequence[dict[str, Any]]) -> None:
    """How much of a piece its longest run from training takes: people's pieces and what was made."""
    rows = [("human", GRAY), ("generated", BLUE), ("continued", GREEN), ("ngram", ORANGE)]
    rows = [(row, color) for row, color in rows if copying.get(row, {}).get("n")]
    figure, axes = _figure(len(rows), 1, 8.5, 1.25 * len(rows) + 0.7, sharex=True)
    shares = {row: _shares(records, row) for row, _ in rows}
    top = max(0.2, *(float(values.max()) for values, _ in shares.values()))
    bins = np.linspace(0, min(top * 1.02, 1.0), 41)
    for axis, (row, color) in zip(axes.flat, rows, strict=True):
        values, flags = shares[row]
        axis.hist(np.clip(values, 0, bins[-1]), bins, color=color, alpha=0.85)
        if flags.any():
            height = axis.get_ylim()[1]
            axis.plot(values[flags], np.full(flags.sum(), height * 0.9), "v", color="#B00020", ms=6, clip_on=False)
        axis.set_title(
            f"{NAMES[row]}: {int(flags.sum())} of {len(values)} copied more than 99 in 100 people do",
            loc="left",
            fontsize=10,
        )
        axis.set_ylabel("pieces", fontsize=8)
    axes.flat[-1].set_xlabel("longest run that a training piece holds too, as a share of the piece's melody")
    _save(figure, path)


def _shares(records: Sequence[dict[str, Any]], row: str) -> tuple[Floats, "np.ndarray[Any, Any]"]:
    told = [record for record in records if record["row"] == row and "run" in record]
    values = np.array([record["run"] / record["steps"] for record in told], dtype=np.float64)
    return values, np.array([record["flagged"] for record in told], dtype=bool)


def rolls(folder: Path, setting: Setting, name: str, beats: float = 0.0) -> list[str]:
    """Pictures of the first pieces, none chosen; returns the names of the files."""
    files = []
    for number, score in enumerate(setting.rows["generated"][:ROLLS]):
        if score is None:
            continue
        path = folder / f"{name}_{number}.png"
        with atomic(path) as temporary:
            pianoroll.plot(
                score, temporary, title=f"{name} {number}" + (f", after a prompt of {beats:g} beats" * bool(beats))
            )
        files.append(path.name)
    return files


def _figure(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes if rows > 1 or columns == 1 else axes[0]


def _save(figure: Any, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
