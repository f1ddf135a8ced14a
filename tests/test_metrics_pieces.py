"""Measures of single pieces, against values that a pencil gives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.metrics.decodability import decodability, empty_share
from plugins.metrics.parts.embedding import embed
from plugins.metrics.parts.intervals import by_halves, split_half, summary
from plugins.metrics.parts.notes import Notes, measure_of, notes_of, split_at
from plugins.metrics.pitch import (
    pitch_class_entropy,
    pitch_classes_used,
    pitch_entropy,
    pitch_range,
    pitches_used,
    scale_consistency,
)
from plugins.metrics.polyphony import polyphony, polyphony_rate
from plugins.metrics.repetition import lag_profile, repeated_share, similarity_error
from plugins.metrics.rhythm import empty_beat_rate, empty_measure_rate, groove_consistency
from plugins.metrics.roll_surprise import (
    key_shares,
    key_transitions,
    per_step,
    roll_of,
    surprise,
    surprise_of_changes,
)
from tests.made_scores import line, score, tune, tunes

MAJOR = [60, 62, 64, 65, 67, 69, 71]


def notes(*tracks: list[tuple[float, float, int]], steps: int = 12, drums: bool | None = False) -> Notes:
    return notes_of(score(*tracks), steps, drums=drums)


def test_a_scale_in_c_major() -> None:
    scale = notes(line(MAJOR))
    assert pitch_class_entropy(scale) == pytest.approx(math.log2(7), abs=1e-12)
    assert pitch_class_entropy(notes(line([*MAJOR, 72]))) == pytest.approx(2 / 8 * 2 + 6 / 8 * 3, abs=1e-12)
    assert pitch_entropy(notes(line([*MAJOR, 72]))) == pytest.approx(3.0, abs=1e-12)
    assert scale_consistency(scale) == 1.0
    assert (pitch_range(scale), pitches_used(scale), pitch_classes_used(notes(line([*MAJOR, 72])))) == (11, 7, 7)


def test_chromatic_pitches_fill_every_class() -> None:
    chromatic = notes(line(range(60, 72)))
    assert pitch_class_entropy(chromatic) == pytest.approx(math.log2(12), abs=1e-12)
    assert scale_consistency(chromatic) == pytest.approx(7 / 12)
    assert scale_consistency(notes(line([57, 59, 60, 62, 64, 65, 67]))) == 1.0  # natural minor
    assert scale_consistency(notes(line([57, 59, 60, 62, 64, 65, 68]))) == pytest.approx(6 / 7)  # harmonic minor


@given(st.lists(st.integers(12, 115), min_size=1, max_size=30), st.integers(-12, 12))
@settings(max_examples=30, deadline=None)
def test_transposition_changes_no_pitch_measure(pitches: list[int], by: int) -> None:
    here, there = notes(line(pitches)), notes(line([pitch + by for pitch in pitches]))
    for measure in (pitch_class_entropy, pitch_entropy, scale_consistency, pitch_range, pitches_used):
        assert measure(here) == pytest.approx(measure(there), abs=1e-12)


def test_polyphony_counts_pitches_not_notes() -> None:
    triad = [(0.0, 2.0, pitch) for pitch in (60, 64, 67)]
    piece = notes(triad, [(3.0, 1.0, 60)], [(0.0, 1.0, 60)])  # the doubled C is one pitch
    assert polyphony(piece) == pytest.approx((2 * 3 + 1) / 3)
    assert polyphony_rate(piece) == pytest.approx(2 / 4)
    assert polyphony_rate(notes([(0, 1, 60), (0, 1, 64), (1, 1, 60)])) == 0.0, "two at once are not more than two"


def test_groove_counts_a_trailing_measure() -> None:
    four = line([60] * 4)
    # Two full measures end at the beginning of a third, which is empty and counts.
    assert groove_consistency(notes([*four, *line([60] * 4, begin=4)], steps=4)) == pytest.approx(1 - 4 / (16 * 2))
    assert groove_consistency(notes(line([60] * 3), steps=4)) is None
    # At a finer grid the same four onsets weigh less.
    assert groove_consistency(notes([*four, *line([60] * 4, begin=4)], steps=12)) == pytest.approx(1 - 4 / (48 * 2))


def test_empty_beats_are_those_that_no_note_touches() -> None:
    # Beats 0 to 6; a note that ends on beat 1 fills it.
    assert empty_beat_rate(notes([(0, 1, 60), (5, 1, 60)])) == pytest.approx(3 / 7)
    assert empty_measure_rate(notes([(0, 1, 60), (8, 1, 60)])) == pytest.approx(1 / 3)


def test_drums_count_for_rhythm_alone() -> None:
    piece = score(line([60, 62]), line([36] * 8), drums=(1,))
    assert (
        len(notes_of(piece)) == 2 and len(notes_of(piece, drums=True)) == 8 and len(notes_of(piece, drums=None)) == 10
    )


def test_the_grid_rounds_onset_and_end_each_half_to_even() -> None:
    found = notes_of(score([(0.125, 0.125, 60), (1.0, 0.001, 62), (1.0, 0.375, 64)], ticks=1000), 4)
    assert found.onset.tolist() == [0, 4, 4] and found.end.tolist() == [1, 5, 6]


def test_a_score_splits_into_prompt_and_continuation() -> None:
    piece = score(line(MAJOR), line([36] * 7), meter="3/4")
    head, tail = split_at(piece, 3)
    assert notes_of(head).pitch.tolist() == [36, 60, 36, 62, 36, 64]
    assert notes_of(tail).onset.tolist() == [0, 0, 12, 12, 24, 24, 36, 36]
    assert measure_of(head) == measure_of(tail) == 3.0 and measure_of(score(line(MAJOR))) == 4.0


def test_means_come_with_an_interval_that_covers_them() -> None:
    draws = np.random.default_rng(3)
    samples = [draws.normal(5.0, 2.0, 40) for _ in range(100)]
    covered = [found["low"] <= 5.0 <= found["high"] for found in map(summary, samples)]
    assert 85 <= sum(covered) <= 100
    found = summary([*samples[0], None, math.nan, math.inf])
    assert (found["n"], found["failures"]) == (40, 3)
    assert found == summary([math.nan, None, *samples[0][::-1], math.inf])
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * samples[0].std() / 40**0.5, rel=0.15)


def test_half_samples_vary_as_the_whole_does() -> None:
    values = np.random.default_rng(4).normal(0.0, 1.0, 200)
    low, high = by_halves(lambda rows: float(values[rows[0]].mean()), (200,), float(values.mean()))
    assert high - low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.3)
    assert by_halves(lambda rows: 0.0, (8, 8), 0.5, least=0.0, most=1.0) == (0.5, 0.5)
    assert by_halves(lambda rows: 0.0, (80, 7), 0.5, least=0.0, most=1.0) == (None, None)
    floor = split_half(lambda one, two: float(not set(one) & set(two)), 9)
    assert floor == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 4}


def test_repetition_is_found_at_any_pitch() -> None:
    theme = [60, 64, 62, 67, 65, 71, 60, 69, 62, 72]
    twice = score(line([*theme, *[pitch + 5 for pitch in theme]]))
    runs, repeated = 20 - 1 - 8 + 1, 10 - 1 - 8 + 1
    assert repeated_share(twice) == pytest.approx(repeated / runs)
    assert repeated_share(score(line(theme))) == 0.0
    assert repeated_share(score(line([60] * 30))) == pytest.approx(1 - 1 / 22)
    assert repeated_share(score(line([60] * 8))) is None


def test_likeness_peaks_at_the_period() -> None:
    profile = lag_profile(notes(line([60, 62, 64] * 8)))
    # 24 beats; at the end of the last note an empty one begins, which is like none.
    assert profile[[2, 5]] == pytest.approx([21 / 22, 18 / 19])
    assert profile[[0, 1, 3]] == pytest.approx([0.0, 0.0, 0.0])
    assert math.isnan(profile[40])
    assert similarity_error(tunes(4), tunes(4))["value"] == 0.0
    period = [score(line([60, 62, 64] * 8))] * 4
    other = [score(line([60, 62, 64, 65] * 6))] * 4
    assert similarity_error(period, other)["value"] > 0.3


def test_outputs_that_are_no_music_are_told_apart() -> None:
    outputs = [score(line(MAJOR)), score(), None, score([(2e6, 1, 60)], ticks=4)]
    assert decodability(outputs, [])["value"] == 0.5
    found = empty_share(outputs, [])
    assert (found["value"], found["n"], found["failures"]) == (pytest.approx(1 / 3), 3, 1)


def test_a_piece_of_drums_alone_is_not_empty() -> None:
    beats = score(line([36] * 4), drums=(0,))
    assert empty_share([beats, score()], [])["value"] == 0.5 and decodability([beats], [])["value"] == 1.0


def test_the_embedding_knows_neither_key_nor_tempo() -> None:
    melody = tune(1)
    up = [(onset, duration, pitch + 3) for onset, duration, pitch in melody]
    here, there, other = embed([score(melody), score(up, ticks=96), score(tune(2))])
    assert here.shape == (100,)
    assert np.abs(here - there).max() < 1e-12 < np.abs(here - other).max()


def test_surprise_of_keys_by_hand() -> None:
    roll = roll_of(score([(0, 0.5, 60), (0.25, 0.25, 64)]))
    assert roll.shape == (2, 88) and roll.sum(axis=1).tolist() == [1, 2]
    shares = key_shares([roll])
    assert (shares[60 - 21], shares[64 - 21], shares[0]) == (3 / 4, 2 / 4, 1 / 4)
    first = -math.log(3 / 4) - math.log(1 / 2) - 86 * math.log(3 / 4)
    assert surprise(roll, shares) == pytest.approx([first, first])
    assert per_step([surprise(roll, shares), np.zeros(2)]) == pytest.approx(first / 2)
    # After silence one of 87 keys began; after sound the one went on.
    transitions = key_transitions([roll])
    assert (transitions[1, 39], transitions[0, 43], transitions[0, 0]) == (1.5 / 2, 1.5 / 2, 0.5 / 2)
    expected = -2 * math.log(3 / 4) - 86 * math.log(3 / 4)
    assert surprise_of_changes(roll, transitions) == pytest.approx([expected])
