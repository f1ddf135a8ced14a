"""A section of the page that `evaluate` writes: whether the model does what its controls ask."""

from typing import Any

import numpy as np

from core.words import counted
from supervisors.evaluation.tables import number, spread, table


def obedience(found: dict[str, dict[str, Any]], made: dict[str, Any]) -> list[str]:
    """Asked and got by control; nothing of a model without a control whose value is a number."""
    if not found:
        return []
    parts = [
        "## Asked and got",
        f"Pieces from nothing of at most {made['tokens']:,} tokens, each asked for one number of one control; what "
        "came is the mean over the piece's tokens of what the control tells of it. The correlations are over pieces, "
        "and hang on the spread that was asked for.",
    ]
    for name, one in found.items():
        asked, got = np.array(one["asked"]), np.array(one["got"])
        columns = [got[asked == each] for each in np.unique(asked)]
        rows = [
            ["got, mean", *(number(float(column.mean())) for column in columns)],
            ["got, deviation", *(number(float(column.std())) for column in columns)],
            ["pieces", *(str(len(column)) for column in columns)],
        ]
        parts.append(f"`{name}` ({one['meaning']}):")
        parts += [table(["asked", *map(number, np.unique(asked).tolist())], rows)] if len(asked) else []
        parts.append(f"{_correlated(one)}.")
    return parts


def in_short(found: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each control."""
    return [f"{name}: {_correlated(one)}" for name, one in found.items()]


def _correlated(one: dict[str, Any]) -> str:
    failed = f", {one['failures']} failed" * bool(one["failures"])
    figures = [
        f"{kind.capitalize()} {'-' if one[kind]['value'] is None else spread(one[kind])}"
        for kind in ("pearson", "spearman")
    ]
    return f"{', '.join(figures)} between asked and got (n = {counted(one['n'], 'piece')}{failed})"
