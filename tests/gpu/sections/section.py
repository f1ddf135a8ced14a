"""A section of the page: what a stage ran, and what the columns of its table are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.gpu.words import plain

Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]


@dataclass(frozen=True)
class Section:
    """`columns` gives what stands under each heading, of a row and the machine; `notes` sentences below the table."""

    title: str
    text: str
    columns: Callable[[Row], Columns]
    notes: Callable[[dict[str, Any]], list[str]] = lambda stage: []


def of(key: str, shown: Callable[[Any], str] = plain) -> Callable[[Row], str]:
    """What a row has under a key, as it is shown."""
    return lambda row: shown(row.get(key))
