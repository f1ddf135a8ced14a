"""Rows of training, as laws over music of no meaning; and whole pieces for scoring."""

import itertools
import time
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from core.errors import HubError
from datatools.batching.augment import Augmentation
from datatools.batching.batches import Batches, whole
from datatools.batching.controls import Beside
from datatools.batching.packing import best_fit, cuts
from hparams.base import AugmentHParams

PAD, BOS, EOS, BAR, FIRST, VOCAB = 0, 1, 2, 3, 4, 100


@dataclass(frozen=True)
class Info:
    notes: int


class Memory:
    """A token store that holds its pieces."""

    def __init__(self, *pieces: list[int] | NDArray[Any]) -> None:
        self._pieces = [np.asarray(piece, dtype=np.uint16) for piece in pieces]

    def pieces(self, split: str) -> list[Info]:
        return [Info(len(piece) // 3) for piece in self._pieces]

    def lengths(self, split: str) -> NDArray[np.int64]:
        return np.array([len(piece) for piece in self._pieces], dtype=np.int64)

    def ids(self, split: str, k: int) -> NDArray[np.uint16]:
        return self._pieces[k]


class Plain:
    """A tokenizer without optional methods."""

    vocab_size, streams = VOCAB, 1


class Musical(Plain):
    """Ids from 10 to 89 are pitches, 3 begins a bar."""

    def transpose_table(self, semitones: int) -> list[int]:
        moved = [id + semitones for id in range(VOCAB)]
        return [id if not 10 <= id < 90 else new if 10 <= new < 90 else -1 for id, new in enumerate(moved)]

    def bar_starts(self, ids: list[int]) -> list[int]:
        return [position for position, id in enumerate(ids) if id == BAR]


def music(*lengths: int, seed: int = 0, bars: int = 0) -> Memory:
    rng = np.random.default_rng(seed)
    pieces = [rng.integers(20, 80, n) for n in lengths]
    for piece in pieces:
        if bars:
            piece[::bars] = BAR
    return Memory(*pieces)


def batches(store: Memory, tokenizer: Any = None, **changed: Any) -> Batches:
    options: dict[str, Any] = {
        "bos_id": BOS,
        "eos_id": EOS,
        "pad_id": PAD,
        "length": 32,
        "batch_size": 4,
        "seed": 0,
        "packs": True,
        "augment": AugmentHParams(),
        "tokenizer": tokenizer or Plain(),
    }
    return Batches(store, "train", **{**options, **changed})


def step_of(some: Batches, step: int, accumulate: int = 1, replicas: int = 1) -> dict[str, Tensor]:
    parts = [some.batch(step, m, r, replicas) for m in range(accumulate) for r in range(replicas)]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def crops(row: dict[str, Tensor]) -> list[tuple[list[int], list[int]]]:
    """The inputs and targets of each crop of a row; the padding at its end is checked and dropped."""
    ids, targets, starts = (row[key].tolist() for key in ("ids", "targets", "starts"))
    assert starts[0]
    where = [t for t, start in enumerate(starts) if start] + [len(ids)]
    parts = [(ids[a:b], targets[a:b]) for a, b in itertools.pairwise(where)]
    if parts[-1][0][0] == PAD:
        assert set(parts[-1][0]) == {PAD} and set(parts[-1][1]) == {-100}
        parts.pop()
    assert all(PAD not in ids and -100 not in targets for ids, targets in parts)
    return parts


def epoch_rows(some: Batches, epochs: int = 1) -> list[list[dict[str, Tensor]]]:
    """The rows of the first epochs, told apart by the plan."""
    counts = [some._plan(epoch).rows for epoch in range(epochs)]
    size = some._batch_size
    rows: list[dict[str, Tensor]] = []
    for step in range(-(-sum(counts) // size)):
        batch = some.batch(step, 0, 0, 1)
        rows.extend({key: value[i] for key, value in batch.items()} for i in range(size))
    result = []
    for count in counts:
        result.append(rows[:count])
        rows = rows[count:]
    return result


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 150), min_size=1, max_size=12),
    st.integers(2, 40),
    st.booleans(),
    st.sampled_from([0, 5, 60]),
)
def test_every_token_is_a_target_once_an_epoch(lengths: list[int], length: int, packs: bool, bars: int) -> None:
    store = music(*lengths, bars=bars)
    some = batches(store, Musical(), length=length, packs=packs, batch_size=3)
    expected = Counter()
    for k in range(len(lengths)):
        entries = [BOS, *store.ids("train", k).tolist(), EOS]
        expected.update(itertools.pairwise(entries))
    for rows in epoch_rows(some, 2):
        parts = [part for row in rows for part in crops(row)]
        found = Counter(pair for ids, targets in parts for pair in zip(ids, targets, strict=True))
        assert found == expected
        assert all(targets[:-1] == ids[1:] for ids, targets in parts), "a target is the next input"
        assert packs or all(len(crops(row)) == 1 for row in rows)


def test_pieces_that_fit_are_never_split() -> None:
    some = batches(music(31, 30, 5, 31, 12, 0), length=32)
    for rows in epoch_rows(some, 4):
        parts = [part for row in rows for part in crops(row)]
        assert sorted(len(ids) for ids, _ in parts) == [1, 6, 13, 31, 32, 32]
        assert all(ids[0] == BOS and targets[-1] == EOS for ids, targets in parts)


def test_a_crop_begins_with_the_token_before_it() -> None:
    store = Memory(list(range(10, 90)))
    starts = set()
    for rows in epoch_rows(batches(store), 6):
        for row in rows:
            for ids, targets in crops(row):
                assert (ids[0] == BOS) == (targets[0] == 10)
                assert ids[0] == BOS or targets[0] == ids[0] + 1
                starts.add(targets[0])
    assert len(starts) > 8, "other epochs cut elsewhere"


def test_crops_begin_at_bars() -> None:
    store = music(200, 100, bars=9)
    for rows in epoch_rows(batches(store, Musical()), 5):
        for row in rows:
            for ids, targets in crops(row):
                assert ids[0] == BOS or targets[0] == BAR
    cut = batches(store, Musical(), augment=AugmentHParams(crop="token"))
    firsts = {targets[0] for row in epoch_rows(cut)[0] for ids, targets in crops(row) if ids[0] != BOS}
    assert firsts - {BAR}, "crop=token cuts anywhere"


def test_cuts_known_answers() -> None:
    def at(positions: int, phase: int, *bars: int) -> list[int]:
        return cuts(positions, 10, phase, np.array(bars, dtype=np.int64))

    assert at(10, 3) == [0]
    assert at(11, 3) == [0, 3]
    assert at(35, 3) == [0, 3, 13, 23, 33]
    assert at(21, 7, 0, 4, 8, 12, 16) == [0, 4, 12]
    assert at(21, 10, 0, 4, 8, 12, 16) == [0, 8, 16]
    assert at(21, 10, 0, 5, 10, 15, 20) == [0, 10, 20]  # two bars that fill a row
    assert at(21, 2, 0, 4, 8, 12, 16) == [0, 8, 16]  # no bar so early: the phase is let go
    assert at(40, 10, 0, 5, 33) == [0, 5, 15, 25, 33]  # a bar longer than a row is cut where rows end


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 120), st.integers(1, 12), st.data())
def test_cuts_leave_nothing_longer_than_a_row(positions: int, length: int, data: st.DataObject) -> None:
    bars = np.array(sorted(data.draw(st.sets(st.integers(0, positions)))), dtype=np.int64)
    begins = cuts(positions, length, data.draw(st.integers(1, length)), bars)
    sizes = np.diff([*begins, positions])
    assert begins[0] == 0 and (sizes > 0).all() and (sizes <= length).all()
    for begin, size in zip(begins[1:], sizes[:-1], strict=True):
        assert begin in bars or not ((bars > begin - size) & (bars <= begin)).any()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 20), max_size=60))
def test_best_fit_equals_a_literal_search(sizes: list[int]) -> None:
    free: list[int] = []
    for size, row in zip(sizes, best_fit(sizes, 20), strict=True):
        fitting = [space for space in free if space >= size]
        if fitting:
            assert free[row] == min(fitting)
        else:
            assert row == len(free)
            free.append(20)
        free[row] -= size


@pytest.mark.parametrize("packs", [True, False])
def test_a_batch_is_a_function_of_its_place(packs: bool) -> None:
    store = music(*range(0, 120, 7), bars=6)
    augment = AugmentHParams(transpose=3)

    def fresh() -> Batches:
        return batches(store, Musical(), packs=packs, augment=augment)

    there = [fresh().batch(step, 0, 0, 1) for step in (0, 3, 40, 3)]
    back = fresh()
    for step, expected in reversed(list(zip((0, 3, 40, 3), there, strict=True))):
        for key, value in back.batch(step, 0, 0, 1).items():
            assert torch.equal(value, expected[key])
    other = batches(store, Musical(), packs=packs, augment=augment, seed=1).batch(0, 0, 0, 1)
    assert not torch.equal(other["ids"], there[0]["ids"])


@pytest.mark.parametrize("accumulate,replicas", [(1, 1), (2, 1), (1, 4), (2, 3), (12, 1), (3, 4)])
def test_rows_do_not_depend_on_replicas_and_micro_batches(accumulate: int, replicas: int) -> None:
    store = music(*range(3, 90, 4))
    one = batches(store, batch_size=12)
    many = batches(store, batch_size=12, accumulate=accumulate)
    for step in (0, 1, 17):
        expected, found = step_of(one, step), step_of(many, step, accumulate, replicas)
        assert all(torch.equal(found[key], expected[key]) for key in expected)
        assert one.counted(step) == many.counted(step) == int((found["targets"] != -100).sum())
        assert found["ids"].dtype == found["targets"].dtype == torch.int64 and found["starts"].dtype == torch.bool
        assert many.batch(step, 0, 0, replicas)["ids"].shape == (12 // accumulate // replicas, 32)


def test_a_batch_that_cannot_be_dealt_out_is_an_error() -> None:
    with pytest.raises(HubError, match=r"data\.batch_size is 4; expected a multiple of 6 .*accumulate 2 .*3 replicas"):
        batches(music(5), accumulate=2).batch(0, 0, 0, 3)
    with pytest.raises(HubError, match="the split train has no piece"):
        batches(Memory())


def test_less_music_than_a_batch_goes_round() -> None:
    some = batches(music(5), batch_size=16)
    assert some.steps_per_epoch == 1
    for step in (0, 1, 1000):
        batch = some.batch(step, 0, 0, 1)
        assert some.counted(step) == int((batch["targets"] != -100).sum()) == 16 * 6


def test_epochs_differ_and_steps_straddle_them() -> None:
    some = batches(music(*[20] * 30), batch_size=7)
    first, second = epoch_rows(some, 2)
    assert len(first) == len(second) == 30 and some.steps_per_epoch == 5
    order = [[tuple(row["ids"].tolist()) for row in rows] for rows in (first, second)]
    assert order[0] != order[1] and sorted(order[0]) == sorted(order[1])


def test_an_epoch_is_as_many_steps_as_the_first_one_takes() -> None:
    store = music(200, 170, 60)
    lengths = []
    for seed in range(12):  # other cuts pack into other numbers of rows
        some = batches(store, batch_size=1, seed=seed)
        lengths.append((some.steps_per_epoch, some._plan(1).rows))
        assert sum(some.counted(step) for step in range(some.steps_per_epoch)) == 200 + 170 + 60 + 3
    assert any(first != second for first, second in lengths)


def test_augmentation_transposes_by_a_draw_a_piece_and_epoch() -> None:
    store = Memory(*[[30 + k, BAR, 40 + k, 35 + k] * 12 for k in range(8)])
    some = batches(store, Musical(), augment=AugmentHParams(transpose=2), length=16)
    drawn: Counter[int] = Counter()
    for rows in epoch_rows(some, 12):
        shifts: dict[int, set[int]] = {}
        for row in rows:
            for _ids, targets in crops(row):
                notes = [id for id in targets if id >= FIRST]
                if len(notes) < 3:
                    continue
                low = min(notes)
                assert set(notes) <= {low, low + 5, low + 10}, "intervals stay"
                shifts.setdefault(low, set()).add(len(notes))
        drawn.update(shifts.keys())
    assert len(drawn) > 8 and min(drawn) >= 28 and max(drawn) <= 39


def test_augmentation_is_one_draw_for_all_crops_of_a_piece() -> None:
    store = Memory([50] * 100)
    seen = set()
    for rows in epoch_rows(batches(store, Musical(), augment=AugmentHParams(transpose=5), length=16), 20):
        pitches = {id for row in rows for ids, _ in crops(row) for id in ids if id >= FIRST}
        assert len(pitches) == 1
        seen |= pitches
    assert seen <= set(range(45, 56)) and len(seen) > 5


def test_draws_differ_by_seed_epoch_and_piece() -> None:
    """Of the transposition, from end to end, and of which controls are left out."""
    shifts: list[set[int]] = []
    left_out: list[set[tuple[bool, ...]]] = []
    for axis in range(3):
        shifts.append(set())
        left_out.append(set())
        for number in range(60):
            seed, epoch, piece = (number * (axis == n) for n in range(3))
            change = Augmentation(AugmentHParams(transpose=3), Musical(), seed)  # type: ignore[arg-type]
            shifts[-1].add(change.apply(np.array([50]), epoch, piece)[1])
            stores: Any = [SimpleNamespace(rows=lambda split, k: np.zeros((1, 1), dtype=np.float32))] * 2
            beside = Beside([SimpleNamespace(dim=1)] * 2, stores, 0.5, seed)  # type: ignore[list-item]
            left_out[-1].add(tuple(beside.of("train", piece, 2, epoch=epoch)[1].tolist()))
    assert shifts == [set(range(-3, 4))] * 3 and [len(found) for found in left_out] == [4] * 3


def test_a_draw_out_of_range_keeps_the_piece(caplog: pytest.LogCaptureFixture) -> None:
    store = Memory([10, 50, 89])
    for rows in epoch_rows(batches(store, Musical(), augment=AugmentHParams(transpose=6)), 10):
        assert crops(rows[0])[0][0] == [BOS, 10, 50, 89]
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith("data.augment.transpose changes little: 100 % of its draws")
    batches(Memory([10, 50], [50, 60], [50, 88]), Musical(), augment=AugmentHParams(transpose=6))
    assert len(caplog.records) == 1, "a few pieces at the rim are no matter"


def test_velocity_and_tempo_reach_the_tokenizer() -> None:
    class Loud(Plain):
        asked: list[float] = []  # noqa: RUF012

        def velocity_table(self, steps: int) -> list[int]:
            return [id + 30 * (id == 10) + steps * (id == 10) for id in range(VOCAB)]

        def tempo_table(self, factor: float) -> list[int]:
            self.asked.append(factor)
            return [70 + round(factor * 10) if id == 20 else id for id in range(VOCAB)]

    some = batches(Memory([10, 20, 30]), Loud(), augment=AugmentHParams(velocity=2, tempo=0.5))
    found = {tuple(crops(rows[0])[0][0]) for rows in epoch_rows(some, 120)}
    assert all(bos == BOS and last == 30 for bos, _, _, last in found)
    assert {velocity for _, velocity, _, _ in found} == {10, 38, 39, 41, 42}
    assert {tempo for _, _, tempo, _ in found} > {20, 75, 85} and 0.5 <= min(Loud.asked) < max(Loud.asked) <= 1.5
    assert len(Loud.asked) == len(set(Loud.asked)) <= 20, "tables are kept"


@pytest.mark.parametrize("key,value", [("transpose", 2), ("velocity", 2), ("tempo", 0.1)])
def test_what_the_tokenizer_cannot_do_is_an_error(key: str, value: float) -> None:
    with pytest.raises(HubError, match=rf"data\.augment\.{key} is {value}, but the tokenizer Plain has no {key[:5]}"):
        batches(music(5), augment=AugmentHParams(**{key: value}))  # type: ignore[arg-type]


def test_a_table_of_another_size_is_an_error() -> None:
    class Short(Plain):
        def transpose_table(self, semitones: int) -> list[int]:
            return list(range(VOCAB - 1))

    with pytest.raises(
        ValueError, match=rf"Short.transpose_table\(-?1\) has shape \(99,\); expected one id .* {VOCAB}"
    ):
        batches(Memory([10, 20]), Short(), augment=AugmentHParams(transpose=1))


def test_only_training_is_augmented() -> None:
    store = Memory([50] * 9)
    some = Batches(
        store,
        "valid",
        bos_id=BOS,
        eos_id=EOS,
        pad_id=PAD,
        length=16,
        batch_size=1,
        seed=0,
        packs=True,
        augment=AugmentHParams(transpose=9),
        tokenizer=Plain(),  # type: ignore[arg-type]
    )
    assert all(some.batch(step, 0, 0, 1)["ids"][0, 5] == 50 for step in range(9))


def test_packing_fills_the_rows_fast() -> None:
    rng = np.random.default_rng(1)
    store = music(*rng.integers(50, 900, 1000).tolist(), bars=11)
    some = batches(store, Musical(), length=512, batch_size=16, augment=AugmentHParams(transpose=5))
    begun = time.perf_counter()
    steps = some.steps_per_epoch
    positions = sum(some.batch(step, 0, 0, 1)["ids"].numel() for step in range(steps))
    speed = positions / (time.perf_counter() - begun)
    counted = sum(some.counted(step) for step in range(steps))
    assert counted / positions >= 0.95 and speed >= 200_000, (counted / positions, speed)


def test_whole_pieces_are_scored_once() -> None:
    lengths = [40, 3, 0, 17, 100, 18, 2]
    store = music(*lengths)
    order: list[int] = []
    for batch in whole(store, "valid", BOS, EOS, PAD, max_tokens_per_batch=60):
        assert batch["ids"].shape == batch["targets"].shape
        assert batch["ids"].numel() <= 60 or len(batch["pieces"]) == 1
        for ids, targets, k in zip(batch["ids"].tolist(), batch["targets"].tolist(), batch["pieces"], strict=True):
            n, music_ = lengths[k], store.ids("valid", k).tolist()
            assert ids == [BOS, *music_] + [PAD] * (len(ids) - n - 1)
            assert targets == [*music_, EOS] + [-100] * (len(ids) - n - 1)
        order.extend(batch["pieces"])
    assert order == [2, 6, 1, 3, 5, 0, 4]


def test_a_limit_takes_a_fixed_subset_spread_over_the_split() -> None:
    store = music(*[19] * 100)

    def subset(limit: int) -> list[int]:
        return sorted(k for batch in whole(store, "valid", BOS, EOS, PAD, limit) for k in batch["pieces"])

    assert subset(400) == subset(400) and len(subset(400)) == 20 == len(set(subset(400)))
    assert subset(400)[0] < 20 and subset(400)[-1] >= 80
    assert subset(2000) == list(range(100)) and len(subset(1)) == 1
    assert [batch["pieces"] for batch in whole(music(30, 5, 9), "valid", BOS, EOS, PAD, 3)] == [[1]], "the shortest"


def test_the_other_splits_have_subsets_of_their_own() -> None:
    def subset(split: Any) -> list[int]:
        return sorted(k for batch in whole(music(*[19] * 100), split, BOS, EOS, PAD, 400) for k in batch["pieces"])

    assert subset("valid") != subset("test")


def test_semitones_are_those_of_the_transposition_and_half_in_vain_is_too_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Both(Musical):
        def velocity_table(self, steps: int) -> list[int]:
            return [id + steps if id == 5 else id for id in range(VOCAB)]

    change = Augmentation(AugmentHParams(transpose=4, velocity=3), Both(), 0)  # type: ignore[arg-type]
    moved = set()
    for epoch in range(40):
        ids, semitones = change.apply(np.array([5, 50]), epoch, 0)
        assert ids[1] - 50 == semitones
        moved.add((semitones, int(ids[0] - 5)))
    assert any(by and not semitones for semitones, by in moved) and any(a and b and a != b for a, b in moved)
    # Of -5 ... 5 three lead below 10 and four above 89: seven draws of ten, and then five, are in vain.
    tight = Augmentation(AugmentHParams(transpose=5), Both(), 0)  # type: ignore[arg-type]
    tight.warn([np.array([12, 88])])
    assert "data.augment.transpose changes little: 70 % of its draws" in caplog.text
    caplog.clear()
    tight.warn([np.array([10, 50])])
    assert not caplog.records
