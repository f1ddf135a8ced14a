"""What was damaged in a cache is named once and made again; nothing damaged is used."""

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from datatools.preparing import encoding, intact, survey
from datatools.preparing.cache import TokenStore
from plugins.datasets.folder import Folder
from tests.stores import DATA, prepared, sides
from tests.tunes import write


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Eight tunes and a cache folder in which they are prepared."""
    home = tmp_path_factory.mktemp("small")
    write(home / "music", range(8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPTUNES_CACHE", str(home / "cache"))
        prepared(home / "music")
    return home / "music", home / "cache"


@pytest.fixture
def cache(small: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that cache, which is the cache of this test."""
    shutil.copytree(small[1], tmp_path / "cache")
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def flip(path: Path, at: int) -> None:
    """Changes one bit of a file, whose size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, "missing") for name in ("manifest.json", "pieces.jsonl", "offsets.npy", "tokens.bin")),
        *((name, "cut") for name in ("manifest.json", "pieces.jsonl", "offsets.npy", "tokens.bin")),
        *((name, "changed") for name in ("manifest.json", "pieces.jsonl", "offsets.npy", "tokens.bin")),
        ("manifest.json", "counts"),
        ("tokenizer/toy.json", "cut"),
    ],
)
def test_a_damaged_store_is_named_once_and_made_again(
    name: str,
    damage: str,
    small: tuple[Path, Path],
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    [folder] = (cache / "stores").iterdir()
    whole = contents(folder)
    path = folder / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "changed":
        flip(path, -20)
    else:
        path.write_text(path.read_text().replace('"pieces": ', '"pieces": 1'))
    assert prepared(small[0]).folder == folder
    [line] = warnings(caplog)
    assert line.startswith(str(path)) and line.endswith("; the token store is made again")
    assert contents(folder) == whole
    prepared(small[0])
    assert len(warnings(caplog)) == 1


def test_checksums_of_a_huge_store_are_left_out_but_not_its_sizes(
    small: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [folder] = (small[1] / "stores").iterdir()
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setattr(intact, "MOST_HASHED", 100)
    monkeypatch.setattr(intact, "checksum", None)
    pieces = tmp_path / "copy" / "pieces.jsonl"
    assert sides(TokenStore(tmp_path / "copy")) == sides(TokenStore(folder))
    pieces.write_bytes(b"[" + pieces.read_bytes()[1:])
    with pytest.raises(HubError, match=r"pieces.jsonl has a line that is no piece"):
        sides(TokenStore(tmp_path / "copy"))
    offsets = tmp_path / "copy" / "offsets.npy"
    flip(offsets, -8)
    with pytest.raises(HubError, match=r"offsets.npy does not lead through 8 pieces"):
        TokenStore(tmp_path / "copy")
    flip(offsets, 0)
    with pytest.raises(HubError, match=r"offsets.npy is no array"):
        TokenStore(tmp_path / "copy")
    pieces.write_bytes(pieces.read_bytes()[:-1])
    with pytest.raises(HubError, match=r"pieces.jsonl has \d+ bytes; expected"):
        TokenStore(tmp_path / "copy")


@pytest.mark.parametrize(
    ("number", "old", "new", "again"),
    [
        (0, b"fingerprint", b"fingerprimt", 8),
        (4, b'"notes": ', b'"notes": "', 5),
        (4, b'{"source"', b'["source"', 5),
        (4, b'"title"', b'"titel"', 5),
        (4, b'"sketch": "', b'"sketch": "*', 5),
        (4, b'"seconds": ', b'"seconds": true, "x": ', 5),
    ],
)
def test_a_damaged_survey_is_named_and_read_again_from_there(
    number: int,
    old: bytes,
    new: bytes,
    again: int,
    small: tuple[Path, Path],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    [path] = (cache / "surveys").glob("*.jsonl")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert lines[number].count(old) == 1
    lines[number] = lines[number].replace(old, new)
    path.write_bytes(b"".join(lines))
    fingerprint = json.loads(whole.splitlines()[0])["fingerprint"]
    dataset, counted = Folder(str(small[0])), []
    dataset.prepare(cache / "datasets" / "here")
    real = survey.spread

    def counting(function: Any, tasks: list[Any], **settings: Any) -> Iterator[Any]:
        counted.append(len(tasks))
        return real(function, tasks, **settings)

    monkeypatch.setattr(survey, "spread", counting)
    survey.survey(dataset, path, DATA, fingerprint, False)
    [line] = warnings(caplog)
    assert line.startswith(f"{path} is damaged in line {number + 1} (")
    assert counted == [again] and path.read_bytes() == whole


@pytest.mark.parametrize(("seconds", "kept"), [(DATA.seconds_per_file, 3), (DATA.seconds_per_file + 1, 1)])
def test_larger_limits_try_again_what_smaller_ones_stopped(seconds: float, kept: int, tmp_path: Path) -> None:
    pieces = [
        encoding.Encoded("a", 3),
        encoding.Encoded("b", 0, failure="takes too long", limited=True),
        encoding.Encoded("c", 2),
    ]
    lines = [[DATA.seconds_per_file, DATA.megabytes_per_worker], *map(astuple, pieces)]
    (tmp_path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "tokens.bin").write_bytes(bytes(10))
    limits = replace(DATA, seconds_per_file=seconds)
    assert encoding._resume(tmp_path, 2, ["a", "b", "c"], limits) == pieces[:kept]
    assert (tmp_path / "tokens.bin").stat().st_size == {3: 10, 1: 6}[kept]
    head = json.loads((tmp_path / "progress.jsonl").read_text().partition("\n")[0])
    assert head == [seconds, DATA.megabytes_per_worker]


@pytest.mark.parametrize("line", ["[1, 2", "{}", "[]", '["tune-000.mid", "many"]', "[1, 2, 3, 4, 5, 6, 7, 8, 9]", "é"])
def test_a_damaged_line_of_progress_is_named_and_done_again(
    line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = json.dumps(astuple(encoding.Encoded("tune-000.mid", 3, 2, "a remark"))) + "\n"
    (tmp_path / "tokens.bin").write_bytes(bytes(20))
    head = json.dumps([DATA.seconds_per_file, DATA.megabytes_per_worker]) + "\n"
    (tmp_path / "progress.jsonl").write_text(head + good + line + "\n" + good, encoding="utf-8")
    done = encoding._resume(tmp_path, 2, ["tune-000.mid"] * 3, DATA)
    assert done == [encoding.Encoded("tune-000.mid", 3, 2, "a remark")]
    assert (tmp_path / "progress.jsonl").read_text() == head + good
    assert (tmp_path / "tokens.bin").stat().st_size == 6
    assert "line 3" in warnings(caplog)[0]
