"""What decides which piece trains and which tests, what is a copy, and where pieces are cut: answers worked by hand."""

from dataclasses import replace

import numpy as np
import symusic

from datatools.batching.packing import plan
from datatools.preparing.duplicates import exact_key, sketch
from datatools.preparing.ledger import Ledger
from datatools.preparing.splits import Candidate, assign, by_hash
from plugins.metrics.parts.copies import Corpus, copied, of_line
from tests.tunes import tune


def candidate(seed: int, changed: int = 0, group: str = "") -> Candidate:
    score = tune(seed, changed=changed)
    return Candidate(f"{seed}-{changed}", exact_key(score), sketch(score), group)


MANY = [candidate(seed) for seed in range(100)]


def test_a_copy_of_a_piece_that_was_left_out_is_left_out_too() -> None:
    """A variant of a training work that sounds like a test piece is out; its copy, that no work claims, is the same
    music, and must not take the test piece's side by sounding like it."""
    trained = next(one for one in MANY if by_hash(one.key) == "train")
    tested = next(seed for seed in range(100) if by_hash(MANY[seed].key) == "test")
    known = [replace(one, group="work") if one is trained else one for one in MANY]
    _, ledger = assign(known, Ledger())
    variant = candidate(tested, 2, "work")
    copy = replace(variant, name="~ copy of it", group="")
    verdicts, _ = assign([*known, variant, copy], ledger)
    assert [verdict.side for verdict in verdicts[-2:]] == ["out", "out"]
    alone, _ = assign([*known, copy], ledger)
    assert alone[-1].side == "test"


def test_a_published_side_replaces_the_ledger_s_for_good() -> None:
    verdicts, ledger = assign(MANY, Ledger())
    place = next(number for number, verdict in enumerate(verdicts) if verdict.side == "train")
    published = [replace(one, split="test") if number == place else one for number, one in enumerate(MANY)]
    _, corrected = assign(published, ledger)
    assert [entry.side for entry in corrected.entries if entry.key == MANY[place].key] == ["test"]
    assert len(corrected.entries) == len(MANY)
    assert assign(MANY, corrected)[0][place].side == "test"


def drummed(shift: int, *drums: int, melody: bool = True) -> str:
    score = tune(1, shift=shift) if melody else symusic.Score(480)
    track = symusic.Track("drums", 0, True)
    for number, pitch in enumerate(drums):
        track.notes.append(symusic.Note(480 * number, 120, pitch, 80))
    score.tracks.append(track)
    return exact_key(score)


def test_drums_stay_where_they_are_when_music_is_transposed() -> None:
    assert drummed(0, 36, 38) == drummed(5, 36, 38) != drummed(5, 41, 43)
    assert drummed(0, 36, 38, melody=False) != drummed(0, 41, 43, melody=False)


def test_a_run_in_an_excerpt_is_no_longer_than_the_excerpt() -> None:
    """Two works of the same 90 notes: wherever 20 of their steps are cut out, all 20 are in the other."""
    rng = np.random.default_rng(0)
    onsets, pitches = np.arange(91) * 12, 60 + rng.integers(0, 12, 91)
    pieces = [of_line(onsets, pitches), of_line(onsets, pitches + 3)]
    corpus = Corpus([], [], pieces, np.array([0, 1]))
    size = round(1.05 ** round(np.log(20) / np.log(1.05)))
    assert corpus.baseline(20).tolist() == [size, size]
    assert corpus.run(0).length == corpus.run(1).length == 90


def test_no_more_than_one_in_a_hundred_people_is_no_copy() -> None:
    """Of 0, 1, ..., 99 one in a hundred is 99: a run as long as that is people's own, one step more is not."""
    humans = np.arange(100.0)
    assert not copied(98, 500, humans) and not copied(99, 500, humans) and copied(100, 500, humans)


def test_every_piece_of_every_epoch_is_cut_elsewhere() -> None:
    """300 pieces of 100 positions in rows of 32: first cuts at 1 to 32, all of them, evenly (chi-square, p 0.001)."""
    bars = [np.zeros(0, dtype=np.int64)] * 300
    first: list[list[int]] = []
    for epoch in range(2):
        made = plan(np.full(300, 100), bars, 32, np.random.default_rng(epoch), True)
        ends = {int(piece): int(end) for piece, begin, end in zip(made.piece, made.begin, made.end) if begin == 0}
        first.append([ends[piece] for piece in range(300)])
        counts = np.bincount(first[-1], minlength=33)[1:]
        assert len(counts) == 32 and ((counts - 300 / 32) ** 2 / (300 / 32)).sum() < 61.1
    assert sum(one == other for one, other in zip(*first, strict=True)) < 30
