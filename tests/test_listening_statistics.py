"""Statistics of listening tests against hand-worked values, published examples and simulated raters."""

import math

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="the extra listen is not installed")

from core.errors import HubError
from supervisors.listening import statistics as listening
from supervisors.listening.statistics import Preference, Rating


def simulated(seed, means, raters=10, clips=6, rater=0.5, taste=0.3, clip=0.4, noise=0.7):
    """Ratings of a known model, one of every clip by every rater."""
    draw = np.random.default_rng(seed).normal
    people, tastes = draw(0, rater, raters), draw(0, taste, (raters, len(means)))
    pieces = draw(0, clip, (len(means), clips))
    return [
        Rating(f"r{r}", f"s{s}", f"s{s}c{c}", mean + people[r] + tastes[r, s] + pieces[s, c] + draw(0, noise))
        for r in range(raters)
        for s, mean in enumerate(means)
        for c in range(clips)
    ]


def test_alpha_is_krippendorff_s_own_example():
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C with interval data: 0.849.
    observers = (
        "123321412...",
        "123322412 5.3".replace(" ", ""),
        ".33323422 51.".replace(" ", ""),
        "123324412 51.".replace(" ", ""),
    )
    ratings = [
        Rating(str(who), "s", str(unit), float(value))
        for who, row in enumerate(observers)
        for unit, value in enumerate(row)
        if value != "."
    ]
    assert len(ratings) == 41
    assert listening.alpha(ratings) == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize(("seed", "raters", "clips", "systems"), [(3, 10, 6, 2), (8, 5, 9, 3)])
def test_the_intervals_are_those_of_the_analysis_of_variance_where_all_rate_all(seed, raters, clips, systems):
    # Balanced data with every part above nought: REML is the analysis of variance (Searle, Casella & McCulloch 1992).
    ratings = simulated(seed, (3.0, 3.4, 3.1)[:systems], raters, clips)
    y = np.array([rating.value for rating in ratings]).reshape(raters, systems, clips)
    cell, person, piece = y.mean(2), y.mean((1, 2)), y.mean(0)
    system, whole = y.mean((0, 2)), y.mean()
    taste = cell - person[:, None] - system[None] + whole
    mean_taste = clips * (taste**2).sum() / ((raters - 1) * (systems - 1))
    mean_clip = raters * ((piece - system[:, None]) ** 2).sum() / (systems * (clips - 1))
    rest = y - cell[:, :, None] - piece[None] + system[None, :, None]
    mean_rest = (rest**2).sum() / (systems * (raters - 1) * (clips - 1))
    variance = 2 * (mean_taste + mean_clip - mean_rest) / (raters * clips)
    from scipy import stats

    # All pairs hold together; degrees of freedom are those of the rarer, raters or clips.
    pairs = systems * (systems - 1) // 2
    half = stats.t.ppf(1 - 0.025 / pairs, min(raters, clips) - 1) * math.sqrt(variance)
    found = listening.opinions(ratings)
    assert (found.raters, found.clips, len(found.differences)) == (raters, clips, pairs)
    assert [mean.value for mean in found.means] == pytest.approx(system.tolist())
    (first, second, difference) = found.differences[0]
    assert (first, second) == ("s0", "s1")
    assert difference.value == pytest.approx(system[0] - system[1])
    assert (difference.high - difference.low) / 2 == pytest.approx(half, rel=2e-3)
    assert found.spread.rest == pytest.approx(mean_rest, rel=2e-3)


def test_equal_systems_are_not_ranked_and_far_ones_are():
    assert listening.supported(listening.opinions(simulated(1, (3.0, 3.0, 3.0)))) == []
    ranked = listening.supported(listening.opinions(simulated(1, (2.0, 3.0, 4.5), clips=10)))
    assert ("s2", "s0") in ranked and ("s0", "s2") not in ranked


def test_bradley_terry_of_two_is_the_log_odds_and_a_tie_is_half():
    preferences = [Preference(f"r{i}", "a", "b", 1.0) for i in range(6)]
    preferences += [Preference(f"q{i}", "b", "a", 1.0) for i in range(2)] + [Preference("t", "a", "b", 0.5)]
    first, second = listening.strengths(preferences, draws=50)
    assert (first.name, second.name) == ("a", "b")
    assert first.value - second.value == pytest.approx(math.log(7 / 3), abs=1e-6)
    assert first.low <= first.value <= first.high


def test_intervals_of_strengths_are_over_raters():
    def told(answers):
        return [Preference(f"r{i}", "a", "b", won) for i, one in enumerate(answers) for won in one]

    alike = listening.strengths(told([(1.0, 1.0, 0.0)] * 4), draws=40)
    assert all(mean.low == pytest.approx(mean.value) == mean.high for mean in alike), "whoever is drawn, the same"
    apart = listening.strengths(told([(1.0, 1.0, 1.0)] * 2 + [(0.0, 0.0, 0.0)] * 2), draws=400)
    # Of four raters drawn again all are of one kind once in eight times: 12 of 12 wins, and half a win both ways.
    assert (apart[0].low, apart[0].high) == pytest.approx((-math.log(25) / 2, math.log(25) / 2))
    assert apart[0].value == pytest.approx(0)
    with pytest.raises(HubError, match="comparisons by 1 rater of 2 systems"):
        listening.strengths(told([(1.0,)]))


def test_tests_of_ranks_are_scipy_s_over_raters_means_of_those_who_rated_both():
    from scipy import stats

    draw = np.random.default_rng(2)
    table = draw.integers(1, 6, (7, 3, 2)).astype(float)  # raters, systems, clips
    ratings = [
        Rating(f"r{r}", f"s{s}", f"s{s}c{c}", table[r, s, c]) for r in range(7) for s in range(3) for c in range(2)
    ]
    ratings = [one for one in ratings if (one.rater, one.system) != ("r6", "s2")]  # who has not heard one of them
    found = listening.opinions(ratings)
    means = table.mean(2)
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*means[:6].T).pvalue)
    plain = {
        pair: stats.wilcoxon(means[:rows, pair[0]] - means[:rows, pair[1]]).pvalue
        for pair, rows in (((0, 1), 7), ((0, 2), 6), ((1, 2), 6))
    }
    ordered, largest = sorted(plain, key=plain.__getitem__), 0.0
    for place, pair in enumerate(ordered):
        largest = max(largest, min(1.0, (3 - place) * plain[pair]))
        assert found.wilcoxon[f"s{pair[0]}", f"s{pair[1]}"] == pytest.approx(largest)


def test_holm_by_hand():
    plain = {("a", "b"): 0.01, ("a", "c"): 0.04, ("b", "c"): 0.03}
    assert listening.holm(plain) == pytest.approx({("a", "b"): 0.03, ("b", "c"): 0.06, ("a", "c"): 0.06})
    assert listening.holm({("a", "b"): 0.6, ("a", "c"): 0.9}) == {("a", "b"): 1.0, ("a", "c"): 1.0}


def test_power_knows_what_raters_cannot_buy():
    found = listening.opinions(simulated(5, (3.0, 3.0), raters=8, clips=6))
    near, far = listening.raters_needed(found, 0.3), listening.raters_needed(found, 2.0)
    assert far is not None and (near is None or near > far)


@pytest.mark.parametrize(
    ("systems", "clip", "needed"),
    [
        # From a table of Student's t with 7 degrees of freedom: 2.365 + 0.896 times sqrt(2 (0.25 + 1.2 / 8) / raters)
        # comes to 0.5 between 34 and 35 raters; for three pairs together 3.128 + 0.896 between 51 and 52.
        (2, 0.0, 35),
        (3, 0.0, 52),
        (2, 0.05, 73),  # 2 (0.05 / 8 + 0.4 / raters) must fall to 0.02351
        (2, 0.1, None),  # 2 * 0.1 / 8 is more than that already
    ],
)
def test_raters_that_are_needed_by_hand(systems: int, clip: float, needed: int | None) -> None:
    pairs = [(f"s{i}", f"s{j}", listening.Mean("difference", 0, 0, 0)) for j in range(systems) for i in range(j)]
    spread = listening.Spread(rater=9.0, taste=0.25, clip=clip, rest=1.2)
    opinion = listening.Opinion([], pairs, None, {}, None, spread, raters=3, clips=8)
    assert listening.raters_needed(opinion, 0.5) == needed


@pytest.mark.parametrize(
    "ratings", [simulated(0, (3.0,)), simulated(0, (3.0, 3.0), raters=1), simulated(0, (3, 3), clips=1)]
)
def test_too_few_to_say_anything(ratings):
    with pytest.raises(HubError, match="expected two of each at least"):
        listening.opinions(ratings)
