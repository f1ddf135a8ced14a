"""A sweep in one line: `train.lr=1e-3,2e-3` makes a plan of every value, of every preset; several keys multiply."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from core.errors import HubError


@dataclass(frozen=True)
class Plan:
    """One row to be trained: its name in the table, the preset or file, and its `key=value` words."""

    label: str
    source: str
    words: list[str]


def plans(sources: Sequence[str], words: Sequence[str]) -> list[Plan]:
    """Every source with every combination of swept values.

    A row is called by its source, or by what differs: the swept `key=value`, after the source where there are several.
    """
    choices = [values(word) for word in words]
    found = []
    for source in sources:
        for chosen in product(*choices):
            told = [word for word, every in zip(chosen, choices, strict=True) if len(every) > 1]
            named = [source, *told] if len(sources) > 1 or not told else told
            found.append(Plan(" ".join(named), source, list(chosen)))
    return found


def values(word: str) -> list[str]:
    """`key=a`, `key=b` of `key=a,b`. Lists in brackets, quoted text and paths that exist are one value.

    HubError for seeds, which are no rows of their own, and for a value given twice.
    """
    key, _, text = word.partition("=")
    if "," not in text or text[0] in "[{'\"" or Path(text).exists():
        return [word]
    parts = text.split(",")
    if key == "seed":
        raise HubError(f"{word}: seeds are not swept; give compare.seeds={len(parts)}")
    if not all(parts) or len(set(parts)) < len(parts):
        raise HubError(f"{word}: expected different values between the commas, e.g. train.lr=1e-3,2e-3")
    return [f"{key}={part}" for part in parts]


def swept(words: Sequence[str]) -> set[str]:
    """The keys that have several values."""
    return {word.partition("=")[0] for word in words if len(values(word)) > 1}


def folder_name(plan: Plan, stem: str) -> str:
    """A plain name for the runs of a row: the source's `stem`, and what differs."""
    told = [word for word in plan.label.split(" ") if "=" in word]
    return "-".join([stem, *(word.replace("/", "_") for word in told)])
