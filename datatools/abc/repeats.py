"""Repeats, variant endings and part orders written out: ABC text to a Tune.

A repeat without its opening goes back to the start of its section: the last `|:`, `:|`, `||` or the tune's beginning.
Where sections meet in the middle of a bar (a tune with a pick-up), the two halves become one bar again. Da capo and dal
segno are words in ABC, not repeats; they stay unplayed. What is played again is sung to its next verse, if it has one.
"""

import re
from collections import Counter
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from fractions import Fraction
from itertools import groupby

from core.words import agree, counted
from datatools.abc import parts
from datatools.abc.lexer import PITCH, lex
from datatools.abc.lyrics import is_text
from datatools.abc.overlays import layers
from datatools.abc.parsing.marks import Mark
from datatools.abc.parsing.parse import Parsed, parse
from datatools.abc.parsing.voice import Item
from datatools.abc.tune import Bar, Event, Tune

LONGEST_TUNE = 250_000  # events of a tune with its repeats written out


def read_tune(text: str, silent: bool = False, remarks: list[str] | None = None, propagate: str | None = None) -> Tune:
    """The tune of one ABC text; ValueError "line N: ..." for what cannot be told, and for no note unless `silent`.

    What was left out is added to `remarks`; `propagate` says how far accidentals reach where the text does not.
    """
    remarks = [] if remarks is None else remarks
    parsed = parse(lex(text, propagate or PITCH))
    if parsed.left_out:
        leads = agree(parsed.left_out, "leads", "lead")
        remarks.append(f"left out {counted(parsed.left_out, 'grace note')} that {leads} to no note")
    if parsed.unaligned:
        remarks.append(f"left out {counted(parsed.unaligned, 'syllable')} for which there is no note")
    tune = Tune(parsed.title, parsed.meter, parsed.unit, parsed.key, parsed.tempo)
    budget = LONGEST_TUNE
    voices = {
        f"{name}&{number}" if number else name: layer
        for name, items in parsed.voices.items()
        for number, layer in enumerate(layers(items))
    }
    parts.share(voices)
    sung: set[tuple[int, int]] = set()
    for name, items in voices.items():
        played = _played(items, parsed, budget, remarks, sung)
        budget -= sum(isinstance(item, Event) for item in played)
        tune.voices.append(_bars(played))
        tune.names.append(parsed.names.get(name, ""))
    unsung = sum(_unsung(items, sung) for items in voices.values())
    if unsung:
        remarks.append(f"left out {counted(unsung, 'syllable')} of verses beyond what is repeated")
    if tune.voices:  # fields between the header and the first note belong to the header
        tune.meter, tune.key = tune.voices[0][0].meter, tune.voices[0][0].events[0].key
    if not silent and not any(event.pitches for voice in tune.voices for bar in voice for event in bar.events):
        raise ValueError("there is no note in it")
    return tune


def _unsung(items: list[Item], sung: set[tuple[int, int]]) -> int:
    """Syllables of second and later verses that no playing was sung to."""
    verses = ((id(item), enumerate(item.verses)) for item in items if isinstance(item, Event) and item.verses[1:])
    return sum(is_text(said) and verse > 0 and (item, verse) not in sung for item, all in verses for verse, said in all)


def _played(
    items: list[Item], parsed: Parsed, budget: int, remarks: list[str], sung: set[tuple[int, int]]
) -> list[Item]:
    """The items in the order of playing: parts in the order that the header's P: field gives, each with its repeats.

    A part that is played so often in a row as it has endings takes the next of them each time (ABC 2.1, 4.10).
    """
    order = parts.ordered(re.sub(r"[^A-Za-z0-9()]", "", re.split("%", parsed.order)[0]))
    found = parts.divided(items)
    if len(found) < 2 or not order or not all(letter in found for letter in order):
        return _expand(items, budget, sung)
    if len(order) < 2 and len(found) < 3:
        return _expand(items, budget, sung)
    unused = "".join(letter for letter in found if letter and letter not in order)
    if unused:
        remarks.append(f"not played: the parts {unused}, which P:{parsed.order} does not name")
    played = _expand(found[""], budget, sung)
    before: Counter[str] = Counter()
    for letter, run in groupby(order):
        times = len(list(run))
        each = times > 1 and times == _endings(found[letter])
        for turn in range(1, times + 1):
            played += _expand(found[letter], budget - len(played), sung, turn if each else 0, before[letter])
            before[letter] += 1
    return played


def _endings(items: list[Item]) -> int:
    """The highest number of an ending."""
    return max((max(item.endings) for item in items if isinstance(item, Mark) and item.endings), default=0)


class _Section:
    """What is played until the next repeat closes: a common beginning, then endings by number."""

    def __init__(self, explicit: bool = False) -> None:
        self.explicit = explicit  # opened by |: rather than by a double bar
        self.common: list[Item] = []
        self.endings: list[tuple[tuple[int, ...], list[Item]]] = []

    @property
    def target(self) -> list[Item]:
        return self.endings[-1][1] if self.endings else self.common

    def playings(self, times: int, turn: int) -> Iterable[tuple[int, list[Item]]]:
        """What is played, and for which time, from 0; of one `turn` only where it is above 0."""
        if turn:
            yield 0, self.common
            yield from ((0, items) for numbers, items in self.endings if turn in numbers)
            return
        if not self.endings:
            for time in range(times):
                yield time, self.common
            return
        for turn in range(1, max(max(numbers) for numbers, _ in self.endings) + 1):
            chosen = [items for numbers, items in self.endings if turn in numbers]
            if chosen:
                yield turn - 1, self.common
                yield from ((turn - 1, items) for items in chosen)
        if times > 1 and len(self.endings) == 1:
            yield turn, self.common  # and then, over an ending that is alone, to what follows it


def _expand(items: list[Item], budget: int, sung: set[tuple[int, int]], turn: int = 0, before: int = 0) -> list[Item]:
    """The items with repeats and endings written out; those of one playing only, where a `turn` is given.

    `before`: how often they were played already; the verses that are sung are added to `sung`.
    """
    out: list[Item] = []
    size = 0
    section = _Section()

    def close(times: int, explicit: bool = False) -> None:
        nonlocal section, size
        for time, played in section.playings(times, turn):
            out.extend(_sung(item, before + time, sung) if isinstance(item, Event) else item for item in played)
            size += len(played)
            if size > 2 * budget:
                raise ValueError(f"with its repeats written out it has more than {LONGEST_TUNE} notes")
        section = _Section(explicit)

    items = _coalesced(items)
    for index, item in enumerate(items):
        if not isinstance(item, Mark):
            section.target.append(item)
            continue
        if item.endings:
            if not section.endings and min(item.endings) > 1:
                raise ValueError(f"line {item.line}: ending {min(item.endings)} without an ending 1 before it")
            section.endings.append((item.endings, []))
            continue
        section.target.append(item)
        follower = items[index + 1] if index + 1 < len(items) else None
        if isinstance(follower, Mark) and follower.endings and (section.endings or not item.left):
            if section.endings and min(follower.endings) == 1:
                close(1)  # a new first ending: the section before it is over
            continue
        if item.again:
            close(item.again + 1, item.left)
        elif item.left:
            close(1, True)
        elif item.double and (section.endings or not section.explicit):
            close(1)
    close(1)
    return out


def _sung(event: Event, playing: int, sung: set[tuple[int, int]]) -> Event:
    """The event with the verse of a playing, counted from 0; with the last one where there are not so many."""
    if len(event.verses) < 2:
        return event
    verse = min(playing, len(event.verses) - 1)
    sung.add((id(event), verse))
    return replace(event, verses=(event.verses[verse],))


def _coalesced(items: list[Item]) -> list[Item]:
    """Bar lines with nothing between them, as at the end of one line and the start of the next, made one."""
    out: list[Item] = []
    for item in items:
        last = out[-1] if out else None
        if isinstance(item, Mark) and isinstance(last, Mark) and not (item.endings or last.endings):
            out[-1] = Mark(
                max(item.again, last.again), item.left or last.left, item.double or last.double, line=item.line
            )
        else:
            out.append(item)
    return out


def _bars(items: list[Item]) -> list[Bar]:
    """Events between bar lines; halves of a bar on both sides of a section's seam are joined; ties are settled."""
    bars: list[Bar] = []
    events: list[Event] = []
    met: set[int] = set()
    seam = False  # whether a repeat or double bar stands before `events`
    for item in [*items, Mark()]:
        if isinstance(item, Event):
            events.append(copy(item) if id(item) in met else item)
            met.add(id(item))
        else:
            if events:
                bar = Bar(events, events[0].meter)
                if seam and bars and _halves(bars[-1], bar):
                    bars[-1].events += events
                else:
                    bars.append(bar)
                events, seam = [], False
            seam = seam or bool(item.again or item.left or item.double or item.endings)
    _settle(bars)
    if any(event.verses for bar in bars for event in bar.events):  # then none of them is unknown
        for event in (event for bar in bars for event in bar.events):
            event.verses = event.verses or ("",)
    return bars


def _halves(first: Bar, second: Bar) -> bool:
    return (
        first.meter is not None
        and first.meter == second.meter
        and (first.duration + second.duration == Fraction(*first.meter))
    )


def _settle(bars: list[Bar]) -> None:
    """Drops ties that reach no equal pitch."""
    events = [event for bar in bars for event in bar.events]
    for index, event in enumerate(events):
        following = events[index + 1] if index + 1 < len(events) else None
        if any(event.ties):
            reached = () if following is None or following.graces else {pitch.midi for pitch in following.pitches}
            event.ties = tuple(
                tie and pitch.midi in reached for tie, pitch in zip(event.ties, event.pitches, strict=True)
            )
