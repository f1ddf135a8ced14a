"""How sure a comparison is: known answers, coverage, and no ranking that intervals do not support."""

import math

import numpy as np
import pytest

from supervisors.comparison.intervals import Row, differences, interval, student


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 10, 2.2281), (0.99, 4, 3.7469), (0.975, 1e9, 1.9600)],
)
def test_student_quantiles_are_those_of_the_tables(probability: float, freedom: float, expected: float) -> None:
    assert student(probability, freedom) == pytest.approx(expected, abs=2e-4)


def test_the_value_is_the_ratio_of_sums() -> None:
    row = Row("a", np.array([[10.0, 30.0], [20.0, 40.0]]), np.array([5.0, 15.0]))
    assert row.value == pytest.approx(50 / 20)
    assert row.by_seed == pytest.approx([2.0, 3.0])


def test_one_piece_supports_no_interval() -> None:
    assert math.isinf(interval(Row("a", np.array([[10.0], [11.0]]), np.array([5.0]))).high)


# Mean over seeds 2, 6, 3 nats on 1, 2, 1 notes; 2.5 and 3 nats per note in the two seeds.
BY_HAND = Row("a", np.array([[1.5, 5.5, 3.0], [2.5, 6.5, 3.0]]), np.array([1.0, 2.0, 1.0]))


def test_an_interval_by_hand() -> None:
    """Residuals -0.75, 0.5, 0.25: 3/2 * 0.875 / 16 over pieces with 2 degrees; 0.125 / 2 over seeds with 1.

    Their sum 0.1445 has 2.8730 degrees, at which Student's quantile (from the incomplete beta function) is 3.26351.
    """
    found = interval(BY_HAND)
    assert found.value == pytest.approx(2.75)
    assert found.high - 2.75 == pytest.approx(2.75 - found.low) == pytest.approx(1.240697, abs=1e-5)


def test_differences_by_hand() -> None:
    """Of three rows; 2 * 0.125 / 2 over seeds with 2 degrees, where the quantile of 1 - 0.05 / 6 is 7.64881.

    The pieces come thrice, since fewer than eight rank nothing; a difference alike in each has no spread over them.
    """
    nats, notes = np.tile(BY_HAND.nats, 3), np.tile(BY_HAND.notes, 3)
    found = differences([Row(name, nats + shift * notes, notes) for name, shift in zip("abc", (0, 10, 12))])
    few = [Row(name, nats[:, :7] + shift * notes[:7], notes[:7]) for name, shift in zip("abc", (0, 10, 12))]
    assert not any(difference.better for difference in differences(few))
    assert [(d.first, d.second, d.better) for d in found] == [("a", "b", "a"), ("a", "c", "a"), ("b", "c", "")]
    for difference, shift in zip(found, (-10, -12, -2)):
        assert difference.estimate.value == pytest.approx(shift)
        assert difference.estimate.high - shift == pytest.approx(7.64881 * 0.125**0.5, abs=1e-4)


def _drawn(rng: np.random.Generator, shift: float = 0.0, seeds: int = 3, pieces: int = 40) -> Row:
    """Models of mean 2 + shift nats per note, with a spread over pieces and another over seeds."""
    notes = np.full(pieces, 50.0)
    per_note = 2 + shift + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.3, (1, pieces))
    return Row("x", per_note * notes, notes)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = sum((found := interval(_drawn(rng))).low <= 2 <= found.high for _ in range(400))
    assert 0.93 <= inside / 400 <= 0.995  # three seeds make them careful rather than exact


def test_equal_models_are_ranked_no_more_often_than_the_level_allows() -> None:
    rng = np.random.default_rng(1)
    ranked = 0
    for _ in range(300):
        difficulty = rng.normal(0, 0.3, (1, 40))
        rows = [
            Row(
                name,
                50 * (2 + rng.normal(0, 0.05, (3, 1)) + difficulty + rng.normal(0, 0.02, (3, 40))),
                np.full(40, 50.0),
            )
            for name in "abc"
        ]
        ranked += any(found.better for found in differences(rows))
    assert ranked / 300 <= 0.08


def test_many_seeds_of_one_row_do_not_stand_in_for_the_other_s() -> None:
    rng = np.random.default_rng(4)
    notes = np.full(40, 50.0)
    ranked = 0
    for _ in range(300):
        rows = [
            Row(name, 50 * (2 + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.02, (seeds, 40))), notes)
            for name, seeds in (("few", 2), ("many", 10))
        ]
        ranked += bool(differences(rows)[0].better)
    assert ranked / 300 <= 0.05


def test_a_clear_difference_is_ranked_and_pairing_finds_it() -> None:
    rng = np.random.default_rng(2)
    first = _drawn(rng)
    second = Row("y", first.nats + 50 * 0.5, first.notes)
    [found] = differences([first, second])
    assert found.better == "x" and found.estimate.high < 0
    assert found.estimate.value == pytest.approx(-0.5)


def test_one_seed_ranks_nothing_however_far_apart() -> None:
    rng = np.random.default_rng(3)
    first = _drawn(rng, seeds=1)
    [found] = differences([first, Row("y", first.nats + 500, first.notes)])
    assert found.better == ""


def test_other_pieces_are_refused() -> None:
    first = Row("a", np.ones((2, 2)), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="a and b were not measured on the same pieces"):
        differences([first, Row("b", np.ones((2, 2)), np.array([2.0, 2.0]))])
