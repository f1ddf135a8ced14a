"""Tokens made while a dataset is read: the store is the one that two readings give, and no piece is read twice."""

import shutil
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
from datatools.preparing.early import Early
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


class Killed(BaseException):
    """What ends a preparation, wherever it is."""


@pytest.mark.parametrize("after", [1, 3, 6])
def test_an_interrupted_reading_keeps_its_tokens(
    after: int, store_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {name: (store_of(False) / name).read_bytes() for name in FILES}
    shutil.rmtree(tmp_path / "False")
    keep, kept = Early.keep, 0

    def stopping(self: Early, *arguments: Any) -> Any:
        nonlocal kept
        measured = keep(self, *arguments)
        kept += 1
        if kept == after:
            raise Killed
        return measured

    monkeypatch.setattr(Early, "keep", stopping)
    with pytest.raises(Killed):
        store_of(False)
    monkeypatch.setattr(Early, "keep", keep)
    encodes: Counter[str] = Counter()
    encode = Choosy.encode

    def counting(self: Choosy, piece: Piece) -> list[int]:
        encodes[piece.source] += 1
        return encode(self, piece)

    monkeypatch.setattr(Choosy, "encode", counting)
    done = store_of(False)
    # The last piece's tokens were kept before its row was: it is read for the survey once more, as 6 is, which fails.
    again = [item.path for item in Walks().items() if item.path not in "46"][: after - 1]
    assert not any(encodes[path] for path in again), "what an interrupted reading tokenized is not tokenized again"
    assert {name: (done / name).read_bytes() for name in FILES} == expected
    assert not list(done.glob("early*"))


def early_of(folder: Path) -> Early:
    """Of two streams, as an interrupted preparation may have left it."""
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    return Early(ToyTokenizer, folder / "tokenizer", (300, 70_000), Walks().read)


def told(number: int) -> encoding.Told:
    """`number` tokens, with so much to say of them."""
    ids = np.arange(2 * number, dtype=np.uint32).reshape(number, 2) + 66_000
    return encoding.Told(ids, number, f"remark {number}", {"drums": number})


def keep(early: Early, number: int) -> None:
    early.keep(Item(str(number), number), ("measured", told(number)))  # type: ignore[arg-type]


def assert_kept(early: Early, numbers: set[int]) -> None:
    for number in range(5):
        item = Item(str(number), number)
        assert (item in early) == (number in numbers)
        if number in numbers:
            found = early[item]
            assert isinstance(found, encoding.Told)
            assert found.ids.tolist() == told(number).ids.tolist()
            assert (found.told, found.remarks, found.lost) == (number, f"remark {number}", {"drums": number})


def test_tokens_of_several_streams_come_back(tmp_path: Path) -> None:
    with pytest.raises(Killed), early_of(tmp_path) as early:
        for number in range(3):
            keep(early, number)
        assert_kept(early, {0, 1, 2})
        early.keep(Item("torn"), ("measured", Failure("it is torn")))  # type: ignore[arg-type]
        raise Killed
    with early_of(tmp_path) as early:
        assert_kept(early, {0, 1, 2})
        assert early[Item("torn")] == Failure("it is torn")
        keep(early, 4)
        assert_kept(early, {0, 1, 2, 4})
    assert not list(tmp_path.glob("early*")), "a store that is whole needs them no longer"


DAMAGED = {  # what is done to the lines of the pieces 1, 2 and 3 with tokens behind them -> what is left, and said
    "a line cut short": (lambda found: found[: found.index(b'["3"') + 9], {1, 2}, ""),
    "tokens cut short": (lambda found: found[:-1], {1, 2}, ""),
    "no tokens": (lambda found: found[: found.index(b"\n") + 1], set(), ""),
    "another piece": (lambda found: found.replace(b'["2"', b'["4"'), {1}, "is damaged at byte "),
    "other tokens": (lambda found: found[:-3] + b"abc", {1, 2}, "is damaged at byte "),
    "more tokens": (lambda found: found.replace(b" 8 [", b" 9 ["), set(), "is damaged at byte 0;"),
    "very many tokens": (lambda found: found.replace(b" 8 [", b" 99999999999999999999999 ["), set(), ""),
    "no number": (lambda found: b"x" + found, set(), "is damaged at byte 0;"),
    "brackets": (lambda found: b"[" * 100_000 + b"\n" + found, set(), "is damaged at byte 0;"),
    "nothing": (lambda found: b"", set(), ""),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_left_of_a_damaged_one_is_used(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Killed), early_of(tmp_path) as early:
        for number in (1, 2, 3):
            keep(early, number)
        raise Killed
    path = tmp_path / "early.bin"
    change, left, said = DAMAGED[damage]
    path.write_bytes(change(path.read_bytes()))
    early = early_of(tmp_path)
    assert_kept(early, left)
    assert said in caplog.text and bool(said) == bool(caplog.text)
    for number in range(5):
        keep(early, number)
    assert_kept(early, set(range(5)))
