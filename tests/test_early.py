"""Tokens made while a dataset is read: the store is the one that two readings give, and no piece is read twice."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from datatools.preparing import cache, encoding, survey
from datatools.reading.scores import piece_from_score
from datatools.workers.pool import Failure
from datatools.workers.worker import reason
from hparams.base import DataHParams
from tests.toy_tokenizer import ToyTokenizer

FILES = ("tokens.bin", "offsets.npy", "pieces.jsonl", "failures.txt", "remarks.txt")
reads: Counter[str] = Counter()


class Walks:
    """Eight pieces; one cannot be read, one has a remark."""

    license, url, root = "none", "here", None

    def prepare(self, folder: Path) -> None: ...

    def fingerprint(self) -> str:
        return "walks"

    def items(self) -> list[Item]:
        sides = ("train", "valid", "train", "test", "train", "valid", "train", "test")
        return [Item(str(number), split=side) for number, side in enumerate(sides)]  # type: ignore[arg-type]

    def read(self, item: Item) -> Piece:
        reads[item.path] += 1
        if item.path == "4":
            raise ValueError("it is torn")
        pitches = np.random.default_rng(int(item.path)).integers(40, 80, 20).tolist()
        score, track = symusic.Score(480), symusic.Track()
        track.notes.extend([symusic.Note(480 * n, 480, pitch, 80) for n, pitch in enumerate(pitches)])
        score.tracks.append(track)
        return piece_from_score(score, source=item.path, remarks=["odd"] if item.path == "2" else [])


class Choosy(ToyTokenizer):
    """Refuses one piece and breaks down on another; `learns` as asked for."""

    def __init__(self, learns: bool, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.learns = learns

    def encode(self, piece: Piece) -> list[int]:
        if piece.source == "3":
            raise ValueError("3: it is too gay")
        if piece.source == "6":
            raise RuntimeError("a bug")
        return super().encode(piece)

    def train(self, pieces: Any) -> None:
        assert self.learns


def spread(function: Any, tasks: list[Item], **settings: Any) -> Iterator[Any]:
    """As workers would, in this process."""
    for task in tasks:
        try:
            yield task, function(task)
        except Exception as error:
            yield task, Failure(reason(error))


@pytest.fixture
def store_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for module in (survey, encoding):
        monkeypatch.setattr(module, "spread", spread)

    def make(learns: bool) -> Path:
        monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / str(learns)))
        encoding._built.clear()
        reads.clear()
        return cache.prepare(Walks(), partial(Choosy, learns), "key", DataHParams(), progress=False).folder

    return make


def test_one_reading_gives_the_store_of_two(store_of: Any, tmp_path: Path) -> None:
    twice = store_of(True)
    assert reads == {"4": 1} | dict.fromkeys("012357", 2) | {"6": 2}
    once = store_of(False)
    assert reads == {"4": 2} | dict.fromkeys("012357", 1) | {"6": 3}, "what fails is tried alone, and then as ever"
    for name in FILES:
        assert (once / name).read_bytes() == (twice / name).read_bytes(), name
    told = (once / "failures.txt").read_text().splitlines()
    assert [line.partition(" (")[0] for line in told] == ["4: it is torn", "6: RuntimeError: a bug", "3: it is too gay"]
    assert not [path for path in (tmp_path / "False" / "stores").iterdir() if path != once]
    rows = {row.source: row.failure for row in cache.surveyed(Walks(), DataHParams(), progress=False)}
    assert [source for source, failure in rows.items() if failure] == ["4"], "the tokenizer's trouble is its own"


def test_tokens_of_several_streams_come_back(tmp_path: Path) -> None:
    from datatools.preparing.early import Early

    (tmp_path / "part" / "tokenizer").mkdir(parents=True)
    with Early(ToyTokenizer, tmp_path / "part" / "tokenizer", (300, 70_000), Walks().read) as early:
        for number in range(3):
            ids = np.arange(2 * number, dtype=np.uint32).reshape(number, 2) + 66_000
            told = encoding.Told(ids, number, f"remark {number}", {"drums": number})
            early.keep(Item(str(number)), ("measured", told))  # type: ignore[arg-type]
        for number in (2, 0, 1):
            found = early[Item(str(number))]
            assert found.ids.tolist() == (np.arange(2 * number).reshape(number, 2) + 66_000).tolist()
            assert (found.told, found.remarks, found.lost) == (number, f"remark {number}", {"drums": number})
        assert Item("3") not in early
