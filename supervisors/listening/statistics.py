"""What ratings tell: means whose intervals respect that other raters and other pieces would have been possible.

A rating is the system's mean, plus what the rater adds, what the rater adds to this system, what the piece adds, and
noise; the last four are random (crossed random effects, fitted by REML). An interval is Student's with as many degrees
of freedom as the rarer of raters and pieces allows. A system is called better than another only where the interval of
their difference excludes zero, at 95 % for all pairs together (Bonferroni).

Sources: Baayen, Davidson & Bates 2008 (crossed effects), Bradley & Terry 1952, Krippendorff 2011 (alpha).
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import HubError
from core.words import counted

LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rating:
    """What one participant said of one clip on one scale, 1 to 5."""

    rater: str
    system: str
    clip: str
    value: float


@dataclass(frozen=True)
class Preference:
    """Which of two systems one participant preferred; a tie is half a win for each."""

    rater: str
    first: str
    second: str
    won: float  # 1: the first, 0: the second, 0.5: neither


@dataclass(frozen=True)
class Mean:
    """A system's mean with its interval, or a difference of two."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Variances of a rating: of raters, of a rater's taste for a system, of clips, and of the rest."""

    rater: float
    taste: float
    clip: float
    rest: float


@dataclass(frozen=True)
class Opinion:
    """One scale: the means, the differences of all pairs that hold together, and how far raters agree."""

    means: list[Mean]
    differences: list[tuple[str, str, Mean]]
    friedman: float | None  # p of "all systems are alike", over raters' means
    wilcoxon: dict[tuple[str, str], float]  # p by pair, Holm's correction
    alpha: float | None
    spread: Spread
    raters: int
    clips: int  # of each system, at least


def opinions(ratings: Sequence[Rating]) -> Opinion:
    """The statistics of one scale; HubError with fewer than two raters, systems or clips of a system."""
    systems = sorted({rating.system for rating in ratings})
    raters = sorted({rating.rater for rating in ratings})
    clips = {system: {rating.clip for rating in ratings if rating.system == system} for system in systems}
    fewest = min((len(found) for found in clips.values()), default=0)
    if len(raters) < 2 or len(systems) < 2 or fewest < 2:
        raise HubError(
            f"ratings by {counted(len(raters), 'rater')} of {counted(len(systems), 'system')}, with at least "
            f"{counted(fewest, 'clip')} each; expected two of each at least"
        )
    values, covariance, spread = _fitted(ratings, systems)
    freedom = min(len(raters), fewest) - 1
    means = [_mean(name, values[i], covariance[i, i], freedom, LEVEL) for i, name in enumerate(systems)]
    pairs = list(combinations(range(len(systems)), 2))
    level = 1 - (1 - LEVEL) / len(pairs)
    differences = []
    for i, j in pairs:
        variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
        differences.append(
            (systems[i], systems[j], _mean("difference", values[i] - values[j], variance, freedom, level))
        )
    table = _by_rater(ratings, raters, systems)
    friedman, wilcoxon = _ranked(table, systems)
    return Opinion(means, differences, friedman, wilcoxon, alpha(ratings), spread, len(raters), fewest)


def supported(opinion: Opinion) -> list[tuple[str, str]]:
    """(better, worse) for every pair that the intervals tell apart."""
    found = []
    for first, second, difference in opinion.differences:
        if difference.low > 0:
            found.append((first, second))
        elif difference.high < 0:
            found.append((second, first))
    return found


def _mean(name: str, value: float, variance: float, freedom: int, level: float) -> Mean:
    from scipy import stats

    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(max(variance, 0.0))
    return Mean(name, float(value), float(value - half), float(value + half))


def _fitted(ratings: Sequence[Rating], systems: Sequence[str]) -> tuple[Floats, Floats, Spread]:
    """Means of the systems, their covariance, and the variances behind it, by REML."""
    pandas, formulas = _libraries()
    frame = pandas.DataFrame(
        {
            "system": pandas.Categorical([rating.system for rating in ratings], categories=list(systems)),
            "rater": [rating.rater for rating in ratings],
            "taste": [f"{rating.rater}\0{rating.system}" for rating in ratings],
            "clip": [rating.clip for rating in ratings],
            "value": [float(rating.value) for rating in ratings],
            "whole": 1,
        }
    )
    parts = {"rater": "0 + C(rater)", "taste": "0 + C(taste)", "clip": "0 + C(clip)"}
    if frame["value"].nunique() == 1:  # nothing varies: nothing can be fitted, and nothing is uncertain
        alike = np.full(len(systems), float(ratings[0].value))
        return alike, np.zeros((len(systems), len(systems))), Spread(0, 0, 0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance at its bound of zero is an answer
        model = formulas.mixedlm("value ~ 0 + system", frame, groups="whole", re_formula="0", vc_formula=parts)
        found = model.fit(reml=True)
    size = len(systems)
    spread = Spread(**dict(zip(model.exog_vc.names, map(float, found.vcomp), strict=True)), rest=float(found.scale))
    return np.asarray(found.fe_params, float), np.asarray(found.cov_params(), float)[:size, :size], spread


def _libraries() -> tuple[Any, Any]:
    try:
        import pandas
        from statsmodels.formula import api
    except ImportError as error:
        raise HubError("the statistics of a listening test need: pip install 'swaptunes[listen]'") from error
    return pandas, api


def _by_rater(ratings: Sequence[Rating], raters: Sequence[str], systems: Sequence[str]) -> Floats:
    """(raters systems): each rater's mean of each system, NaN where none was given."""
    sums, counts = np.zeros((len(raters), len(systems))), np.zeros((len(raters), len(systems)))
    row, column = {name: i for i, name in enumerate(raters)}, {name: i for i, name in enumerate(systems)}
    for rating in ratings:
        sums[row[rating.rater], column[rating.system]] += rating.value
        counts[row[rating.rater], column[rating.system]] += 1
    with np.errstate(invalid="ignore"):
        result: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return result


def _ranked(table: Floats, systems: Sequence[str]) -> tuple[float | None, dict[tuple[str, str], float]]:
    """Friedman's p over raters who rated all systems, and Wilcoxon's of each pair with Holm's correction."""
    from scipy import stats

    whole = table[~np.isnan(table).any(1)]
    friedman = None
    if len(systems) > 2 and len(whole) > 2 and np.ptp(whole, axis=1).any():
        friedman = float(stats.friedmanchisquare(*whole.T).pvalue)
    plain: dict[tuple[str, str], float] = {}
    for i, j in combinations(range(len(systems)), 2):
        both = table[~np.isnan(table[:, [i, j]]).any(1)]
        change = both[:, i] - both[:, j]
        plain[systems[i], systems[j]] = float(stats.wilcoxon(change).pvalue) if np.any(change) else 1.0
    return friedman, holm(plain)


def holm(values: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """p-values corrected for all of them together (Holm 1979)."""
    largest, corrected = 0.0, {}
    for rank, (key, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, value * (len(values) - rank)))
        corrected[key] = largest
    return corrected


def alpha(ratings: Sequence[Rating]) -> float | None:
    """Krippendorff's alpha of interval data: 1 for raters who agree, 0 for chance; None where nothing varies."""
    by_clip: dict[str, list[float]] = {}
    for rating in ratings:
        by_clip.setdefault(rating.clip, []).append(rating.value)
    units = [np.array(values) for values in by_clip.values() if len(values) > 1]
    if not units:
        return None
    whole = np.concatenate(units)
    # The mean squared difference of all ordered pairs is twice the variance with n - 1.
    expected = 2 * float(whole.var(ddof=1))
    observed = sum(2 * len(unit) * float(unit.var(ddof=1)) for unit in units) / len(whole)
    return None if expected == 0 else 1 - observed / expected


def strengths(preferences: Sequence[Preference], draws: int = 1000, seed: int = 0) -> list[Mean]:
    """Bradley-Terry strengths (log-odds, mean 0) of the systems; intervals by drawing raters again."""
    try:
        import choix
    except ImportError as error:
        raise HubError("the statistics of paired comparisons need: pip install 'swaptunes[listen]'") from error
    systems = sorted({name for each in preferences for name in (each.first, each.second)})
    raters = sorted({each.rater for each in preferences})
    if len(systems) < 2 or len(raters) < 2:
        told = f"comparisons by {counted(len(raters), 'rater')} of {counted(len(systems), 'system')}"
        raise HubError(f"{told}; expected two of each at least")
    place = {name: i for i, name in enumerate(systems)}
    wins = {rater: np.zeros((len(systems), len(systems))) for rater in raters}  # [i, j]: i over j
    for each in preferences:
        i, j = place[each.first], place[each.second]
        wins[each.rater][i, j] += each.won
        wins[each.rater][j, i] += 1 - each.won
    cube = np.stack([wins[rater] for rater in raters])  # (raters systems systems)

    def fitted(counts: Floats) -> Floats:
        # Half a win both ways for each pair keeps a system that always won from running to infinity.
        result: Floats = choix.ilsr_pairwise_dense(counts + 0.5 * (1 - np.eye(len(systems))))
        return result - result.mean()

    generator = np.random.default_rng(seed)
    values = fitted(cube.sum(0))
    again = np.stack([fitted(cube[generator.integers(0, len(raters), len(raters))].sum(0)) for _ in range(draws)])
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Mean(name, float(values[i]), float(low[i]), float(high[i])) for i, name in enumerate(systems)]


def raters_needed(opinion: Opinion, difference: float, power: float = 0.8) -> int | None:
    """How many raters would tell two means `difference` apart with this power at 95 %, all pairs together.

    Each rates as many clips as now. None: no number of raters suffices, since the clips alone vary too much.
    """
    from scipy import stats

    level = 1 - (1 - LEVEL) / max(len(opinion.differences), 1)
    found, clips = opinion.spread, opinion.clips
    for raters in range(2, 2001):
        freedom = min(raters, clips) - 1
        reach = float(stats.t.ppf((1 + level) / 2, freedom) + stats.t.ppf(power, freedom))
        variance = 2 * (found.taste / raters + found.clip / clips + found.rest / (raters * clips))
        if reach * math.sqrt(variance) <= difference:
            return raters
    return None
