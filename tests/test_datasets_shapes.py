"""Datasets that cannot be had here, on made-up folders of their exact shape; folk-rnn's lines against ABC by hand."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import symusic

from core.errors import HubError
from hparams import datasets as hparams
from plugins.datasets import essen, pop909
from plugins.datasets.midi_sets import asap, lakh, los_angeles_midi, nottingham, piano_midi
from plugins.datasets.records import folk_rnn, irishman, named_sides

HASHES = {side: f"{letter}{'0' * 31}" for side, letter in (("valid", "e"), ("test", "f"), ("train", "a"))}
TUNE = "X:1\nT:One\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n"


def midi(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        score = symusic.Score(480)
        score.tracks.append(symusic.Track())
        score.tracks[0].notes.append(symusic.Note(0, 480, 60, 80))
        score.dump_midi(path)


def items(dataset: Any, folder: Path) -> dict[str, tuple[str, Any]]:
    dataset.prepare(folder)
    assert dataset.fingerprint() == dataset.fingerprint()
    return {Path(item.path).relative_to(dataset.root).as_posix(): (item.group, item.split) for item in dataset.items()}


def test_lakh_by_md5_and_its_songs_together(tmp_path: Path) -> None:
    full, matched = tmp_path / "lmd_full", tmp_path / "lmd_matched" / "A" / "B" / "C"
    midi(*(full / name[0] / f"{name}.mid" for name in HASHES.values()), full / "0" / "readme.mid")
    found = items(lakh.build(hparams.LakhHParams(path=str(full))), tmp_path / "cache")
    assert found == {f"{name[0]}/{name}.mid": ("", side) for side, name in HASHES.items()}
    song = "TRABCDE128F0000000"
    midi(*(matched / song / f"{name}.mid" for name in HASHES.values()))
    found = items(lakh.build(hparams.LakhHParams(path=str(tmp_path / "lmd_matched"))), tmp_path / "cache")
    assert set(found.values()) == {(song, None)} and len(found) == 3
    angeles = los_angeles_midi.build(hparams.LosAngelesMidiHParams(path=str(full)))
    assert [side for _, side in items(angeles, tmp_path / "cache").values()].count("valid") == 1


def test_piano_sets(tmp_path: Path) -> None:
    midi(tmp_path / "p" / "bach" / "bach_846.mid", tmp_path / "p" / "bach" / "bach_846_format0.mid")
    (tmp_path / "p" / "gone.mid").symlink_to("nowhere")
    dataset = piano_midi.build(hparams.PianoMidiHParams(path=str(tmp_path / "p")))
    assert list(items(dataset, tmp_path / "cache")) == ["bach/bach_846.mid"]
    assert dataset.skipped() == [("gone.mid", "a link to nothing")]
    work = tmp_path / "a" / "Bach" / "Fugue" / "bwv_846"
    midi(work / "midi_score.mid", work / "Shi05M.mid", work / "Lee01M.mid", tmp_path / "a" / "stray.mid")
    found = items(asap.build(hparams.AsapHParams(path=str(tmp_path / "a"))), tmp_path / "cache")
    assert found == {f"Bach/Fugue/bwv_846/{name}.mid": ("Bach/Fugue/bwv_846", None) for name in ("Lee01M", "Shi05M")}


def test_nottingham_takes_the_cleaned_tunes_only(tmp_path: Path) -> None:
    for folder in ("ABC", "ABC_cleaned"):
        (tmp_path / "n" / folder).mkdir(parents=True)
        (tmp_path / "n" / folder / "jigs.abc").write_text(TUNE + "\n" + TUNE.replace("X:1", "X:2"))
    midi(tmp_path / "n" / "MIDI" / "jigs1.mid")
    dataset = nottingham.build(hparams.NottinghamHParams(path=str(tmp_path / "n")))
    (tmp_path / "n" / "ABC_cleaned" / "bad.abc").write_text("no tune")
    assert list(items(dataset, tmp_path / "cache")) == ["ABC_cleaned/bad.abc", "ABC_cleaned/jigs.abc"]
    assert [item.index for item in dataset.items()] == [0, 0, 1], "what cannot be read is named by a worker"


def test_what_a_set_leaves_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = tmp_path / "asap" / "Bach" / "Fugue" / "bwv_846"
    midi(work / "midi_score.mid", work / "Shi05M.mid", tmp_path / "asap" / "stray.mid")
    midi(tmp_path / "lakh" / f"{HASHES['train']}.mid", tmp_path / "lakh" / "readme.mid")
    midi(tmp_path / "piano" / "bach_846.mid", tmp_path / "piano" / "bach_846_format0.mid")
    midi(*(tmp_path / "n" / folder / "a.mid" for folder in ("ABC_cleaned", "MIDI")))
    midi(tmp_path / "pop" / "001" / "001.mid", tmp_path / "pop" / "001" / "versions" / "001-v1.mid")
    sets = [
        asap.build(hparams.AsapHParams(path=str(tmp_path / "asap"))),
        lakh.build(hparams.LakhHParams(path=str(tmp_path / "lakh"))),
        piano_midi.build(hparams.PianoMidiHParams(path=str(tmp_path / "piano"))),
        nottingham.build(hparams.NottinghamHParams(path=str(tmp_path / "n"))),
        pop909.build(hparams.Pop909HParams(path=str(tmp_path / "pop"))),
        pop909.build(hparams.Pop909HParams(path=str(tmp_path / "pop"), versions=True)),
    ]
    with caplog.at_level(logging.INFO):
        for dataset in sets:
            dataset.prepare(tmp_path / "cache")
        sets[0].prepare(tmp_path / "cache")  # as a control that asks for labels has it done
    assert caplog.messages == [
        "2 files of asap are not read: scores (midi_score.mid), or outside of a work's folder",
        "1 file of lakh is not read: not named by an md5",
        "1 file of piano_midi is not read: the same pieces again (_format0.mid)",
        "1 file of nottingham is not read: in ABC or MIDI, which hold the tunes of ABC_cleaned again",
        "1 file of pop909 is not read: not at NNN/NNN.mid; dataset.versions=true reads those in NNN/versions",
    ]


def test_essen_is_music21s() -> None:
    dataset = essen.build(hparams.EssenHParams())
    first = next(iter(dataset.items()))
    assert Path(first.path).parent.name == "essenFolksong" and len(dataset.files) > 20


def test_folk_rnn_lines(tmp_path: Path) -> None:
    line = "M:6/8 K:dor |: =G 2 =A (3 =B =c =d | ^f /2 z > =g :|"
    assert folk_rnn.abc_of(line) == "X:1\nM:6/8\nL:1/8\nK:Cdor\n|:=G2=A(3=B=c=d|^f/2z>=g:|\n"
    assert "[K:Cmin]" in folk_rnn.abc_of("M:4/4 K:maj =C K:min =D")
    (tmp_path / "valid_src.txt").write_text(f"{line}\n\n{line.replace('=G', '=E')}\nnot a tune\n")
    dataset = folk_rnn.build(hparams.FolkRnnHParams(path=str(tmp_path / "valid_src.txt")))
    dataset.prepare(tmp_path / "cache")
    found = list(dataset.items())
    assert [(item.index, item.split) for item in found] == [(0, None), (1, None), (2, None)], "one side is no split"
    assert [note.pitch for note in dataset.read(found[1]).score.tracks[0].notes][:3] == [64, 69, 71]
    with pytest.raises(ValueError, match='begins with "not a"; expected a meter and a mode'):
        dataset.read(found[2])


def test_a_line_may_stand_between_marks_and_a_name_may_tell_nothing(tmp_path: Path) -> None:
    assert folk_rnn.abc_of("<s> M:4/4 K:maj =C </s>") == "X:1\nM:4/4\nL:1/8\nK:Cmaj\n=C\n"
    assert folk_rnn.abc_of("M:4/4 K:Cdor =C K:Cmix =D") == "X:1\nM:4/4\nL:1/8\nK:Cdor\n=C[K:Cmix]=D\n"
    names = ("a/Train.txt", "valid.txt", "my-validation_2.txt", "test/x.txt", "train_and_test.txt", "trained.txt")
    assert [named_sides.side_of(name) for name in names] == ["train", "valid", "valid", "test", None, None]
    (tmp_path / "a.txt").write_text("M:4/4 K:maj =C\n")
    dataset = folk_rnn.build(hparams.FolkRnnHParams(path=str(tmp_path)))
    dataset.prepare(tmp_path / "cache")
    (item,) = dataset.items()
    piece = dataset.read(item)
    assert piece.source == f"{tmp_path / 'a.txt'}#0" == piece.title and item.split is None
    for name in irishman.KEYS:
        assert irishman.tunes_of(json.dumps([{"x": 1, name: TUNE}])) == [TUNE]
    assert irishman.KEYS == ("abc notation", "abc_notation", "abc")


def test_sets_of_files_know_their_content_and_capital_names(tmp_path: Path) -> None:
    name = "E" + "0" * 31
    midi(tmp_path / "l" / f"{name}.mid", tmp_path / "l" / f"{HASHES['train']}.mid")
    dataset = los_angeles_midi.build(hparams.LosAngelesMidiHParams(path=str(tmp_path / "l")))
    assert items(dataset, tmp_path / "cache")[f"{name}.mid"] == ("", "valid")
    before = dataset.fingerprint()
    last = tmp_path / "l" / f"{HASHES['train']}.mid"
    score = symusic.Score(last)
    score.tracks[0].notes[0].pitch = 61
    score.dump_midi(last)
    dataset.prepare(tmp_path / "cache")
    assert dataset.fingerprint() != before


def test_irishmans_json(tmp_path: Path) -> None:
    tunes = [{"control code": "S:2", "abc notation": TUNE}, {"abc notation": TUNE.partition("\n")[2]}]
    (tmp_path / "train.json").write_text(json.dumps(tunes))
    (tmp_path / "validation.json").write_text("\n".join(map(json.dumps, tunes[:1])))
    dataset = irishman.build(hparams.IrishmanHParams(path=str(tmp_path)))
    dataset.prepare(tmp_path / "cache")
    assert [item.split for item in dataset.items()] == ["train", "train", "valid"]
    assert all(len(dataset.read(item).score.tracks[0].notes) == 8 for item in dataset.items())
    (tmp_path / "validation.json").write_text('[{"text": "X:1"}]')
    with pytest.raises(HubError, match=r"validation.json: it is no JSON of tunes"):
        list(dataset.items())


@pytest.mark.parametrize("module", [lakh, los_angeles_midi, piano_midi, asap, nottingham, folk_rnn, irishman])
def test_a_folder_of_another_shape_is_named(module: Any, tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing")
    made = next(value for name, value in vars(module).items() if name.endswith("HParams"))
    with pytest.raises(HubError, match="which holds no file of it; expected"):
        module.build(made(path=str(tmp_path))).prepare(tmp_path / "cache")
    with pytest.raises(HubError, match=r"dataset.path is empty; expected .*: dataset.path=PATH"):
        module.build(made()).prepare(tmp_path / "cache")
