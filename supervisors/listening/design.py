"""Who hears what in which order: clips under names that tell nothing, orders balanced over participants.

The systems of each round follow a balanced Latin square (Williams 1949), so that over its rows every system stands at
every place equally often and follows every other equally often; which row a round takes moves on from round to round.

Shapes: s systems.
"""

import hashlib
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from core.seeds import generator

ORDERS = 48  # participants' orders that a page holds; after so many they begin again


class Clip(NamedTuple):
    """Excerpt `piece` of a system; `name` is what participants may see of it."""

    name: str
    system: str
    piece: int


def clips(systems: Sequence[str], pieces: int, seed: int) -> list[Clip]:
    """Every clip, named by a hash of what it is and the seed."""
    return [
        Clip(hashlib.sha256(f"{seed}\0{system}\0{piece}".encode()).hexdigest()[:10], system, piece)
        for system in systems
        for piece in range(pieces)
    ]


def williams(count: int) -> list[list[int]]:
    """Rows of places 0 to count - 1: a balanced Latin square, and its mirror image too where the count is odd."""
    first = [0]
    for step in range(1, count):
        first.append((step + 1) // 2 if step % 2 else count - step // 2)
    rows = [[(place + row) % count for place in first] for row in range(count)]
    return rows if count % 2 == 0 else rows + [row[::-1] for row in rows]


def ratings_orders(found: Sequence[Clip], seed: int) -> list[list[str]]:
    """For each participant the names of all clips in order: rounds of one clip a system."""
    systems = list(dict.fromkeys(clip.system for clip in found))
    by_system = {system: [clip.name for clip in found if clip.system == system] for system in systems}
    rows = williams(len(systems))
    orders = []
    for participant in range(ORDERS):
        draw = generator("listen", str(seed), str(participant))
        piles = {system: [names[i] for i in draw.permutation(len(names))] for system, names in by_system.items()}
        order = []
        for round_ in range(min(len(names) for names in by_system.values())):
            row = rows[(participant + round_) % len(rows)]
            order += [piles[systems[place]][round_] for place in row]
        orders.append(order)
    return orders


def pairs_orders(found: Sequence[Clip], seed: int) -> list[list[tuple[str, str]]]:
    """For each participant pairs of clips of two systems; which comes first changes sides from one to the next."""
    systems = list(dict.fromkeys(clip.system for clip in found))
    by_system = {system: [clip.name for clip in found if clip.system == system] for system in systems}
    pieces = min(len(names) for names in by_system.values())
    orders = []
    for participant in range(ORDERS):
        draw = generator("listen", str(seed), "pairs", str(participant))
        trials = []
        for number, (first, second) in enumerate(combinations(systems, 2)):
            mine, theirs = draw.permutation(pieces), draw.permutation(pieces)
            for round_ in range(pieces):
                pair = (by_system[first][mine[round_]], by_system[second][theirs[round_]])
                trials.append(pair if (participant + number + round_) % 2 == 0 else pair[::-1])
        orders.append([trials[i] for i in draw.permutation(len(trials))])
    return orders
