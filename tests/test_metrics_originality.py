"""Copies are found wherever they stand, and the innocent are not accused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.metrics.originality import originality
from plugins.metrics.parts.copies import copied, percentile, works
from plugins.metrics.parts.longest_match import NOWHERE, Matches
from tests.made_scores import score, tune, tunes

TRAINING = tunes(30)


def shared(one: list[int], other: list[int]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


@given(st.lists(st.lists(st.integers(0, 2), max_size=10), min_size=3, max_size=6), st.integers(1, 2))
@settings(max_examples=150, deadline=None)
def test_matches_are_those_of_a_full_search(sequences: list[list[int]], asked: int) -> None:
    matches = Matches([np.array(s, dtype=np.int64) for s in sequences])
    queries = np.arange(len(sequences)) < asked
    groups = np.array([number // 2 for number in range(len(sequences))])
    for (lengths, places), may in (
        (matches.against(queries, ~queries), lambda mine, other: queries[mine] and not queries[other]),
        (
            matches.among(~queries, groups),
            lambda mine, other: not queries[mine] and not queries[other] and groups[mine] != groups[other],
        ),
    ):
        for place, mine in enumerate(matches.owner):
            rest = sequences[mine][place - matches.starts[mine] :]
            others = [number for number in range(len(sequences)) if may(mine, number)]
            best = max((shared(rest, sequences[n][at:]) for n in others for at in range(len(sequences[n]))), default=0)
            assert lengths[place] == best
            if not best:
                assert places[place] == NOWHERE
                continue
            owner = matches.owner[places[place]]
            assert owner in others
            assert shared(rest, sequences[owner][places[place] - matches.starts[owner] :]) == best


def test_no_sequences_match_nothing() -> None:
    matches = Matches([])
    lengths, places = matches.against(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    assert len(lengths) == len(places) == 0


def test_a_spliced_copy_names_its_source_and_place_at_any_pitch() -> None:
    source = tune(7)
    middle = [(onset, duration, pitch + 4) for onset, duration, pitch in source[20:41]]
    begin, end = source[20][0], source[40][0]
    own = tune(990, 15)
    gap = own[-1][0] + own[-1][1]
    made = score([*own, *[(onset - begin + gap, duration, pitch) for onset, duration, pitch in middle]])
    training = [score(tune(seed)) for seed in range(30)]
    report = originality([made], [score(tune(seed)) for seed in range(500, 530)], training=training)
    piece = report["pieces"][0]
    assert piece["training"] == 7 and piece["run"] >= 20 and piece["flagged"] and piece["percentile"] == 1.0
    # The step into the copy may belong to it by chance; the end is exact.
    assert piece["training_from"] <= begin and piece["training_to"] == end
    assert piece["from"] <= gap and piece["to"] == gap + end - begin
    assert report["value"] == pytest.approx(1 - piece["run"] / piece["steps"])


def test_copies_are_flagged_and_new_music_is_not() -> None:
    new = originality(tunes(60, 1000), tunes(20, 500), training=TRAINING)
    assert new["flagged"]["value"] <= 0.05 and new["n"] == 60 and new["human"]["n"] == 50
    assert abs(new["value"] - new["human"]["value"]) < 0.03 and 0.3 < new["percentile"]["value"] < 0.7
    copies = originality(TRAINING[:10], tunes(20, 500), training=TRAINING)
    assert copies["value"] == 0.0 and copies["flagged"]["value"] == 1.0
    assert [piece["training"] for piece in copies["pieces"]] == list(range(10))


def test_one_known_song_is_recognised_without_any_baseline() -> None:
    song = tune(3, 120)
    memorised = [score(song[start : start + 50]) for start in (0, 30, 60)]
    found = originality(memorised, [], training=[score(song)])
    assert (found["percentile"]["n"], found["percentile"]["failures"]) == (0, 3), "among nobody there is no place"
    flagged = found["flagged"]
    assert (flagged["value"], flagged["n"]) == (1.0, 3)
    assert originality(tunes(20, 50), [], training=[score(song)])["flagged"]["value"] == 0.0


def test_variants_of_one_work_do_not_excuse_copying() -> None:
    variant = [(onset, duration, pitch + 2) for onset, duration, pitch in tune(0)]
    numbers = works([score(tune(0)), score(tune(1)), score(variant), None, score()])
    assert numbers[0] == numbers[2] and len(set(numbers.tolist())) == 4
    end = max(onset + duration for onset, duration, _ in tune(0))
    both = score([*tune(0), *((onset + end, duration, pitch) for onset, duration, pitch in tune(1))])
    assert len(set(works([score(tune(0)), score(tune(1)), both]).tolist())) == 1, "what is near to two works joins them"
    training = [score(tune(seed)) for seed in range(25)]
    twice = [*training, *(score([(o, d, p + 2) for o, d, p in tune(seed)]) for seed in range(25))]
    assert originality(training[:3], [], training=twice)["flagged"]["value"] == 1.0


def test_works_are_joined_however_many_lie_between() -> None:
    """One tune at three pitches is one work, and so are two tunes and what is played of both, whichever comes first."""
    settings = [score([(onset, duration, pitch + up) for onset, duration, pitch in tune(0)]) for up in (0, 2, 5)]
    first, second, third = works([*settings, score(tune(1))])[:3].tolist()
    assert first == second == third
    end = tune(0)[-1][0] + tune(0)[-1][1]
    medley = score([*tune(0), *((onset + end, duration, pitch) for onset, duration, pitch in tune(1))])
    alone, chain = works([settings[0], score(tune(1))]), works([settings[0], medley, score(tune(1)), score(tune(2))])
    assert alone[0] != alone[1]
    assert chain[0] == chain[1] == chain[2] != chain[3], "the two meet in the medley alone"


def test_percentiles_and_thresholds() -> None:
    baseline = np.arange(100.0)
    assert percentile(50, baseline) == pytest.approx(0.505) and percentile(3, baseline[:0]) is None
    assert copied(99, 200, baseline - 1) and not copied(98, 200, baseline)
    assert not copied(7, 7, np.zeros(100)) and copied(8, 8, np.zeros(100))
    assert copied(10, 40, baseline[:3]) and not copied(10, 41, baseline[:3])
