"""What stands between a voice's notes: bar lines, repeats, numbers of endings, labels of parts."""

import re
from dataclasses import dataclass


@dataclass(slots=True)
class Mark:
    """A bar line or part label: `again` further playings end here, `left` opens a repeat, `double` ends a section.

    `layer` above 0 is no bar line: what follows goes back to the bar's beginning (`&`).
    """

    again: int = 0
    left: bool = False
    double: bool = False
    endings: tuple[int, ...] = ()
    part: str = ""
    line: int = 0
    layer: int = 0


def bar_line(text: str, line: int) -> Mark:
    """The mark of a bar line such as `|:`, `:|`, `::`, `||`, `|]`; an invisible one, `[|]`, adds nothing to others."""
    if text == ":":
        raise ValueError("a lone : is no bar line")
    shown = text.replace("[|]", "")
    text = shown if "|" in shown else re.sub(r"(?:\[\|\])+", "|", text)
    bare = text.replace("[", "").replace("]", "")
    left = len(bare) - len(bare.rstrip(":"))
    right = len(bare) - len(bare.lstrip(":"))
    if not bare.strip(":"):
        right, left = max(1, len(bare) - 1), 1
    double = "||" in text or "[" in text or "]" in text
    if right > 9:
        raise ValueError(f"the bar line {text[:12]} asks for {right + 1} playings; expected at most 10")
    return Mark(again=right, left=left > 0, double=double, line=line)


def ending_numbers(text: str) -> tuple[int, ...]:
    """`1`, `1,3`, `1-3`, `1.` as ending numbers."""
    numbers: list[int] = []
    for part in re.split(r"[,.]", text):
        ends = [int(end) for end in part.split("-") if end and len(end) <= 2]
        if ends:
            numbers += range(ends[0], ends[-1] + 1)
    if not numbers or not all(1 <= number <= 20 for number in numbers):
        raise ValueError(f"the ending {text[:12]} is none; expected numbers from 1 to 20")
    return tuple(numbers)
