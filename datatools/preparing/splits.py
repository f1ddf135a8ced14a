"""Which pieces train, validate and test: fixed by the music itself, so that no piece leaks and none ever moves.

An exact key is hashed to a side (80/10/10). Near-duplicates follow their elder, variants of one work stay together, a
published split is kept, and a piece that is near to elders on two sides is left out and named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.contracts.dataset import SPLITS, Split
from core.errors import HubError
from core.seeds import derive
from core.words import counted
from datatools.preparing.duplicates import NearIndex, Sketch
from datatools.preparing.ledger import Entry, Ledger, Side

NAMED = 8  # elders that a verdict tells: a piece may be near to thousands
FEW = 40  # works below which hashing alone may leave a side empty or far from its share
LEAST = 3  # works: one for each side


@dataclass(frozen=True, slots=True)
class Candidate:
    """One piece that wants a side. `name` is what people know it by; `group` holds the variants of one work.

    `split` is published; where it is not `bound` to it, a piece follows the elders that are near to it.
    """

    name: str
    key: str
    sketch: Sketch
    group: str = ""
    split: Split | None = None
    bound: bool = True

    @property
    def fixed(self) -> Split | None:
        """The side that it has whatever is near."""
        return self.split if self.bound else None


@dataclass(frozen=True, slots=True)
class Elder:
    """A piece that was there before and sounds alike; similarity 1 for the same music or the same group."""

    name: str
    side: Side
    similarity: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The side of one piece and the nearest of the elders that decided it, at least one from each of their sides."""

    side: Side
    elders: tuple[Elder, ...] = ()


def position(key: str) -> float:
    """Where a key's hash falls in [0, 1)."""
    return derive("split", key) / 2**63


def by_hash(key: str) -> Split:
    """The side that a key's hash alone gives: train below 0.8, valid below 0.9, else test."""
    place = position(key)
    return "train" if place < 0.8 else "valid" if place < 0.9 else "test"


def assign(candidates: Sequence[Candidate], ledger: Ledger) -> tuple[list[Verdict], Ledger]:
    """A verdict for each candidate, and the ledger with the new ones added.

    Published pieces come first, then those that the ledger knows, then new ones in the order of their keys, so that
    neither names nor the order of files matter. HubError when no split with three sides can be made.
    """
    known = {entry.key for entry in ledger.entries}
    order = sorted(
        range(len(candidates)),
        key=lambda i: (
            candidates[i].split is None,
            candidates[i].key not in known,
            candidates[i].key,
            candidates[i].name,
        ),
    )
    ordered = [candidates[i] for i in order]
    verdicts = _one_by_one(ordered, ledger)
    works = sum(not verdict.elders for verdict in verdicts)
    few = works < FEW and not any(candidate.split for candidate in candidates)
    lacking = any(all(verdict.side != side for verdict in verdicts) for side in SPLITS)
    if not ledger.entries and not any(candidate.fixed for candidate in candidates) and (few or lacking):
        verdicts = _by_rank(ordered)
    elif lacking and all(verdict.side != "valid" for verdict in verdicts):
        none = f"none of {counted(len(candidates), 'piece')} is for validation"
        raise HubError(f"{none}; the dataset must give some, or add pieces")
    back = dict(zip(order, verdicts, strict=True))
    return [back[i] for i in range(len(candidates))], _grown(ledger, ordered, verdicts)


class _Elders:
    """Those of some pieces that have been placed so far, found by key, by group and by likeness; each has a number."""

    def __init__(self, pieces: Sequence[Candidate | Entry]) -> None:
        self.pieces = pieces
        self.index = NearIndex([piece.sketch for piece in pieces])
        self.sides: dict[int, Side] = {}
        self.keys: dict[str, int] = {}
        self.groups: dict[str, int] = {}

    def add(self, number: int, side: Side) -> None:
        piece = self.pieces[number]
        self.sides[number] = side
        self.keys.setdefault(piece.key, number)
        if piece.group:
            self.groups.setdefault(piece.group, number)
        self.index.add(number)

    def of(self, number: int) -> list[tuple[int, float]]:
        """(number, similarity) of all elders of a piece: the same music, else the same group and what is near."""
        piece = self.pieces[number]
        if piece.key in self.keys:
            return [(self.keys[piece.key], 1.0)]
        found = self.index.near(number)
        if piece.group in self.groups:
            found.insert(0, (self.groups[piece.group], 1.0))
        return found

    def met(self, found: Iterable[tuple[int, float]]) -> tuple[Elder, ...]:
        """The nearest of those found, and the nearest of each side."""
        told: list[Elder] = []
        sides: set[Side] = set()
        for number, similarity in found:
            side = self.sides[number]
            if len(told) < NAMED or side not in sides:
                told.append(Elder(self.pieces[number].name, side, round(similarity, 3)))
                sides.add(side)
        return tuple(told)


def _one_by_one(ordered: Sequence[Candidate], ledger: Ledger) -> list[Verdict]:
    """Each piece takes the side of the ledger, of its elders, or of its hash."""
    elders = _Elders([*ledger.entries, *ordered])
    claimed: dict[str, tuple[Entry, tuple[Elder, ...]]] = {}
    for number, entry in enumerate(ledger.entries):  # as they came, so that each meets the elders that it met then
        claimed[entry.key] = entry, elders.met(elders.of(number))
        if entry.side != "out":
            elders.add(number, entry.side)
    out = {entry.key for entry in ledger.entries if entry.side == "out"}
    verdicts = []
    for number, candidate in enumerate(ordered, len(ledger.entries)):
        entry_and_elders = claimed.pop(candidate.key, None)  # a second piece of this key is a duplicate of the first
        if entry_and_elders is not None:
            entry, met = entry_and_elders
            verdicts.append(Verdict(candidate.fixed or entry.side, met))
            continue
        met = elders.met(elders.of(number))
        sides: set[Side] = {elder.side for elder in met}
        if candidate.fixed is not None:
            side: Side = candidate.fixed
        elif candidate.key in out or len(sides) > 1:
            side = "out"
        else:
            side = sides.pop() if sides else candidate.split or by_hash(candidate.key)
        verdicts.append(Verdict(side, met))
        if side == "out":
            out.add(candidate.key)
        else:
            elders.add(number, side)
    return verdicts


def _by_rank(ordered: Sequence[Candidate]) -> list[Verdict]:
    """For few works: whole families of like pieces, ranked by their hash, so that each side gets its share."""
    elders = _Elders(ordered)
    parents: list[int] = []  # the first piece of a family is its own

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    for number in range(len(ordered)):
        roots = {root(elder) for elder, _ in elders.of(number)}
        parents.append(min(roots, default=number))
        for other in roots:
            parents[other] = parents[number]
        elders.add(number, "train")
    family = [root(number) for number in range(len(ordered))]
    ranked = sorted(set(family), key=lambda first: (position(ordered[first].key), first))
    if len(ranked) < LEAST:
        made = "makes" if len(ordered) == 1 else "make"
        works = counted(len(ranked), "different work")
        raise HubError(
            f"{counted(len(ordered), 'readable piece')} {made} {works}; expected at least {LEAST}, one each to"
            " train, validate and test: add more music"
        )
    share = max(1, round(len(ranked) / 10))
    side: dict[int, Split] = dict.fromkeys(ranked, "train")
    side.update(dict.fromkeys(ranked[-2 * share : -share], "valid"))
    side.update(dict.fromkeys(ranked[-share:], "test"))
    again = _Elders(ordered)
    verdicts = []
    for number, first in enumerate(family):
        verdicts.append(Verdict(side[first], again.met(again.of(number))))
        again.add(number, side[first])
    return verdicts


def _grown(ledger: Ledger, ordered: Sequence[Candidate], verdicts: Sequence[Verdict]) -> Ledger:
    """The ledger with every music that is new to it; what a dataset publishes replaces what was decided without it."""
    places = {entry.key: place for place, entry in enumerate(ledger.entries)}
    entries = list(ledger.entries)
    for candidate, verdict in zip(ordered, verdicts, strict=True):
        place = places.get(candidate.key)
        if place is None:
            places[candidate.key] = len(entries)
            entries.append(Entry(candidate.key, verdict.side, candidate.sketch, candidate.name, candidate.group))
        elif candidate.fixed is not None:
            entries[place] = replace(entries[place], side=verdict.side)
    return Ledger(entries)
