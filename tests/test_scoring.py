"""Whole pieces, longer than any chunk, scored as by hand: every token once, and every figure the sums that it names."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from datatools.batching.batches import whole
from supervisors.evaluation.kinds import KINDS, token_kinds
from supervisors.evaluation.scoring import CHUNK, PieceScore, piece_score, records, score_pieces, totals
from tests.twin import hub
from tests.twin.byhand import Toy
from tests.twin.hub import BOS, EOS, PAD

STORE = hub.Store()
TOKENIZER: Any = hub.Tokenizer()
PIECES = [[BOS, *STORE.ids("valid", k).tolist(), EOS] for k in range(len(hub.LONG))]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def costs() -> list[list[float]]:
    """Nats of every token of every piece by hand."""
    toy = Toy(hub.weights(hub.model()), hub.VOCABULARY)
    return [toy.costs(piece) for piece in PIECES]


@pytest.fixture(scope="module")
def scores() -> list[PieceScore]:
    batches = whole(STORE, "valid", BOS, EOS, PAD)  # type: ignore[arg-type]
    return score_pieces(hub.model(), batches, token_kinds(TOKENIZER), contextlib.nullcontext())


def test_pieces_longer_than_two_chunks_cost_what_they_do_by_hand(
    scores: list[PieceScore], costs: list[list[float]], figures: list[str]
) -> None:
    assert max(hub.LONG) > 2 * CHUNK and any(CHUNK < length < 2 * CHUNK for length in hub.LONG)
    assert [score.number for score in scores] == list(range(len(PIECES)))
    assert [score.tokens for score in scores] == [length + 1 for length in hub.LONG]
    found = [abs(score.nats / sum(cost) - 1) for score, cost in zip(scores, costs, strict=True)]
    figures.append(f"scores by hand: pieces of up to {max(hub.LONG)} ids differ by at most {max(found):.0e}")
    assert max(found) < 1e-12


def test_every_token_counts_under_its_kind_and_depth(scores: list[PieceScore], costs: list[list[float]]) -> None:
    for score, cost, piece in zip(scores, costs, PIECES, strict=True):
        for kind, (nats, count) in zip(KINDS, score.kinds, strict=True):
            own = [c for c, id in zip(cost, piece[1:], strict=True) if TOKENIZER.kind_of(id) == kind]
            assert (nats, count) == (pytest.approx(sum(own)), len(own))
        for depth, (nats, count) in enumerate(score.depths):
            own = cost[2**depth - 1 : 2 ** (depth + 1) - 1]
            assert (nats, count) == (pytest.approx(sum(own)), len(own))
        assert sum(count for _, count in score.depths) == len(cost)


def test_totals_are_sums_over_the_source_s_notes_and_seconds(
    scores: list[PieceScore], costs: list[list[float]]
) -> None:
    infos: Any = STORE.pieces("valid")
    chosen = [1, 3]  # a part of the split, as a validation in training scores
    found = totals([scores[k] for k in chosen], infos)
    nats = sum(cost for k in chosen for cost in costs[k])
    notes, tokens = sum(infos[k].notes for k in chosen), sum(len(costs[k]) for k in chosen)
    assert found["nats_per_token"] == pytest.approx(nats / tokens)
    assert found["nats_per_note"] == pytest.approx(nats / notes)
    assert found["bits_per_second"] == pytest.approx(nats / math.log(2) / (1.5 * (130 + 1300)))
    assert (found["pieces"], found["tokens"], found["notes"]) == (2, tokens, notes)
    assert found["notes_told"] == 130 // 3 + 1300 // 3 != notes
    untold = notes - found["notes_told"]
    price = math.log(128) + math.log(129) + 2 * math.log(48)  # pitch, instrument, onset and duration, by hand
    nats = found["nats_per_note"] * notes
    assert found["headline"]["value"] == pytest.approx((nats + price * untold) / notes)
    assert found["headline"]["low"] <= found["headline"]["value"] <= found["headline"]["high"]
    assert found["headline"]["share_told"] == found["notes_told"] / notes
    assert found["seconds"] == 1.5 * (130 + 1300)
    of_kinds = {
        kind: sum(c for k in chosen for c, id in zip(costs[k], PIECES[k][1:]) if TOKENIZER.kind_of(id) == kind)
        for kind in KINDS
    }
    assert found["kinds"] == {kind: pytest.approx(cost / notes) for kind, cost in of_kinds.items() if cost}
    low, high = found["nats_per_note_interval"]
    each = [sum(costs[k]) / infos[k].notes for k in chosen]
    assert (low, high) == (pytest.approx(min(each)), pytest.approx(max(each)))  # all draws of two pieces
    assert found["depths"][3] == [7, pytest.approx(sum(sum(costs[k][7:15]) for k in chosen) / 16), 16]


def test_the_lines_give_every_figure_again(scores: list[PieceScore]) -> None:
    infos: Any = STORE.pieces("valid")
    lines, found = records("valid", scores, infos), totals(scores, infos)
    for figure, above, below, scale in (
        ("nats_per_token", "nats", "tokens", 1.0),
        ("nats_per_note", "nats", "notes", 1.0),
        ("bits_per_second", "nats", "seconds", 1 / math.log(2)),
    ):
        assert found[figure] == pytest.approx(
            scale * sum(line[above] for line in lines) / sum(line[below] for line in lines)
        )
    assert [line["notes_told"] for line in lines] == [info.told for info in infos]
    for line, score in zip(lines, scores, strict=True):  # a kind that a piece has not is not told of it
        assert line["kinds"] == {kind: [n, k] for kind, (n, k) in zip(KINDS, score.kinds, strict=True) if k > 0}
        assert len(line["kinds"]) < len(KINDS)
    for kind, share in found["kinds"].items():
        assert share * found["notes"] == pytest.approx(sum(line["kinds"].get(kind, [0])[0] for line in lines))


def test_a_piece_of_which_no_token_counts_costs_nothing() -> None:
    found = piece_score(3, np.zeros((0, 1)), np.zeros((0, 1), dtype=np.int64), [np.zeros(5, dtype=np.int64)])
    assert (found.number, found.nats, found.tokens, found.depths) == (3, 0.0, 0, [])
    assert found.kinds == [(0.0, 0)] * len(KINDS) and totals([], [])["depths"] == []
