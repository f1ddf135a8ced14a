"""Voice overlay (`C4 & E4 |`): the layers of a voice's bars as voices of their own, rests where a bar has none.

Source: the ABC music standard 2.1, section 7.4.
"""

from collections.abc import Sequence
from fractions import Fraction

from datatools.abc.parsing.lengths import insist_length
from datatools.abc.parsing.marks import Mark
from datatools.abc.parsing.voice import Item
from datatools.abc.tune import Event


def layers(items: Sequence[Item]) -> list[list[Item]]:
    """The items of each layer; every one has the bar lines and other marks of the first."""
    count = 1 + max((item.layer for item in items if isinstance(item, Mark)), default=0)
    if count == 1:
        return [list(items)]
    result: list[list[Item]] = [[] for _ in range(count)]
    bar: list[list[Item]] = [[] for _ in range(count)]
    current = line = 0
    for item in [*items, Mark()]:
        if isinstance(item, Event):
            bar[current].append(item)
            continue
        line = item.line or line
        if item.layer:
            current = item.layer
        else:
            try:
                _end(bar, result)
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
            bar, current = [[] for _ in range(count)], 0
            for layer in result:
                layer.append(item)
    return result


def _end(bar: list[list[Item]], result: list[list[Item]]) -> None:
    """Adds a bar to each layer, filled up to the length of its longest."""
    lengths = [sum((item.duration for item in layer if isinstance(item, Event)), Fraction(0)) for layer in bar]
    model = next((item for layer in bar for item in layer if isinstance(item, Event)), None)
    for layer, length, target in zip(bar, lengths, result, strict=True):
        target += layer
        if model is not None and length < max(lengths):
            insist_length(max(lengths) - length)
            target.append(Event((), max(lengths) - length, model.key, model.meter))
