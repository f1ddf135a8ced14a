"""The page and the picture of a comparison."""

from pathlib import Path
from typing import Any

from core.words import counted
from plugins.metrics.parts.intervals import FEWEST
from supervisors.comparison.intervals import Difference, Estimate
from supervisors.comparison.rows import Entry, Group
from supervisors.evaluation.results import WORDS
from supervisors.evaluation.scoring import UNTOLD
from supervisors.evaluation.tables import table
from supervisors.helping import shown

_READ = """\
Nats per note of the tested pieces' own scores, so that tokenizers share one denominator; lower is better. Intervals are
of 95 % and cover {cover} (Student's t). A model is called better than another only where the
interval of their paired difference excludes zero, at 95 % for all pairs of a table together. Tables are never ranked
against each other: other tokens tell other things (bars, meters, keys), and other pieces are other music."""
_NO_TEST = "These have no test split: validation, which also chose the weights, stands in for it."
_OTHER_BUDGETS = (
    "Parameters or tokens seen differ by more than a tenth within this table: what is better here may owe it to that."
)


def page(groups: list[Group]) -> str:
    """Markdown: one table a group and what its intervals support."""
    fewest = min(len(entry.row.nats) for group in groups for entry in group.entries)
    cover = "both other music and other seeds" if fewest > 1 else "other music, and other seeds where there are several"
    parts = ["# Comparison", _READ.format(cover=cover), "![nats per note, by model](compare.png)"]
    for group in groups:
        parts.append(f"## {_title(group)}")
        parts.append(_table(group))
        parts += _untold(group)
        parts += [_NO_TEST] * (group.split != "test")
        parts += _other_data(group)
        parts += [_OTHER_BUDGETS] * _unlike_budgets(group)
        parts.append(_verdicts(group))
    return "\n\n".join(parts) + "\n"


def _title(group: Group) -> str:
    pieces, notes = counted(group.pieces, f"{WORDS[group.split]} piece"), counted(group.notes, "note")
    apart = ", ".join(f"{key}={shown(group.settings[key])}" for key in group.apart)
    return f"{group.dataset}, {pieces}, {notes}; `{group.tokenizer}` tokens" + f" ({apart})" * bool(apart)


def _table(group: Group) -> str:
    head = ("model", "nats per note", "interval", "each seed", "n-gram (order)", "parameters", "tokens seen", "minutes")
    rows = [
        (
            f"`{entry.row.name}`",
            f"{entry.estimate.value:.3f}",
            _span(entry.estimate, group.pieces),
            ", ".join(f"{value:.3f}" for value in entry.row.by_seed),
            f"{entry.ngram:.3f} ({entry.order})",
            f"{entry.parameters:,}",
            f"{entry.tokens:,.0f}",
            f"{entry.minutes:.1f}",
        )
        for entry in group.entries
    ]
    return table(head, rows)


def _untold(group: Group) -> list[str]:
    """The figures in which notes that the tokens do not tell are charged, where there are any."""
    untold = UNTOLD * (group.notes - group.told) / max(group.notes, 1)
    if not untold:
        return []
    figures = ", ".join(f"`{entry.row.name}` {entry.estimate.value + untold:.3f}" for entry in group.entries)
    return [
        f"Told are {group.told / group.notes:.1%} of the notes. With {UNTOLD:.2f} nats for each of the others, as a "
        f"uniform choice of pitch, instrument, onset and duration costs: {figures}."
    ]


def _span(estimate: Estimate, pieces: int) -> str:
    if pieces < FEWEST:
        return f"none: {counted(pieces, 'piece')}"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def _other_data(group: Group) -> list[str]:
    """A sentence where not all runs of a group learned from the same pieces."""
    seen: dict[str, list[str]] = {}
    for entry in group.entries:
        for data in entry.data:
            seen.setdefault(data, []).append(f"`{entry.row.name}`")
    if len(seen) < 2:
        return []
    sets = "; ".join(", ".join(names) for names in seen.values())
    return [f"The training data differ ({sets}): what is better here may be the data, not the model."]


def _unlike_budgets(group: Group) -> bool:
    amounts = ([entry.parameters for entry in group.entries], [entry.tokens for entry in group.entries])
    return any(max(amount) > 1.1 * min(amount) for amount in amounts)


def _verdicts(group: Group) -> str:
    if not group.differences:
        return "One model stands alone here; there is nothing to compare it with."
    if group.pieces < FEWEST:
        return f"Fewer than {FEWEST} pieces support no interval and no ranking."
    if any(len(entry.row.nats) == 1 for entry in group.entries):
        return "Some of these have one seed, which supports no ranking."
    sure = [_sentence(difference) for difference in group.differences if difference.better]
    open_ = [f"`{item.first}` and `{item.second}`" for item in group.differences if not item.better]
    lines = [f"- {sentence}" for sentence in sure] or ["- No difference here is one that the intervals support."]
    if sure and open_:
        lines.append(f"- Not told apart: {'; '.join(open_)}.")
    return "\n".join(lines)


def _sentence(difference: Difference) -> str:
    worse = difference.second if difference.better == difference.first else difference.first
    bounds = sorted((abs(difference.estimate.low), abs(difference.estimate.high)))
    return f"`{difference.better}` is better than `{worse}` by {bounds[0]:.3f} to {bounds[1]:.3f}."


def figure(groups: list[Group], path: Path) -> None:
    """Writes a PNG: a panel a group, a line a model with its interval, its seeds as dots, its n-gram as a bar."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [len(group.entries) + 1.2 for group in groups]
    drawn = Figure(figsize=(8, 0.9 + 0.42 * sum(heights)), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(len(groups), 1, squeeze=False, height_ratios=heights, sharex=True)[:, 0]
    for group, axes in zip(groups, panels):
        for line, entry in enumerate(group.entries):
            _draw(axes, line, entry)
        axes.set_yticks(range(len(group.entries)), [entry.row.name for entry in group.entries])
        axes.set_ylim(len(group.entries) - 0.4, -0.6)
        axes.set_title(_title(group).replace("`", ""), fontsize=8.5, loc="left")
        axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    what = "nats per note (line: 95 % interval; dots: seeds; grey bar: n-gram of the same tokens)"
    drawn.supxlabel(what, fontsize=10)  # of the picture and not of a panel, which long names make too narrow for it
    drawn.savefig(path, dpi=130, format="png", metadata={"Software": None})


def _draw(axes: Any, line: int, entry: Entry) -> None:
    estimate = entry.estimate
    if len(entry.row.notes) >= FEWEST:
        axes.plot([estimate.low, estimate.high], [line, line], color="#0072B2", linewidth=2.5, solid_capstyle="butt")
    axes.plot(entry.row.by_seed, [line] * len(entry.row.by_seed), "o", color="#0072B2", alpha=0.35, markersize=4.5)
    axes.plot(estimate.value, line, "o", color="#0072B2", markersize=7, markeredgecolor="white")
    axes.plot([entry.ngram] * 2, [line - 0.3, line + 0.3], color="#8a8a8a", linewidth=2.5)
