"""Parts of the metrics on a few numbers that can be worked out by hand, and what each metric says of itself."""

import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import symusic

from plugins.metrics import frechet as frechet_module
from plugins.metrics import overlap_area as overlap_area_module
from plugins.metrics import repetition as repetition_module
from plugins.metrics import rhythm
from plugins.metrics.frechet import frechet, frechet_metric
from plugins.metrics.harmonic_distance import mean_without
from plugins.metrics.note_duration_distance import durations
from plugins.metrics.overlap_area import distances, inter_onset, kl_divergence_common, pitch_class_histogram, within
from plugins.metrics.parts import copies, word_vectors
from plugins.metrics.parts import distance_histograms as histograms_module
from plugins.metrics.parts.copies import Corpus, Melody, of_line
from plugins.metrics.parts.density import divergence as density_divergence
from plugins.metrics.parts.density import pair
from plugins.metrics.parts.distance_histograms import Distance, compare, divergence, until
from plugins.metrics.parts.embedding import distributions
from plugins.metrics.parts.harmony import chord, key_of, reduction, sounding_times
from plugins.metrics.parts.intervals import by_halves, share, split_half
from plugins.metrics.parts.longest_match import NOWHERE, Matches
from plugins.metrics.parts.notes import Notes, histogram, measure_of, notes_of, split_at
from plugins.metrics.pitch import entropy_bits, pitch_entropy
from plugins.metrics.pitch_class_distance import PITCH_CLASS, relative_entropy, without
from plugins.metrics.repetition import LAGS, lag_profile, profile_error, repeated_share
from tests.made_scores import line, score, tunes
from tests.test_metrics_laws import MODULES

FACTS: dict[str, tuple[str, bool | None, set[str]]] = {  # unit, whether higher is better, and how it is shown
    "pitch_class_entropy": ("bits", None, {"headline"}),
    "pitch_entropy": ("bits", None, set()),
    "scale_consistency": ("share of notes", None, set()),
    "pitch_range": ("semitones", None, set()),
    "n_pitches_used": ("pitches", None, set()),
    "n_pitch_classes_used": ("pitch classes", None, set()),
    "groove_consistency": ("share of steps", None, set()),
    "empty_beat_rate": ("share of beats", None, set()),
    "empty_measure_rate": ("share of measures", None, set()),
    "polyphony": ("pitches", None, set()),
    "polyphony_rate": ("share of steps", None, set()),
    "overlap_area": ("area", True, {"headline"}),
    "kl_divergence": ("nats", False, set()),
    "kl_divergence_common": ("nats", False, set()),
    "frechet_distance": ("squared distance", False, {"headline"}),
    "pitch_class_distance": ("nats", False, set()),
    "note_duration_distance": ("nats", False, set()),
    "harmonic_distance": ("nats", False, set()),
    "decodability": ("share of pieces", True, set()),
    "empty_share": ("share of pieces", False, set()),
    "repetition": ("share of runs", None, set()),
    "similarity_error": ("mean difference", False, set()),
    "originality": ("share of the piece", None, {"apart"}),
    "roll_surprise": ("nats a sixteenth", None, set()),
}


def notes(*rows: tuple[int, int, int]) -> Notes:
    """From (onset, end, pitch) in steps."""
    onset, end, pitch = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Notes(onset, end, pitch)


def test_what_each_metric_says_of_itself() -> None:
    found = {}

    def register(name: str, function: Any, *, unit: str, higher_is_better: bool | None, **shown: bool) -> None:
        assert callable(function)
        found[name] = (unit, higher_is_better, {key for key, value in shown.items() if value})

    for module in MODULES:
        import_module(f"plugins.metrics.{module}").register_metrics(register)
    assert found == FACTS


def test_entropies() -> None:
    assert entropy_bits(np.array([1.0, 1.0, 2.0, 0.0])) == 1.5
    assert entropy_bits(np.zeros(3)) is None
    assert pitch_entropy(notes((0, 1, 0), (0, 1, 127), (1, 2, 127), (1, 2, 60))) == 1.5


def test_relative_entropy() -> None:
    """Of (2, 1, 0, 0) from (2, 0, 1, 0): the last, which neither has, does not count."""
    p, q = np.array([2, 1, 0]) + 1e-6, np.array([2, 0, 1]) + 1e-6
    expected = sum(a / p.sum() * math.log((a / p.sum()) / (b / q.sum())) for a, b in zip(p, q, strict=True))
    found = relative_entropy(np.array([2.0, 1.0, 0.0, 0.0]), np.array([2.0, 0.0, 1.0, 0.0]))
    assert found == pytest.approx(expected) and found > 4
    found = relative_entropy(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
    assert found == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-5)


def test_what_is_pooled_leaves_one_out() -> None:
    vectors = [np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array([100.0, 300.0])]
    for pool in (without, mean_without):
        assert pool(vectors)(1).tolist() == [101.0, 302.0] and pool(vectors)(None).tolist() == [111.0, 322.0]


def test_durations_end_at_64_quarters() -> None:
    found = durations(notes((0, 3, 60), (0, 3, 64), (5, 5 + 768, 60), (9, 9 + 800, 60)))
    assert found is not None and len(found) == 769 and (found[3], found[768], found.sum()) == (2, 2, 4)


def test_small_frechet_distances() -> None:
    """Half a unit between the means of equal covariances; sets of two pieces, and silent ones, which do not count."""
    assert frechet(np.zeros(2), np.eye(2), np.array([0.5, 0.0]), np.eye(2)) == pytest.approx(0.25)
    metric = frechet_metric(lambda scores: np.array([[len(notes_of(one))] for one in scores], dtype=float))
    mine, theirs = [score(line([60] * count)) for count in (2, 4)], [score(line([60] * count)) for count in (5, 9)]
    found = metric([*mine, None, score([])], [None, *theirs, score([])])
    # Means 3 and 7, deviations the roots of 2 and 8.
    assert found["value"] == pytest.approx(16 + (math.sqrt(8) - math.sqrt(2)) ** 2)
    assert (found["n"], found["n_reference"], found["failures"]) == (2, 2, 2)
    assert metric(mine[:1], theirs)["n"] == metric(mine, theirs[:1])["n"] == 0
    assert found["individual"] == ((2 - 7) ** 2 + (4 - 7) ** 2) / 2
    more = metric([*mine, score(line([36]), drums=(0,))], [*theirs, theirs[0], theirs[1]])
    assert (more["n"], more["n_reference"], more["failures"]) == (3, 4, 0), "drums are notes, and these are no failures"


def test_the_limit_of_a_distance_is_where_its_line_against_1_by_n_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3 + 7 / n it is 3; of fewer than 16 pieces nothing is said."""
    sizes: list[int] = []

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        sizes.append(len(one))
        return 3 + 7 / len(one)

    monkeypatch.setattr(frechet_module, "distance", distance)
    draws = np.random.default_rng(0)
    assert frechet_module.limit(np.zeros((40, 1)), np.zeros((9, 1)), draws) == pytest.approx(3.0)
    assert (sizes[0], sizes[-1], len(sizes)) == (10, 40, 25)
    assert frechet_module.limit(np.zeros((15, 1)), np.zeros((9, 1)), draws) == 0.0
    assert frechet_module.limit(np.zeros((16, 1)), np.zeros((9, 1)), draws) == pytest.approx(3.0)


def test_features_of_the_overlap() -> None:
    octave = notes((0, 1, 60), (0, 1, 64), (1, 2, 72), (2, 3, 72))
    told = {name: overlap_area_module.FEATURES[name](octave) for name in ("note_count", "used_pitches", "pitch_range")}
    assert told == {"note_count": 4, "used_pitches": 3, "pitch_range": 12}
    assert overlap_area_module.overlap_area([*tunes(2), None, score([])], [*tunes(2), score([])])["failures"] == 2
    assert inter_onset(notes((0, 3, 60), (0, 3, 64))) == 0.0
    assert inter_onset(notes((0, 3, 60), (3, 6, 64))) == 1.0 and inter_onset(notes((0, 3, 60), (12, 15, 64))) == 4.0
    assert pitch_class_histogram(notes((0, 3, 60), (3, 4, 49))).tolist() == [0.75, 0.25, *[0.0] * 10]
    assert distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 2.0]])).tolist() == [[5.0, 2.0]]


def test_both_sides_of_the_overlap_by_the_definition() -> None:
    """Of the number of notes: the reference's own differences against those between the sets."""
    counts, others = np.array([[3.0], [4.0], [7.0]]), np.array([[5.0], [9.0], [20.0]])
    mine, theirs = ([score(line([60] * int(count))) for (count,) in some] for some in (counts, others))
    found = kl_divergence_common(mine, theirs)["features"]["note_count"]
    for side, own in (("reference", others), ("generated", counts)):
        inside = np.array([abs(a - b) for i, (a,) in enumerate(own) for j, (b,) in enumerate(own) if i != j])
        across = np.array([abs(a - b) for (a,) in others for (b,) in counts])
        assert sorted(within(distances(own, own))) == sorted(inside)
        assert found[side]["kl_common"] == pytest.approx(density_divergence(*pair(inside, across), "common"))


def test_a_peak_is_as_narrow_as_the_joint_range_allows() -> None:
    one, other = pair(np.array([1.0, 1.0]), np.array([0.0, 1.0, 10.0]))
    assert one.bandwidth == pytest.approx(10 / 4000)
    assert other.bandwidth == pytest.approx(np.std([0, 1, 10], ddof=1) * 3**-0.2)


def test_the_divergence_of_distances_by_loops() -> None:
    one, other = np.array([0.0, 1.0, 2.0, 2.0]), np.array([5.0, 6.0])
    p, q = [0.5] * 99, [0.5] * 99
    for values, counts in ((one, p), (other, q)):
        for value in values:
            counts[min(int(value / 6 * 99), 98)] += 1
    expected = sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))
    assert divergence(one, other) == pytest.approx(expected) and expected > 0
    assert divergence(one, one[:0]) == divergence(one[:0], one) == divergence(one[:1], one[:1]) == 0.0


def test_distances_from_a_reference_of_too_few_pieces_are_none() -> None:
    silent: Distance[Any] = Distance(lambda notes, measure: None, lambda one, other: 1.0, without)
    found = compare(silent, tunes(3), tunes(2), None)
    assert (found["value"], found["n"], found["failures"], found["anchor"]) == (0.0, 0, 3, "reference")


def test_notes_until_a_step() -> None:
    found = until(notes((0, 9, 60), (4, 5, 62), (5, 6, 64)), 5)
    assert (found.onset.tolist(), found.end.tolist(), found.pitch.tolist()) == ([0, 4], [5, 5], [60, 62])


def test_blocks_of_the_embedding() -> None:
    """Durations of 1, 2, ... steps, one note after another a semitone up, but for a leap of two octaves."""
    rows, onset = [], 0
    for duration in range(1, 101):
        rows.append((onset, onset + duration, 20 + duration % 5 + 24 * (duration == 100)))
        onset += duration
    blocks = distributions(notes(*rows))
    assert [len(block) for block in blocks] == [25, 12, 12, 15, 15, 12, 9]
    # Borders 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 36, 48, 96 of a quarter's twelfths.
    assert blocks[3].tolist() == [1, 1, 1, 1, 2, 2, 1, 3, 4, 2, 6, 12, 12, 48, 4]
    assert blocks[4].tolist() == [1, 1, 1, 1, 2, 2, 1, 3, 4, 2, 6, 12, 12, 48, 3]
    assert (blocks[0][24], blocks[0][13], blocks[0][8], blocks[0].sum()) == (1, 79, 19, 99)
    assert blocks[6].tolist() == [0.0, 5050.0, *[0.0] * 7]
    assert distributions(notes((0, 1, 60), (9, 109, 60)))[4][6] == 1  # nine steps are the seventh border


def test_times_that_pitches_sound_in_measures() -> None:
    found = sounding_times(notes((0, 12, 60), (6, 30, 64), (24, 36, 67), (35, 36, 1), (12, 25, 50)), 12)
    assert found.shape == (3, 128) and found.sum() == 12 + 24 + 12 + 1 + 13
    assert [found[k, 64] for k in range(3)] == [6, 12, 6]
    assert (found[0, 60], found[2, 67], found[2, 1], found[1, 50], found[2, 50]) == (12, 12, 1, 12, 1)


def test_a_key_is_where_the_correlation_is_highest() -> None:
    """Against NumPy's coefficient with the published profiles (Krumhansl 1990, table 2.1), on any mixture of times."""
    profiles = {
        "major": [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        "minor": [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    }
    draws = np.random.default_rng(0)
    modes = set()
    for _ in range(60):
        times = draws.integers(1, 30, 12)
        fits = {
            (tonic, mode): np.corrcoef(times, [profile[(pitch - tonic) % 12] for pitch in range(12)])[0, 1]
            for mode, profile in profiles.items()
            for tonic in range(12)
        }
        found = key_of(notes_of(score([(0.0, float(time), 48 + pitch) for pitch, time in enumerate(times)])))
        assert found == max(fits, key=lambda key: fits[key])
        modes.add(found[1])
    assert modes == {"major", "minor"}


def test_chords_and_keys() -> None:
    triad = [(0, 12, pitch) for pitch in (60, 64, 67)]
    assert key_of(notes(*triad, (12, 24, 60))) == (0, "major")
    assert chord(np.array([55, 59, 62]), 0) == "7maj/0" and chord(np.array([59, 62, 67]), 0) == "7maj/4"
    assert chord(np.array([57, 60, 64]), 0) == "9min/0" and chord(np.array([60, 64, 67, 70]), 0) == "07/0"
    # Measures of two quarters: C, nothing, and G7, beside which a shorter fifth pitch plays no part.
    bars = [(0, 24, pitch) for pitch in (48, 60, 64, 67)] + [(48, 72, pitch) for pitch in (55, 59, 62, 65)]
    for more in ([], [(48, 50, 61)]):
        assert reduction(notes(*bars, *more), 2.0) == ["0maj/0", "-", "77/0"]


def test_every_quality_of_a_chord_over_its_root() -> None:
    """Of chords that may have several roots (aug, dim7, sus4 and sus2) the one in the bass is told."""
    qualities = {"maj": (0, 4, 7), "min": (0, 3, 7), "7": (0, 4, 7, 10), "min7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11)}
    qualities |= {"dim": (0, 3, 6), "hdim7": (0, 3, 6, 10), "dim7": (0, 3, 6, 9), "aug": (0, 4, 8), "sus4": (0, 5, 7)}
    qualities |= {"sus2": (0, 2, 7), "fifth": (0, 7), "third": (0, 4), "lowthird": (0, 3), "note": (0,)}
    for name, steps in qualities.items():
        for root in range(12):
            assert chord(48 + root + np.array(steps), 0) == f"{root}{name}/0"


def test_vectors_hold_the_information_of_words() -> None:
    """The symmetric root of it, whatever the rotation: their products, squared, are the information's square."""
    draws = np.random.default_rng(0)
    sequences = [draws.choice(list("abcdefg"), 12).tolist() for _ in range(9)]
    found = word_vectors.learn(sequences)
    information = word_vectors.information(word_vectors.contexts(sequences, found.words))
    products = found.vectors @ found.vectors.T
    assert products @ products == pytest.approx(information @ information.T, abs=1e-9) and information.any()


def test_intervals_of_known_draws() -> None:
    """Halves whose statistic is 0, 1, ... 99: the bounds are its quantiles about its mean."""
    seen: list[Any] = []

    def statistic(rows: list[Any]) -> float:
        seen.append(rows)
        return float(len(seen) - 1)

    low, high = by_halves(statistic, (8, 11), 50.0)
    assert (low, high) == (pytest.approx(50 - 47.025), pytest.approx(50 + 47.025)) and len(seen) == 100
    for one, other in seen:
        assert (len(one), len(other)) == (4, 5) and (np.diff(one) > 0).all() and (np.diff(other) > 0).all()
        assert one.min() >= 0 and one.max() < 8 and other.max() < 11
    seen.clear()
    assert by_halves(statistic, (8, 8), 50.0, least=49.0, most=60.0) == (49.0, 60.0)
    assert by_halves(statistic, (8, 7), 50.0) == (None, None)
    halves = split_half(lambda one, two: float(len({*one} | {*two}) - len(one) + one[0] - one[0]), 9)
    assert (halves["value"], halves["n"]) == (4.0, 4)
    assert split_half(lambda one, two: 1.0, 9, part=3)["n"] == 3 and split_half(lambda one, two: 1.0, 3)["n"] == 0


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(3, 10, 0.107791, 0.603222), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (1, 1000, 0.000177, 0.005643)],
)
def test_wilson_s_interval_as_tables_have_it(count: int, total: int, low: float, high: float) -> None:
    found = share(count, total)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert (found["value"], found["n"], found["count"]) == (count / total, total, count)


def brute(place: int, sequences: list[list[int]], among: list[int]) -> int:
    """The longest match of a place, (sequence, offset) in one number, by trying all."""
    owner = next(k for k in range(len(sequences)) if place < sum(map(len, sequences[: k + 1])))
    mine = sequences[owner][place - sum(map(len, sequences[:owner])) :]
    best = 0
    for other in among:
        for start in range(len(sequences[other])):
            pairs = list(zip(mine, sequences[other][start:], strict=False))
            best = max(best, next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs)))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_longest_matches_by_trying_all(seed: int) -> None:
    draws = np.random.default_rng(seed)
    sequences = [draws.integers(0, 3, draws.integers(0, 9)).tolist() for _ in range(7)]
    found = Matches([np.array(s, dtype=np.int64) for s in sequences])
    corpus = np.arange(7) >= 3
    lengths, places = found.against(~corpus, corpus)
    flat = [symbol for sequence in sequences for symbol in sequence]
    for place in range(len(flat)):
        expected = brute(place, sequences, [3, 4, 5, 6]) if found.owner[place] < 3 else 0
        assert lengths[place] == expected and (places[place] == NOWHERE) == (expected == 0)
        if expected:
            assert found.owner[places[place]] >= 3 and found.common(np.array([place]), places[[place]])[0] == expected
    groups = np.array([0, 0, 0, 1, 1, 2, 3])
    lengths, _ = found.among(corpus, groups)
    for place in range(len(flat)):
        own = found.owner[place]
        others = [k for k in (3, 4, 5, 6) if groups[k] != groups[own]]
        assert lengths[place] == (brute(place, sequences, others) if own >= 3 else 0)


def test_grids_and_meters() -> None:
    made = score([(0.0, 1.0, 60), (2.0, 0.01, 62)], meter="6/8")
    found = notes_of(made)
    assert (found.onset.tolist(), found.end.tolist()) == ([0, 24], [12, 25])
    assert measure_of(made) == 3.0 and measure_of(score([])) == measure_of(None) == 4.0
    made.time_signatures = [symusic.TimeSignature(960, 2, 4), symusic.TimeSignature(0, 3, 4)]
    assert measure_of(made) == 3.0
    head, tail = split_at(made, 2.0)
    assert [len(notes_of(part)) for part in (head, tail)] == [1, 1] and notes_of(tail).onset.tolist() == [0]
    assert histogram([0, 1, 1, 5], 3).tolist() == [1.0, 2.0, 0.0]


def test_vectors_of_words() -> None:
    words = {"a": 0, "b": 1}
    table = word_vectors.contexts([["a", "b", "x", "a"]], words)
    assert table.tolist() == [[1.5, 2.0], [2.0, 0.0]]  # neighbours count 1, the two a's 3/4 each way; x has no place
    occurs = table.sum(1)
    flat = occurs**0.75 / (occurs**0.75).sum()
    for i in range(2):
        for j in range(2):
            share_of = table[i, j] / table.sum()
            expected = math.log(share_of / (occurs[i] / occurs.sum() * flat[j])) if share_of else 0.0
            assert word_vectors.information(table)[i, j] == pytest.approx(max(expected, 0.0))
    assert word_vectors.information(np.zeros((2, 2))).tolist() == [[0.0, 0.0]] * 2
    names = [f"w{number:03d}" for number in range(105)]
    found = word_vectors.learn([names, [*names[::-1], "once"]])
    assert found.vectors.shape == (105, 100) and found.unknown(["once", "w000", "?"]) == 2
    mean = found.mean(["w001", "?", "w004"])
    assert mean is not None and mean == pytest.approx((found.vectors[1] + found.vectors[4]) / 2)
    assert found.mean(["once"]) is None


def test_steps_of_a_melody_are_one_number_each() -> None:
    onsets, pitches = np.array([0, 3, 3 + (1 << 21)]), np.array([60, 62, 50])
    assert of_line(onsets, pitches).steps.tolist() == [(258 << 20) + 3, (244 << 20) + (1 << 20) - 1]


def test_a_baseline_takes_the_longest_where_few_are_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """People of 9, 30, 12 and 30 steps: excerpts of 20 are from the long ones, whole and full."""
    monkeypatch.setattr(copies, "LEAST_HUMANS", 1)
    corpus = Corpus.__new__(Corpus)
    sizes = [9, 30, 12, 30]
    corpus.humans = [
        (k, Melody(np.arange(size + 1), np.zeros(size, dtype=np.int64), bytes([k]))) for k, size in enumerate(sizes)
    ]
    corpus._baselines = {}
    monkeypatch.setattr(corpus, "lengths", lambda number: np.full(sizes[number], 99))
    for asked in range(8, 30):
        size = round(1.05 ** round(math.log(asked) / math.log(1.05)))  # a twentieth apart
        long = [size for length in sizes if length >= size]
        assert corpus.baseline(asked).tolist() == (long or [30])
    for length in range(10, 60):
        corpus.humans[0] = (0, corpus.humans[0][1]._replace(key=bytes([length])))
        sizes[0] = length
        assert corpus._excerpt(0, corpus.humans[0][1], 9) == 9


def test_runs_that_repeat() -> None:
    """Of 17 steps, all alike, ten runs of eight are one; of a rising line whose steps grow, none repeats."""
    assert repeated_share(score(line([60] * 18))) == pytest.approx(1 - 1 / 10)
    growing = [30 + k * (k + 1) // 2 for k in range(12)]
    assert repeated_share(score(line(growing))) == 0.0
    assert repeated_share(score(line([60] * 8))) is None and repeated_share(score(line([60] * 9))) == 0.0


def test_likeness_of_beats() -> None:
    """Beats {60, 64}, {60}, {60, 64}: a half, a half and then all."""
    found = lag_profile(notes((0, 3, 60), (0, 3, 64), (12, 15, 60), (24, 30, 60), (24, 30, 64)))
    assert found.shape == (LAGS,) and found[:2].tolist() == [0.5, 1.0] and np.isnan(found[2:]).all()
    sparse = lag_profile(notes((0, 3, 60), (12, 15, 60), (60, 63, 60)))  # beats 0, 1 and 5 of 0 to 5
    assert sparse[:4].tolist() == [1 / 3, 0, 0, 1 / 2]  # at 1: one pair alike, two unlike, two empty
    assert (LAGS, repetition_module.RUN, repetition_module.MOST_BEATS) == (64, 8, 2048)
    one, other = np.array([[0.5, 1.0, np.nan]]), np.array([[0.25, np.nan, 1.0], [0.25, 0.5, 1.0]])
    assert profile_error(one, other) == pytest.approx((0.25 + 0.5) / 2)


def test_grooves_and_empty_beats() -> None:
    """A note that ends on a beat fills that beat too."""
    same = notes_of(score([(beat, 0.5, 60) for beat in range(8)]))
    assert rhythm.groove_consistency(same) == 1.0
    other = notes((0, 2, 60), (12, 14, 60), (48, 50, 60), (72, 74, 60))
    assert rhythm.groove_consistency(other) == pytest.approx(1 - 2 / 48)
    assert rhythm.empty_beat_rate(notes((0, 12, 60), (36, 40, 60))) == 1 / 4
    assert rhythm.empty_measure_rate(notes((0, 48, 60), (150, 160, 60))) == 1 / 4


def test_intervals_keep_to_what_a_figure_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def recorded(statistic: Any, sizes: Any, value: float, *, least: float = -1e9, most: float = 1e9) -> Any:
        asked.append((least, most))
        return None, None

    for module in (overlap_area_module, repetition_module, frechet_module, histograms_module):
        monkeypatch.setattr(module, "by_halves", recorded)
    overlap_area_module.overlap_area(tunes(3), tunes(3, 9))
    overlap_area_module.kl_divergence(tunes(3), tunes(3, 9))
    repetition_module.similarity_error(tunes(3), tunes(3, 9))
    frechet_metric(lambda scores: np.array([[len(notes_of(one))] for one in scores]))(tunes(3), tunes(3, 9))
    histograms_module.compare(PITCH_CLASS, tunes(3), tunes(3, 9), None)
    assert [least for least, _ in asked] == [0.0] * 5
    assert [min(most, 1e9) for _, most in asked] == [1.0, 1e9, 1.0, 1e9, 1e9]
