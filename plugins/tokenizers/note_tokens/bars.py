"""Where bars begin in a sequence of tokens, each given as the base tokens it stands for."""

from collections.abc import Mapping, Sequence

from plugins.tokenizers.note_tokens.grid import Grid


def told(tokens: Sequence[Sequence[int]], bar: int) -> list[int]:
    """Positions of the tokens that begin with the base token `bar`."""
    return [position for position, parts in enumerate(tokens) if parts[:1] == [bar]]


def counted(
    tokens: Sequence[Sequence[int]], names: Sequence[str], grid: Grid, shifts: Mapping[int, Mapping[str, int]]
) -> list[int]:
    """Positions of the first token in each bar that has an event, by counting time.

    `shifts` gives the ticks of time shifts by the unit of the meter. A token that begins within a note starts nothing,
    and a bar in which notes only end has no event: a piece whose last note ends at a bar line has no bar behind it.
    """
    meter, now, anchor, bars = (4, 4), 0, 0, 0  # `bars` before `anchor`, where the meter was told
    seen, before = -1, ""
    first = (-1, 0)  # of the last bar that was entered, its number and the position of its first token
    result: list[int] = []
    for position, parts in enumerate(tokens):
        for index, base in enumerate(parts):
            kind, _, value = names[base].partition("_")
            bar = bars + (now - anchor) // grid.bar(meter)
            opens = kind not in ("TimeShift", "Velocity", "Duration") and before in ("", "TimeShift", "Duration")
            if index == 0 and opens and bar > max(seen, first[0]):
                first = (bar, position)
            if first[0] == bar > seen and kind not in _NO_EVENTS:
                result.append(first[1])
                seen = bar
            if kind == "TimeShift":
                now += shifts[meter[1]][value]
            elif kind == "TimeSig":
                bars, anchor = bar, now
                beats, unit = value.split("/")
                meter = (int(beats), int(unit))
            before = kind
    return result


_NO_EVENTS = ("TimeShift", "Program", "NoteOff", "DrumOff")


def stepped(
    tokens: Sequence[Sequence[int]], names: Sequence[str], grid: Grid, shifts: Mapping[int, Mapping[str, int]]
) -> list[int]:
    """Positions of the shifts to the first note in each bar of 4/4, where each note has a shift of its own."""
    now, seen = 0, -1
    result: list[int] = []
    for position, parts in enumerate(tokens):
        for index, base in enumerate(parts):
            kind, _, value = names[base].partition("_")
            if kind == "TimeShift":
                now += shifts[4][value]
                bar = now // grid.bar((4, 4))
                if index == 0 and bar > seen:
                    result.append(position)
                    seen = bar
    return result
