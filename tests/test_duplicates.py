"""What counts as the same music, and what the sketch finds in spite of changes."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
import symusic
from numpy.typing import NDArray

from core.distinct import distinct
from datatools.preparing.duplicates import HASHES, NEAR, NearIndex, exact_key, minhash, shingles, similarity, sketch
from tests.tunes import tune

GOLDEN_KEY = "7f86031b03b83090d28ee93d285598fc03377d4c8ea6893cf8ab0b8b25ee3873"
GOLDEN_SKETCH = [6105753, 24076944, 32806371, 75358722]


def test_exact_key_ignores_transposition_and_dress() -> None:
    key = exact_key(tune(1))
    dressed = tune(1, shift=7)
    dressed.tracks[0].program, dressed.tracks[0].name = 40, "another title"
    dressed.tempos = [symusic.Tempo(0, 90.0)]
    for note in dressed.tracks[0].notes:
        note.velocity = 20
    assert exact_key(dressed) == key
    assert exact_key(tune(1).shift_time(960)) == key
    assert exact_key(tune(1).resample(960)) == key


def test_exact_key_ignores_the_order_of_tracks() -> None:
    one, other = tune(1), tune(2)
    pair, reverse = symusic.Score(480), symusic.Score(480)
    pair.tracks.extend([one.tracks[0], other.tracks[0]])
    reverse.tracks.extend([other.tracks[0], one.tracks[0]])
    assert exact_key(pair) == exact_key(reverse)
    assert exact_key(pair) != exact_key(one)


@pytest.mark.parametrize("change", [{"changed": 1}, {"stretch": 2}, {"notes": 59}])
def test_exact_key_tells_other_notes_apart(change: dict[str, int]) -> None:
    assert exact_key(tune(1, **change)) != exact_key(tune(1))


def test_drums_are_no_pitches() -> None:
    def drummed(pitch: int) -> str:
        score, drums = tune(1), symusic.Track("drums", 0, True)
        drums.notes.append(symusic.Note(0, 120, pitch, 80))
        score.tracks.append(drums)
        return exact_key(score)

    assert drummed(36) != drummed(38)
    assert np.array_equal(sketch(tune(1)), sketch(tune(1, shift=3)))


def test_sketch_survives_transposition_and_tempo() -> None:
    assert np.array_equal(sketch(tune(3)), sketch(tune(3, shift=-5, stretch=2)))


def test_the_melody_above_an_accompaniment_counts() -> None:
    """A lower voice that goes its own way, at each onset of the melody and in one track with it, changes nothing."""
    accompanied = tune(3)
    lower = [symusic.Note(n.time, n.duration, 30 + 7 * i % 11, 80) for i, n in enumerate(accompanied.tracks[0].notes)]
    accompanied.tracks[0].notes = [*lower, *accompanied.tracks[0].notes]
    assert np.array_equal(sketch(accompanied), sketch(tune(3)))


def test_golden_values() -> None:
    """Ledgers on disk hold keys and sketches: a change here would let pieces change sides unseen."""
    assert exact_key(tune(0)) == GOLDEN_KEY
    assert sketch(tune(0))[:4].tolist() == GOLDEN_SKETCH


def test_sketches_estimate_the_jaccard_similarity() -> None:
    """Against the sets themselves; the standard error of HASHES hashes is at most 0.044."""
    errors = []
    for seed, changed in itertools.product(range(6), (1, 3, 6, 10)):
        one, other = (set(shingles(score).tolist()) for score in (tune(seed), tune(seed, changed=changed)))
        true = len(one & other) / len(one | other)
        errors.append(similarity(sketch(tune(seed)), sketch(tune(seed, changed=changed))) - true)
    assert np.abs(errors).max() < 0.15
    assert abs(np.mean(errors)) < 0.03


def indexed(sketches: list[NDArray[np.uint32]], added: Iterable[int]) -> NearIndex:
    index = NearIndex(sketches)
    for number in added:
        index.add(number)
    return index


def test_near_finds_changed_tunes_and_no_others() -> None:
    own = [sketch(tune(seed)) for seed in range(60)]
    changed = [sketch(tune(seed, changed=4, shift=2, stretch=2)) for seed in range(60)]
    index = indexed(own + changed, ())
    for number in range(60):
        assert index.near(number) == []
        index.add(number)
    for number in range(60):
        assert [name for name, _ in index.near(60 + number)] == [number]


def test_bands_miss_next_to_nothing() -> None:
    """The index finds what comparing everything with everything finds, up to one in fifty."""
    sketches = [sketch(tune(seed, changed=changed)) for seed in range(12) for changed in range(0, 15, 2)]
    index = indexed(sketches, range(len(sketches)))
    true = {(i, j) for i, one in enumerate(sketches) for j, two in enumerate(sketches) if similarity(one, two) >= NEAR}
    found = {(i, j) for i in range(len(sketches)) for j, _ in index.near(i)}
    assert found <= true
    assert len(found) >= 0.98 * len(true)


def test_only_those_that_were_added_are_near() -> None:
    """Against a comparison of all with all: every second one is added, and the nearest comes first."""
    sketches = [sketch(tune(seed, changed=changed)) for seed in range(9) for changed in range(0, 9, 2)]
    added = range(0, len(sketches), 2)
    index = indexed(sketches, added)
    for number, one in enumerate(sketches):
        alike = sorted((-similarity(one, sketches[other]), other) for other in added)
        assert index.near(number) == [(other, -less) for less, other in alike if -less >= NEAR]


def test_equal_sketches_are_found_under_the_first_that_was_added() -> None:
    index = indexed([sketch(tune(1))] * 6, (5, 3, 4))
    assert index.near(0) == [(5, 1.0)]


def test_an_index_of_nothing() -> None:
    NearIndex([])


@pytest.mark.parametrize("pitches", [[60], [60, 62], [60, 62, 64], [60] * 40])
def test_scraps_of_music_have_sketches(pitches: list[int]) -> None:
    score = symusic.Score(480)
    for is_drum in (False, True):
        track = symusic.Track("scrap", 0, is_drum)
        for place, pitch in enumerate(pitches):
            track.notes.append(symusic.Note(480 * place, 480, pitch, 80))
        score.tracks.append(track)
    own = sketch(score)
    assert own.shape == (HASHES,) and own.dtype == np.uint32
    assert similarity(own, sketch(tune(1))) < NEAR


def test_minhash_of_a_large_set_is_the_least_of_its_parts() -> None:
    values = np.arange(10_000, dtype=np.uint64)
    parts = [minhash(part) for part in np.array_split(values, 7)]
    assert np.array_equal(minhash(values), np.minimum.reduce(parts))


@pytest.mark.parametrize("values", [[], [3], [2, 2], [5, -1, 5, 0, 7, -1]])
def test_distinct_values_are_those_that_numpy_finds(values: list[int]) -> None:
    for kind in (np.int64, np.int32):
        row = np.array(values, dtype=kind)
        found = distinct(row)
        assert found.dtype == row.dtype and np.array_equal(found, np.unique(row))
        assert row.tolist() == values, "the row itself stays as it was"


def unlike(*lengths: int, only: int | None = None) -> symusic.Score:
    """A track of so many notes each, whose intervals and ratios are not alike for long, or one of these tracks."""
    score = symusic.Score(480)
    for number, length in enumerate(lengths):
        if only not in (None, number):
            continue
        track, time = symusic.Track(), 0
        for n in range(length):
            track.notes.append(symusic.Note(time, 100, 40 + (7 * n * n + 3 * number) % 31, 80))
            time += 120 * (1 + (n * n + number) % 5)
        score.tracks.append(track)
    return score


@pytest.mark.parametrize("length", range(1, 9))
def test_a_track_has_a_shingle_for_each_four_steps_and_one_at_least(length: int) -> None:
    """Two intervals with the ratio of their times are a step: of n notes n - 2 steps, n - 5 shingles."""
    assert len(shingles(unlike(length))) == max(1, length - 5)


def test_no_shingle_runs_from_one_track_into_the_next() -> None:
    alone = [shingles(unlike(9, 4, 12, only=number)) for number in range(3)]
    assert [len(found) for found in alone] == [4, 1, 7]
    assert set(shingles(unlike(9, 4, 12)).tolist()) == {hash for found in alone for hash in found.tolist()}
