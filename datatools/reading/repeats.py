"""The order in which bars are played: repeat signs, endings, D.C., D.S., Fine and Coda, written out.

A backward sign leads to the |: before it; without one to the beginning of the piece, or, in an ending or behind a
section that had a |: or endings of its own, to behind the last backward sign. Endings are taken by number, the last one
after a D.C. or D.S., when no sign is repeated again (MusicXML 4.0, `repeat`, `ending` and `sound`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MOST_TIMES = 20  # that a section may be played
MOST_PLAYED = 20_000  # bars with the repeats written out


class Refused(ValueError):
    """A reason of ours, in words for people."""


@dataclass(slots=True)
class Signs:
    """What stands at one bar: `times` it is played in all where a backward sign closes it, the numbers of its ending.

    `jump` is "dc", "ds" or nothing; `segno` names the sign that a jump, or `target`, leads to.
    """

    forward: bool = False
    times: int = 0
    after_jump: bool = False
    ending: tuple[int, ...] = ()
    begins_ending: bool = False
    jump: str = ""
    target: str = ""
    segno: str = ""
    coda: bool = False
    to_coda: bool = False
    fine: bool = False


def order(bars: Sequence[Signs], remarks: list[str] | None = None) -> list[int]:
    """Indices of the bars as played; Refused where they are more than any music has."""
    return _Player(bars, [] if remarks is None else remarks).run()


class _Player:
    def __init__(self, bars: Sequence[Signs], remarks: list[str]) -> None:
        self.bars = bars
        self.remarks = remarks
        self.groups = _groups(bars)
        self.targets = _targets(bars, self.groups)
        self.most = _playings(bars, self.groups)
        self.segno = {signs.segno: index for index, signs in reversed(list(enumerate(bars))) if signs.segno}

    def run(self) -> list[int]:
        played: list[int] = []
        taken: Counter[int] = Counter()  # backward signs that were followed, by bar
        turns: Counter[int] = Counter()  # groups of endings: how often they were gone back from
        left: set[int] = set()  # bars whose jump was followed
        at, jumped = 0, False
        while at < len(self.bars):
            signs, group = self.bars[at], self.groups[at]
            if signs.begins_ending and group >= 0:
                turn = self._last(group) if jumped else turns[group] + 1
                if turn not in signs.ending:
                    at += 1
                    while at < len(self.bars) and self.groups[at] == group and not self.bars[at].begins_ending:
                        at += 1
                    continue
            played.append(at)
            if len(played) > MOST_PLAYED:
                raise Refused(f"its repeats play more than {MOST_PLAYED} bars")
            if signs.fine and jumped:
                break
            coda = self._coda(at) if signs.to_coda and jumped else None
            if coda is not None:
                at = coda
                continue
            if signs.times and (signs.after_jump or not jumped):
                if group >= 0 and turns[group] + 1 < self.most[group]:
                    turns[group] += 1
                    at = self.targets[at]
                    continue
                if group < 0 and taken[at] < signs.times - 1:
                    taken[at] += 1
                    at = self.targets[at]
                    continue
            target = self._jump(signs) if signs.jump and at not in left else None
            if target is not None:
                left.add(at)
                jumped, at = True, target
                taken.clear()
                continue
            at += 1
        return played

    def _last(self, group: int) -> int:
        return max(max(s.ending) for s, g in zip(self.bars, self.groups, strict=True) if g == group and s.ending)

    def _coda(self, at: int) -> int | None:
        behind = range(at + 1, len(self.bars))
        return next((index for index in behind if self.bars[index].coda), None)

    def _jump(self, signs: Signs) -> int | None:
        if signs.jump == "dc":
            return 0
        target = self.segno.get(signs.target, min(self.segno.values(), default=None))
        if target is None:
            self.remarks.append("a D.S. is not played: there is no segno")
        return target


def _groups(bars: Sequence[Signs]) -> list[int]:
    """For each bar the number of its group of endings, which follow one another; -1 outside."""
    groups: list[int] = []
    highest = 0
    current = -1
    for index, signs in enumerate(bars):
        if not signs.ending:
            groups.append(-1)
            continue
        follows = index > 0 and groups[-1] >= 0
        if not follows or (signs.begins_ending and min(signs.ending) <= highest):
            current += 1
            highest = 0
        highest = max(highest, *signs.ending)
        groups.append(current)
    return groups


def _targets(bars: Sequence[Signs], groups: Sequence[int]) -> dict[int, int]:
    """For each bar with a backward sign the bar that it leads to."""
    targets: dict[int, int] = {}
    of_group: dict[int, int] = {}
    opened: int | None = None
    behind, sectioned = 0, False
    for index, (signs, group) in enumerate(zip(bars, groups, strict=True)):
        if signs.forward:
            opened, sectioned = index, True
        if not signs.times:
            continue
        if group >= 0:
            sectioned = True
            targets[index] = of_group.setdefault(group, behind if opened is None else opened)
        else:
            implied = behind if sectioned else 0
            targets[index] = implied if opened is None else opened
        opened, behind = None, index + 1
    return targets


def _playings(bars: Sequence[Signs], groups: Sequence[int]) -> dict[int, int]:
    """How often each group of endings is gone through: once more than its only ending says, if that is alone."""
    numbers: dict[int, int] = {}
    endings: Counter[int] = Counter()
    for signs, group in zip(bars, groups, strict=True):
        if group >= 0:
            numbers[group] = max(numbers.get(group, 0), *signs.ending)
            endings[group] += signs.begins_ending
    return {group: most + (endings[group] == 1) for group, most in numbers.items()}
