"""Parts of a tune (`P:A`): which are played in what order, and where they begin in voices that do not say so.

Source: the ABC music standard 2.1, sections 3.1.9 and 4.10.
"""

import re
from collections.abc import Iterable
from fractions import Fraction

from datatools.abc.parsing.marks import Mark
from datatools.abc.parsing.voice import Item
from datatools.abc.tune import Event

MOST_PARTS = 500  # that a header's P: field may ask for


def ordered(order: str) -> str:
    """`A2(BC)2` as `AABCBC`; words instead of an order give the empty string."""
    while "(" in order:
        inner = re.search(r"\(([^()]*)\)(\d{0,2})", order)
        if inner is None:
            return ""
        order = order.replace(inner[0], ordered(inner[1]) * int(inner[2] or 1), 1)
        _check(order)
    if not re.fullmatch(r"(?:[A-Za-z]\d{0,2})*", order):
        return ""
    letters = "".join(letter * int(times or 1) for letter, times in re.findall(r"([A-Za-z])(\d*)", order))
    _check(letters)
    return letters


def _check(order: str) -> None:
    if len(order) > MOST_PARTS:
        raise ValueError(f"its P: field asks for more than {MOST_PARTS} parts")


def divided(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The items of each part by its letter, under "" what stands before the first."""
    parts: dict[str, list[Item]] = {"": []}
    current = parts[""]
    for item in items:
        if isinstance(item, Mark) and item.part:
            current = parts.setdefault(item.part, [])
        current.append(item)
    return parts


def share(voices: dict[str, list[Item]]) -> None:
    """Gives every voice the part labels that only others have, at the same time: a label holds for all voices."""
    labels: dict[str, tuple[Fraction, Mark]] = {}
    for items in voices.values():
        for time, item in _timed(items):
            if isinstance(item, Mark) and item.part:
                labels.setdefault(item.part, (time, item))
    for name, items in voices.items():
        own = {item.part for item in items if isinstance(item, Mark)}
        missing = sorted((time, label) for label, (time, _) in labels.items() if label not in own)
        if not missing:
            continue
        merged: list[Item] = []
        for time, item in _timed(items):
            opens = isinstance(item, Event) or item.left or bool(item.part)
            while missing and opens and time >= missing[0][0]:
                merged.append(labels[missing.pop(0)[1]][1])
            merged.append(item)
        voices[name] = merged + [labels[label][1] for _, label in missing]


def _timed(items: Iterable[Item]) -> Iterable[tuple[Fraction, Item]]:
    time = Fraction(0)
    for item in items:
        yield time, item
        if isinstance(item, Event):
            time += item.duration
