"""The page of a comparison, line by line, from groups that were made up by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from supervisors.comparison.intervals import Difference, Estimate, Row
from supervisors.comparison.page import _draw, page
from supervisors.comparison.rows import Entry, Group

PRICE = math.log(128 * 129 * 48 * 48)  # of a note that is not told


def entry(name: str, value: float, seeds: int = 2, **more: Any) -> Entry:
    """A model of `value` nats per note, its seeds 0.25 to either side; ten pieces of ten notes."""
    by_seed = [value] if seeds == 1 else [value - 0.25, value + 0.25]
    row = Row(name, np.array([[10 * one] * 10 for one in by_seed]), np.full(10, 10.0))
    facts = {"parameters": 1_000_000, "seeds": list(range(seeds)), "tokens": 2_000_000.4, "minutes": 3.21}
    facts |= {"ngram": 4.5, "order": 6, "data": ["one"], "folders": [name]}
    return Entry(row=row, estimate=Estimate(value, value - 0.5, value + 0.75), **{**facts, **more})


def group(*entries: Entry, differences: Any = (), **more: Any) -> Group:
    facts: dict[str, Any] = {"dataset": "tunes", "split": "test", "tokenizer": "remi", "pieces": 10, "notes": 100}
    facts |= {"told": 100, "settings": {"tokenizer.name": "remi", "tokenizer.beat": 4}}
    return Group(entries=list(entries), differences=list(differences), **{**facts, **more})


def parts(*groups: Group) -> list[str]:
    return page(list(groups)).rstrip("\n").split("\n\n")


A, B, C = entry("a", 2.0), entry("b", 3.0), entry("c", 3.5, parameters=1_099_000)
DIFFERENCES = (
    Difference("a", "b", Estimate(-1.0, -1.5, -0.5), "a"),
    Difference("c", "a", Estimate(1.5, 0.75, 2.25), "a"),
    Difference("b", "c", Estimate(-0.5, -1.0, 0.1), ""),
)


def test_a_table_tells_each_model_and_only_what_its_intervals_support() -> None:
    _, read, picture, title, table, verdicts = parts(group(A, B, C, differences=DIFFERENCES))
    assert "cover both other music and other seeds (Student's t)" in read and picture.endswith("(compare.png)")
    assert title == "## tunes, 10 test pieces, 100 notes; `remi` tokens"
    rows = table.splitlines()
    assert rows[0].startswith("| model | nats per note | interval | each seed | n-gram (order) | parameters | tokens")
    assert rows[2] == ("| `a` | 2.000 | 1.500 to 2.750 | 1.750, 2.250 | 4.500 (6) | 1,000,000 | 2,000,000 | 3.2 |")
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| `a`", "| `b`", "| `c`"]
    assert verdicts.splitlines() == [
        "- `a` is better than `b` by 0.500 to 1.500.",
        "- `a` is better than `c` by 0.750 to 2.250.",
        "- Not told apart: `b` and `c`.",
    ]


def test_what_an_interval_cannot_carry_is_said_instead() -> None:
    one = entry("one", 3.0, seeds=1)
    assert "cover other music, and other seeds where there are several" in parts(group(A, one))[1]
    assert parts(group(A, one, differences=DIFFERENCES[:1]))[-1] == (
        "Some of these have one seed, which supports no ranking."
    )
    few = parts(group(A, B, differences=DIFFERENCES[:1], pieces=7))
    assert "| none: 7 pieces |" in few[4] and few[-1] == "Fewer than 8 pieces support no interval and no ranking."
    assert "1.500 to 2.750" in parts(group(A, B, differences=DIFFERENCES[:1], pieces=8))[4]
    assert parts(group(A))[-1] == "One model stands alone here; there is nothing to compare it with."
    none = [replace(one, better="") for one in DIFFERENCES[:1]]
    assert parts(group(A, B, differences=none))[-1] == "- No difference here is one that the intervals support."


def test_what_makes_a_table_unfair_is_said_below_it() -> None:
    found = parts(group(A, entry("b", 3.0, data=["one", "two"]), split="valid", pieces=1, notes=1, told=1))
    assert found[3] == "## tunes, 1 validation piece, 1 note; `remi` tokens"
    assert found[5].startswith("These have no test split: validation, which also chose the weights,")
    assert found[6].startswith("The training data differ (`a`, `b`; `b`): ")
    for facts, told in (
        ({"parameters": 1_100_000}, 0), ({"parameters": 1_100_001}, 1), ({"tokens": 1_800_000.0}, 1),
    ):  # fmt: skip
        text = page([group(A, entry("b", 3.0, **facts))])
        assert text.count("differ by more than a tenth") == told
    assert "no test split" not in text and "training data" not in text


def test_untold_notes_are_charged_to_every_model_alike() -> None:
    told = parts(group(A, B, told=90))[5]
    assert told.startswith("Told are 90.0% of the notes. With 17.45 nats for each of the others")
    assert told.endswith(f": `a` {2 + PRICE / 10:.3f}, `b` {3 + PRICE / 10:.3f}.")
    assert "Told are" not in page([group(A, B)])


class Axes:
    """Notes the lines and points that are drawn."""

    def __init__(self) -> None:
        self.drawn: list[Any] = []

    def plot(self, x: Any, y: Any, *marker: str, **_: Any) -> None:
        self.drawn.append((x, y, *marker))


def test_a_picture_shows_the_interval_each_seed_the_figure_and_the_floor() -> None:
    axes, few = Axes(), Axes()
    _draw(axes, 2, A)
    assert axes.drawn == [([1.5, 2.75], [2, 2]), ([1.75, 2.25], [2, 2], "o"), (2.0, 2, "o"), ([4.5] * 2, [1.7, 2.3])]
    _draw(few, 0, replace(A, row=replace(A.row, nats=A.row.nats[:, :7], notes=A.row.notes[:7])))
    assert [len(one) for one in few.drawn] == [3, 3, 2], "seven pieces have no interval"


def test_tables_of_one_heading_are_told_apart_by_their_settings() -> None:
    found = [
        group(
            A,
            settings={"tokenizer.beat": beat, "tokenizer.tempos": beat > 4},
            apart=["tokenizer.beat", "tokenizer.tempos"],
        )
        for beat in (4, 8)
    ]
    titles = [part for part in parts(*found) if part.startswith("## ")]
    assert titles[0].endswith("`remi` tokens (tokenizer.beat=4, tokenizer.tempos=false)")
    assert titles[1].endswith("`remi` tokens (tokenizer.beat=8, tokenizer.tempos=true)")
    assert found[0].plain()["settings"] == {"tokenizer.beat": 4, "tokenizer.tempos": False}
    assert found[0].plain()["models"][0] == {
        "name": "a", "nats_per_note": {"value": 2.0, "low": 1.5, "high": 2.75}, "by_seed": {0: 1.75, 1: 2.25},
        "parameters": 1_000_000, "tokens": 2_000_000.4, "minutes": 3.21, "data": ["one"], "runs": ["a"],
        "ngram": {"order": 6, "nats_per_note": 4.5},
    }  # fmt: skip
