"""Figures of the GPU script, each worked out by hand from rows made up for it."""

import math
from typing import Any

import pytest
import torch

from tests.gpu.goals import goals, judged
from tests.gpu.shares import crossover, flops, matrix_share, memory_share, rates
from tests.gpu.training import seen


@pytest.mark.parametrize(
    "ahead, other, expected",
    [
        # Half as fast, then twice: equal at the geometric mean.
        ({1024: 50.0, 4096: 100.0}, {1024: 100.0, 4096: 50.0}, 2048.0),
        # A quarter, then twice: two thirds of the way from 1,024 to 4,096, in logarithms.
        ({1024: 25.0, 4096: 100.0}, {1024: 100.0, 4096: 50.0}, 1024 * 4 ** (2 / 3)),
        # Ahead, behind, ahead: the last time counts. 1/2 to 8 is a quarter of the way, and 16 times longer is 2.
        ({64: 2.0, 256: 1.0, 4096: 8.0}, {64: 1.0, 256: 2.0, 4096: 1.0}, 512.0),
        ({64: 1.0, 256: 2.0}, {64: 1.0, 256: 1.0}, 64.0),  # just as fast is not ahead
        ({64: 2.0, 256: 3.0}, {64: 1.0, 256: 1.0}, 0.0),
        ({64: 2.0, 256: 1.0}, {64: 1.0, 256: 2.0}, math.inf),
        ({64: 2.0}, {256: 1.0}, None),
        ({64: 0.5, 128: 9.0, 256: 2.0}, {64: 1.0, 256: 1.0}, 128.0),  # 128 was measured of one alone
    ],
)
def test_crossover(ahead: dict[int, float], other: dict[int, float], expected: float | None) -> None:
    assert crossover(ahead, other) == (None if expected is None else pytest.approx(expected))


def test_rates_are_those_of_the_rows_asked_for() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "mamba", "packed": False, "length": 8, "rate": 3.0},
        {"name": "mamba", "packed": True, "length": 8, "rate": 4.0},
        {"name": "mamba", "packed": False, "length": 16, "failed": "out of memory"},
        {"name": "lstm", "packed": False, "length": 32, "rate": 5.0},
    ]
    assert rates(rows, name="mamba", packed=False) == {8: 3.0}


def test_shares_by_hand() -> None:
    row = {"parameters": 100, "attention": 16, "seen": 2.5, "rate": 10.0}
    assert flops(row) == 600 + 480
    machine = {"matrix": {"bf16": 54_000.0}, "copy": 4e12}
    assert matrix_share(row, machine) == pytest.approx(0.2)
    assert memory_share(400_000_000, 1000.0, machine) == pytest.approx(0.1)
    assert matrix_share({**row, "rate": None}, machine) is None and matrix_share(row, {}) is None
    assert memory_share(4, None, machine) is None and memory_share(4, 1.0, {}) is None


def test_what_a_token_sees() -> None:
    assert seen(4, None) == 2.5  # 1, 2, 3 and 4
    starts = torch.tensor([[False, False, True, False], [True, True, True, False]])
    assert seen(4, starts) == (1 + 2 + 1 + 2 + 1 + 1 + 1 + 2) / 8


def test_a_goal_is_met_by_every_value_or_not_at_all() -> None:
    assert judged("a", {"at 1": 0.9, "at 2": 1.0}, least=0.9) == ["a", "0.9 at 1, 1 at 2", "yes"]
    assert judged("a", {"at 1": 0.9, "at 2": 0.899}, least=0.9) == ["a", "0.9 at 1, 0.899 at 2", "no"]
    assert judged("a", {"at 1": 1.2, "at 2": 1.21}, most=1.2)[2] == "no"
    assert judged("a", {"at 1": 0.9, "at 2": None}, least=0.9) == ["a", "0.9 at 1, not measured at 2", "not measured"]
    assert judged("a", {"at 1": 0.5, "at 2": None}, least=0.9)[2] == "no"  # whatever the other would have been
    assert judged("a", {"at 1": None}) == ["a", "–", "not measured"] and judged("a", {})[2] == "not measured"


def scan(length: int, ours: float, packed: float, theirs: float, memory: int) -> list[dict[str, Any]]:
    return [
        {"name": "ours", "length": length, "both": ours, "peak": memory},
        {"name": "ours, packed", "length": length, "both": packed, "peak": memory},
        {"name": "mamba_ssm", "length": length, "both": theirs, "peak": 100},
    ]


def test_goals_of_the_scan_and_of_training() -> None:
    rows = [*scan(2048, 4.0, 4.2, 4.0, 120), *scan(4096, 4.0, 4.4, 3.8, 110), *scan(8192, 4.0, 4.5, 3.6, 121)]
    training = [
        {"name": name, "dim": 256, "packed": packed, "length": length, "rate": rate}
        for name, packed, length, rate in [
            ("mamba", False, 1024, 100.0), ("mamba", False, 4096, 100.0), ("mamba", False, 16384, 100.0),
            ("transformer", False, 1024, 400.0), ("transformer", False, 4096, 200.0),
            ("transformer", False, 16384, 50.0), ("transformer", True, 16384, 1e9),
        ]
    ]  # fmt: skip
    speed, resets, memory, ahead = goals({"scan": {"rows": rows}, "training": {"rows": training}})[:4]
    assert speed[1:] == ["1 at 2,048, 0.95 at 4,096, 0.9 at 8,192", "yes"]
    assert resets[1:] == ["1.05 at 2,048, 1.1 at 4,096, 1.125 at 8,192", "no"]
    assert memory[1:] == ["1.2 at 2,048, 1.1 at 4,096, 1.21 at 8,192", "no"]
    assert ahead[0].endswith("unpacked (width 256)")
    assert ahead[1:] == ["0.5 times at 4,096, 2 times at 16,384; ahead from about 8,190 tokens on", "no"]


def test_goals_of_decoding() -> None:
    rows = [
        {"name": "mamba", "batch": 1, "drawn": 2400.0, "under_grammar": 1900.0},
        {"name": "mamba", "batch": 64, "drawn": 120_000.0, "under_grammar": 99_000.0},
        {"name": "lstm", "batch": 1, "drawn": 1999.0, "under_grammar": 2000.0},
        {"name": "lstm", "batch": 64, "drawn": 100_000.0},
    ]
    found = [row[1:] for row in goals({"decoding": {"rows": rows}})[4:]]
    assert found == [
        ["2,400", "yes"], ["1 of 2 do; the slowest measured is lstm at 1,999", "no"],
        ["120,000", "yes"], ["2 of 2 do; the slowest measured is lstm at 100,000", "yes"],
        ["1,900", "no"], ["1 of 2 do; the slowest measured is mamba at 1,900", "no"],
        ["99,000", "no"], ["0 of 2 do; the slowest measured is mamba at 99,000", "no"],
    ]  # fmt: skip


def test_a_backbone_that_was_left_is_not_counted_as_met() -> None:
    rows = [{"name": "mamba", "batch": 1, "drawn": 2400.0}, {"name": "lstm", "left": "no time was left"}]
    alone, every = goals({"decoding": {"rows": rows}})[4:6]
    assert alone[1:] == ["2,400", "yes"]
    assert every[1:] == ["1 of 2 do; the slowest measured is mamba at 2,400", "not measured"]


def test_nothing_measured_meets_nothing() -> None:
    assert {tuple(row[1:]) for row in goals({})} == {("–", "not measured")}
