"""Sets whose pieces bear captions and labels, on made-up folders of their exact shape; the real ones were not seen."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from datatools.preparing import survey
from hparams.datasets import AriaMidiHParams, GigaMidiHParams, MidiCapsHParams
from plugins.datasets.midi_sets import aria_midi, midicaps
from plugins.datasets.records import gigamidi
from tests.test_datasets_shapes import midi

MD5 = {letter: f"{letter}{'1' * 31}" for letter in "abef"}


def caption(letter: str, test: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "location": f"lmd_full/{letter}/{MD5[letter]}.mid",
        "caption": f"A song that begins with {letter}.",
        "genre": ["rock", "pop"],
        "genre_prob": [0.6, 0.1],
        "mood": ["happy"],
        "key": "C major",
        "tempo": 120,
        "instrument_summary": ["Piano", "Drums"],
        "test_set": test,
        **more,
    }


def captioned(folder: Path, lines: list[Any]) -> Any:
    """MidiCaps with four files of Lakh and these lines."""
    midi(*(folder / "lmd_full" / letter / f"{name}.mid" for letter, name in MD5.items()))
    (folder / "train.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return midicaps.build(MidiCapsHParams(path=str(folder)))


def test_midicaps_by_test_set_and_md5(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost = caption("a") | {"location": f"lmd_full/9/{'9' * 32}.mid"}
    dataset = captioned(tmp_path / "m", [caption("a"), caption("b", test=True), caption("e", genre=[]), lost])
    with caplog.at_level(logging.INFO):
        dataset.prepare(tmp_path / "cache")
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "train.json tells of 1 file that is not there, of 4"
    assert told[1].startswith("1 of 4 files is left out, since train.json says nothing of it, first lmd_full/f/")
    items = list(dataset.items())
    assert [(Path(item.path).stem[0], item.split) for item in items] == [("a", "train"), ("b", "test"), ("e", "valid")]
    labels = survey.reader(dataset)(items[0]).labels
    assert labels["caption"] == "A song that begins with a." and labels["genre"] == "rock" and labels["tempo"] == "120"
    assert labels["instrument_summary"] == "Piano, Drums" and dataset.labels()["genre"] == ["rock", "rock"]
    before = dataset.fingerprint()
    again = captioned(tmp_path / "m", [caption("a", caption="Another."), caption("b", test=True), caption("e")])
    again.prepare(tmp_path / "cache")
    assert again.fingerprint() != before and survey.reader(again)(items[0]).labels["caption"] == "Another."
    before = again.fingerprint()
    Path(items[2].path).write_bytes(Path(items[2].path).read_bytes() + b"more")
    again.prepare(tmp_path / "cache")
    assert again.fingerprint() != before, "the music counts, too"


def test_midicaps_as_it_is_downloaded(tmp_path: Path) -> None:
    """train.json beside the archive, whose files lie in lmd_full."""
    import tarfile

    captioned(tmp_path / "made", [])
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "train.json").write_text(json.dumps(caption("f")) + "\n")
    with tarfile.open(tmp_path / "given" / "midicaps.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made" / "lmd_full", "lmd_full")
    for given in (tmp_path / "given", tmp_path / "given" / "midicaps.tar.gz"):
        dataset = midicaps.build(MidiCapsHParams(path=str(given)))
        dataset.prepare(tmp_path / "cache")
        (item,) = dataset.items()
        assert survey.reader(dataset)(item).labels["caption"].endswith("f.") and item.split == "train"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([caption("a"), {"caption": "no place"}], "line 2 is no caption: it has no location, but caption; expected an"),
        (["words"], r'line 1 is no caption: it is "words"; expected an object a line, .*; mend it or fetch it again'),
        ([[caption("a")]], r"line 1 is no caption: it is \[.*; expected an object a line"),
        ([{"location": 5}], "line 1 is no caption: it has no location, but location"),
        ([caption("a"), caption("a")], "line 2 tells of a1+ again"),
        ([], "says nothing of the 4 files below"),
    ],
)
def test_captions_of_another_shape(lines: list[Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=why):
        captioned(tmp_path / "m", lines).prepare(tmp_path / "cache")


def test_aria_keeps_works_and_recordings_together(tmp_path: Path) -> None:
    nocturne = {"composer": "chopin", "opus": "9", "piece_number": "2", "genre": "classical"}
    about = {
        "1": {"metadata": nocturne, "audio_scores": {"0": 0.9, "1": 0.95}},
        "20": {"metadata": nocturne, "audio_scores": {"0": 0.8}},
        "3": {"metadata": {"genre": ["jazz", "blues"]}, "audio_scores": {"0": 0.7}},
        "4": {"metadata": {"composer": "chopin", "opus": "9"}},
    }
    midi(
        *(
            tmp_path / "a" / "data" / "aa" / f"{name}.mid"
            for name in ("000001_0", "000001_1", "000020_0", "000003_0", "000004_1")
        )
    )
    (tmp_path / "a" / "metadata.json").write_text(json.dumps(about))
    dataset = aria_midi.build(AriaMidiHParams(path=str(tmp_path / "a")))
    dataset.prepare(tmp_path / "cache")
    items = {Path(item.path).stem: item for item in dataset.items()}
    assert {name: item.group for name, item in items.items()} == (
        {
            "000001_0": "chopin 9 2",
            "000001_1": "chopin 9 2",
            "000020_0": "chopin 9 2",
            "000003_0": "recording 3",
            "000004_1": "recording 4",
        }
    )
    assert {item.split for item in items.values()} == {None}
    read = survey.reader(dataset)
    assert read(items["000001_1"]).labels == {**nocturne, "audio_score": "0.95"}
    assert read(items["000003_0"]).labels["genre"] == "jazz, blues"
    (tmp_path / "a" / "metadata.json").write_text('{"one": []}')
    with pytest.raises(HubError, match="is not aria-midi's metadata"):
        aria_midi.build(AriaMidiHParams(path=str(tmp_path / "a"))).prepare(tmp_path / "cache")
    for text, why in [
        ("[1, 2]", r"it is \[1, 2\]"),
        ('{"1": ', r"it is no JSON \(Expecting value"),
        ('{"x": {}}', "'x' is no number of a recording"),
        ('{"1": []}', r"of 1 it says \[\]"),
        ('{"1": {"metadata": {}, "audio_scores": [0.9]}}', r'of 1 it says {"metadata": {}, "audio_scores": \[0.9\]}'),
    ]:
        (tmp_path / "a" / "metadata.json").write_text(text)
        with pytest.raises(HubError, match=rf"metadata: {why}.*; expected .*; fetch it again$"):
            aria_midi.build(AriaMidiHParams(path=str(tmp_path / "a"))).prepare(tmp_path / "cache")


def test_captions_behind_a_mark_and_blank_lines(tmp_path: Path) -> None:
    captioned(tmp_path / "m", [])
    lines = ["", json.dumps(caption("a")), "  ", json.dumps(caption("e", genre="folk")), ""]
    (tmp_path / "m" / "train.json").write_text("\r\n".join(lines), encoding="utf-8-sig")
    dataset = midicaps.build(MidiCapsHParams(path=str(tmp_path / "m")))
    dataset.prepare(tmp_path / "cache")
    assert [item.split for item in dataset.items()] == ["train", "valid"]
    assert dataset.labels()["genre"] == ["rock", "folk"], "a word that is no list is the word, not its first letter"


@pytest.mark.parametrize(("module", "made"), [(midicaps, MidiCapsHParams), (aria_midi, AriaMidiHParams)])
def test_a_set_without_its_labels_is_named(module: Any, made: Any, tmp_path: Path) -> None:
    midi(tmp_path / "s" / f"{'1' * 32}.mid", tmp_path / "s" / "000001_0.mid")
    with pytest.raises(HubError, match=r"which has no (train|metadata)\.json; expected"):
        module.build(made(path=str(tmp_path / "s"))).prepare(tmp_path / "cache")


def test_gigamidis_tables(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet")
    midi(tmp_path / "one.mid")
    music = (tmp_path / "one.mid").read_bytes()
    rows = [
        {"md5": MD5[letter], "music": music if letter != "b" else b"", "title": f"Song {letter}", "NOMML": [12, 3]}
        for letter in "abef"
    ]
    for name in ("train", "validation", "other"):
        (tmp_path / "g" / name).mkdir(parents=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "g" / name / "0.parquet", row_group_size=3)
    dataset = gigamidi.build(GigaMidiHParams(path=str(tmp_path / "g")))
    dataset.prepare(tmp_path / "cache")
    items = list(dataset.items())
    sides = {Path(item.path).parent.name: [] for item in items}
    for item in items:
        sides[Path(item.path).parent.name].append(item.split)
    assert sides["train"] == ["train"] * 4 and sides["validation"] == ["valid"] * 4
    assert sides["other"] == ["train", "train", "valid", "test"]
    read = survey.reader(dataset)
    last = read(items[3])
    assert (
        last.title == "Song f" and last.labels == {"title": "Song f", "NOMML": "12, 3"} and last.score.note_num() == 1
    )
    assert dataset.labels()["title"].count("Song f") == 3
    (tmp_path / "train.parquet").write_bytes((tmp_path / "g" / "train" / "0.parquet").read_bytes())
    alone = gigamidi.build(GigaMidiHParams(path=str(tmp_path / "train.parquet")))
    alone.prepare(tmp_path / "cache")
    assert [item.split for item in alone.items()] == ["train", "train", "valid", "test"], "one side is no split"
    with pytest.raises(ValueError, match="its row holds no music"):
        read(items[1])
    parquet.write_table(pyarrow.Table.from_pylist([{"md5": "a"}]), tmp_path / "no.parquet")
    with pytest.raises(HubError, match="has columns md5; expected md5 and music among them"):
        gigamidi.build(GigaMidiHParams(path=str(tmp_path / "no.parquet"))).prepare(tmp_path / "cache")
    for number, (column, row, kind) in enumerate(
        [
            ("md5", {"md5": 7, "music": music}, "int64; expected string"),
            ("music", {"md5": "a", "music": "MThd"}, "string; expected binary"),
            ("music", {"md5": "a", "music": {"bytes": music}}, "struct<bytes: binary>; expected binary"),
        ]
    ):
        parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / f"{number}.parquet")
        with pytest.raises(HubError, match=rf"{number}\.parquet holds {column} as {kind}: convert the column"):
            gigamidi.build(GigaMidiHParams(path=str(tmp_path / f"{number}.parquet"))).prepare(tmp_path / "cache")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(HubError, match=r"cut\.parquet is no table of Parquet"):
        gigamidi.build(GigaMidiHParams(path=str(tmp_path / "cut.parquet"))).prepare(tmp_path / "cache")


def test_gigamidi_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(gigamidi.importlib, "import_module", missing)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(HubError, match=r"needs pyarrow: pip install swaptunes\[parquet\]"):
        gigamidi.build(GigaMidiHParams(path=str(tmp_path / "a.parquet"))).prepare(tmp_path / "cache")
