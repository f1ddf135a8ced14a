"""The order in which a part's measures are played, told from its repeat signs alone.

music21 can write repeats out itself, by copying every note; for the plain signs |: and :| the order of the measures is
enough and many times faster. Endings, D.C. and the like are left to music21.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from datatools.reading.notation_limits import Refused

MOST_PLAYED = 50_000  # measures


def plain(stream: Any) -> bool:
    """Whether a score's repeats are at most |: and :|."""
    return not stream.recurse().getElementsByClass(("RepeatBracket", "RepeatExpression")) and not any(
        stream.spannerBundle.getByClass("RepeatBracket")
    )


def order(measures: list[Any]) -> list[int]:
    """Indices of the measures as played; a :| without |: goes back to behind the last :|, or to the beginning."""
    played: list[int] = []
    start = 0
    for index, measure in enumerate(measures):
        if getattr(measure.leftBarline, "direction", "") == "start":
            start = index
        played.append(index)
        if getattr(measure.rightBarline, "direction", "") == "end":
            times = getattr(measure.rightBarline, "times", None) or 2
            played.extend(list(range(start, index + 1)) * (times - 1))
            start = index + 1
        if len(played) > MOST_PLAYED:
            raise Refused(f"its repeats play more than {MOST_PLAYED} measures")
    return played


def elements(part: Any, played: list[int] | None, classes: tuple[str, ...]) -> Iterator[tuple[Fraction, Any]]:
    """(quarters from the beginning, element) of a part's elements of these classes, in time; `played` as by `order`.

    Without `played`, the written order counts.
    """
    if played is None:
        for element in part.flatten().getElementsByClass(classes):
            yield Fraction(element.offset), element
        return
    measures = list(part.getElementsByClass("Measure"))
    contents = [list(measure.flatten().getElementsByClass(classes)) for measure in measures]
    ends = [measure.offset for measure in measures[1:]] + [measures[-1].offset + measures[-1].duration.quarterLength]
    lengths = [Fraction(end) - Fraction(measure.offset) for measure, end in zip(measures, ends, strict=True)]
    time = Fraction(measures[0].offset)
    for index in played:
        for element in contents[index]:
            yield time + Fraction(element.offset), element
        time += lengths[index]
