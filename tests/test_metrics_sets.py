"""Comparisons of whole sets: densities, overlap, Frechet distance, distances of continuations."""

import math

import numpy as np
import pytest

from core.errors import HubError
from plugins.metrics import overlap_area as overlap_area_module
from plugins.metrics.frechet import distance, frechet, frechet_metric, individual
from plugins.metrics.harmonic_distance import harmonic_distance, one_minus_cosine
from plugins.metrics.note_duration_distance import durations, note_duration_distance
from plugins.metrics.overlap_area import agreement, distances, kl_divergence, overlap_area, within
from plugins.metrics.parts import word_vectors
from plugins.metrics.parts.density import Density, divergence, overlap, pair
from plugins.metrics.parts.distance_histograms import divergence as histogram_divergence
from plugins.metrics.parts.distance_histograms import until, wasserstein
from plugins.metrics.parts.embedding import embed
from plugins.metrics.parts.harmony import chord, key_of, reduction, sounding_times
from plugins.metrics.parts.notes import notes_of, split_at
from plugins.metrics.pitch_class_distance import pitch_class_distance, pitch_classes, relative_entropy
from tests.made_scores import line, score, tunes


def direct(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The density by its definition, every value at every point."""
    width = values.std(ddof=1) * len(values) ** -0.2
    return np.exp(-0.5 * ((points[:, None] - values) / width) ** 2).mean(axis=1) / (width * math.sqrt(2 * math.pi))


def test_the_density_is_that_of_the_definition() -> None:
    values = np.random.default_rng(0).gamma(2.0, 1.0, 300)
    points = np.linspace(-1.0, 9.0, 777)
    found = Density(values, (-1.0, 9.0))(points)
    assert np.abs(found - direct(values, points)).max() < 1e-5 * direct(values, points).max()


def test_the_density_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).normal(3.0, 2.0, 150)
    points = np.linspace(values.min(), values.max(), 500)
    assert Density(values)(points) == pytest.approx(stats.gaussian_kde(values)(points), rel=1e-4)


def test_overlap_of_two_normal_samples() -> None:
    draws = np.random.default_rng(2)
    f, g = pair(draws.normal(0, 1, 40_000), draws.normal(1, 1, 40_000))
    # Two normal densities one deviation apart share 2 Phi(-1/2); KL is 1/2. Smoothing widens both a little.
    assert overlap(f, g) == pytest.approx(0.6171, abs=0.02)
    assert divergence(f, g, "common") == pytest.approx(0.5, abs=0.06)
    assert divergence(f, g, "mgeval") < 0.15  # which does not see that they are apart
    assert overlap(f, f) == pytest.approx(1.0, abs=2e-3) and divergence(f, f) == 0.0
    with pytest.raises(HubError, match="no kind of divergence"):
        divergence(f, g, "other")


def test_overlap_and_divergence_are_finite_wherever_values_lie() -> None:
    for one, other in (([1.0], [1.0]), ([0.0, 0.0], [5.0, 5.0]), ([0.0, 1e-9], [0.0, 1e9]), ([1, 2, 3], [1e6, 1e6])):
        f, g = pair(np.array(one, dtype=float), np.array(other, dtype=float))
        figures = overlap(f, g), divergence(f, g), divergence(f, g, "common"), divergence(g, f, "common")
        assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
        assert figures[0] <= 1.0
    same = pair(np.full(5, 2.0), np.full(7, 2.0))
    assert overlap(*same) == 1.0 and divergence(*same, "common") == 0.0


def test_equal_sets_do_not_overlap_fully() -> None:
    values = np.random.default_rng(5).normal(0, 1, (20, 1))
    square = distances(values, values)
    assert within(square).size == 380
    found = agreement(within(square), square.ravel())
    # Twenty self-distances of nought are among those between the sets.
    assert 0.8 < found["overlap_area"] < 0.99 and 0 < found["kl_mgeval"] < 0.1
    pieces = tunes(12)
    assert 0.6 < overlap_area(pieces, pieces)["value"] < 0.99
    with_one_more = overlap_area(tunes(13), pieces)
    assert with_one_more["n"] == 12 and with_one_more["failures"] == 0


def test_the_overlap_tells_music_from_another_kind() -> None:
    real, other = tunes(30), [score(line([60 + seed % 3] * (10 + seed))) for seed in range(30)]
    same, apart = overlap_area(tunes(30, 50), real), overlap_area(other, real)
    assert apart["high"] < same["low"]
    assert same["ceiling"]["n"] == 15 and set(same["features"]) == set(apart["features"])
    assert kl_divergence(other, real)["value"] > 0


def test_frechet_of_two_normal_distributions() -> None:
    mean, size, scale = np.array([1.0, -2.0, 0.5]), 3, 1.7
    found = frechet(np.zeros(size), np.eye(size), mean, scale**2 * np.eye(size))
    assert found == pytest.approx(float(mean @ mean) + size * (1 - scale) ** 2, abs=1e-12)
    # Samples made to have these moments exactly; more of them than dimensions, and then fewer.
    draws = np.random.default_rng(6)
    for count in (50, 7):
        raw = draws.normal(size=(count, size))
        raw -= raw.mean(axis=0)
        white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
        assert distance(white, scale * white + mean) == pytest.approx(found, abs=1e-10)
    assert distance(white, white) == 0.0
    assert individual(white[:1], white)[0] == pytest.approx(float(white[0] @ white[0]))


def test_both_ways_to_the_frechet_distance_agree() -> None:
    draws = np.random.default_rng(7)
    mix = draws.normal(size=(6, 6))
    for n, m in ((5, 4), (40, 5), (40, 60)):
        one, other = draws.normal(size=(n, 6)) @ mix, draws.normal(size=(m, 6)) + 1
        moments = [part for x in (one, other) for part in (x.mean(axis=0), np.cov(x, rowvar=False))]
        assert distance(one, other) == pytest.approx(frechet(*moments), rel=1e-6)


def test_the_frechet_metric_takes_any_embedding() -> None:
    real, same = tunes(40), tunes(40, 60)
    other = [score(line([60, 61] * 20, 0.25 + seed % 3)) for seed in range(40)]
    near, far = (frechet_metric(embed)(set_, real) for set_ in (same, other))
    assert near["value"] < far["value"] / 5 and near["floor"]["n"] == 20
    assert near["limit"] < near["value"] + 0.1 and near["n_reference"] == 40
    assert frechet_metric(embed)(real, real[::-1])["value"] == 0.0
    counted = frechet_metric(lambda scores: np.array([[len(notes_of(s))] for s in scores], dtype=float))
    assert counted(tunes(5, notes=30), tunes(5, notes=30))["failures"] == 0


def test_relative_entropy_of_counts() -> None:
    one, other = np.array([3.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0])
    assert relative_entropy(one, other) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-5)
    assert relative_entropy(one, one) == 0.0 and relative_entropy(one, 5 * one) == pytest.approx(0.0, abs=1e-6)
    assert math.isfinite(relative_entropy(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


def test_pitch_classes_and_durations_count_every_note() -> None:
    chord_of_flats = notes_of(score([(0, 1, 63), (0, 1, 70), (0, 0.5, 75)]))
    assert np.flatnonzero(pitch_classes(chord_of_flats)).tolist() == [3, 10]
    assert {at: int(n) for at, n in enumerate(durations(chord_of_flats)) if n} == {6: 1, 12: 2}
    octave = notes_of(score([(0, 1, 75), (0, 1, 82), (0, 0.5, 63)]))
    assert (pitch_classes(octave) == pitch_classes(chord_of_flats)).all()


def test_histogram_divergence_is_finite_and_smoothed() -> None:
    draws = np.random.default_rng(8)
    one, other = draws.normal(0, 1, 900), draws.normal(0, 1, 900)
    assert 0 < histogram_divergence(one, other) < 0.1  # without smoothing an empty bin makes it infinite
    assert histogram_divergence(one, one) == 0.0 and histogram_divergence(one[:0], one) == 0.0
    assert histogram_divergence(np.zeros(3), np.zeros(4)) == 0.0
    p, q = np.array([2.5, 0.5]) / 3, np.array([1.5, 1.5]) / 3
    by_hand = histogram_divergence(np.array([0.0, 0.0]), np.array([0.0, 1.0]), bins=2)
    assert by_hand == pytest.approx(float((p * np.log(p / q)).sum()))


def test_wasserstein_is_the_distance_moved() -> None:
    values = np.array([0.0, 1.0, 5.0])
    assert wasserstein(values, values + 3) == pytest.approx(3.0) and wasserstein(values, values) == 0.0
    assert wasserstein(np.array([0.0]), np.array([0.0, 1.0])) == pytest.approx(0.5)


def test_both_continuations_are_cut_alike() -> None:
    piece = notes_of(score(line([60, 62, 64, 65])))
    cut = until(piece, 30)
    assert (cut.onset.tolist(), cut.end.tolist()) == ([0, 12, 24], [12, 24, 30])
    # A generated piece that goes on beyond the original says nothing more.
    prompts, originals = zip(*(split_at(whole, 8) for whole in tunes(5)), strict=True)
    longer = [
        score(
            [(note.time / 480, note.duration / 480, note.pitch) for track in original.tracks for note in track.notes],
            [(1000, 1, 61)],
        )
        for original in originals
    ]
    assert pitch_class_distance(longer, originals, prompts=prompts)["value"] == 0.0
    assert note_duration_distance(longer, originals, prompts=prompts)["generated"]["n"] == 5


def test_keys_and_chords() -> None:
    cadence = [[60, 64, 67], [65, 69, 72], [67, 71, 74, 77], [64, 67, 72]]
    notes = notes_of(score([(4.0 * bar, 4.0, pitch) for bar, chord_ in enumerate(cadence) for pitch in chord_]))
    assert key_of(notes) == (0, "major")
    assert reduction(notes, 4.0) == ["0maj/0", "5maj/0", "77/0", "0maj/4"]
    up = notes_of(score([(4.0 * bar, 4.0, pitch + 3) for bar, chord_ in enumerate(cadence) for pitch in chord_]))
    assert reduction(up, 4.0) == reduction(notes, 4.0)
    assert key_of(notes_of(score(line([57, 60, 64, 57, 59, 60, 56, 57])))) == (9, "minor")
    assert chord(np.array([], dtype=np.int64), 0) == "-"
    assert reduction(notes_of(score([(0, 1, 60), (8, 1, 60)])), 4.0) == ["0note/0", "-", "0note/0"]


def test_times_of_a_long_note_are_shared_among_measures() -> None:
    times = sounding_times(notes_of(score([(1, 9, 60), (4, 1, 64)])), 48)
    assert times[:, 60].tolist() == [36, 48, 24] and times[:, 64].tolist() == [0, 12, 0]


def test_words_with_like_neighbors_get_like_vectors() -> None:
    draws = np.random.default_rng(9)
    # x and y stand in the same places; z elsewhere.
    sequences = [["a", str(draws.choice(["x", "y"])), "b"] for _ in range(200)] + [["c", "z", "d"]] * 100
    vectors = word_vectors.learn(sequences)
    x, y, z = (vectors.mean([word]) for word in "xyz")
    assert one_minus_cosine(x, y) < 0.1 < one_minus_cosine(x, z)
    assert vectors.mean(["unheard"]) is None and vectors.unknown(["x", "unheard"]) == 1
    again = word_vectors.learn(sequences[::-1])
    assert np.array_equal(again.vectors, vectors.vectors) and again.digest == vectors.digest
    assert word_vectors.learn([["once"]]).words == {}


def test_the_ceiling_has_as_many_pieces_as_the_comparison_and_sets_are_cut_at_500() -> None:
    assert overlap_area(tunes(6, 50), tunes(20))["ceiling"]["n"] == 6
    assert overlap_area_module.LARGEST == 500


def test_harmonic_distance_counts_words_of_generated_pieces_by_their_own_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve quarters are four words in 3/4 and three in 4/4, in training as in what is scored."""
    learned: list[list[int]] = []
    real = word_vectors.learn

    def learn(sequences: list[list[str]]) -> word_vectors.WordVectors:
        learned.append([len(words) for words in sequences])
        return real(sequences)

    monkeypatch.setattr(word_vectors, "learn", learn)
    rows = line([60, 64, 67] * 4)
    waltz, march = score(rows, meter="3/4"), score(rows, meter="4/4")
    found = harmonic_distance([waltz, march, march], [march], training=[waltz, march])
    assert sorted(learned[0]) == [3, 4] and found["words"] == 10


def test_harmonic_distance_says_what_its_vectors_were_learned_from() -> None:
    result = harmonic_distance(tunes(5, 70), tunes(5, 80), training=tunes(8))
    assert result["vectors"]["trained_on"] == 8 and result["vectors"]["words"] > 5
    assert 0 <= result["unknown_words"] < result["words"]
    unlearned = harmonic_distance(tunes(5, 70), tunes(5, 80), training=[])
    assert unlearned["n"] == 0 and unlearned["failures"] == 5
