"""How distances from anchors to generated music differ from those to real music, for any distance of two pieces.

The anchor is the prompt of both, where there are prompts: generated and reference then hold continuations, without
the prompt (`notes.split_at` cuts one), and each pair is cut to the length of its shorter one. Without prompts the
anchor is the whole reference; for a piece of the reference, the rest of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from plugins.metrics.parts.intervals import Result, by_halves, split_half, summary
from plugins.metrics.parts.notes import Floats, Integers, Notes, Scores, aligned, in_order, measure_of, notes_of

BINS = 99
Kind = TypeVar("Kind")


class Distance(NamedTuple, Generic[Kind]):
    """`represent(notes, quarters a measure)` may be None where a piece has nothing to compare; `pool` joins several."""

    represent: Callable[[Notes, float], Kind | None]
    between: Callable[[Kind, Kind], float]
    pool: Callable[[Sequence[Kind]], Callable[[int | None], Kind]]  # of all but the one at a position, or of all


def divergence(original: Floats, generated: Floats, bins: int = BINS) -> float:
    """KL(original || generated) in nats of two lists of distances, in bins over their joint range.

    Half a count is added to each bin, so that an empty one costs something and not everything. 0 when all distances
    are equal or either list is empty.
    """
    if not len(original) or not len(generated):
        return 0.0
    low, high = min(original.min(), generated.min()), max(original.max(), generated.max())
    if low == high:
        return 0.0
    p, q = (np.histogram(values, bins, (low, high))[0] + 0.5 for values in (original, generated))
    p, q = p / p.sum(), q / q.sum()
    return max(float((p * np.log(p / q)).sum()), 0.0)


def wasserstein(one: Floats, other: Floats) -> float:
    """The mean distance that one distribution must be moved to become the other, in the unit of the values."""
    if not len(one) or not len(other):
        return 0.0
    points = np.sort(np.concatenate([one, other]))
    f, g = (np.searchsorted(np.sort(values), points[:-1], "right") / len(values) for values in (one, other))
    return float((np.abs(f - g) * np.diff(points)).sum())


def compare(distance: Distance[Kind], generated: Scores, reference: Scores, prompts: Scores | None) -> Result:
    """The divergence of the histograms, with both lists' means and the floor: two halves of the real distances."""
    if prompts:
        found = _from_prompts(distance, generated, reference, prompts)
        # Pairs stand and fall together.
        whole = [pair for pair in found if pair is not None]
        new, real = (np.array([pair[side] for pair in whole], dtype=np.float64) for side in (0, 1))
        failures = len(found) - len(whole)
    else:
        new, real, failures = _from_reference(distance, generated, reference)

    def of_rows(rows: list[Integers]) -> float:
        return divergence(real[rows[1]], new[rows[0]])

    value = divergence(real, new)
    usable = len(new) > 0 and len(real) > 0
    low, high = by_halves(of_rows, (len(new), len(real)), value, least=0.0) if usable else (0.0, 0.0)
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": len(new) if usable else 0,
        "failures": failures,
        "anchor": "prompt" if prompts else "reference",
        "floor": split_half(lambda one, two: divergence(real[one], real[two]), len(real), part=len(new)),
        "wasserstein": wasserstein(real, new),
        "generated": summary(new),
        "reference": summary(real),
    }


def _from_prompts(
    distance: Distance[Kind], generated: Scores, reference: Scores, prompts: Scores
) -> list[tuple[float, float] | None]:
    """(prompt to generated, prompt to original) for each prompt; None where one of the three says nothing."""
    found: list[tuple[float, float] | None] = []
    for prompt, new, real in aligned(generated, reference, prompts):
        notes = [notes_of(score) for score in (new, real)]
        length = min(part.length for part in notes)
        measure = measure_of(real)
        anchor = distance.represent(notes_of(prompt), measure_of(prompt))
        mine, theirs = (distance.represent(until(part, length), measure) for part in notes)
        if anchor is None or mine is None or theirs is None:
            found.append(None)
        else:
            found.append((distance.between(anchor, mine), distance.between(anchor, theirs)))
    return found


def _from_reference(distance: Distance[Kind], generated: Scores, reference: Scores) -> tuple[Floats, Floats, int]:
    """Distances of the generated pieces and of the real ones, and how many of the former say nothing."""
    mine, theirs = (
        [distance.represent(notes_of(score), measure_of(score)) for score in in_order(scores)]
        for scores in (generated, reference)
    )
    known = [thing for thing in theirs if thing is not None]
    usable = [thing for thing in mine if thing is not None]
    failures = len(mine) - len(usable)
    if len(known) < 2:
        return np.zeros(0), np.zeros(0), failures
    rest = distance.pool(known)
    everything = rest(None)
    new = np.array([distance.between(everything, thing) for thing in usable], dtype=np.float64)
    real = np.array([distance.between(rest(place), thing) for place, thing in enumerate(known)], dtype=np.float64)
    return new, real, failures


def until(notes: Notes, length: int) -> Notes:
    """The notes that begin before step `length`, none longer than that."""
    chosen = notes.onset < length
    end = np.minimum(notes.end[chosen], length)
    return replace(notes, onset=notes.onset[chosen], end=end, pitch=notes.pitch[chosen])
