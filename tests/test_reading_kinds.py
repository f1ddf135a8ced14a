"""Kinds of notation beyond single files: orders of bars by hand, and ABC whose sounding notes the standard gives."""

import pytest

from datatools.reading.musicxml import reader as musicxml
from datatools.reading.performing import performed
from datatools.reading.repeats import Signs, order
from tests import abc_texts


def signs(words: str) -> Signs:
    """A bar's signs from words: `|:` `:|` `:|3` `[1` `[1,2` (begins) `.1` (goes on) dc ds segno fine tocoda coda."""
    made = Signs()
    for word in words.split():
        if word == "|:":
            made.forward = True
        elif word.startswith(":|"):
            made.times = int(word[2:] or 2)
        elif word[0] in "[.":
            made.ending = tuple(int(number) for number in word[1:].split(","))
            made.begins_ending = word[0] == "["
        elif word in ("dc", "ds"):
            made.jump = word
        elif word == "segno":
            made.segno = "segno"
        else:
            setattr(made, {"fine": "fine", "tocoda": "to_coda", "coda": "coda"}[word], True)
    return made


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ("/:|/", "A B A B C"),
        (":|/:|/", "A A B A B C"),
        ("|:/:|/:|/", "A B A B C C D"),
        ("|: :|3/", "A A A B"),
        ("|:/[1 :|/[2/", "A B A C D"),
        ("|:/[1,2 :|/[3/", "A B A B A C D"),
        ("|:/[1/.1 :|/[2/.2/", "A B C A D E F"),
        ("|:/[1 :|/", "A B A C"),
        ("/:|//[1 :|/[2", "A B A B C D C E"),
        ("|:/[1 :|/[2//[1 :|/[2", "A B A C D E C D F"),
        ("/dc/", "A B A B C"),
        ("fine/dc/", "A B A"),
        ("|: :|/fine/dc/", "A A B C A B"),
        ("|:/[1 :|/[2/dc", "A B A C D A C D"),
        ("/segno fine/ds/", "A B C B"),
        ("tocoda/dc/coda", "A B A C"),
        ("/segno/tocoda/ds/coda", "A B C D B C E"),
        ("/ds", "A B"),
        ("/dc/|:/[1 :|/[2", "A B A B C E"),  # after a jump the last ending at once
        ("/segno/segno/ds", "A B C D B C D"),  # of two signs the first
    ],
)
def test_bars_are_played_in_this_order(bars: str, expected: str) -> None:
    assert " ".join("ABCDEFG"[index] for index in order([signs(words) for words in bars.split("/")])) == expected


HEAD = "X:1\nM:4/4\nL:1/4\n"


def bars(*pitches: int) -> list[tuple[int, int, int]]:
    return [(4 * bar, pitch, 4) for bar, pitch in enumerate(pitches)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("K:C\nC4 & E2 G2 | D4 |\n", [(0, 60, 4), (0, 64, 2), (2, 67, 2), (4, 62, 4)]),
        ("K:C\n|: C4 & E4 :|\n", [(0, 60, 4), (0, 64, 4), (4, 60, 4), (4, 64, 4)]),
        (
            "P:A3\nK:C\nP:A\nC4 |[1 D4 |[2 E4 |[3 F4 |\n",
            bars(60, 62, 60, 64, 60, 65),
        ),
        (
            "P:AB\nK:C\nP:A\n[V:1]C4|\n[V:2]C,4|\nP:B\n[V:1]D4|\n[V:2]D,4|\n",
            [(0, 48, 4), (0, 60, 4), (4, 50, 4), (4, 62, 4)],
        ),
        ("%%propagate-accidentals octave\nK:C\n^F f F2\n", [(0, 66, 1), (1, 77, 1), (2, 66, 2)]),
        ("%%propagate-accidentals not\nK:C\n^F F f2\n", [(0, 66, 1), (1, 65, 1), (2, 77, 2)]),
        ("K:D transpose=-2\nF E D2\n", [(0, 64, 1), (1, 62, 1), (2, 60, 2)]),
        ("K:G treble+8\nF4\n", [(0, 78, 4)]),
        ("V:1 clef=treble-8\nK:C\nV:1\nC4\n", [(0, 48, 4)]),
        ("K:C\n_B2- | B- | B B\n", [(0, 70, 4), (4, 71, 1)]),
        ("K:C\nC4 | D4 [|]:| E4 |\n", bars(60, 62, 60, 62, 64)),  # 4.8: a bar line of any shape, an invisible one
        ("K:C\nC4 [|] D4 :| E4 |\n", bars(60, 62, 60, 62, 64)),
        ("K:C\n|: C4 |1 D4 :| E4 |\n", bars(60, 62, 60, 64)),  # 4.9: the second time it is passed over
        ("K:C\n|: C4 |[1,2 D4 :| E4 |\n", bars(60, 62, 60, 62, 60, 64)),
        ("K:D exp ^f\nF C c2\n", [(0, 66, 1), (1, 60, 1), (2, 72, 2)]),  # 3.1.14: exp, and the keys of pipes
        ("K:HP\nF c G2\n", [(0, 66, 1), (1, 73, 1), (2, 67, 2)]),
        ("K:C ^f^c\nF C B2\n", [(0, 66, 1), (1, 61, 1), (2, 71, 2)]),
        ("K:^f\nF4\n", [(0, 66, 4)]),
        ("K:Clydian\nF [K:Ephr] F [K:Aaeo] C [K:Fion] B\n", [(0, 66, 1), (1, 65, 1), (2, 60, 1), (3, 70, 1)]),
        ("K:C\nC,, c'' (3::2 C2 D\n", [(0, 36, 1), (1, 96, 1), (2, 60, 4 / 3), (10 / 3, 62, 2 / 3)]),
        ("K:C\n{/c}z C3\n", [(1, 72, 1 / 12), (13 / 12, 60, 35 / 12)]),
        ("K:C\n{cd}C/8 D\n", [(0, 72, 1 / 32), (1 / 32, 74, 1 / 32), (1 / 16, 60, 1 / 16), (1 / 8, 62, 1)]),
        ("K:C\nC2-{D}C2\n", [(0, 60, 2), (2, 62, 1 / 12), (25 / 12, 60, 23 / 12)]),  # no tie leads over them
        ("I:propagate-accidentals octave\nK:C\n^F f F2\n", [(0, 66, 1), (1, 77, 1), (2, 66, 2)]),
        ('K:C\n"50\\% of it"C D=20\ny2 =3DE F "Am\n', [(n, p, 1) for n, p in enumerate((60, 62, 64, 65))]),
        ("K:C\n+C2E2+ [F2A2]/ G\n", [(0, 60, 2), (0, 64, 2), (2, 65, 1), (2, 69, 1), (3, 67, 1)]),
        ("K:C\n[GB]4-|[GB]2 C2\n", [(0, 67, 6), (0, 71, 6), (6, 60, 2)]),
        ("K:C\nL:1/8\nM:3/4\nV:1\nC4 Z C2|\nV:2\nE4|\n", [(0, 60, 2), (0, 64, 2), (5, 60, 1)]),  # they hold for all
        ("P:AB\nK:C\nG4|\nP:A\nC4|\nP:B\nD4|\n", bars(67, 60, 62)),  # what belongs to no part comes first
        ("K:C\n(1:3:2 C/C/ D\n", [(0, 60, 3 / 2), (3 / 2, 60, 3 / 2), (3, 62, 1)]),
        ("C4|\nK:C\nG4|\n", [(0, 67, 4)]),  # 3.1: the header ends with K:
        ("K:C\nC>>>D E<<F\n", [(0, 60, 15 / 8), (15 / 8, 62, 1 / 8), (2, 64, 1 / 4), (9 / 4, 65, 7 / 4)]),
        ("K:C\n^F [K:C]F ^F [K:D]=F\n", [(0, 66, 1), (1, 65, 1), (2, 66, 1), (3, 65, 1)]),
        ("K:C\n^C4 & C4 | C4\n", [(0, 60, 4), (0, 61, 4), (4, 60, 4)]),
        (
            "K:C\nV:1 clef=treble-8 octave=1 transpose=2\nC4|\nV:2\nE4|\nV:1\nD4|\n",
            [(0, 62, 4), (0, 64, 4), (4, 64, 4)],
        ),
        ("K:C treble-8\nV:bass\nC4|\n", [(0, 48, 4)]),  # a name says nothing of its sound
        ("K:C\nC4 |\nD:| E4 |\n", [(0, 60, 4), (4, 62, 1), (5, 60, 4), (9, 62, 1), (10, 64, 4)]),
        ("K:C\n|: C4 |1 D4 || E4 |\n", bars(60, 62, 64)),  # an ending alone, and no sign that repeats
        ("K:C\nC4 :|\n|: D4 :|\n", bars(60, 60, 62, 62)),
        ("K:C\nC4 ||\n| D4 :|\n", bars(60, 62, 62)),
        ("K:C\nE4 |:\n| C4 :|\n", bars(64, 60, 60)),
        ("K:C\n|: C4 || D4 :|\n", bars(60, 62, 60, 62)),
        ("K:C\n|: C4 |1 D4 :|2 E4 || F4 :|\n", bars(60, 62, 60, 64, 65, 65)),
        ("K:C\n|: C4 |1 D4 :|2 E4 | F4 |1 G4 :|2 A4 |\n", bars(60, 62, 60, 64, 65, 67, 69)),
    ],
)  # fmt: skip
def test_abc_sounds_as_the_standard_says(text: str, expected: list[tuple[int, int, int]]) -> None:
    for said in (HEAD + text, abc_texts.unrolled(HEAD + text)):
        score = abc_texts.score(said)
        found = [(note.time / 480, note.pitch, note.duration / 480) for track in score.tracks for note in track.notes]
        assert sorted(found) == expected


def test_abc_without_a_key_is_no_tune() -> None:
    """3.1.14: the last field of a header is K:; words behind T: are no notes, though e and c are among them."""
    for music, line in (("nonsense\n", 3), ("% no key\nM:3/4\nCDE|\n", 5)):
        with pytest.raises(ValueError, match=f"^line {line}: music before the tune has a key"):
            abc_texts.score(f"X:1\nT:no key\n{music}")
        assert abc_texts.score(f"X:1\nT:no key\nK:none\n{music.replace('nonsense', 'ec')}").note_num() > 1


REPEATED = "<attributes><measure-style><measure-repeat type='start'>1</measure-repeat></measure-style></attributes>"
WRITTEN = "<note><pitch><step>{}</step><octave>4</octave></pitch><duration>4</duration></note>"


def measures(*each: str) -> str:
    return f"<score-partwise>{part(*each)}</score-partwise>"


def part(*each: str) -> str:
    inside = "".join(f"<measure number='{number}'>{one}</measure>" for number, one in enumerate(each, 1))
    return f"<part id='P1'>{inside}</part>"


def test_a_sign_that_repeats_a_measure_hides_no_note_that_is_written() -> None:
    """MusicXML 4.0, measure-style: it is a way to print; only where nothing is written something is not played."""
    written = musicxml.read(measures(WRITTEN.format("C"), REPEATED + WRITTEN.format("D")))
    assert [note.pitch for note in performed(written).tracks[0].notes] == [60, 62] and not written.remarks
    empty = musicxml.read(measures(WRITTEN.format("C"), REPEATED + "<note><rest/><duration>4</duration></note>"))
    assert empty.remarks == ["1 sign that repeats the measure before is not played"]


FORWARD = "<forward><duration>1000000000</duration></forward>"
KEY = "<attributes><key><fifths>2</fifths></key></attributes>"


def test_what_stands_behind_the_end_holds_for_nothing() -> None:
    """A key after a <forward> of centuries; a grace note there is heard, so that it makes the piece too long."""
    score = performed(musicxml.read(measures(WRITTEN.format("C") + FORWARD + KEY)))
    assert score.note_num() == 1 and not score.key_signatures
    grace = WRITTEN.format("D").replace("<note>", "<note><grace/>")
    with pytest.raises(ValueError, match="quarters; expected at most"):
        performed(musicxml.read(measures(WRITTEN.format("C") + FORWARD + grace)))


def test_a_tie_leads_over_a_bar_line_that_its_part_does_not_reach() -> None:
    """Measure n of all parts begins together; a rest before the bar line, which is written, breaks the tie."""
    begin, end = (WRITTEN.format("C").replace("</note>", f"<tie type='{way}'/></note>") for way in ("start", "stop"))
    begin = begin.replace("<duration>4", "<duration>2")
    rest = "<note><rest/><duration>1</duration></note>"
    other = part(WRITTEN.format("G"), WRITTEN.format("G"))
    for inside, expected in ((begin, [(0, 8)]), (begin + rest, [(0, 2), (4, 4)])):
        score = performed(musicxml.read(f"<score-partwise>{part(inside, end)}{other}</score-partwise>"))
        notes = [(note.time / 480, note.duration / 480) for note in score.tracks[0].notes if note.pitch == 60]
        assert notes == expected
