"""Whole metrics, as they are registered, on a few notes: each figure worked by hand."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import symusic

from plugins.metrics.originality import originality
from plugins.metrics.parts import copies
from plugins.metrics.parts.copies import Corpus, Melody, of_line, report
from plugins.metrics.parts.distance_histograms import Distance, compare
from plugins.metrics.parts.embedding import embed, melody
from plugins.metrics.parts.intervals import compared, ratio, split_half, summary
from plugins.metrics.parts.longest_match import NOWHERE
from plugins.metrics.parts.notes import content_key, notes_of, split_at
from plugins.metrics.pitch_class_distance import pitch_class_distance
from plugins.metrics.roll_surprise import roll_surprise
from tests.made_scores import line, score
from tests.test_metrics_laws import METRICS


def test_pitch_is_measured_without_drums_and_time_with_them() -> None:
    """Pitches 60 and 64 in the first and the fourth measure; drums fill the two between."""
    piece = score([(0, 1, 60), (12, 1, 64)], [(beat, 1, 36 + beat) for beat in range(4, 12)], drums=(1,))
    other = score([(0, 1, 60), (1, 1, 60), (2, 1, 60), (3, 1, 72)])
    expected = {  # of the piece, and of the other one, which is the reference
        "pitch_class_entropy": (1.0, 0.0),
        "pitch_entropy": (1.0, 2 - 0.75 * math.log2(3)),
        "scale_consistency": (1.0, 1.0),
        "pitch_range": (4.0, 12.0),
        "n_pitches_used": (2.0, 2.0),
        "n_pitch_classes_used": (2.0, 1.0),
        "polyphony": (1.0, 1.0),
        "polyphony_rate": (0.0, 0.0),
        "groove_consistency": (1 - (3 + 0 + 3) / (3 * 48), 1 - 4 / 48),
        "empty_beat_rate": (2 / 14, 0.0),
        "empty_measure_rate": (0.0, 0.0),
        "repetition": (None, None),
        "empty_share": (0.0, 0.0),
        "decodability": (1.0, 1.0),
    }
    for name, (mine, theirs) in expected.items():
        found = METRICS[name]([piece], [other])
        for one, value in ((found, mine), (found["reference"], theirs)):
            assert (one["n"], one["value"]) == ((0, 0.0) if value is None else (1, pytest.approx(value))), name
    silent = score([(0, 0, 60), (3, 0, 90), (1, 1, 62)])
    assert notes_of(silent).pitch.tolist() == [62], "a note of no length is none"


def test_a_summary_of_two_values() -> None:
    """Of two values a sample holds only one of them in half of all draws: the interval is their range."""
    found = summary([3.0, None, 1.0])
    assert found == {"value": 2.0, "low": 1.0, "high": 3.0, "std": 1.0, "n": 2, "failures": 1}
    spread = summary(float(value) for value in range(100))
    reach = NormalDist().inv_cdf(0.975) * spread["std"] / 10  # 95 % of a mean of so many
    assert spread["high"] - spread["low"] == pytest.approx(2 * reach, rel=0.06)
    both = compared(lambda value: value, [4.0, 8.0], [1.0])
    assert (both["value"], both["low"], both["high"], both["reference"]["value"]) == (6.0, 4.0, 8.0, 1.0)
    assert ratio([1.0, 3.0], [2.0, 4.0]) == (pytest.approx(4 / 6), 0.5, 0.75)
    assert ratio([1.0, 0.0], [2.0, 0.0]) == (0.5, 0.5, 0.5), "pieces of no size say nothing"
    halves = split_half(lambda one, two: float(one[0] + 10 * two[0]), 4)
    assert halves["low"] < halves["value"] < halves["high"] and halves["n"] == 2


def test_surprise_under_the_key_frequencies_of_the_training_pieces() -> None:
    """In training key 60 sounds at all four steps, the others at none: chances of 5/6 and of 1/6."""
    training = [score([(0, 1, 60)])]
    long, short = score([(0, 1, 60)]), score([(0, 0.25, 61)])
    known = -88 * math.log(5 / 6)  # nats a step
    odd = -2 * math.log(1 / 6) - 86 * math.log(5 / 6)
    found = roll_surprise([long, None, short], [short, short], training=training)
    value, mean = (4 * known + odd) / 5, (known + odd) / 2
    assert found["value"] == pytest.approx(value), "each step weighs the same"
    assert (found["low"], found["high"]) == (pytest.approx(known + value - mean), pytest.approx(odd + value - mean))
    assert (found["n"], found["failures"], found["std"]) == (2, 1, pytest.approx(odd - mean))
    assert (found["reference"]["value"], found["reference"]["n"]) == (pytest.approx(odd), 2)
    beyond = roll_surprise([score([(0, 1, 60), (0, 1, 20), (0, 1, 109)])], [], training=training)
    assert beyond["value"] == pytest.approx(known), "the keyboard ends at 21 and 108"


def told(notes: Any, measure: float) -> tuple[int, float] | None:
    return (notes.length // 12, measure) if len(notes) else None


def test_distances_of_continuations_from_their_prompts() -> None:
    """Prompts of 1, 2 and 3 quarters in 4/4; originals of 5 in 3/4; what was made has 7, 4 and 5 and names no meter."""
    asked: list[Any] = []

    def between(anchor: tuple[int, float], other: tuple[int, float]) -> float:
        asked.append((anchor, other))
        return float(10 * anchor[0] + other[0])

    def lines(*sizes: int, meter: str = "") -> list[symusic.Score]:
        return [score(line([60 + k] * size), meter=meter) for k, size in enumerate(sizes)]

    distance: Distance[Any] = Distance(told, between, lambda things: lambda place: things[place or 0])
    silent = [score()]
    found = compare(
        distance,
        [*lines(7, 4, 5), *silent],
        [*lines(5, 5, 5, meter="3/4"), *lines(5)],
        [*lines(1, 2, 3), *lines(1)],
    )
    pairs = {((k, 4.0), (cut, 3.0)) for k, cut in ((1, 5), (2, 4), (3, 5))}
    assert set(asked) == pairs, "both are cut to the shorter one and measured by the original's meter"
    assert (found["generated"]["value"], found["reference"]["value"]) == (pytest.approx((15 + 24 + 35) / 3),) * 2
    assert (found["n"], found["failures"], found["anchor"], found["wasserstein"]) == (3, 1, "prompt", 0.0)


def test_the_divergence_is_of_the_real_distances_from_the_generated_ones() -> None:
    """Real pieces of 2, 2, 2, 4, 6 and 6 quarters, generated ones of 2 and 6: distances are lengths."""

    def between(anchor: Any, other: tuple[int, float]) -> float:
        return float(other[0])

    distance: Distance[Any] = Distance(told, between, lambda things: lambda place: None)
    mine, theirs = ([score(line([60] * size)) for size in sizes] for sizes in ((2, 6), (2, 2, 2, 4, 6, 6)))
    found = compare(distance, mine, theirs, None)
    p, q = np.full(99, 0.5), np.full(99, 0.5)
    for counts, values in ((p, (2, 2, 2, 4, 6, 6)), (q, (2, 6))):
        for value in values:
            counts[min(int((value - 2) / 4 * 99), 98)] += 1
    p, q = p / p.sum(), q / q.sum()
    assert found["value"] == pytest.approx(float((p * np.log(p / q)).sum()))
    assert (found["generated"]["value"], found["reference"]["value"]) == (4.0, pytest.approx(22 / 6))
    assert (found["generated"]["n"], found["reference"]["n"], found["n"], found["floor"]["n"]) == (2, 6, 2, 2)
    assert found["wasserstein"] == pytest.approx(1 / 3), "a sixth of the real ones moves by 2"


def test_the_rest_of_the_reference_is_what_its_own_pieces_are_compared_with() -> None:
    """Pieces of C and E, of C, and of E; the generated one of E: from all, 2 C and 2 E, it is ln 2 away.

    Of the reference's own, C C E from rest to piece: (1, 1) from (1, 1), E from (1, 2), C from (2, 1).
    """
    reference = [score(line(pitches)) for pitches in ([60, 64], [60], [64])]
    found = pitch_class_distance([score(line([64]))], reference)
    small = 1e-6

    def apart(one: list[float], other: list[float]) -> float:
        p, q = (np.array(counts) + small for counts in (one, other))
        return float((p / p.sum() * np.log(p / p.sum() / (q / q.sum()))).sum())

    assert found["generated"]["value"] == pytest.approx(apart([2, 2], [0, 1]))
    own = [apart([1, 1], [1, 1]), apart([1, 2], [1, 0]), apart([2, 1], [0, 1])]
    assert found["reference"]["value"] == pytest.approx(sum(own) / 3) and found["anchor"] == "reference"


def test_the_embedding_of_two_notes() -> None:
    """A major third up, quarter after quarter: one interval, two pitch classes, one duration, one place in the beat."""
    row = embed([score([(0, 1, 60), (1, 1, 64)])])[0]
    blocks = np.split(row, np.cumsum([25, 12, 12, 15, 15, 12]))
    held = [{place: round(float(value) ** 2, 9) for place, value in enumerate(block) if value} for block in blocks]
    quarter = 7  # 1, 2, 3, 4, 6, 8, 9, 12
    assert held == [{16: 1.0}, {}, {0: 0.5, 4: 0.5}, {quarter: 1.0}, {quarter: 1.0}, {0: 1.0}, {1: 1.0}]
    chord = embed([score([(0, 1, 60), (0, 1, 64), (0, 1, 76), (0.25, 1, 62)])])[0]
    assert np.flatnonzero(chord[25:37]).tolist() == [4] and (chord[12 - 2], chord[12 + 2]) == (0.0, 0.0)
    assert chord[12 - 12] == 1.0, "a fall of 14 semitones counts as 12"
    onsets, pitches = melody(notes_of(score([(1, 1, 50), (0, 1, 60), (0, 2, 72), (0, 1, 64)])))
    assert (onsets.tolist(), pitches.tolist()) == ([0, 12], [72, 50])


def test_a_continuation_keeps_the_tempo_and_what_tells_scores_apart() -> None:
    piece = score(line([60, 62, 64, 65]), line([36] * 4), drums=(1,), meter="3/4")
    piece.tracks[0].program = 40
    piece.tempos = [symusic.Tempo(0, 100), symusic.Tempo(480, 90), symusic.Tempo(1440, 80)]
    head, tail = split_at(piece, 2)
    for part in (head, tail):
        assert [(track.is_drum, track.program) for track in part.tracks] == [(False, 40), (True, 0)]
    assert [(event.time, round(event.qpm)) for event in tail.tempos] == [(0, 100), (0, 90), (480, 80)]
    assert [(event.time, round(event.qpm)) for event in head.tempos][:2] == [(0, 100), (480, 90)]
    assert tail.ticks_per_quarter == piece.ticks_per_quarter
    one, other = (score(line([60]), line([pitch]), drums=(1,)) for pitch in (36, 38))
    assert content_key(one) != content_key(other), "drums are music, too"
    assert content_key(score(line([60]))) != content_key(score(line([60], 0.5)))
    assert content_key(score(line([60]), ticks=96)) == content_key(score(line([60]))) != content_key(None)


def growing(count: int, begin: int = 60) -> Melody:
    """A line without a run that comes back: every step has its own time."""
    return of_line(np.cumsum(np.arange(count + 1)) * 2, begin + np.arange(count + 1) % 3)


def test_what_a_piece_has_copied_and_from_where() -> None:
    """Of ten steps the last seven are those of the second training piece, from its third on."""
    source = growing(12)
    shift = 100
    onsets = np.concatenate([[0, 1000, 3000], shift + 3900 + source.onsets[2:10]])
    pitches = np.concatenate([[50, 70, 51], 60 + (np.arange(13) % 3)[2:10] + 5])
    piece = of_line(onsets, pitches)
    held = [growing(3, 40)._replace(steps=np.array([1, 2, 3])), source]
    humans = [of_line(np.arange(20) * 5000, 40 + np.arange(20) % 2)]
    corpus = Corpus([piece, of_line(np.arange(3), np.arange(3))], humans, held, np.array([0, 1]))
    found = report(corpus, 0)
    assert found is not None and (found["steps"], found["run"], found["training"]) == (10, 7, 1)
    assert (found["from"], found["to"]) == (onsets[3] / 12, onsets[10] / 12)
    assert (found["training_from"], found["training_to"]) == (source.onsets[2] / 12, source.onsets[9] / 12)
    assert report(corpus, 1) is None, "of two steps nothing can be said"
    assert [number for number, _ in corpus.humans] == [2, 3, 4], "reference, then training"
    alone = Corpus([piece], humans, held[1:], np.array([0]))
    assert [number for number, _ in alone.humans] == [1], "one work has nobody to share with"
    assert alone.run(1) == (0, 0, NOWHERE, NOWHERE)


def test_a_threshold_rests_on_two_hundred_people_where_there_are_so_many() -> None:
    assert (copies.LEAST_RUN, copies.FEWEST_HUMANS, copies.LONGEST_TIME) == (8, 20, 2**20 - 1)
    corpus = Corpus.__new__(Corpus)
    corpus._baselines = {}
    corpus.lengths = lambda number: np.ones(5 if number < 230 else 40, dtype=np.int64)  # type: ignore[method-assign]
    short, long = (Melody(np.arange(n + 1), np.zeros(n, dtype=np.int64), b"") for n in (5, 40))
    corpus.humans = [(number, short if number < 230 else long) for number in range(300)]
    assert len(corpus.baseline(30)) == 200 and len(corpus.baseline(4)) == 300


def test_originality_of_one_copy_and_one_new_piece() -> None:
    """A copy of all nine steps, and a line of nine steps that nobody has."""
    song = [60, 62, 64, 65, 67, 69, 71, 72, 74, 76]
    new = [76, 60, 75, 61, 74, 62, 73, 63, 72, 64]
    found = originality(
        [score(line(new)), score(line(song)), None], [], training=[score(line(new[:2], 9)), score(line(song))]
    )
    first, second, third = found["pieces"]
    assert third is None and (first["run"], second["run"], second["training"]) == (0, 9, 1)
    assert (first["steps"], first["training"]) == (9, None) and "training_from" not in first
    assert (found["value"], found["n"], found["failures"], found["longest_run"]["value"]) == (0.5, 2, 1, 4.5)
    assert (found["flagged"]["value"], found["flagged"]["n"], found["human"]["n"]) == (0.5, 2, 2)
