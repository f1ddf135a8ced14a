"""Tables and figures as a page shows them."""

from collections.abc import Iterable, Sequence
from typing import Any

from plugins.metrics.parts.intervals import FEWEST

Figure = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, ruler: str = "---:") -> str:
    """A Markdown table, whose first column is text and whose others are figures; `---` as `ruler` makes them text."""
    under = ["---", *(ruler for _ in head[1:])]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (head, under, *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def number(value: float) -> str:
    """Four digits that count, and no power of ten where none is needed."""
    size = abs(value)
    if size < 1e-9:
        return "0"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if size >= 10 else f"{value:.3f}" if size >= 0.01 else f"{value:.2g}"


def brackets(bounds: Sequence[float]) -> str:
    """`[low, high]`."""
    return f"[{number(bounds[0])}, {number(bounds[1])}]"


def spread(figure: Figure, usual: int | None = None) -> str:
    """`value [low, high]`; a dash for a figure that is not there, `failed` for one that raised.

    `usual` is how many pieces the reader takes it to rest on; another number is said.
    """
    if "error" in figure:
        return "failed"
    if "value" not in figure or figure.get("n") == 0:
        return "-"
    low, high = figure.get("low"), figure.get("high")
    # A bootstrap of few pieces is too narrow, and one of equal pieces has no width: neither says how sure.
    if low is None or high is None or low == high or figure.get("n", FEWEST) < FEWEST:
        interval = ""
    else:
        interval = f" {brackets([low, high])}"
    count = f" (n = {figure['n']})" if usual is not None and figure.get("n", usual) != usual else ""
    return number(figure["value"]) + interval + count
