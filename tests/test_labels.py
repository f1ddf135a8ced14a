"""Labels: what labels.csv may hold, what the controls `label` and `text` make of it, and what is refused."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from core.errors import HubError
from datatools.preparing import survey
from hparams.controls import LabelHParams, TextHParams, number_of, words_of
from plugins.checks import control_checks
from plugins.controls.label import Label
from plugins.controls.text import Text
from plugins.datasets.folder import Folder
from supervisors.run import main
from tests.test_controls import TOKENIZERS
from tests.walks import write_walks


def ended(arguments: list[str]) -> object:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


TINY = ["train.steps=2", "evaluate.every=2", "train.engine=torch", "generate.count=1", "generate.length=24"]


@pytest.mark.parametrize(*control_checks(Label, LabelHParams(), TOKENIZERS))
def test_label_keeps_the_law(law) -> None:
    law()


@pytest.mark.parametrize(*control_checks(Text, TextHParams(column="label"), TOKENIZERS))
def test_text_keeps_the_law(law) -> None:
    law()


def test_numbers_and_words_by_hand() -> None:
    hparams = LabelHParams(column="year")
    hparams.learn(["1900", "1980", "1940", "1900"])
    assert hparams.span == [1900, 1980] and not hparams.words
    year = Label(hparams)
    assert year.parse("1900").tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert year.parse("1915").tolist() == [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0]  # knots lie ten years apart
    with pytest.raises(ValueError, match=r"year is '1899'; expected year, a number from 1900 to 1980, e\.g\. 1940"):
        year.parse("1899")
    hparams = LabelHParams(column="genre")
    hparams.learn(["waltz", "jig", "waltz", "3"])
    assert hparams.words == ["3", "jig", "waltz"] and Label(hparams).parse("jig").tolist() == [0, 1, 0]
    most, texts = LabelHParams(), ["9", "10", "1e2"]
    most.learn([f"w{number}" for number in range(256)])
    assert len(most.words) == 256
    numbers, kept = LabelHParams(), LabelHParams(span=[0, 9])
    numbers.learn(texts)
    kept.learn(texts)
    assert numbers.span == [9, 100] and kept.span == [0, 9], "by their size; what was given stays"
    assert [number_of(text) for text in ("1e3", " 2 ", "nan", "inf", "", "x")] == [1000, 2, None, None, None, None]


def test_captions_by_hand() -> None:
    assert words_of("A lively F# jig, in 6/8; don't play it un-even.") == (
        ["a", "lively", "f#", "jig", "in", "6/8", "don't", "play", "it", "un-even"]
    )
    hparams = TextHParams(most=3)
    hparams.learn(["a slow air", "a slow slow waltz", "a jig"])
    assert hparams.words == ["a", "slow"]  # of two pieces each at least, the commonest first
    hparams = TextHParams(most=2)
    hparams.learn(["c b a", "c b a", "C"])
    assert hparams.words == ["c", "a"], "as many as are asked for, those as common by the alphabet"
    hparams = TextHParams()
    hparams.learn(["a jig jig jig", "a slow slow air", "slow, so slow"])
    assert hparams.words == ["a", "slow"], "jig is of one piece, however often it says so"
    np.testing.assert_allclose(Text(hparams).parse("Slow, a slow"), [2**-0.5, 2**-0.5], rtol=1e-6)
    with pytest.raises(ValueError, match=r"'slaw' is in no caption that was learned from\. Did you mean .slow."):
        Text(hparams).parse("a slaw")


@pytest.mark.parametrize(
    ("made", "words", "why"),
    [
        (LabelHParams, ["jig", "jig"], "all pieces have the same label, 'jig'"),
        (LabelHParams, [f"w{number}" for number in range(300)], "has 300 different words; expected at most 256"),
        (TextHParams, ["one", "two"], "no two pieces share a word of caption"),
    ],
)
def test_a_column_that_teaches_nothing(made, words: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        made().learn(words)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve walks; half of them slow, one without a row, and one row without a file, as a spreadsheet writes them."""
    folder = tmp_path_factory.mktemp("labelled")
    write_walks(folder, 12)
    rows = [f'walk_{number:02d}.mid,{("slow", "fast")[number % 2]},"a ""walk"", no {number}"' for number in range(11)]
    text = "file,pace,caption\r\n" + "\r\n".join(rows) + "\r\nlost/one.mid,slow,\r\n"
    (folder / "labels.csv").write_bytes(text.encode("utf-8-sig"))
    return folder


def test_labels_reach_the_pieces(labelled: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = Folder(str(labelled))
    with caplog.at_level(logging.WARNING):
        words = dataset.labels()
    assert words["pace"] == ["slow", "fast"] * 5 + ["slow"] and words["caption"][1] == 'a "walk", no 1'
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 12 files has no row in labels.csv, first walk_11.mid",
        f"labels.csv names files that are not in {labelled}, first lost/one.mid (1 in all)",
    ]
    pieces = [survey.reader(dataset)(item) for item in dataset.items()]
    assert [piece.labels.get("pace") for piece in pieces] == [*words["pace"], None]
    before = dataset.fingerprint()
    text = (labelled / "labels.csv").read_bytes()
    (labelled / "labels.csv").write_bytes(text.replace(b"fast", b"quick"))
    assert Folder(str(labelled)).fingerprint() != before
    (labelled / "labels.csv").write_bytes(text)


def test_all_tunes_of_a_book_have_its_labels(tmp_path: Path) -> None:
    (tmp_path / "book.abc").write_text("X:1\nK:C\nC|\n\nX:2\nK:C\nD|\n")
    (tmp_path / "labels.csv").write_text("pace,file,caption\n slow ,./book.abc, \n")
    dataset = Folder(str(tmp_path))
    assert [survey.reader(dataset)(item).labels for item in dataset.items()] == [{"pace": "slow"}] * 2
    assert dataset.labels() == {"pace": ["slow"]}
    (tmp_path / "labels.csv").write_text("pace,file\nfast,book.abc\n")
    os.utime(tmp_path / "labels.csv", ns=(1, 1))
    assert Folder(str(tmp_path)).labels() == {"pace": ["fast"]}, "a table that changes is read anew"
    assert Folder(str(tmp_path / "a" / "x")).identity != Folder(str(tmp_path / "b" / "x")).identity


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name,pace\nwalk_00.mid,slow\n", "has columns name, pace; expected different ones, one of them file"),
        ("file,pace,pace\n", "expected different ones"),
        ("Filename,pace\nwalk_00.mid,slow\n", "one of them file; rename Filename to file"),
        ("File,pace\nwalk_00.mid,slow\n", "one of them file; rename File to file"),
        (
            "file;pace\nwalk_00.mid;slow\n",
            "has columns file;pace.*; it is parted by semicolons, not by commas",
        ),
        ("File\tpace\nwalk_00.mid\tslow\n", "it is parted by tabs, not by commas"),
        ("", r"labels\.csv is empty; expected a first line such as file,genre"),
        ("\n", r"labels\.csv begins with an empty line; expected"),
        ("file,pace\nwalk_00.mid\n", "has 1 cell in line 2; expected 2"),
        ("file,pace\nwalk_00.mid,slow\n./walk_00.mid,fast\n", "names walk_00.mid again in line 3"),
        ('file,pace\nwalk_00.mid,"slow\n', "cannot be read as a table"),
        (b"file,pace\nwalk_00.mid,l\xe4ndler\n", "expected UTF-8 with commas"),
    ],
)
def test_what_is_no_table_is_one_line(text: str | bytes, why: str, tmp_path: Path, caplog) -> None:
    write_walks(tmp_path, 1)
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    folder = Folder(str(tmp_path))
    with pytest.raises(HubError, match=why) as error:
        folder.labels()
    assert "\n" not in str(error.value)
    folder.prepare(tmp_path)  # a control that asks for labels has the error, and this is not told beside it
    assert not caplog.records
    assert [len(survey.reader(folder)(item).labels) for item in folder.items()] == [0], "else they are told and left"
    assert [record.getMessage() for record in caplog.records] == [f"{error.value}; no control can use it as it is"]


def test_a_run_learns_its_labels_and_is_asked_for_them(labelled, tmp_path, monkeypatch, capsys, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--hparams", "tiny", "dataset=folder", f"dataset.path={labelled}", *TINY]
    asked = ["model.controls=[label,text]", "controls.label.column=pace"]
    assert ended([*words, *asked]) == 0
    found = yaml.safe_load((tmp_path / "runs/tiny/hparams.yaml").read_text())["controls"]
    assert found["label"] == {"column": "pace", "words": ["fast", "slow"], "span": []}
    assert found["text"]["words"] == ["a", "no", "walk"]
    assert "label is unknown of 1 of 12 pieces" in caplog.text
    assert ended([*words, *asked]) == 0  # the same words go on with the run
    generate = ["generate", "--run", "runs/tiny", "generate.count=1"]
    assert ended([*generate, "generate.controls.label=slow", "generate.controls.text=a walk"]) == 0
    for wrong, why in [
        (["generate.controls.label=slaw"], "generate.controls.label: pace is 'slaw'; expected pace, one of fast, slow"),
        (
            ["generate.controls.pace=slow"],
            'generate.controls.pace: this model was trained with the controls label, text. Did you mean "label"?',
        ),
        (["generate.label=slow"], 'there is no key "generate.label". Did you mean "generate.controls.label"?'),
        (["generate.controls.text=a wolk"], "'wolk' is in no caption that was learned from. Did you mean \"walk\"?"),
    ]:
        capsys.readouterr()
        assert ended([*generate, *wrong]) == 2 and why in capsys.readouterr().err
    for wrong, why in [
        (["model.controls=[label]", "controls.label.column=pase"], 'and no piece has it. Did you mean "pace"?'),
        (["model.controls=[label]", "controls.label.colum=pace"], 'no key "controls.label.colum".'),
        (["controls.label.column=pace"], "controls.label: model.controls is []; add it there"),
        (["model.controls=[label]", "controls.label=pace"], "it has keys of its own: controls.label.column"),
        (["model.controls=[label]", "dataset=bach_chorales"], "has no labels, such as a labels.csv of a folder has"),
    ]:
        capsys.readouterr()
        rest = [word for word in words if not word.startswith("dataset") or len(wrong) < 2 or "bach" not in wrong[1]]
        assert ended([*rest, "name=other", *wrong]) == 2
        assert why in capsys.readouterr().err
