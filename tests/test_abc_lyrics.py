"""Lyrics of ABC: how they are read and aligned, and written again in ABC and MusicXML."""

import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import music21
import pytest
import symusic

from datatools.abc.lyrics import in_abc, line_of, shown, syllables
from datatools.abc.repeats import read_tune
from datatools.reading.scores import piece_from_abc, piece_from_score
from datatools.writing import formats, musicxml
from tests.abc_texts import unrolled

HEAD = "X:1\nM:4/4\nL:1/4\nK:C\n"
SONG = (
    HEAD
    + r"""V:1
"C"CD2E|z2 {g}[FA]>B|[K:D]"Am7/D"c4-|c2 (3Bcd|[M:2/4]AF|
w: Al-le-lu- ja,_ of~the x\-ray * é-t\'e "Gott" s\u00fc-__
V:2
C,4|D,4|E,4|F,4|[M:2/4]G,2|
w: | Oh
"""
)


def sung(body: str, remarks: list[str] | None = None) -> list[list[str]]:
    """What is sung to each note, voice by voice; `*` for nothing."""
    voices = read_tune(HEAD + body, remarks=remarks).voices
    return [[event.syllable or "*" for bar in voice for event in bar.events if event.pitches] for voice in voices]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("syll-a-ble", "syll- a- ble"),
        *((line, "syll- a- _ ble") for line in ("syll-a--ble", "syll-a -ble", "syll-a- -ble")),
        *(("time__ x", "time _ _ x"), ("of~the day", "of~the day"), ("x\\-ray", "x\\-ray"), ("a|b", "a | b")),
        *(("a - - b", "a- _ _ b"), ("a-_b", "a- _ b"), ("- a", "_ a"), ("1.~Three blind", "1.~Three blind")),
        ("\\'et\\'e &eacute;t&eacute; \\ss \\cca \\u00e9 e\u0301", "été été ß ça é \u00e9"),
        *(("a&b 50\\%", "a&b 50\\%"), ("a\x07b \x07", "ab *"), ("\\u0007 \\", "\\u0007 \\\\")),
    ],
)
def test_syllables_of_a_line(line: str, meant: str) -> None:
    """The standard's examples first, each worked out by hand."""
    assert [syllable or "*" for syllable in syllables(line)] == meant.split()


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ("CDEF|GABc|\nCDEF|\nw:a b c\n+:d e\nGABc|\nw:\nFEFC|\nw:f g\n", "a b c d e * * * * * * * * * * * f g * *"),
        ("z{d}C[EG]x|Z|C-CyCC|\nw:a b c d e f\n", "a b c d e f"),  # rests, grace notes and spacers get none; a tie does
        ("CDEF|GABc|Z|C4|\nw:a | b c d e | f | g\n", "a * * * b c d e f"),
        ("CDEF|GABc|\nw:| a b\n", "* * * * a b * *"),
        ("CD &\\\nEF|\nw:a b c d\n", "a b/c d"),
        ('"w:x"C4|\n[w:x]D4|\nW:x\ns:!p!\nE4|\nw:a b % c\n', "a b *"),
        ("V:1\nC4|\nw:a\nV:2\nC4|\nw:b\nV:1\nD4|\nw:c\n", "a c/b"),
        ("|:CD|1EF:|2GA|\nw:a b c d\nw:e f * * g h\n", "a b c d e f g h"),  # a verse for each time
        ("|:C4::D4:|\nw:a b\nw:c\n", "a c b *"),
        ("|:C4:|\nw:a\n", "a a"),
        ("CD|\nw:a b\n:EF:|\n", "a b * * * *"),
        ("P:A\nC4|\nw:a\nw:b\nP:B\nD4|\nw:c\n", "a c"),
    ],
)
def test_alignment(body: str, meant: str) -> None:
    assert sung(body) == [voice.split() for voice in meant.split("/")]


def test_parts_are_sung_to_their_next_verse_and_what_is_left_out_is_told() -> None:
    remarks: list[str] = []
    tune = read_tune("X:1\nP:ABA\nL:1/4\nK:C\nP:A\nC4|\nw:a b\nw:c\nw:d-\nP:B\nD4|\n", remarks=remarks)
    assert [event.syllable for bar in tune.voices[0] for event in bar.events] == ["a", "", "c"]
    assert remarks == [
        "left out 1 syllable for which there is no note",
        "left out 1 syllable of verses beyond what is repeated",
    ]


def test_the_music_is_the_same_with_words_between_its_lines() -> None:
    for music in ("|:CD\\\nEF||\n:GA|1Bc:|\n2 cB|]\n", "[CE\nG]4|\n", "CDEF|[M:2/4]CD|\n"):
        with_words = unrolled(HEAD + "w:no\n" + music.replace("\n", "\nw:| a b|\nw:c\n"))
        assert re.sub(r"w:.*\n", "", with_words) == unrolled(HEAD + music)


def test_written_lines_and_what_people_read() -> None:
    assert line_of(["la-", "_", "", "x\\-y", "_", "", ""]) == "w: la-_ * x\\-y_" and line_of(["", ""]) == "w: *"
    assert line_of(["_", "a"]) == "w: _ a"
    for syllable, text in (("of~the-", "of the-"), ("x\\-ray", "x-ray"), ("50\\%", "50%"), ("\\-", "-")):
        assert shown(syllable) == text and in_abc(text) == syllable
    assert "V:2\nC4 |" in unrolled(HEAD + "V:1\nC4|\nw:a\nV:2\nC4|\n"), "no field has changed"
    text = unrolled(SONG)
    assert unrolled(text) == text and "w: Al- le- lu- ja,_\nK:Dmaj" in text and "w: * Oh\n" in text


def by_abc2midi(text: str, folder: Path) -> list[list[tuple[float, str]]]:
    """(quarter, text) of each syllable that abc2midi sings, track by track."""
    mido = pytest.importorskip("mido")
    (folder / "tune.abc").write_text(text, encoding="utf-8")
    subprocess.run(["abc2midi", "tune.abc", "-o", "tune.mid"], cwd=folder, capture_output=True, check=False)
    tracks = []
    for track in mido.MidiFile(folder / "tune.mid", charset="utf-8").tracks:
        time, found = 0, []
        for event in track:
            time += event.time
            if event.type == "text" and time and event.text.strip(" \\/"):
                found.append(((time - 1) / 480, event.text.strip(" \\/")))
        tracks.append(found)
    return [track for track in tracks[1:] if track]


def test_abc2midi_sings_the_same(tmp_path: Path) -> None:
    if not shutil.which("abc2midi"):
        pytest.skip("abc2midi, which this compares with, is not installed")
    # It sings to grace notes and to each note of a chord, other than the standard says.
    source = HEAD + "CDEF|zCGA|[K:D]c>B A2|\nw:Al-le-lu- | ja,_ of~the x\\-ray * so\nGABc|dcB2|\nw:_ a | b\n"
    mine, now = [], Fraction(0)
    for event in (event for bar in read_tune(source).voices[0] for event in bar.events):
        if event.syllable not in ("", "_"):
            mine.append((float(4 * now), shown(event.syllable).removesuffix("-")))
        now += event.duration
    assert by_abc2midi(source, tmp_path) == by_abc2midi(unrolled(source), tmp_path) == [mine] and len(mine) == 9


def test_music21_reads_the_same_words_in_musicxml() -> None:
    piece = piece_from_abc(SONG)
    score = music21.converter.parse(musicxml.text(piece.score), format="musicxml")
    notes = [(round(12 * note.getOffsetInHierarchy(score)), note) for note in score.recurse().notes if note.lyrics]
    found = sorted((at, note.lyrics[0].text, note.lyrics[0].syllabic) for at, note in notes)
    assert found == [
        *((0, "Al", "begin"), (12, "le", "middle"), (36, "lu", "middle"), (48, "Oh", "single"), (73, "ja,", "end")),
        *((96, "of the", "single"), (144, "x-ray", "single"), (176, "é", "begin"), (184, "té", "end")),
        *((192, '"Gott"', "single"), (204, "sü", "begin")),
    ]
    assert [[lyric.text for lyric in track.lyrics] for track in piece.score.tracks][1] == ["Oh"]
    assert "w: * Oh\n" in piece_from_score(formats.quantised(piece.score)).abc


def test_words_of_a_score_go_to_the_heads_and_voices_that_begin_with_them() -> None:
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for time, duration, pitch in ((0, 1200, 72), (480, 240, 60), (720, 480, 62)):
        score.tracks[0].notes.append(symusic.Note(time, duration, pitch, 80))
    for time, text in ((0, "a"), (480, "b-"), (720, "c"), (960, "d")):  # where a head of the first voice begins
        score.tracks[0].lyrics.append(symusic.TextMeta(time, text))
    assert re.findall("w:.*", piece_from_score(score).abc) == ["w: a d", "w: b- c"]
    text = re.sub(r"\s", "", musicxml.text(score))
    assert re.findall("<syllabic>(.*?)</syllabic><text>(.*?)<", text) == [
        *(("single", "a"), ("single", "d"), ("begin", "b"), ("end", "c"))
    ]
