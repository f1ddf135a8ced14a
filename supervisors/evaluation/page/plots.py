"""The pictures of an evaluation's page."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.files import atomic
from core.words import counted
from datatools.writing import pianoroll
from plugins.metrics.parts.notes import Floats
from supervisors.evaluation.kinds import KINDS
from supervisors.evaluation.page.canvas import BLUE, GRAY, GREEN, NAMES, ORANGE, ROWS, draw, save
from supervisors.evaluation.page.plot_measures import measures
from supervisors.evaluation.results import WORDS, headline, scored
from supervisors.evaluation.sets import Output, Setting

ROLLS = 2  # pieces of either kind that are drawn


def write(folder: Path, result: dict[str, Any], free: Setting, records: Sequence[dict[str, Any]]) -> list[str]:
    """loss.png, measures.png, and, where there is something to draw, distances.png and originality.png.

    Returns whether distances.png is there, as a list of its name: the page cannot tell that itself.
    """
    loss(folder / "loss.png", result)
    measures(folder / "measures.png", free)
    originality(folder / "originality.png", result["copying"], records)
    shown = {name: metric for name, metric in result["metrics"].items() if _comparable(metric)}
    if shown:
        distances(folder / "distances.png", shown)
    return ["distances.png"] * bool(shown)


def loss(path: Path, result: dict[str, Any]) -> None:
    """Nats per note by kind of token, beside the n-gram's; nats per token by what came before."""
    figure, (left, right) = draw(1, 2, 10.5, 3.6)
    tested = result[headline(result)]
    mine, floor = tested["kinds"], tested["baselines"]["ngram"]["kinds"]
    kinds = [kind for kind in KINDS if mine.get(kind, 0) or floor.get(kind, 0)]
    for offset, color, label, costs in ((-0.2, BLUE, "model", mine), (0.2, ORANGE, "n-gram", floor)):
        places = np.arange(len(kinds)) + offset
        values = [costs.get(kind, 0.0) for kind in kinds]
        left.bar(places, values, 0.38, color=color, label=label)
        for place, value in zip(places, values, strict=True):
            left.text(place, value, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    left.set_xticks(np.arange(len(kinds)), kinds)
    left.set_ylabel("nats per note")
    told = counted(tested["pieces"], f"{WORDS[headline(result)]} piece")
    left.set_title(f"What the loss is made of (n = {told})", loc="left", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    for split in scored(result):
        color = BLUE if split == headline(result) else GRAY
        depths = [depth for depth in result[split]["depths"] if depth[2] >= 20]
        right.plot([depth[0] + 1 for depth in depths], [depth[1] for depth in depths], "o-", color=color, label=split)
    right.set_xscale("log", base=2)
    right.set_xlabel("place of the token in its piece; long pieces alone reach the right end")
    right.set_ylabel("nats per token")
    right.set_ylim(0, 1.08 * max(right.dataLim.y1, 0.1))
    right.set_title("Where in a piece it arises", loc="left", fontsize=11)
    right.legend(frameon=False, fontsize=8, loc="lower left")
    save(figure, path)


def distances(path: Path, shown: dict[str, Any]) -> None:
    """Metrics that compare sets: each row with its interval, the better end named."""
    columns = 4
    lines = -(-len(shown) // columns)
    figure, axes = draw(lines, columns, 13, 1.9 * lines + 0.3)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for number, (axis, (name, metric)) in enumerate(zip(axes.flat, shown.items(), strict=False)):
        rows = [row for row in ("real", "tokenizer", "generated", "ngram") if "value" in metric["rows"].get(row, {})]
        for place, row in enumerate(reversed(rows)):
            one = metric["rows"][row]
            low, high = (one.get(end) if one.get(end) is not None else one["value"] for end in ("low", "high"))
            axis.plot([low, high], [place, place], color=ROWS[row], lw=2.5, solid_capstyle="butt", alpha=0.55)
            axis.plot(one["value"], place, "o", color=ROWS[row], ms=6)
            count = {"ha": "left", "va": "center", "fontsize": 6.5, "color": GRAY}
            axis.text(1.01, place, f"n = {one.get('n')}", transform=axis.get_yaxis_transform(), **count)
        axis.set_yticks(range(len(rows)), [NAMES[row] for row in reversed(rows)] if not number % columns else [])
        axis.set_ylim(-0.6, len(rows) - 0.4)
        better = "right" if metric["higher_is_better"] else "left"
        axis.set_title(f"{name.replace('_', ' ')}\n({metric['unit']}; {better} is better)", loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.1)
    save(figure, path)


def _comparable(metric: dict[str, Any]) -> bool:
    """Whether a metric has a better end, and rows that differ."""
    values = {row["value"] for row in metric["rows"].values() if "value" in row}
    return metric["higher_is_better"] is not None and "value" in metric["rows"]["generated"] and len(values) > 1


def originality(path: Path, copying: dict[str, Any], records: Sequence[dict[str, Any]]) -> None:
    """How much of a piece its longest run from training takes: people's pieces and what was made."""
    rows = [("human", GRAY), ("generated", BLUE), ("continued", GREEN), ("ngram", ORANGE)]
    rows = [(row, color) for row, color in rows if copying.get(row, {}).get("n")]
    if not rows:
        return
    figure, axes = draw(len(rows), 1, 8.5, 1.25 * len(rows) + 0.7, sharex=True)
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
        axis.yaxis.get_major_locator().set_params(integer=True)
    axes.flat[-1].set_xlabel("longest run that a training piece holds too, as a share of the piece's melody")
    save(figure, path)


def _shares(records: Sequence[dict[str, Any]], row: str) -> tuple[Floats, "np.ndarray[Any, Any]"]:
    told = [record for record in records if record["row"] == row and "run" in record]
    values = np.array([record["run"] / record["steps"] for record in told], dtype=np.float64)
    return values, np.array([record["flagged"] for record in told], dtype=bool)


def rolls(folder: Path, pieces: Iterable[Output], name: str, given: float = 0.0) -> list[str]:
    """Pictures of the first pieces that have notes, else none chosen; returns the names of the files.

    `given` marks where a prompt of so many beats ends.
    """
    sounding = ((number, score) for number, score in enumerate(pieces) if score is not None and score.note_num())
    files = []
    for place, (number, score) in enumerate(itertools.islice(sounding, ROLLS)):
        path = folder / f"{name}_{place}.png"
        with atomic(path) as temporary:
            pianoroll.plot(score, temporary, title=f"{name} {number}", given=given)
        files.append(path.name)
    return files
