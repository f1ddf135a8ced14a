"""What is written is what Verovio and music21 read, odd lengths and lonely parts of tuplets among it."""

import re

import pytest
import symusic

from datatools.writing import musicxml
from tests.readback import faults_of, through_music21, through_verovio
from tests.test_writing import CASES, made, sounding
from tests.validity import built, sequences

ODD = {
    "a lonely triplet rest": made((0, 24, 60), (200, 24, 62)),
    "in three": made((0, 24, 60), (200, 24, 62), meter=(3, 4)),
    "in eleven eighths": made((0, 24, 60), (400, 24, 62), meter=(11, 8)),
    "voices off the beat": made((0, 90, 60), (5, 66, 64), (11, 90, 88), (98, 2, 95)),
}


@pytest.mark.parametrize("name", [*CASES, *ODD])
def test_verovio_and_music21_read_every_note(name, tmp_path):
    pytest.importorskip("verovio", reason="needs the extra [notation]")
    score = {**CASES, **ODD}[name]
    text = musicxml.text(score)
    (tmp_path / "score.musicxml").write_text(text, encoding="utf-8")
    assert through_verovio(text) == sounding(score) == through_music21(tmp_path / "score.musicxml")


def test_a_tuplet_without_its_bracket_is_seen():
    pytest.importorskip("verovio", reason="needs the extra [notation]")
    score: symusic.Score = ODD["a lonely triplet rest"]
    bare = re.sub(r"<tuplet [^>]*>", "", musicxml.text(score))
    assert through_verovio(bare) != sounding(score)


def test_random_pieces_are_read_by_all(tmp_path):
    tokenizer = built("remi", 0)
    assert [faults_of(ids, tokenizer, tmp_path) for ids in sequences(tokenizer, 0, 2, True)] == [{}, {}]
