"""From a folder of files to a token store and back: nothing lost, nothing leaked, nothing done twice."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.contracts.dataset import SPLITS, Item
from core.contracts.piece import Piece
from core.errors import HubError
from core.log import logger
from datatools.preparing import encoding, survey
from datatools.preparing.cache import TokenStore, cache_folder, prepare
from datatools.preparing.encoding import token_type
from datatools.reading.scores import read
from hparams.base import DataHParams
from plugins.datasets.folder import Folder
from tests.stores import DATA, prepared, sides
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer, build
from tests.tunes import tune, write

ROOT = Path(__file__).parent.parent
BOOK = "X:1\nT:First\nM:4/4\nL:1/8\nK:C\nCDEF GABc|\n\nX:2\nT:Second\nM:3/4\nL:1/4\nK:G\nGBd|gdB|\n"


@pytest.fixture(scope="module", autouse=True)
def fresh_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPTUNES_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield cache_folder()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty tunes, two of them once more, a book of two, one beyond the tokenizer, three that are no music."""
    folder = tmp_path_factory.mktemp("music")
    write(folder / "tunes", range(30))
    tune(4, shift=3).dump_midi(str(folder / "retitled.MID"))
    tune(5, stretch=2).dump_midi(str(folder / "slow.mid"))
    (folder / "book.abc").write_text(BOOK)
    tune(99, shift=127 - int(tune(99).tracks[0].notes.numpy()["pitch"].max())).dump_midi(str(folder / "high.mid"))
    (folder / "empty.mid").touch()
    (folder / "page.mid").write_text("<!DOCTYPE html><html>404</html>")
    (folder / "line\nbreak.mid").write_bytes(b"MThd")
    return folder


@pytest.fixture(scope="module")
def store(music: Path, fresh_cache: Path) -> TokenStore:
    return prepared(music)


def test_tokens_are_those_of_the_tokenizer(store: TokenStore) -> None:
    for split in SPLITS:
        pieces = store.pieces(split)
        assert [len(store.ids(split, k)) for k in range(len(pieces))] == [piece.tokens for piece in pieces]
        assert store.lengths(split).tolist() == [piece.tokens for piece in pieces]
        for k, info in enumerate(pieces):
            piece = read(info.path, info.index)
            assert store.ids(split, k).tolist() == ToyTokenizer().encode(piece)
            assert (info.sha256, info.split, info.notes) == (piece.sha256, split, piece.score.note_num())
            assert info.told == info.notes
            assert info.seconds == pytest.approx(piece.score.to("second").end(), abs=1e-3)
        with pytest.raises(IndexError):
            store.ids(split, len(pieces))
    assert store.ids("train", 0).dtype == np.uint16


def test_every_item_is_a_piece_or_named(store: TokenStore, music: Path) -> None:
    lines = dict(line.split(": ", 1) for line in store.failures_path.read_text().splitlines())
    assert set(lines) == {"empty.mid", "page.mid", "line\\nbreak.mid", "high.mid"}
    assert "empty" in lines["empty.mid"] and "web page" in lines["page.mid"]
    assert lines["high.mid"] == "pitch 127 is beyond this tokenizer"
    tunes = {f"tunes/tune-{seed:03d}.mid" for seed in range(30)}
    assert set(sides(store)) == tunes | {"retitled.MID", "slow.mid", "book.abc#0", "book.abc#1"}
    manifest = store.manifest
    assert (manifest["failures"], manifest["unread"], manifest["refused"], manifest["left_out"]) == (4, 3, 1, 0)


def test_manifest_counts_what_is_there(store: TokenStore) -> None:
    for split in SPLITS:
        pieces, counts = store.pieces(split), store.manifest["counts"][split]
        assert counts["pieces"] == len(pieces) > 0
        for name, field in (("notes", "notes"), ("notes_told", "told"), ("tokens", "tokens"), ("seconds", "seconds")):
            assert counts[name] == pytest.approx(sum(getattr(piece, field) for piece in pieces), abs=0.1)
    assert store.manifest["tokenizer"]["fingerprint"] == ToyTokenizer(store.tokenizer_folder).fingerprint()


def test_variants_are_on_one_side_and_told(store: TokenStore) -> None:
    side = sides(store)
    assert side["retitled.MID"] == side["tunes/tune-004.mid"]
    assert side["slow.mid"] == side["tunes/tune-005.mid"]
    near = [json.loads(line) for line in (store.folder / "near.jsonl").read_text().splitlines()]
    pairs = [{one["source"], one["elders"][0]["name"]} for one in near]
    assert {"retitled.MID", "tunes/tune-004.mid"} in pairs and {"slow.mid", "tunes/tune-005.mid"} in pairs
    assert store.manifest["near_duplicates"] == len(near) == 2


def test_the_tokenizer_learns_from_training_pieces_only(store: TokenStore) -> None:
    seen = ToyTokenizer(store.tokenizer_folder).seen
    refused = ["high"] if len(seen) > store.count("train") else []
    assert seen == sorted([piece.title for piece in store.pieces("train")] + refused)


def test_a_second_preparation_reads_nothing(store: TokenStore, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(survey, "spread", refuse)
    monkeypatch.setattr(encoding, "spread", refuse)
    monkeypatch.setattr("datatools.fetching.search.checksum", refuse)
    assert prepared(music).folder == store.folder


def test_another_tokenizer_shares_the_survey(store: TokenStore, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "spread", None)
    other = prepared(music, "another")
    assert other.folder != store.folder
    assert sides(other) == sides(store)


def test_an_interrupted_preparation_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped every ten pieces, with a torn line or stray bytes left behind each time, it ends in the same store."""
    write(tmp_path / "music", range(24))
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "calm"))
    calm = prepared(tmp_path / "music")
    real, tasks_given = survey.spread, []

    def stopping(function: Any, tasks: list[Any], **settings: Any) -> Iterator[Any]:
        tasks_given.append(len(tasks))
        for number, pair in enumerate(real(function, tasks, **settings)):
            if number == 10:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "rough"))
    monkeypatch.setattr(survey, "spread", stopping)
    monkeypatch.setattr(encoding, "spread", stopping)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path / "music")
        left = [*(tmp_path / "rough").glob("surveys/*"), *(tmp_path / "rough").glob("*/*.part/*.*")]
        for path in left:
            with path.open("ab") as file:
                file.write(b'["torn')
    rough = prepared(tmp_path / "music")
    assert tasks_given == [24, 14, 4, 24, 14, 4]
    for name in ("tokens.bin", "offsets.npy", "pieces.jsonl", "manifest.json", "tokenizer/toy.json"):
        assert (rough.folder / name).read_bytes() == (calm.folder / name).read_bytes(), name


def test_added_files_keep_the_sides_of_the_old_ones(tmp_path: Path) -> None:
    write(tmp_path / "music", range(8))
    before = sides(prepared(tmp_path / "music"))
    write(tmp_path / "music" / "more", range(8, 50))
    tune(0, changed=3).dump_midi(str(tmp_path / "music" / "variant.mid"))
    after = prepared(tmp_path / "music")
    assert before.items() <= sides(after).items()
    assert sides(after)["variant.mid"] == before["tune-000.mid"]
    assert len(sides(after)) == 51


def test_a_folder_of_bad_files_is_one_line(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"bad{number}.mid").write_bytes(b"no music")
    with pytest.raises(HubError) as caught:
        prepared(tmp_path)
    text = str(caught.value)
    assert "none of 5 pieces" in text and "bad0.mid" in text and "\n" not in text
    assert len(Path(text.rsplit(" ", 1)[1]).read_text().splitlines()) == 5


def test_a_tokenizer_that_tells_nothing_is_one_line(tmp_path: Path) -> None:
    for seed in range(4):
        score = tune(seed)
        score.tracks[0].notes[0].pitch = 127
        score.dump_midi(str(tmp_path / f"{seed}.mid"))
    with pytest.raises(HubError, match=r"can tell no train piece .*pitch 127") as caught:
        prepared(tmp_path)
    assert "remi" not in str(caught.value)  # another grid would not help


class Slow(Folder):
    """A dataset of which one file cannot be read in time while another, called busy, lies beside it."""

    def read(self, item: Item) -> Piece:
        if item.path.endswith("tune-002.mid") and (self.root / "busy").exists():
            time.sleep(600)
        return read(item.path, item.index)


def test_larger_limits_bring_in_what_was_too_slow(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    (tmp_path / "busy").touch()
    counts = []
    for seconds in (3.0, 2.9, 20.0, 3.0):
        data = DataHParams(workers=2, seconds_per_file=seconds, megabytes_per_worker=1024)
        store = prepare(Slow(str(tmp_path)), build, "toy", data, progress=False)
        counts.append((len(sides(store)), store.manifest["limited"]))
        (tmp_path / "busy").unlink(missing_ok=True)
    assert counts == [(4, 1), (4, 1), (5, 0), (5, 0)]


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "music", range(4))
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HubError, match=r"no space is left .* SWAPTUNES_CACHE"):
        prepared(tmp_path / "music")
    monkeypatch.undo()
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    assert len(sides(prepared(tmp_path / "music"))) == 4


class Lossy(ToyTokenizer):
    """Tells no pitch that is odd and remarks on it; of tune 2 it gives ids that it cannot decode."""

    def encode(self, piece: Piece) -> list[int]:
        whole = super().encode(piece)
        ids = [id for id in whole if id < PITCH or id % 2 == PITCH % 2]
        if len(ids) < len(whole):
            logger.info("%s: %d notes are odd", piece.source, len(whole) - len(ids))
        return [*ids, STEP, STEP, STEP] if piece.source.endswith("tune-002.mid") else ids

    def decode(self, ids: Any) -> Piece:
        if list(ids[-3:]) == [STEP] * 3:
            raise IndexError("three steps are too many")
        return super().decode(ids)


def build_lossy(folder: Path | None = None) -> Lossy:
    return Lossy(folder)


def test_notes_that_the_tokens_do_not_tell_are_counted(tmp_path: Path) -> None:
    write(tmp_path, range(6))
    low = tune(7)
    for note in low.tracks[0].notes:
        note.pitch -= note.pitch % 2
    low.dump_midi(str(tmp_path / "even.mid"))
    store = prepare(Folder(str(tmp_path)), build_lossy, "lossy", DATA, progress=False)
    assert "tune-002.mid" not in sides(store)
    [failure] = store.failures_path.read_text().splitlines()
    assert failure.startswith(
        "tune-002.mid: the tokenizer cannot decode the ids that it gives: IndexError: three steps"
    )
    remarks = dict(line.split(": ", 1) for line in (store.folder / "remarks.txt").read_text().splitlines())
    lost = 0
    for split in SPLITS:
        for piece in store.pieces(split):
            pitches = [int(pitch) for pitch in read(piece.path).score.tracks[0].notes.numpy()["pitch"]]
            odd = sum(pitch % 2 for pitch in pitches)
            assert (piece.notes, piece.told) == (len(pitches), len(pitches) - odd)
            assert remarks.get(piece.source, "") == (f"{odd} notes are odd" if odd else "")
            lost += odd
        counts = store.manifest["counts"][split]
        assert counts["notes_told"] == sum(piece.told for piece in store.pieces(split))
    assert lost == sum(count["notes"] - count["notes_told"] for count in store.manifest["counts"].values()) > 0
    assert store.manifest["remarks"] == len(remarks) > 0 and "even.mid" not in remarks


def test_a_tune_of_a_book_is_refused_by_its_short_name(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    (tmp_path / "book.abc").write_text(BOOK.replace("GBd|", "GBg''''|"))
    store = prepared(tmp_path)
    assert store.failures_path.read_text() == "book.abc#1: pitch 127 is beyond this tokenizer\n"


class OnTheGrid(ToyTokenizer):
    """Refuses every piece as the ABC writer does."""

    def encode(self, piece: Piece) -> list[int]:
        raise ValueError(f"{piece.source}: the note c at tick 7, 3 long, is off the grid of 24 steps a quarter")


def build_on_the_grid(folder: Path | None = None) -> OnTheGrid:
    return OnTheGrid(folder)


def test_what_no_tokenizer_can_tell_is_said_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    with pytest.raises(HubError) as caught:
        prepare(Folder(str(tmp_path)), build_on_the_grid, "grid", DATA, progress=False)
    text = str(caught.value)
    assert "can tell no train piece" in text and "\n" not in text
    assert "another tokenizer= may" in text and "is off the grid of 24 steps a quarter" in text
    assert len(Path(text.rsplit(" ", 1)[1]).read_text().splitlines()) == 4


def test_a_damaged_store_is_named(store: TokenStore, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store.folder, copy)
    assert sides(TokenStore(copy)) == sides(store)
    with (copy / "tokens.bin").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(HubError, match="has 100 bytes; expected"):
        TokenStore(copy)


def test_two_processes_prepare_at_once(tmp_path: Path) -> None:
    write(tmp_path / "music", range(12))
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from datatools.preparing.cache import prepare
from hparams.base import DataHParams
from plugins.datasets.folder import Folder
from tests.toy_tokenizer import build
store = prepare(Folder({str(tmp_path / "music")!r}), build, "toy", DataHParams(workers=1), progress=False)
print(store.folder, sum(len(store.pieces(split)) for split in ("train", "valid", "test")))
"""
    environment = {**os.environ, "SWAPTUNES_CACHE": str(tmp_path / "cache")}
    pair = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in pair)
    assert first == second and first.endswith(" 12\n")
    assert [path.name for path in (tmp_path / "cache" / "stores").iterdir()] == [Path(first.split()[0]).name]


@pytest.mark.parametrize(("size", "name"), [(2, "uint16"), (2**16, "uint16"), (2**16 + 1, "uint32")])
def test_ids_take_the_smallest_type(size: int, name: str) -> None:
    assert token_type([size]) == np.dtype(name)


class Odd(ToyTokenizer):
    """Gives whatever ids it is told to."""

    def __init__(self, ids: Any) -> None:
        self.ids = ids

    def encode(self, piece: Any) -> Any:
        return self.ids


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([], "no token"),
        ([5, 132], "ids 5 to 132"),
        ([-1], "ids -1"),
        ([5, 2, 6], "begin or end"),
        ([[5], [6]], "shape"),
    ],
)
def test_ids_that_a_tokenizer_must_not_give_are_refused(
    ids: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encoding._built, tmp_path, Odd(ids))
    with pytest.raises(ValueError, match=reason):
        encoding.encode(build, tmp_path, lambda item: None, None)  # type: ignore[arg-type, return-value]


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("SWAPTUNES_CACHE")
    assert cache_folder() == tmp_path / "b" / "swaptunes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "swaptunes"


def test_a_side_without_pieces_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, range(4))
    items = [Item(str(path), split="valid") for path in sorted(tmp_path.iterdir())]
    monkeypatch.setattr(Folder, "items", lambda self: iter(items))
    with pytest.raises(HubError, match=r"gives no piece for train, .* found 0 for train, 4 for valid, 0 for test"):
        prepare(Folder(str(tmp_path)), build_on_the_grid, "grid", DATA, progress=False)
