"""Overlap area and Kullback-Leibler divergence of distances within and between sets (Yang & Lerch 2020,
doi 10.1007/s00521-018-3849-7).

What is compared is how much the pieces of a set differ among themselves with how much they differ from the other set.
Two sets of real music reach about 0.9, not 1: read every value beside `ceiling`. Differences from the authors' toolbox:
features read all pitched tracks, not the first; for sets of unlike size the pieces that count are chosen by content, so
that no result depends on the order of files.
Shapes: n pieces in either set, m in all of the reference, k numbers a feature.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from plugins import hookimpl
from plugins.metrics.parts.density import Density, divergence, overlap, pair
from plugins.metrics.parts.intervals import Result, by_halves, split_half
from plugins.metrics.parts.notes import Floats, Integers, Notes, Scores, in_order, notes_of

SIXTEENTHS = 4  # steps a quarter
LARGEST = 500  # pieces of a set that count: their pairs grow with the square


def inter_onset(notes: Notes) -> float:
    """The mean time in sixteenths between successive different onsets; 0 when there is one onset only."""
    onsets = np.unique(notes.onset)
    return float(np.diff(onsets).mean()) * SIXTEENTHS / notes.steps if len(onsets) > 1 else 0.0


def pitch_class_histogram(notes: Notes) -> Floats:
    """The shares (12,) of sounding time in the pitch classes."""
    counts = np.bincount(notes.pitch % 12, notes.end - notes.onset, minlength=12)
    return counts / max(counts.sum(), 1.0)


FEATURES: dict[str, Callable[[Notes], Floats | float]] = {
    "used_pitches": lambda notes: float(len(np.unique(notes.pitch))),
    "pitch_range": lambda notes: float(np.ptp(notes.pitch)),
    "pitch_class_histogram": pitch_class_histogram,
    "note_count": lambda notes: float(len(notes)),
    "inter_onset_interval": inter_onset,
}


def features(pieces: list[Notes], name: str) -> Floats:
    """One feature of all pieces: (n k)."""
    return np.array([FEATURES[name](notes) for notes in pieces], dtype=np.float64).reshape(len(pieces), -1)


def distances(a: Floats, b: Floats) -> Floats:
    """Euclidean distances (n m) of features (n k) and (m k)."""
    squares = np.zeros((len(a), len(b)))
    for x, y in zip(a.T, b.T, strict=True):
        squares += (x[:, None] - y[None]) ** 2
    return np.sqrt(squares)


def within(square: Floats) -> Floats:
    """The distances (n (n - 1),) of all pairs of different pieces, both ways round, from the matrix (n n)."""
    return square[~np.eye(len(square), dtype=bool)]


STATISTICS: dict[str, Callable[[Density, Density], float]] = {
    "overlap_area": overlap,
    "kl_mgeval": partial(divergence, kind="mgeval"),
    "kl_common": partial(divergence, kind="common"),
}


def agreement(intra: Floats, inter: Floats) -> dict[str, float]:
    """Overlap area and both divergences of two lists of distances."""
    f, g = pair(intra, inter)
    return {name: statistic(f, g) for name, statistic in STATISTICS.items()}


def compare(generated: Scores, reference: Scores, key: str) -> Result:
    """The mean over the five features of intra(reference) against inter, with the single figures of both sides.

    Both sets are cut to the smaller one's size, and to LARGEST. Pieces without notes are failures. `ceiling` (of an
    overlap) or `floor` (of a divergence) is the same between two parts of the reference, of as many pieces if it has
    them.
    """
    mine, theirs = ([notes_of(score) for score in in_order(scores)] for scores in (generated, reference))
    failures = sum(not len(notes) for notes in mine)
    # In the order of a digest the first ones are as good as drawn.
    mine, theirs = ([notes for notes in pieces if len(notes)] for pieces in (mine, theirs))
    n = min(len(mine), len(theirs), LARGEST)
    if n < 2:
        return {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0, "failures": failures}
    mine, theirs = mine[:n], theirs[: 2 * LARGEST]
    statistic = STATISTICS[key]
    tables = [(features(mine, name), features(theirs, name)) for name in FEATURES]
    theirs_alone = [distances(x, x) for _, x in tables]  # (m m) each
    across = [distances(x[:n], y) for y, x in tables]  # (n n) each

    def mean(pairs: Iterable[tuple[Floats, Floats]]) -> float:
        return float(np.mean([statistic(*pair(intra, inter)) for intra, inter in pairs]))

    def of_rows(rows: list[Integers]) -> float:
        us, them = rows
        both = zip(theirs_alone, across, strict=True)
        return mean((within(q[np.ix_(them, them)]), r[np.ix_(them, us)].ravel()) for q, r in both)

    def of_halves(one: Integers, two: Integers) -> float:
        return mean((within(q[np.ix_(one, one)]), q[np.ix_(one, two)].ravel()) for q in theirs_alone)

    single = {}
    for name, (y, _), q, r in zip(FEATURES, tables, theirs_alone, across, strict=True):
        single[name] = {
            "reference": agreement(within(q[:n, :n]), r.ravel()),
            "generated": agreement(within(distances(y, y)), r.ravel()),
        }
    value = float(np.mean([figures["reference"][key] for figures in single.values()]))
    low, high = by_halves(of_rows, (n, n), value, least=0.0, most=1.0 if key == "overlap_area" else np.inf)
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "failures": failures,
        "ceiling" if key == "overlap_area" else "floor": split_half(of_halves, len(theirs), part=n),
        "features": single,
    }


def overlap_area(generated: Scores, reference: Scores) -> Result:
    """The mean overlap area over five features, intra(reference) against inter."""
    return compare(generated, reference, "overlap_area")


def kl_divergence(generated: Scores, reference: Scores) -> Result:
    """The mean divergence over five features as the authors' toolbox samples it: either density on its own range."""
    return compare(generated, reference, "kl_mgeval")


def kl_divergence_common(generated: Scores, reference: Scores) -> Result:
    """The mean divergence over five features, both densities sampled on the joint range."""
    return compare(generated, reference, "kl_common")


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("overlap_area", overlap_area, unit="area", higher_is_better=True, headline=True)
    register("kl_divergence", kl_divergence, unit="nats", higher_is_better=False)
    register("kl_divergence_common", kl_divergence_common, unit="nats", higher_is_better=False)
