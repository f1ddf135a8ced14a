"""Numbers as the page writes them; nothing for what there is none of."""

from collections.abc import Iterable
from typing import Any


def rate(value: float | None) -> str:
    """Three digits: 388,912 is 389,000 and 82.34 is 82.3."""
    if value is None:
        return ""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 99.95 else f"{value:.3g}"


def exact(value: float) -> str:
    """Four digits, or all before the point: near a limit three do not say on which side it is."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def share(value: float | None) -> str:
    """In percent; below ten with a digit more."""
    return "" if value is None else f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"


def count(value: float | None) -> str:
    """A whole number."""
    return "" if value is None else f"{value:,.0f}"


def milliseconds(seconds: float | None) -> str:
    """Of seconds, three digits."""
    return "" if seconds is None else f"{1000 * seconds:.3g}"


def gigabytes(size: float | None) -> str:
    """Of bytes, in 10^9."""
    return "" if size is None else f"{size / 1e9:.3g}"


def difference(value: float | None) -> str:
    """Two digits of something small."""
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def decimals(value: float | None, places: int = 3) -> str:
    """So many of them."""
    return "" if value is None else f"{value:.{places}f}"


def plain(value: Any) -> str:
    """A word, yes or no, or a list of them."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(": ".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    return "" if value is None else str(value)


def tabulated(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Lines of a Markdown table, without columns in which nothing stands."""
    rows = list(rows)
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line[at].replace("|", "\\|") for at in kept) + " |" for line in lines] + [""]
