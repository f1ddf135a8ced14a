"""What the size of a corpus suggests, against counts by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datatools.preparing import suggestions as module
from datatools.preparing.suggestions import _short, suggestions


def store(pieces: list[list[int]], streams: int = 1) -> Any:
    arrays = [np.array(piece, dtype=np.uint16) for piece in pieces]
    manifest = {"tokenizer": {"streams": streams}}
    return SimpleNamespace(manifest=manifest, count=lambda split: len(arrays), ids=lambda split, k: arrays[k])


def test_a_corpus_by_hand() -> None:
    """5 and 7 by turns, 120 of each; 9 ends both pieces. The pair 5 7 comes 120 times, 7 5 118 times, 7 9 twice."""
    lines = suggestions(store([[5, 7] * 60 + [9], [5, 7] * 60 + [9]]), step_tokens=121)
    assert lines[0].startswith("vocabulary    2 of 3 types in training (67%) have 100 examples or more; ")
    assert "at most 4 (" in lines[0]  # 5, 7, 5 7 and 7 5; no pair leads over the end of a piece
    assert lines[1].startswith("advised size  about 48 parameters (20 tokens a parameter")  # 242 * 4 / 20
    assert lines[2].startswith("advised steps 8 to 32 of 121 tokens (4 epochs")


def test_a_vocabulary_of_more_pairs_than_can_be_counted_is_sorted() -> None:
    (line, *_) = suggestions(store([[5, 7] * 60 + [9, 4999], [5, 7] * 60 + [9]]), step_tokens=121)
    assert "2 of 4 types" in line and "at most 4 (" in line


def test_tokens_of_several_streams_have_no_pairs() -> None:
    assert [line[:13].strip() for line in suggestions(store([[5, 7] * 9], streams=2), 8)] == [
        "advised size",
        "advised steps",
    ]


def test_of_a_large_corpus_the_beginning_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 20)
    (line, *_) = suggestions(store([[5, 7] * 9, [5, 7] * 9, [1, 2, 3]]), 8)
    assert line.startswith("vocabulary    0 of 2 types in the first 2 training pieces (0%)")


def test_numbers_are_short() -> None:
    told = [_short(number) for number in (48.4, 674_684, 1.26e6, 5.04e8, 12e9)]
    assert told == ["48", "0.67 M", "1.3 M", "0.5 G", "12 G"]
