"""Published datasets: found in a file, a folder or an archive, with the split as published, and nothing missed."""

import functools
import json
import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.contracts.dataset import Dataset
from core.errors import HubError
from datatools.fetching import sources
from datatools.fetching.download import Remote
from datatools.preparing import cache
from datatools.reading.four_voices import score_of, steps_of
from datatools.reading.scores import read
from hparams.base import DataHParams
from hparams.datasets import JsbChoralesHParams, MaestroHParams, Pop909HParams
from hparams.tokenizers.grid import GridHParams
from plugins.datasets import jsb_chorales, maestro, pop909
from plugins.tokenizers import grid
from tests.test_grid import random_steps

SPLITS = {"train": 3, "valid": 2, "test": 1}


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def chorales(tmp_path: Path) -> dict[str, list[list[list[int]]]]:
    seeds = iter(range(100))
    made = {split: [random_steps(next(seeds)).tolist() for _ in range(count)] for split, count in SPLITS.items()}
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "Jsb16thSeparated.json").write_text(json.dumps(made))
    return made


def packed(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tar.gz"), "w:gz") as archive:
        archive.add(folder, folder.name)
    return folder.with_suffix(".tar.gz")


@pytest.mark.parametrize("form", ["file", "folder", "archive", "folder of archives"])
def test_chorales_come_through_with_their_split(form: str, chorales: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "set"
    if form == "file":
        path = path / "Jsb16thSeparated.json"
    elif form.endswith("archive"):
        path = packed(path)
    elif form.endswith("archives"):
        (tmp_path / "all").mkdir()
        path = packed(path).rename(tmp_path / "all" / "set.tar.gz").parent
    for _ in range(2):  # again from what is there
        dataset = jsb_chorales.build(JsbChoralesHParams(path=str(path)))
        assert isinstance(dataset, Dataset)
        dataset.prepare(tmp_path / "prepared")
        items = list(dataset.items())
        told = [(item.split, steps_of(read(item.path).score).tolist()) for item in items]
        assert told == [(split, steps) for split in SPLITS for steps in chorales[split]]
        assert all(item.group == "" and item.index == 0 for item in items)
    other = jsb_chorales.build(JsbChoralesHParams(path=str(path)))
    other.prepare(tmp_path / "elsewhere")
    assert other.fingerprint() == dataset.fingerprint()
    (tmp_path / "less.json").write_text(json.dumps(chorales | {"train": chorales["train"][:1]}))
    less = jsb_chorales.build(JsbChoralesHParams(path=str(tmp_path / "less.json")))
    less.prepare(tmp_path / "prepared")
    assert len(list(less.items())) == 4 and less.fingerprint() != dataset.fingerprint()


def test_a_published_split_stays_whatever_is_alike(chorales: dict[str, Any], tmp_path: Path) -> None:
    """One chorale on two sides, and once more in another key, are reported and not moved."""
    chorales["test"] = [chorales["train"][0]]
    low = np.minimum(chorales["train"][1], 75)
    chorales["train"][1], chorales["valid"][0] = low.tolist(), np.where(low < 0, low, low + 5).tolist()
    file = tmp_path / "set" / "Jsb16thSeparated.json"
    file.write_text(json.dumps(chorales))
    store = cache.prepare(
        jsb_chorales.build(JsbChoralesHParams(path=str(file))),
        functools.partial(grid.build, GridHParams()),
        "grid",
        DataHParams(workers=1),
        progress=False,
    )
    assert {split: store.count(split) for split in SPLITS} == SPLITS  # type: ignore[arg-type]
    assert store.manifest["near_across_splits"] == 2 and store.manifest["left_out"] == 0


def test_other_files_than_the_published_one_are_said_to_be(
    chorales: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "set" / "Jsb16thSeparated.json"
    with caplog.at_level(logging.WARNING, "swaptunes"):
        jsb_chorales.build(JsbChoralesHParams(path=str(file))).prepare(tmp_path / "prepared")
    assert "is not the published file" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "JSONDecodeError"),
        ("{}", "KeyError"),
        ('{"train": [[[60, 60, 60]]], "valid": [], "test": []}', "chorale 0 of train is not steps of four pitches"),
        ('{"train": [], "valid": [[[60, 60, 60, 128]]], "test": []}', "chorale 0 of valid"),
        ('{"train": [], "valid": [], "test": [[[-1, -1, -1, -1]]]}', "chorale 0 of test"),
        ('{"train": [], "valid": [], "test": [[["c", 1, 1, 1]]]}', "ValueError"),
    ],
)
def test_another_json_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(HubError, match=rf"x\.json.*{reason}.*expected Jsb16thSeparated\.json of https"):
        jsb_chorales.build(JsbChoralesHParams(path=str(tmp_path / "x.json"))).prepare(tmp_path / "prepared")


HEADER = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n"


@pytest.fixture
def performances(tmp_path: Path) -> Path:
    """Two works, one played twice, and a test piece that is listed and missing."""
    root = tmp_path / "maestro-v3.0.0"
    (root / "2004").mkdir(parents=True)
    rows = [("A", "Waltz", "train", "2004/a.midi"), ("A", "Waltz", "train", "2004/b.midi")]
    rows += [("B", '"Sonata, ""small"""', "validation", "2004/c.midi"), ("C", "Fugue", "test", "2004/d.midi")]
    table = [f"{composer},{title},{side},2004,{name},,1.5\n" for composer, title, side, name in rows]
    (root / "maestro-v3.0.0.csv").write_text(HEADER + "".join(table), encoding="utf-8")
    for number, (*_, name) in enumerate(rows[:3]):
        score_of(random_steps(number)).dump_midi(root / name)
    return root


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_maestro_follows_its_table_and_names_what_is_missing(
    form: str, performances: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (performances / "2004" / "e.midi").write_bytes(b"in no table")
    path = performances if form == "folder" else packed(performances)
    dataset = maestro.build(MaestroHParams(path=str(path)))
    assert isinstance(dataset, Dataset)
    with caplog.at_level(logging.INFO, "swaptunes"):
        dataset.prepare(tmp_path / "prepared")
    assert "1 of 4 performances is not there" in caplog.text
    assert "1 file of maestro is not read: in no table of it (such as " in caplog.text and "2004/e.midi)" in caplog.text
    assert [(Path(item.path).name, item.group, item.split) for item in dataset.items()] == [
        ("a.midi", "A: Waltz", "train"),
        ("b.midi", "A: Waltz", "train"),
        ("c.midi", 'B: Sonata, "small"', "valid"),
    ]
    ((name, reason),) = dataset.skipped()
    assert name.endswith("2004/d.midi") and "there is no such file" in reason
    first = dataset.fingerprint()
    score_of(random_steps(7)).dump_midi(Path(next(iter(dataset.items())).path))
    dataset.prepare(tmp_path / "prepared")
    second = dataset.fingerprint()
    (table,) = dataset.root.rglob("*.csv")
    table.write_text(table.read_text().replace("A,Waltz,train,2004,2004/b.midi", "A,Waltz,test,2004,2004/b.midi"))
    dataset.prepare(tmp_path / "prepared")
    assert len({first, second, dataset.fingerprint()}) == 3, "music and sides count"


def test_two_tables_are_one_set(performances: Path, tmp_path: Path) -> None:
    """As where train and validation come in archives of their own."""
    other = tmp_path / "other"
    shutil.copytree(performances, other)
    table = performances / "maestro-v3.0.0.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.rename(performances / "maestro-v3.0.0-train.csv").write_text("".join(lines[:3]))
    (other / "maestro-v3.0.0.csv").rename(other / "maestro-v3.0.0-validation.csv").write_text(lines[0] + lines[3])
    (tmp_path / "all").mkdir()
    for folder in (performances, other):
        shutil.move(packed(folder), tmp_path / "all")
    dataset = maestro.build(MaestroHParams(path=str(tmp_path / "all")))
    dataset.prepare(tmp_path / "prepared")
    assert sorted(item.split or "" for item in dataset.items()) == ["train", "train", "valid"]
    assert dataset.skipped() == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A,W,left,2004,a.midi,,1\n", "'left'"),
        ("A,W\n", "midi_filename ''"),
        ("A,W,train,2004,../../a.midi,,1\n", r"expected a file beside it"),
        ("A,W,train,2004,/a.midi,,1\n", r"expected a file beside it"),
    ],
)
def test_a_damaged_table_is_named(line: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "maestro-v3.0.0.csv").write_text(HEADER + line)
    with pytest.raises(HubError, match=rf"maestro-v3\.0\.0\.csv, line 2.*{reason}"):
        maestro.build(MaestroHParams(path=str(tmp_path))).prepare(tmp_path / "prepared")


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Three songs; the second and third have takes."""
    root = tmp_path / "POP909"
    for number, takes in enumerate((0, 1, 2), 1):
        folder = root / f"{number:03d}"
        (folder / "versions").mkdir(parents=True)
        score_of(random_steps(10 * number)).dump_midi(folder / f"{number:03d}.mid")
        for take in range(1, takes + 1):
            score_of(random_steps(10 * number + take)).dump_midi(folder / "versions" / f"{number:03d}-v{take}.mid")
    return root


@pytest.mark.parametrize(("versions", "groups"), [(False, "001 002 003"), (True, "001 002 002 003 003 003")])
def test_pop909_groups_takes_with_their_song(versions: bool, groups: str, songs: Path, tmp_path: Path) -> None:
    for path in (songs, songs.parent, packed(songs)):
        dataset = pop909.build(Pop909HParams(path=str(path), versions=versions))
        assert isinstance(dataset, Dataset)
        dataset.prepare(tmp_path / "prepared")
        assert [item.group for item in dataset.items()] == groups.split()
        assert {item.split for item in dataset.items()} == {None} and ("with versions" in dataset.identity) == versions
        assert len({item.path for item in dataset.items()}) == len(groups.split())


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (lambda path: jsb_chorales.build(JsbChoralesHParams(path=path)), r"Jsb16thSeparated\.json"),
        (lambda path: maestro.build(MaestroHParams(path=path)), r"maestro-v3\.0\.0"),
        (lambda path: pop909.build(Pop909HParams(path=path)), "909 folders of songs"),
    ],
)
def test_a_wrong_path_says_what_should_be_there(dataset: Any, expected: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    for name, problem in (("nothing", "does not exist"), ("empty", "."), ("notes.txt", ".")):
        with pytest.raises(HubError, match=f"{problem}.*{expected}") as error:
            dataset(str(tmp_path / name)).prepare(tmp_path / "prepared")
        assert "\n" not in str(error.value)


def test_pop909_asks_for_its_path(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"dataset\.path is empty; expected the folder POP909.*dataset\.path=PATH"):
        pop909.build(Pop909HParams()).prepare(tmp_path)


def test_archives_beside_folders_are_left_as_they_are_and_the_highest_file_is_taken(tmp_path: Path) -> None:
    """A folder that holds folders, hidden ones aside, is the set itself; of equal names the one nearest to the top."""
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "deep" / "a.json").write_text("deep")
    packed(tmp_path / "set" / "deep")
    remote = Remote("http://nowhere", "a.json", 3, "0" * 64)
    assert sources.root(str(tmp_path / "set"), "x", None, tmp_path / "f") == tmp_path / "set"
    (tmp_path / "set" / "0").mkdir()
    (tmp_path / "set" / "0" / "a.json").write_text("below")
    (tmp_path / "set" / "a.json").write_text("top")
    assert sources.file(str(tmp_path / "set"), remote, tmp_path / "f").read_text() == "top"
    (tmp_path / "only").mkdir()
    shutil.copy(tmp_path / "set" / "deep.tar.gz", tmp_path / "only" / "b.tar.gz")
    (tmp_path / "only" / ".git").mkdir()
    found = sources.root(str(tmp_path / "only"), "x", None, tmp_path / "f")
    assert found.parent == tmp_path / "f" and [path.read_text() for path in found.rglob("a.json")] == ["deep"]
    (tmp_path / "set" / "deep" / "a.json").write_text("new")
    shutil.copy(packed(tmp_path / "set" / "deep"), tmp_path / "only" / "b.tar.gz")
    again = sources.root(str(tmp_path / "only"), "x", None, tmp_path / "f")
    assert [path.read_text() for path in again.rglob("a.json")] == ["new"], "another archive is unpacked anew"
