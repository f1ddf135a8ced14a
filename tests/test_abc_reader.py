"""ABC text to notes: known answers, and abc2midi (inside symusic) as the independent reader."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import symusic

from datatools.abc import book as abc_book
from datatools.abc import lexer
from datatools.abc import repeats as abc_repeats
from datatools.reading.scores import piece_from_abc
from tests import abc_texts

MUSIC = Path(__file__).parent / "music"
HEAD = "X:1\nM:4/4\nL:1/8\nK:C\n"


def notes(score):
    return [[(n.time, n.pitch, n.duration) for n in track.notes] for track in score.tracks]


def line(music: str, head: str = HEAD):
    """(time in eighths, pitch, length in eighths) of the only voice."""
    [track] = notes(abc_texts.score(head + music + "\n"))
    return [(time / 240, pitch, duration / 240) for time, pitch, duration in track]


@contextmanager
def silence() -> Iterator[None]:
    """The C library inside symusic writes to the terminal by file descriptor."""
    kept = [os.dup(1), os.dup(2)]
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            for number, saved in enumerate(kept, 1):
                os.dup2(saved, number)
                os.close(saved)


def oracle(text: str) -> list[tuple[int, int, int]]:
    """Notes by abc2midi, which starts them a tick late and shortens them by one, without its accompaniment."""
    with silence():
        score = symusic.Score.from_abc(re.sub(r"(?m)^(K:.*\n)", r"\1%%MIDI gchordoff\n", text, count=1))
    return sorted((n.time - 1, n.pitch, n.duration + 1) for track in score.tracks for n in track.notes)


def tunes():
    for path in sorted(MUSIC.glob("*.abc")):
        text = abc_book.decode_bytes(path.read_bytes())
        for index in range(abc_book.count_tunes(text)):
            yield pytest.param(abc_book.tune(text, index), id=f"{path.stem}-{index}")


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("C2 E/ G3/2", [(0, 60, 2), (2, 64, 0.5), (2.5, 67, 1.5)]),
        ("c, C' c'", [(0, 60, 1), (1, 72, 1), (2, 84, 1)]),
        ("^F F | F", [(0, 66, 1), (1, 66, 1), (2, 65, 1)]),
        ("^F f =F F", [(0, 66, 1), (1, 78, 1), (2, 65, 1), (3, 65, 1)]),
        ("^^F __B", [(0, 67, 1), (1, 69, 1)]),
        ("A>B c<d e>>f", [(0, 69, 1.5), (1.5, 71, 0.5), (2, 72, 0.5), (2.5, 74, 1.5), (4, 76, 1.75), (5.75, 77, 0.25)]),
        ("A>B/ c", [(0, 69, 1), (1, 71, 0.5), (1.5, 72, 1)]),
        ("C2-|C2 C", [(0, 60, 4), (4, 60, 1)]),
        ("C-D", [(0, 60, 1), (1, 62, 1)]),
        ("^C-|^C C", [(0, 61, 2), (2, 61, 1)]),
        ("[C-E]2[CG]2", [(0, 60, 4), (0, 64, 2), (2, 67, 2)]),
        ("(3CDE F", [(0, 60, 2 / 3), (2 / 3, 62, 2 / 3), (4 / 3, 64, 2 / 3), (2, 65, 1)]),
        ("(3:2:2 C2D E", [(0, 60, 4 / 3), (4 / 3, 62, 2 / 3), (2, 64, 1)]),
        ("{DE}C2", [(0, 62, 1 / 6), (1 / 6, 64, 1 / 6), (1 / 3, 60, 5 / 3)]),
        ("z2 x C Z D", [(3, 60, 1), (12, 62, 1)]),
        (
            'u"G7"!trill!~.C (DE) `F +fermata+G !D',
            [(0, 60, 1), (1, 62, 1), (2, 64, 1), (3, 65, 1), (4, 67, 1), (5, 62, 1)],
        ),
        ("[K:D] F [K:none] F [L:1/4] F", [(0, 66, 1), (1, 65, 1), (2, 65, 2)]),
    ],
)
def test_known_answers(music, expected) -> None:
    assert line(music) == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize(
    ("key", "pitches"),
    [
        ("G", "60 62 64 66 67 69 71"),
        ("Am", "60 62 64 65 67 69 71"),
        ("A Dorian", "60 62 64 66 67 69 71"),
        ("Dmix", "60 62 64 66 67 69 71"),
        ("F#loc", "60 62 64 66 67 69 71"),
        ("Bb", "60 62 63 65 67 69 70"),
        ("C#", "61 63 65 66 68 70 72"),
        ("D =c", "60 62 64 66 67 69 71"),
        ("C exp _e ^f", "60 62 63 66 67 69 71"),
        ("Hp", "61 62 64 66 67 69 71"),
        ("", "60 62 64 65 67 69 71"),
    ],
)
def test_keys(key, pitches) -> None:
    found = line("CDEFGAB", f"X:1\nL:1/8\nK:{key}\n")
    assert " ".join(str(pitch) for _, pitch, _ in found) == pitches


@pytest.mark.parametrize(
    ("music", "played"),
    [
        ("C|D:|E|", "CDCDE"),
        ("C|:D|E:|F|", "CDEDEF"),
        ("C|D||E|F:|", "CDEFEF"),
        ("|:C|[1 D:|[2 E|]", "CDCE"),
        ("C|1 D:|2 E||F|", "CDCEF"),
        ("|:C|1,3 D:|2 E:|", "CDCECD"),
        ("|:C::D:|", "CCDD"),
        ("|::C::|D", "CCCD"),
        ("|:C\n|1 D:|\n|2 E|]", "CDCE"),
        ("C:|:D:|", "CCDD"),
        ("C:||:D:|", "CCDD"),
    ],
)
def test_repeats(music, played) -> None:
    assert "".join("CDEFGAB"[(pitch - 60) * 7 // 12 + (pitch in (61, 65))] for _, pitch, _ in line(music)) == played


def test_parts_follow_their_order() -> None:
    text = "X:1\nL:1/8\nP:A2BA\nK:C\nP:A\nC|\nP:B\nD:|\n"
    assert [pitch for _, pitch, _ in line("", text)] == [60, 60, 62, 62, 60]


def test_endings_are_taken_in_turn_only_by_a_part_that_is_played_in_a_row() -> None:
    music = "K:C\nP:A\n|:C|[1D:|[2E||\nP:B\nF|\n"
    for order, expected in (("ABA", [60, 62, 60, 64, 65, 60, 62, 60, 64]), ("AAB", [60, 62, 60, 64, 65])):
        assert [pitch for _, pitch, _ in line(music, f"X:1\nL:1/4\nP:{order}\n")] == expected


def test_a_part_in_a_row_without_endings_plays_its_repeats_each_time() -> None:
    head = "X:1\nL:1/4\nP:AAB\n"
    assert [pitch for _, pitch, _ in line("K:C\nP:A\n|:C:|\nP:B\nD|\n", head)] == [60, 60, 60, 60, 62]
    music = "K:C\nP:A\n|:C|[1D:|[2E:|[3F||\nP:B\nG|\n"  # three endings, and not three times in a row
    assert [pitch for _, pitch, _ in line(music, head)] == [60, 62, 60, 64, 60, 65] * 2 + [67]


def test_halves_of_a_bar_meet_again() -> None:
    text = abc_texts.unrolled("X:1\nM:3/4\nL:1/4\nK:C\nG|c2 B|A2:|\n")
    assert text.partition("K:Cmaj")[2].split() == ["G", "|", "c2", "B", "|", "A2", "G", "|", "c2", "B", "|", "A2", "|"]


def test_bars_are_joined_at_a_seam_of_one_meter_alone() -> None:
    """And the key is told as it is printed: D with C natural has the one sharp of D mixolydian."""
    for music, bars in (("C2|D2|E4|", "C2 | D2 | E4 |"), ("C2||[M:3/4]D2|E3|", "C2 |\nM:3/4\nD2 | E3 |")):
        assert abc_texts.unrolled(f"X:1\nM:4/4\nL:1/4\nK:C\n{music}\n").partition("K:Cmaj\n")[2] == bars + "\n"
    score = abc_texts.score("X:1\nL:1/4\nK:D =c\nc4|\n")
    assert [(k.key, k.tonality) for k in score.key_signatures] == [(1, 0)]


def test_names_of_voices_are_those_of_their_tracks() -> None:
    """A voice of rests has none; one that is entered again, or has an overlay, keeps its name."""
    text = 'X:1\nT:Air\nK:C\nV:1 nm="Flute"\nC4 & E4|\nV:2\nz4|\nV:3 name="Bass"\nC,4|\nV:1\nD4|\n'
    assert [track.name for track in abc_texts.score(text).tracks] == ["Flute", "", "Bass"]
    remarks: list[str] = []
    abc_texts.unrolled("X:1\nP:A2\nK:C\nP:A\nC|\nP:B\nD|\n", remarks)
    assert remarks == ["not played: the parts B, which P:A2 does not name"]


def test_signatures_and_tempo() -> None:
    score = abc_texts.score("X:1\nT:Air\nM:C|\nL:1/8\nQ:1/2=60\nK:Em\nE8|[M:3/4][K:G]G6|\n")
    assert [(m.time, m.numerator, m.denominator) for m in score.time_signatures] == [(0, 2, 2), (1920, 3, 4)]
    assert [(k.time, k.key, k.tonality) for k in score.key_signatures] == [(0, 1, 1), (1920, 1, 0)]
    assert [round(t.qpm, 3) for t in score.tempos] == [120.0]
    assert score.ticks_per_quarter == 480 and score.tracks[0].name == "Air" and score.tracks[0].program == 0


@pytest.mark.parametrize("text", tunes())
def test_unrolled_text_sounds_the_same_and_is_its_own_unrolling(text) -> None:
    once = abc_texts.unrolled(text)
    assert abc_texts.unrolled(once) == once
    assert notes(abc_texts.score(once)) == notes(abc_texts.score(text))
    assert "|:" not in once and ":|" not in once and "P:" not in once


@pytest.mark.parametrize("text", tunes())
def test_abc2midi_hears_the_unrolled_text_alike(text) -> None:
    plain = abc_texts.unrolled("".join(text.split("{")[:1] + [part.split("}", 1)[1] for part in text.split("{")[1:]]))
    mine = sorted(
        (pitch, time, time + length) for track in notes(abc_texts.score(plain)) for time, pitch, length in track
    )
    theirs = sorted((pitch, time, time + length) for time, pitch, length in oracle(plain))
    assert [row[0] for row in mine] == [row[0] for row in theirs]
    # It spreads the notes of some chords by ten ticks each.
    assert [row[1] for row in mine] == pytest.approx([row[1] for row in theirs], abs=30)
    assert [row[2] for row in mine] == pytest.approx([row[2] for row in theirs], abs=1)


@pytest.mark.parametrize(
    ("music", "reason"),
    [
        ("C999999999999", "whole notes"),
        ("C/0", "length"),
        ("C99999", "whole notes"),
        ("[CE", "closing bracket"),
        ("{CE", "closing }"),
        ("(& C | D &) E", "overlay of several bars"),
        ("C ♯F", "not ABC music"),
        ("C|2 D|", "without an ending 1"),
        ("[C2E4]", "different lengths"),
        ("z4|", "no note"),
        (":::::::::::::C", "playings"),
    ],
)
def test_what_cannot_be_told_is_named(music, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        abc_texts.score(HEAD + music + "\n")


@pytest.mark.parametrize(
    ("music", "said"),
    [
        ("C63>D63 E|", r"line 5: a note or rest of 189/2 whole notes; expected above 0 and at most 64"),
        ("C D|\nC40 D40 & E2 | G|", "line 6: a note or rest of 78 whole notes; expected above 0 and at most 64"),
        ("C/65536>D/65536|", "line 5: a note or rest of 1/131072 whole notes|line 5: a note or rest of 3/131072"),
    ],
)
def test_what_canonical_text_could_not_tell_again_is_named(music: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        assert piece_from_abc(f"X:1\nM:4/4\nL:1/1\nK:C\n{music}\n").score


@pytest.mark.parametrize(
    "text",
    [
        'X:1\nT:Real title\nL:1/4\nK:C\nV:1 name="Fiddle"\nCDEF|GABc|\n',
        "X:1\nT: :|: odd\nL:1/4\nK:C\nCDEF|\n",
        "X:1\nL:1/4\nK:C\nCDEF|\nw: a\\ |\nGABc|\nw: b \\\nCDEF|\nw: a b\n",
        "X:1\nQ:3/8=77.7777\nL:1/4\nK:C\nC[CE]-[CE]2|\n",
    ],
)
def test_a_score_is_that_of_its_canonical_text(text: str) -> None:
    pieces = piece_from_abc(text), piece_from_abc(piece_from_abc(text).abc)
    for track, again in zip(*(piece.score.tracks for piece in pieces), strict=True):
        assert track.name == again.name and track.name in ("Real title", ":|: odd", "")
        assert [(word.time, word.text) for word in track.lyrics] == [(word.time, word.text) for word in again.lyrics]
    assert pieces[0].score.dumps_midi() == pieces[1].score.dumps_midi()


def test_a_bomb_of_repeats_is_refused() -> None:
    for order, reason in (("((A99)99)99", "more than 500 parts"), ("(AB)99", "more than 250000 notes")):
        with pytest.raises(ValueError, match=reason):
            abc_texts.score(f"X:1\nP:{order}\nK:C\nP:A\n" + "CDEFGABc|" * 1000 + "\nP:B\nC|\n")


def test_books() -> None:
    text = (MUSIC / "book_of_three.abc").read_text()
    assert abc_book.count_tunes(text) == 3
    assert [abc_book.title(abc_book.tune(text, i)) for i in range(3)] == ["Lamp Post", "Stepping Stones", "Kettle"]
    assert "M:2/4" in abc_book.tune(text, 0)
    assert len(abc_texts.score(abc_book.tune(text, 2)).tracks[0].notes) > 20
    with pytest.raises(IndexError):
        abc_book.tune(text, 3)
    assert abc_book.decode_bytes("T:Ó".encode("latin-1")) == "T:Ó" == abc_book.decode_bytes("T:Ó".encode())


def test_grace_notes_that_lead_nowhere_are_told() -> None:
    remarks: list[str] = []
    text = abc_texts.unrolled(HEAD + "ab{cd}|]\n", remarks)
    assert "{" not in text and remarks == ["left out 2 grace notes that lead to no note"]
    remarks.clear()
    assert "{cd}" in abc_texts.unrolled(HEAD + "ab{cd}|e|]\n", remarks) and not remarks


def test_a_book_is_taken_apart_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "M:3/4\n" + "\n".join(f"X:{number}\nK:C\nabc|\n" for number in range(20_000))
    found = abc_book.tunes(text)  # tune by tune this would take minutes
    assert len(found) == abc_book.count_tunes(text) == 20_000
    assert found[7] == abc_book.tune("M:3/4\nX:7\nK:C\nabc|\n", 0) == "X:7\nM:3/4\nK:C\nabc|\n"
    monkeypatch.setattr(abc_book, "MOST_TUNES", 2)
    with pytest.raises(ValueError, match="it holds 20000 tunes; expected at most 2"):
        abc_book.tunes(text)


def test_fields_of_a_header_and_a_body() -> None:
    """The first T: is the title, wherever it stands before K:; without L: a meter below 3/4 counts sixteenths (3.1.7);
    a Q: in the body holds from there on, the old form counting unit lengths (3.1.8)."""
    text = "X:1\nQ:1/4=100\nT:First\nT:Second\nM:2/4\nK:G\nF4|\nQ:60\nF4|[Q:1/4=90]F4|\n"
    score = abc_texts.score(text)
    assert notes(score) == [[(0, 66, 480), (480, 66, 480), (960, 66, 480)]] and score.tracks[0].name == "First"
    assert [(t.time, round(t.qpm, 2)) for t in score.tempos] == [(0, 100), (480, 15), (960, 90)]
    for body in ("Q:1/4=90\nV:A\nF|\nV:B\nF|\n", "V:A\n[Q:1/4=90]F|\nV:B\n[Q:1/4=90]F|\n"):
        tempos = abc_texts.score(f"X:1\nQ:1/4=100\nK:C\n{body}").tempos
        assert [(t.time, round(t.qpm, 2)) for t in tempos] == [(0, 90)], "before the first note it is the header's"
    for body, expected in (
        ("V:1\nF F|F F|\nV:2\nF F|[Q:1/4=60]F F|\n", [(0, 120), (960, 60)]),
        ("V:1\nF F|F F|\nV:2\nQ:1/4=60\nF F|F F|\n", [(0, 60)]),
        ("V:1\nF F|[Q:1/4=80]F F|\nV:2\nF [Q:1/4=90]F|[Q:1/4=70]F F|\n", [(0, 120), (480, 90), (960, 80)]),
    ):
        tempos = abc_texts.score(f"X:1\nL:1/4\nQ:1/4=120\nK:C\n{body}").tempos
        assert [(t.time, round(t.qpm, 2)) for t in tempos] == expected, "a tempo in any voice is the tune's"
    voices = abc_texts.score("X:1\nT:Air\nL:1/4\nK:C\nV:1\nF|\nV:2\n[K:D]F|\nV:1\nF|\n")
    assert notes(voices) == [[(0, 65, 480), (480, 65, 480)], [(0, 66, 480)]], "a key in one voice is that voice's"
    assert [track.name for track in voices.tracks] == ["Air", ""]
    assert voices.tracks[0].notes[0].velocity == 80
    many = "X:1\nK:C\n" + "".join(f"V:{number}\nC|\n" for number in range(65))
    assert len(abc_texts.score(many.partition("V:64")[0]).tracks) == 64
    with pytest.raises(ValueError, match="more than 64 voices"):
        abc_texts.score(many)
    assert lexer.LONGEST_SOURCE == 250_000 == abc_repeats.LONGEST_TUNE


def test_tuplets_take_the_time_that_the_standard_gives_them() -> None:
    """4.13: 2 in the time of 3, 3 of 2, 4 of 3, 6 of 2, 8 of 3; 5, 7 and 9 of 3 in compound meters, else of 2."""
    for meter, others in (("4/4", 2), ("6/8", 3), ("9/8", 3), ("3/4", 2)):
        times = {2: 3, 3: 2, 4: 3, 5: others, 6: 2, 7: others, 8: 3, 9: others}
        for p, q in times.items():
            found = line(f"({p}{'C' * p}D|", HEAD.replace("4/4", meter))
            assert found[-1][0] == pytest.approx(q), (meter, p)


def test_a_book_is_decoded_and_its_head_holds_for_all() -> None:
    assert abc_book.decode_bytes(b"T:It\x92s\r\nK:C\r") == "T:It\u2019s\nK:C\n"
    assert abc_book.decode_bytes(b"\xef\xbb\xbfX:1") == "X:1"
    assert abc_book.holds_tunes("% a\n K:C\nC|") and abc_book.holds_tunes("X:1") and not abc_book.holds_tunes("T:K: X:")
    assert abc_book.tunes("K:G\nQ:1/4=60\nT:The book\nX:1\nF|\n") == ["X:1\nK:G\nQ:1/4=60\nF|\n"]
    assert abc_book.tunes("X:1\nK:C\nD:|\n\nnot of it\n") == ["X:1\nK:C\nD:|\n"], "a note, and no field"
    assert abc_book.title("X:1\nR:WALT:x\nT: The tune \nT:Another\n") == "The tune"
