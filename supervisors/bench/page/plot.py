"""The crossover as a picture: tokens a second against length, training and decoding, on logarithmic axes."""

from pathlib import Path
from typing import Any

from core.files import atomic
from supervisors.bench.cells import Cell

# Okabe and Ito's palette: told apart by colour-blind readers too. A family keeps its colour, a peer is dashed.
_COLOURS = {
    "mamba": "#0072B2",
    "transformer": "#D55E00",
    "lstm": "#009E73",
    "mambapy": "#56B4E9",
    "mamba_ssm": "#56B4E9",
    "transformers_mamba": "#7A5195",
    "transformers_llama": "#E69F00",
    "transformers_llama_static": "#B8860B",
}
_OTHERS = ("#CC79A7", "#6B6B6B", "#000000", "#B79F00", "#7B3F00", "#4B0082", "#8DB600", "#20B2AA", "#B22222", "#A0A0FF")
_MARKERS = "os^Dvph*X"


def plot(cells: list[Cell], titles: dict[str, str], ours: set[str], precision: str, about: str, path: Path) -> None:
    """Writes the PNG, `ours` in full lines: a panel for training in `precision` and one for each batch of decoding."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    batches = sorted({cell.batch for cell in cells if cell.kind == "decode" and cell.samples})
    panels = [(f"training, {precision}: forward and backward", "tokens in a row", "train", 0)]
    panels += [(f"decoding, fp32, batch {batch}", "tokens of context", "decode", batch) for batch in batches]
    figure = Figure(figsize=(4.6 * len(panels) + 0.6, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    drawn: dict[str, Any] = {}
    for axes, (title, label, kind, batch) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for number, name in enumerate(titles):
            points = [
                cell
                for cell in cells
                if (cell.kind, cell.subject) == (kind, name) and cell.whole
                if (cell.precision == precision if kind == "train" else cell.batch == batch)
            ]
            if points:
                drawn.setdefault(
                    name, _line(axes, sorted(points, key=lambda cell: cell.length), name, number, name in ours)
                )
        _dress(axes, title, label)
    figure.legend(
        list(drawn.values()),
        [titles[name] for name in drawn],
        loc="outside lower center",
        ncols=min(len(drawn) or 1, 5),
        frameon=False,
        fontsize=9,
    )
    figure.suptitle(about, fontsize=9, color="#444444", x=0.01, ha="left")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})


def _line(axes: Any, points: list[Cell], name: str, number: int, ours: bool) -> Any:
    colour = _COLOURS.get(name, _OTHERS[number % len(_OTHERS)])
    lengths = [cell.length for cell in points]
    axes.fill_between(
        lengths, [min(c.samples) for c in points], [max(c.samples) for c in points], color=colour, alpha=0.12, lw=0
    )
    (line,) = axes.plot(
        lengths,
        [cell.median for cell in points],
        color=colour,
        linestyle="-" if ours else (0, (4, 2)),
        linewidth=2.2 if ours else 1.4,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=5.5 if ours else 4.5,
        markerfacecolor=colour if ours else "white",
        zorder=3 if ours else 2,
    )
    return line


def _dress(axes: Any, title: str, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=8)
    axes.tick_params(axis="x", rotation=30)
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(title, fontsize=10.5, loc="left")
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("tokens per second", fontsize=9)
