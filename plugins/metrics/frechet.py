"""The Frechet distance between two sets of pieces in an embedding (Heusel et al. 2017; for music arXiv 2412.07948).

The embedding is given by the caller: `frechet_metric(embed)` makes a metric of any function from scores to vectors, so
that a plugin can bring a trained one. Figures of unlike embeddings, or of unlike n, do not compare: the floor of noise
differs by orders of magnitude, and is given with each.
Shapes: n pieces, e numbers an embedding.
"""

from collections.abc import Callable

import numpy as np

from core.seeds import generator
from plugins import hookimpl
from plugins.metrics.parts.embedding import Embed, embed
from plugins.metrics.parts.intervals import Result, by_halves, split_half
from plugins.metrics.parts.notes import Floats, Integers, Scores, in_order, notes_of

SIZES = 25  # of subsets, for the line against 1 / n
FEWEST = 8  # pieces at the left end of that line


def frechet(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), by the eigenvalues of S1^(1/2) S2 S1^(1/2).

    These are real and not below 0 also where a covariance is singular, as it is with fewer pieces than dimensions.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0.0)).sum()
    apart = float(((mean - other_mean) ** 2).sum())
    return max(apart + float(np.trace(covariance) + np.trace(other_covariance) - 2.0 * cross), 0.0)


def distance(one: Floats, other: Floats) -> float:
    """The Frechet distance of two sets of vectors (n e) and (m e), at least two in either.

    With S = A'A for the centered vectors A over the root of n - 1, tr (S1 S2)^(1/2) is the sum of the singular values
    of A B', which takes no root of a root; a triangular factor stands for A where there are more vectors than numbers.
    """
    if np.array_equal(one, other):
        return 0.0  # and not the rounding of the roots
    a, b = (_factor(vectors) for vectors in (one, other))
    apart = float(((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum())
    cross = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    return max(apart + float((a**2).sum() + (b**2).sum()) - 2.0 * cross, 0.0)


def _factor(vectors: Floats) -> Floats:
    """Some A (k e) with A'A the covariance of the vectors (n e), k the smaller of n and e."""
    centered = (vectors - vectors.mean(axis=0)) / np.sqrt(len(vectors) - 1)
    return centered if len(vectors) <= vectors.shape[1] else np.asarray(np.linalg.qr(centered, mode="r"))


def individual(vectors: Floats, reference: Floats) -> Floats:
    """A distance for each single piece, |x - mean of reference|^2: (n e), (m e) -> (n,)."""
    return ((vectors - reference.mean(axis=0)) ** 2).sum(axis=1)


def limit(one: Floats, other: Floats, draws: np.random.Generator) -> float:
    """The distance at infinite n: the intercept of a line through subsets of growing size, against 1 / n.

    `one` alone is resampled, as in FMD-infinity; 0 where the set is too small for it.
    """
    if len(one) < 2 * FEWEST:
        return 0.0
    sizes = np.unique(np.linspace(max(FEWEST, len(one) // 4), len(one), SIZES).astype(np.int64))
    found = [distance(one[draws.integers(0, len(one), size)], other) for size in sizes]
    return float(np.polyfit(1.0 / sizes, found, 1)[1])


def frechet_metric(embed: Embed) -> Callable[[Scores, Scores], Result]:
    """A metric of the Frechet distance in the embedding that `embed` makes: scores -> (n e)."""

    def function(generated: Scores, reference: Scores) -> Result:
        """The Frechet distance, with the floor of two parts of the reference, and with its limit at infinite n."""
        mine = [score for score in in_order(generated) if score is not None and len(notes_of(score, drums=None))]
        theirs = [score for score in in_order(reference) if score is not None and len(notes_of(score, drums=None))]
        failures = len(generated) - len(mine)
        if len(mine) < 2 or len(theirs) < 2:
            return {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0, "n_reference": 0, "failures": failures}
        a, b = embed(mine), embed(theirs)
        value = distance(a, b)

        def of_rows(rows: list[Integers]) -> float:
            return distance(a[rows[0]], b[rows[1]])

        def of_halves(one: Integers, two: Integers) -> float:
            return distance(b[one], b[two])

        low, high = by_halves(of_rows, (len(a), len(b)), value, least=0.0)
        return {
            "value": value,
            "low": low,
            "high": high,
            "n": len(a),
            "n_reference": len(b),
            "failures": failures,
            "floor": split_half(of_halves, len(b), part=len(a)),
            "limit": limit(a, b, generator("frechet limit", len(a), len(b))),
            "individual": float(individual(a, b).mean()),
        }

    return function


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("frechet_distance", frechet_metric(embed), unit="squared distance", higher_is_better=False, headline=True)
