"""Near-duplicates are looked for once, as long as pieces and ledger are the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datatools.preparing import cache, splits
from datatools.preparing.duplicates import HASHES
from datatools.preparing.sides import Given
from datatools.preparing.splits import Candidate, Elder, Verdict
from hparams.base import DataHParams
from tests.test_early import Walks
from tests.toy_tokenizer import ToyTokenizer

Prepare = Callable[[str], Path]


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Prepare, list[int]]:
    """Prepares the walks under a tokenizer's key; how many pieces each search for near-duplicates was about."""
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path))
    assign, searched = splits.assign, []

    def counting(pieces: list[Candidate], ledger: splits.Ledger) -> tuple[list[Verdict], splits.Ledger]:
        searched.append(len(pieces))
        return assign(pieces, ledger)

    monkeypatch.setattr(splits, "assign", counting)
    data = DataHParams(workers=1)
    return lambda key: cache.prepare(Walks(), ToyTokenizer, key, data, progress=False).folder, searched


def test_another_tokenizer_takes_the_sides_of_the_first(prepare: tuple[Prepare, list[int]]) -> None:
    stores, searched = [prepare[0](key) for key in ("one", "two")], prepare[1]
    assert searched == [7]
    assert (stores[0] / "pieces.jsonl").read_bytes() == (stores[1] / "pieces.jsonl").read_bytes()


@pytest.mark.parametrize("change", ["ledger", "damaged", "cut", "another", "side", "nothing"])
def test_with_another_ledger_or_a_damaged_file_they_are_looked_for_again(
    change: str, prepare: tuple[Prepare, list[int]], tmp_path: Path
) -> None:
    first = prepare[0]("one")
    (kept,), (ledger,) = (tmp_path / "sides").iterdir(), (tmp_path / "ledgers").iterdir()
    if change == "ledger":
        ledger.unlink()
    else:
        text = kept.read_text()
        changed = {"damaged": text[:-9], "cut": text.replace('["train", []], ', "", 1), "another": "[]", "nothing": ""}
        kept.write_text(changed.get(change, text.replace('"train"', '"tests"', 1)))
    second = prepare[0]("two")
    assert prepare[1] == [7, 7]
    assert (first / "pieces.jsonl").read_bytes() == (second / "pieces.jsonl").read_bytes()


def candidates(**changed: object) -> list[Candidate]:
    values = {"name": "a", "key": "00", "sketch": np.arange(HASHES, dtype=np.uint32), "group": "", "split": "test"}
    return [Candidate(**values | changed), Candidate("b", "11", np.zeros(HASHES, dtype=np.uint32))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "c"},
        {"key": "01"},
        {"group": "g"},
        {"split": None},
        {"bound": False},
        {"sketch": np.ones(HASHES, dtype=np.uint32)},
    ],
)
def test_they_hold_for_the_same_pieces_alone(changed: dict[str, object], tmp_path: Path) -> None:
    path, ledger = tmp_path / "sides" / "s.json", tmp_path / "l"
    verdicts = [Verdict("train", (Elder("x", "test", 0.25),)), Verdict("out")]
    Given(path, candidates(), ledger).save(verdicts)
    assert Given(path, candidates(), ledger).load() == verdicts
    assert Given(path, candidates(**changed), ledger).load() is None
    assert Given(path, candidates()[:1], ledger).load() is None
