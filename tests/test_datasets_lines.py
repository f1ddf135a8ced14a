"""Files of token lines and of JSON as people have them: other endings, encodings, broken lines, one side alone."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from datatools.preparing.cache import prepare
from hparams.base import DataHParams
from hparams.datasets import FolkRnnHParams, IrishmanHParams
from plugins.datasets.records import folk_rnn, irishman
from plugins.datasets.records.named_sides import sides_of
from tests.toy_tokenizer import build

LINE = "M:4/4 K:maj =C =D =E =F | =G =A =B =c |\n"
TUNE = "X:1\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n"


def tunes(path: Path, cache: Path) -> list[Any]:
    """The notes of each tune of irishman at `path`, or why it cannot be read."""
    dataset = irishman.build(IrishmanHParams(path=str(path)))
    dataset.prepare(cache)
    found: list[Any] = []
    for item in dataset.items():
        try:
            found.append(dataset.read(item).score.note_num())
        except ValueError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("name", ["allabcwrepeats_parsed_wot", "data_v2", "mine.tokens", "v3.1"])
def test_token_lines_of_any_ending(name: str, tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("Not music.\n")
    (tmp_path / "tune.abc").write_text(TUNE)
    begin = "" if name == "data_v2" else "\ufeff"
    (tmp_path / name).write_text((LINE if begin else "a broken line\n") + LINE, encoding="utf-8-sig" if begin else None)
    for given in (tmp_path, tmp_path / name):
        dataset = folk_rnn.build(FolkRnnHParams(path=str(given)))
        dataset.prepare(tmp_path / "cache")
        found = list(dataset.items())
        assert {Path(item.path).name for item in found} == {name} and len(found) == 2
        assert [note.pitch for note in dataset.read(found[1]).score.tracks[0].notes] == [60, 62, 64, 65, 67, 69, 71, 72]
    with pytest.raises(HubError, match="LICENSE, a file that is no archive; expected a file of token lines"):
        folk_rnn.build(FolkRnnHParams(path=str(tmp_path / "LICENSE"))).prepare(tmp_path / "cache")


def test_one_side_alone_is_no_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert sides_of("x", ["train.json", "validation.json"]) == ["train", "valid"] and not caplog.records
    assert sides_of("x", ["valid.json", "other.json"]) == ["valid", None] and not caplog.records
    assert sides_of("x", ["test/a.json", "test/b.json"]) == [None, None]
    assert caplog.messages == ["every file of x is for test by its name, which is no split; the hub makes one"]
    with pytest.raises(HubError, match="are for train and test by their names, and none for valid, which training"):
        sides_of("x", ["test.json", "train.json"])
    (tmp_path / "train.json").write_text(json.dumps([{"abc": TUNE}]))
    (tmp_path / "validation.json").write_text("")
    dataset = irishman.build(IrishmanHParams(path=str(tmp_path)))
    dataset.prepare(tmp_path / "cache")
    assert [item.split for item in dataset.items()] == [None]
    assert caplog.messages[1:] == [
        f"{tmp_path / 'validation.json'} holds no tune",
        "the only file of irishman is for train by its name, which is no split; the hub makes one",
    ]


def test_the_hubs_split_does_not_begin_from_published_sides(tmp_path: Path) -> None:
    def identity(given: Path) -> str:
        return folk_rnn.build(FolkRnnHParams(path=str(given))).identity

    (tmp_path / "valid_src.txt").write_text(LINE)
    (tmp_path / "valid.zip").write_bytes(b"PK")
    assert identity(tmp_path / "valid.zip") == f"folk_rnn {tmp_path / 'valid.zip'}"
    assert identity(tmp_path / "valid_src.txt") == f"folk_rnn {tmp_path / 'valid_src.txt'}, split by the hub"
    assert identity(tmp_path) == f"folk_rnn {tmp_path}, split by the hub"
    (tmp_path / "train_src.txt").write_text(LINE)
    assert identity(tmp_path) == f"folk_rnn {tmp_path}" and identity(tmp_path / "no") == f"folk_rnn {tmp_path / 'no'}"


def test_bad_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    good = json.dumps({"abc": f"T:a\u2028b\u0085c\n{TUNE}"}, ensure_ascii=False)
    null = '{"abc": null, "id": 7}'
    lines = [good, "", '{"abc": "X:', good, null, "[1]", "  ", '{"id": 7}', good]
    (tmp_path / "a.jsonl").write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    expected = "; expected objects with a text as one of abc notation, abc_notation, abc, in a list or one a line"
    reasons = [
        "line 3 is no JSON (Unterminated string starting at: column 9 (char 8))",
        "line 5 holds abc: null, id: 7",
        "line 6 is [1]",
        "line 8 holds id: 7",
    ]
    found = tunes(tmp_path / "a.jsonl", tmp_path / "cache")
    assert found == [8, reasons[0] + expected, 8, *(reason + expected for reason in reasons[1:]), 8]
    (tmp_path / "b.json").write_text(f'[{{"abc": {json.dumps(TUNE)}}}, {null}]')
    assert tunes(tmp_path / "b.json", tmp_path / "cache") == [8, f"record 2 holds abc: null, id: 7{expected}"]


def test_two_tunes_of_a_record_are_two_pieces(tmp_path: Path) -> None:
    second = "X:2\nK:C\nCD|\n"
    texts = [f"{TUNE}\n{second}", TUNE, f"K:C\nC|\n\n{second}", f"M:3/4\n{second}"]
    (tmp_path / "a.json").write_text(json.dumps([{"abc": text} for text in texts]))
    assert tunes(tmp_path / "a.json", tmp_path / "cache") == [8, 2, 8, 1, 2, 2]


def test_titles_in_windows_1252(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = json.dumps([{"abc": TUNE.replace("M:", "T:Café\nM:")}], ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode("cp1252"))
    dataset = irishman.build(IrishmanHParams(path=str(tmp_path)))
    dataset.prepare(tmp_path / "cache")
    with caplog.at_level(logging.INFO):
        (item,) = dataset.items()
    assert dataset.read(item).title == "Café"
    assert caplog.messages == [f"{tmp_path / 'a.json'} is not UTF-8; it is read as Windows-1252 or Latin-1"]


@pytest.mark.parametrize("text", ["", "[]", "\n\n"])
def test_a_set_without_a_tune_says_so(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    (tmp_path / "train.json").write_text(text)
    dataset = irishman.build(IrishmanHParams(path=str(tmp_path)))
    with pytest.raises(HubError, match=r"^irishman .* holds no tune or row to read; fill its files or choose others$"):
        prepare(dataset, build, "toy", DataHParams(), progress=False)
