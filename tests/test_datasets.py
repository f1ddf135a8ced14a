"""The built-in datasets: which files are in them, in which order, and what is said when they are not there."""

import dataclasses
import importlib.util
import logging
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.contracts.dataset import Dataset, Item
from core.errors import HubError
from datatools.fetching import corpus, search
from hparams.datasets import BachChoralesHParams, FolderHParams, FolkTunesHParams
from plugins.datasets import bach_chorales, folder, folk_tunes
from tests.tunes import write

BUILT_IN = {"bach_chorales": bach_chorales, "folk_tunes": folk_tunes, "folder": folder}


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Music, things that look like music, and links that lead nowhere or in circles."""
    root = tmp_path / "music"
    write(root / "b", range(2))
    write(root / "a" / "deep", range(2, 3))
    shutil.copy(root / "b" / "tune-000.mid", root / "LOUD.MIDI")
    (root / "book.abc").write_text("X:1\nT:A\nK:C\nCDE|\n\nX:2\nT:B\nK:C\nEDC|\n")
    for name in ("notes.txt", ".hidden.mid", "._b.mid", "noextension"):
        shutil.copy(root / "LOUD.MIDI", root / name)
    (root / ".git").mkdir()
    shutil.copy(root / "LOUD.MIDI", root / ".git" / "x.mid")
    (root / "folder.mid").mkdir()
    shutil.copy(root / "LOUD.MIDI", root / "folder.mid" / "$(inside) `it`;.mid")
    (root / "dangling.mid").symlink_to(root / "nothing")
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "again").symlink_to(root / "b")
    write(tmp_path / "elsewhere", range(5, 6))
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    return root


def built(path: Path | str) -> folder.Folder:
    return folder.build(FolderHParams(path=str(path)))


def relative(dataset: folder.Folder) -> list[tuple[str, int]]:
    return [(os.path.relpath(item.path, dataset.root).replace(os.sep, "/"), item.index) for item in dataset.items()]


def test_folder_finds_music_once_and_in_order(music: Path) -> None:
    assert relative(built(music)) == [
        ("LOUD.MIDI", 0),
        ("a/deep/tune-002.mid", 0),
        ("b/tune-000.mid", 0),
        ("b/tune-001.mid", 0),
        ("book.abc", 0),
        ("book.abc", 1),
        ("folder.mid/$(inside) `it`;.mid", 0),
        ("linked/tune-005.mid", 0),
    ]


def test_folder_names_what_is_no_file(music: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "swaptunes")
    dataset = built(music)
    assert dataset.skipped() == [
        ("dangling.mid", "a link to nothing"),
        ("folder.mid", "a folder; what is in it is read"),
    ]
    assert dataset.found.hidden == 2
    assert f"2 hidden files of music in {music} are not read" in caplog.text


def test_folder_names_links_to_themselves_and_devices(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    (tmp_path / "loop.mid").symlink_to("loop.mid")
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "zero.mid").symlink_to("/dev/zero")
    dataset = built(str(tmp_path))
    assert dataset.skipped() == [("loop.mid", "a link to nothing"), ("zero.mid", "no regular file")]
    assert len(list(dataset.items())) == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", r"dataset\.path is empty; expected the folder"),
        ("missing", r"missing, which does not exist"),
        ("file.mid", r"file\.mid, a file; expected the folder"),
        ("bare", r"no file in or below it ends in one of \.abc .*\.xml \(x\.mid is a link to nothing\)$"),
    ],
)
def test_folder_says_what_is_wrong(path: str, words: str, tmp_path: Path) -> None:
    write(tmp_path, range(1))[0].rename(tmp_path / "file.mid")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "readme.txt").write_text("no music")
    (tmp_path / "bare" / "x.mid").symlink_to("nowhere")
    with pytest.raises(HubError, match=words) as caught:
        built(str(tmp_path / path) if path else "").prepare(tmp_path)
    assert "\n" not in str(caught.value)


def test_folder_path_may_begin_with_a_tilde(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(music.parent))
    assert built("~/music").root == music.resolve()


def test_fingerprint_follows_names_and_content(music: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    first = built(music).fingerprint()
    read: list[Path] = []
    real = search.checksum

    def noted(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(search, "checksum", noted)
    assert built(music).fingerprint() == first
    assert read == []
    os.utime(music / "LOUD.MIDI", ns=(1, 1))
    assert built(music).fingerprint() == first
    assert [path.name for path in read] == ["LOUD.MIDI"]
    (music / "book.abc").write_text("X:1\nT:A\nK:C\nCDE|\n\nX:2\nT:B\nK:C\nEDD|\n")
    second = built(music).fingerprint()
    (music / "b" / "tune-001.mid").rename(music / "b" / "tune-011.mid")
    third = built(music).fingerprint()
    assert len({first, second, third}) == 3
    (music.parent / "cache" / "fingerprints").rename(music.parent / "gone")
    assert built(music).fingerprint() == third


def test_chorales_are_all_there(caplog: pytest.LogCaptureFixture) -> None:
    """409 settings; 365 of them for exactly four parts, 364 of which are headed soprano, alto, tenor, bass."""
    every = bach_chorales.build(BachChoralesHParams(accompanied=True))
    names = [Path(item.path).name for item in every.items()]
    assert len(names) == len(set(names)) == 409
    assert names == sorted(names)
    assert not [name for name in names if name.startswith("bwv846") or name.endswith(".krn")]
    four = bach_chorales.build(BachChoralesHParams())
    with caplog.at_level(logging.INFO, "swaptunes"):
        assert len(list(four.items())) == len(list(four.items())) == 365
    assert [record.message for record in caplog.records] == [
        "44 files of bach_chorales are not read: not in exactly four parts (dataset.accompanied=true reads them)"
    ]
    assert every.fingerprint() != four.fingerprint()
    assert every.identity != four.identity


def test_folk_tunes_are_all_there() -> None:
    items = list(folk_tunes.build(FolkTunesHParams()).items())
    books = Counter(Path(item.path).parent.name for item in items)
    assert books == {"airdsAirs": 1180, "oneills1850": 2009, "ryansMammoth": 1059}
    assert items == sorted(items) and len(set(items)) == 4248


@pytest.mark.parametrize("module", [bach_chorales, folk_tunes])
@pytest.mark.parametrize("state", ["no package", "no corpus"])
def test_a_missing_corpus_is_one_line(module: Any, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = None if state == "no package" else SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(corpus, "find_spec", lambda name: spec)
    hparams = BachChoralesHParams() if module is bach_chorales else FolkTunesHParams()
    with pytest.raises(HubError, match="pip install") as caught:
        module.build(hparams).fingerprint()
    assert "\n" not in str(caught.value)


def test_the_corpus_is_found_without_importing_its_package() -> None:
    spec = importlib.util.find_spec("music21")
    before = "music21" in sys.modules
    assert spec is not None and spec.origin is not None
    assert corpus.folder("bach") == Path(spec.origin).parent / "corpus"
    assert ("music21" in sys.modules) == before


@pytest.mark.parametrize("name", BUILT_IN)
def test_plugins_keep_the_contract(name: str, music: Path) -> None:
    registered: dict[str, Any] = {}
    BUILT_IN[name].register_datasets(
        lambda *args: registered.update(zip(("name", "hparams", "build"), args, strict=True))
    )
    assert registered["name"] == name == registered["hparams"]().name
    hparams = registered["hparams"](**({"path": str(music)} if name == "folder" else {}))
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(hparams))
    dataset = registered["build"](hparams)
    assert isinstance(dataset, Dataset)
    dataset.prepare(music)
    assert all(isinstance(item, Item) for item in dataset.items())
    assert dataset.license
