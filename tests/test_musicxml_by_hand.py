"""Small MusicXML and kern, written here, against what the formats' standards say sounds; and the canonical form."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import symusic

from datatools.reading import four_voices, kept, libraries, performing, scores
from datatools.reading.canonical import canonical
from datatools.reading.kern.instruments import PROGRAMS
from datatools.reading.musicxml import reader
from datatools.reading.musicxml.reader import read as written_of
from datatools.reading.repeats import MOST_PLAYED, Refused, Signs, order
from datatools.writing.instruments import NAMES as INSTRUMENTS

Notes = list[list[tuple[float, int, float]]]


def note(step: str, duration: int = 1, octave: int = 4, inside: str = "", after: str = "", loud: str = "") -> str:
    """A note of so many divisions; `inside` stands before its pitch, `after` behind its duration."""
    name, alter = step[0], step[1:]
    pitch = f"<pitch><step>{name}</step>{alter and f'<alter>{alter}</alter>'}<octave>{octave}</octave></pitch>"
    return f"<note{loud}>{inside}{pitch}<duration>{duration}</duration>{after}</note>"


def rest(duration: int) -> str:
    return f"<note><rest/><duration>{duration}</duration></note>"


def document(*parts: tuple[str, ...], names: str = "", head: str = "", order: str = "partwise") -> str:
    """A score of parts of measures, P1 and so on."""
    rows = [[f'<measure number="{n}">{m}</measure>' for n, m in enumerate(part, 1)] for part in parts]
    if order == "partwise":
        body = "".join(f'<part id="P{n}">{"".join(row)}</part>' for n, row in enumerate(rows, 1))
    else:
        columns = [
            [f'<part id="P{n}">{part[at]}</part>' for n, part in enumerate(parts, 1)] for at in range(len(parts[0]))
        ]
        body = "".join(f"<measure>{''.join(column)}</measure>" for column in columns)
    return f"<score-{order}>{head}<part-list>{names}</part-list>{body}</score-{order}>"


def read(text: str, folder: Path, name: str = "a.musicxml") -> Any:
    (folder / name).write_text(text, encoding="utf-8")
    return scores.read(folder / name)


def sounding(piece: Any) -> Notes:
    """(onset, pitch, duration) in quarters, by track."""
    return [[(n.time / 480, n.pitch, n.duration / 480) for n in track.notes] for track in piece.score.tracks]


def pitches(piece: Any) -> list[int]:
    return [n.pitch for n in piece.score.tracks[0].notes]


def attributes(inside: str) -> str:
    return f"<attributes>{inside}</attributes>"


def meter(*pairs: str) -> str:
    inside = "".join(f"<beats>{p.split('/')[0]}</beats><beat-type>{p.split('/')[1]}</beat-type>" for p in pairs)
    return f"<time>{inside}</time>"


def key(fifths: int, mode: str = "") -> str:
    return f"<key><fifths>{fifths}</fifths>{mode and f'<mode>{mode}</mode>'}</key>"


NAMES = """
<score-part id="P1"><part-name> Winds
 and more </part-name>
 <midi-instrument id="A"><midi-program>74</midi-program></midi-instrument>
 <midi-instrument id="B"><midi-program>128</midi-program></midi-instrument></score-part>
<score-part id="P2"><part-name>Piano</part-name><midi-instrument id="C"><midi-program>0</midi-program></midi-instrument>
</score-part>
<score-part id="P3"><part-name>Kit</part-name>
 <midi-instrument id="D"><midi-unpitched>37</midi-unpitched></midi-instrument>
 <midi-instrument id="E"><midi-unpitched>43</midi-unpitched></midi-instrument></score-part>
"""


def stroke(instrument: str) -> str:
    name = f'<instrument id="{instrument}"/>' if instrument else ""
    return f"<note><unpitched/><duration>1</duration>{name}</note>"


@pytest.mark.parametrize("way", ["partwise", "timewise"])
def test_parts_staves_and_instruments_are_tracks(way: str, tmp_path: Path) -> None:
    """Programs and unpitched keys count from 1, and 0 is none; a stroke of no named instrument among two is silent."""
    a, b = ('<instrument id="A"/>', '<instrument id="B"/>')
    winds = (note("C", 2, after=a) + note("D", 1, after=b), note("E", 4))
    two = note("C", 4, after="<staff>2</staff>") + "<backup><duration>4</duration></backup>"
    piano = (two + note("G", 4, after="<staff>1</staff>"), rest(4))
    kit = (stroke("E") + stroke("D") + stroke(""), rest(4))
    piece = read(document(winds, piano, kit, names=NAMES, order=way), tmp_path)
    tracks = [(t.name, t.program, t.is_drum) for t in piece.score.tracks]
    assert tracks == [
        ("Winds and more", 73, False), ("Winds and more", 127, False),
        ("Piano", 0, False), ("Piano", 0, False), ("Kit", 0, True),
    ]  # fmt: skip
    assert sounding(piece) == [
        [(0, 60, 2), (4, 64, 4)], [(2, 62, 1)], [(0, 67, 4)], [(0, 60, 4)], [(0, 42, 1), (1, 36, 1)],
    ]  # fmt: skip
    assert piece.remarks == ["left out 1 unpitched note whose sound the file does not say"]


def test_titles_are_those_of_the_work_then_of_the_movement_then_of_the_file(tmp_path: Path) -> None:
    work, movement = "<work><work-title>Op.\n 1</work-title></work>", "<movement-title>Allegro</movement-title>"
    for head, title in (
        (work + movement, "Op. 1"),
        (movement, "Allegro"),
        ("", "name"),
        (f"<work/>{movement}", "Allegro"),
    ):
        assert read(document((note("C"),), head=head), tmp_path, "name.xml").title == title
    long = "<movement-title>" + "x" * 501 + "</movement-title>"
    assert read(document((note("C"),), head=long), tmp_path).title == "x" * 500


def test_loudness_is_a_share_of_90_and_accidentals_are_semitones(tmp_path: Path) -> None:
    loud = [note("C", loud=f' dynamics="{told}"') for told in (100, 0, 55.56, 200)]
    piece = read(
        document(("".join([*loud, note("D")]), note("F1") + note("B-2") + note("C0.6") + note("C-0.4"))), tmp_path
    )
    assert [n.velocity for n in piece.score.tracks[0].notes][:5] == [90, 1, 50, 127, 80]
    assert pitches(piece)[5:] == [66, 69, 61, 60]


def test_tempos_meters_and_keys_where_they_hold(tmp_path: Path) -> None:
    """A tempo stands behind its place by its offset; what sounds counts before what is shown; equal marks are one."""
    shown = (
        "<direction-type><metronome><beat-unit>{}</beat-unit><per-minute>{}</per-minute></metronome></direction-type>"
    )
    both = f"<direction>{shown.format('quarter', 50)}<offset>2</offset><sound tempo='72.5'/></direction>"
    first = (
        attributes(f"<divisions>2</divisions>{key(-3, 'minor')}{meter('3+2/8')}") + note("C", 2) + both + note("D", 3)
    )
    again = attributes(key(-3, "minor") + meter("2/8", "3/8")) + "<sound tempo='72.5'/>" + note("E", 5)
    third = (
        attributes(key(1) + meter("2/4", "3/8")) + f"<direction>{shown.format('breve', 30)}</direction>" + note("F", 7)
    )
    fast = f"<direction>{shown.format('16th', 400)}</direction>"
    fourth = fast + note("G", 4) + f"<direction>{shown.format('32nd', 400)}</direction>" + note("A", 3)
    score = read(document((first, again, third, fourth)), tmp_path).score
    tempos = [(t.time / 480, round(t.qpm, 2)) for t in score.tempos]
    assert tempos == [(2, 72.5), (5, 240), (8.5, 100), (10.5, 50)]
    assert [(m.time / 480, m.numerator, m.denominator) for m in score.time_signatures] == [(0, 5, 8), (5, 7, 8)]
    assert [(k.time / 480, k.key, k.tonality) for k in score.key_signatures] == [(0, -3, 1), (5, 1, 0)]


def test_of_parts_that_differ_the_first_one_s_marks_hold(tmp_path: Path) -> None:
    parts = [(attributes(key(n) + meter(f"{n}/4")) + f"<sound tempo='{60 * n}'/>" + note("C", 2),) for n in (2, 3)]
    score = read(document(*parts), tmp_path).score
    assert ([k.key for k in score.key_signatures], [round(t.qpm) for t in score.tempos]) == ([2], [120])
    assert [(m.numerator, m.denominator) for m in score.time_signatures] == [(2, 4)]
    mixed = read(document((attributes(meter("3/8", "2/4")) + note("C"),)), tmp_path).score
    assert [(m.numerator, m.denominator) for m in mixed.time_signatures] == [(7, 8)]


def test_limits_are_those_that_the_messages_tell() -> None:
    assert (performing.MOST_NOTES, MOST_PLAYED, reader.MOST_BARS) == (1_000_000, 20_000, 20_000)
    measures = "<measure/>" * (reader.MOST_BARS + 1)
    with pytest.raises(ValueError, match="it has 20001 measures; expected at most 20000"):
        written_of(f"<score-partwise><part>{measures}</part></score-partwise>")


def test_a_transposing_part_has_sounding_pitches_and_key(tmp_path: Path) -> None:
    """What a clarinet in A plays in C major sounds in A major; in E flat, F major sounds in A flat."""
    moves = "<transpose><diatonic>{}</diatonic><chromatic>{}</chromatic></transpose>"
    measure = (
        attributes(key(0) + moves.format(-2, -3)) + note("C"),
        attributes(moves.format(2, 3) + key(-1)) + note("F"),
    )
    score = read(document(measure), tmp_path).score
    assert [n.pitch for n in score.tracks[0].notes] == [57, 68]
    assert [k.key for k in score.key_signatures] == [3, -4]
    # up a semitone by no letter C major is C sharp major; of staves that differ the first one's key holds
    staves = "<key number='1'><fifths>2</fifths></key><key number='2'><fifths>-1</fifths></key>"
    measure = (attributes(key(0) + moves.format(0, 1)) + note("C"), attributes(moves.format(0, 0) + staves) + note("C"))
    assert [k.key for k in read(document(measure), tmp_path).score.key_signatures] == [7, 2]


def test_a_pick_up_ends_a_whole_bar_and_marks_before_it_hold_from_the_beginning(tmp_path: Path) -> None:
    """One beat of three; a bar that is filled by nothing is no pick-up, nor is a piece of a single bar."""
    begin = attributes(key(2) + meter("3/4")) + "<sound tempo='90'/>" + note("A")
    score = read(document((begin, note("D", 3))), tmp_path).score
    assert [[n.time / 480 for n in t.notes] for t in score.tracks] == [[2, 3]]
    assert [score.tempos[0].time, score.time_signatures[0].time, score.key_signatures[0].time] == [0, 0, 0]
    filled = begin + "<forward><duration>2</duration></forward>"
    # (its length is that of its notes, whatever a forward leaves open)
    assert [n.time / 480 for n in read(document((filled, note("D", 3))), tmp_path).score.tracks[0].notes] == [0, 1]
    assert read(document((begin,)), tmp_path).score.tracks[0].notes[0].time == 0
    assert [n.time / 480 for n in read(document((begin, note("D"))), tmp_path).score.tracks[0].notes] == [2, 3]


TIE = "<tie type='{}'/>"


def test_ties_and_chords(tmp_path: Path) -> None:
    """A chord begins with the note before it; a tie goes on; a `<tied>` alone counts; loose ends are told."""
    chord = note("C", 2) + note("E", 2, inside="<chord/>", after=TIE.format("start")) + note("G", 2)
    goes = (
        note("E", 1, after=TIE.format("stop") + TIE.format("start"))
        + note("E", 1, after=TIE.format("stop"))
        + note("F", 2)
    )
    piece = read(document((note("C", 2) + chord.replace(note("G", 2), ""), goes)), tmp_path)
    assert sounding(piece) == [[(0, 60, 2), (2, 60, 2), (2, 64, 4), (6, 65, 2)]]
    tied = "<notations><tied type='{}'/></notations>"
    shown = (
        note("C", after=tied.format("start"))
        + note("C", after=tied.format("stop"))
        + note("C", after=tied.format("stop"))
    )
    piece = read(document((shown,)), tmp_path)
    assert sounding(piece) == [[(0, 60, 2), (2, 60, 1)]]
    assert piece.remarks == ["1 note is struck that ties should reach: nothing leads to it"]
    goes_on = [note("C", after=tied.format(kind)) for kind in ("start", "continue", "stop")]
    assert sounding(read(document(("".join(goes_on),)), tmp_path)) == [[(0, 60, 3)]]
    # 480 divisions: rounded triplets leave a gap of one, which the tie bridges
    gap = "<forward><duration>1</duration></forward>"
    begin = attributes("<divisions>480</divisions>") + note("C", 159, after=TIE.format("start")) + gap
    assert sounding(read(document((begin + note("C", 160, after=TIE.format("stop")),)), tmp_path)) == [[(0, 60, 2 / 3)]]
    # a head within the gap that ends before the held note does makes it no shorter
    back = "<backup><duration>20</duration></backup>"
    short = begin.replace(gap, "").replace("159", "480") + back + note("C", 10, after=TIE.format("stop"))
    assert sounding(read(document((short,)), tmp_path)) == [[(0, 60, 1)]]
    # `<tie>` is what sounds: where it stands, `<tied>` does not count.
    both = note("C", after=TIE.format("start")) + note("C", after=TIE.format("stop") + tied.format("start")) + note("C")
    assert sounding(read(document((both,)), tmp_path)) == [[(0, 60, 2), (2, 60, 1)]]


def test_two_voices_of_one_pitch_keep_their_ties(tmp_path: Path) -> None:
    """The tie of voice 2 leads to voice 2, whose note is longer."""
    voice = "<voice>{}</voice>"
    back = "<backup><duration>4</duration></backup>"
    one = (
        note("C", 4, after=TIE.format("start") + voice.format(1))
        + back
        + note("C", 4, after=TIE.format("start") + voice.format(2))
    )
    two = (
        note("C", 1, after=TIE.format("stop") + voice.format(2))
        + rest(3)
        + back
        + note("C", 3, after=TIE.format("stop") + voice.format(1))
    )
    found = sounding(read(document((one, two)), tmp_path))
    assert sorted(n[2] for n in found[0]) == [5, 7]


def barline(location: str, inside: str) -> str:
    return f'<barline location="{location}">{inside}</barline>'


def letters(*measures: str, folder: Path) -> str:
    """The steps that sound of measures given as STEP and what stands behind its note, as in `C<barline/>`."""
    piece = read(
        document(tuple(m[1:].partition("^")[2] + note(m[0]) + m[1:].partition("^")[0] for m in measures)), folder
    )
    return "".join("C.D.EF.G.A.B"[n.pitch % 12] for n in piece.score.tracks[0].notes)


REPEAT = '<repeat direction="backward"{}/>'
ENDING = '<ending number="{}" type="{}"/>'
SOUND = "<direction><sound {}/></direction>"
WORDS = "<direction><direction-type><words>{}</words></direction-type></direction>"


def test_repeats_jumps_and_endings_as_files_write_them(tmp_path: Path) -> None:
    def played(*measures: str) -> str:
        return letters(*measures, folder=tmp_path)

    forward = "^" + barline("left", '<repeat direction="forward"/>')
    assert played("C", "D" + barline("right", REPEAT.format("")), "E") == "CDCDE"
    assert played("C", "D" + barline("right", REPEAT.format(' times="3"')) + forward, "E") == "CDDDE"
    # an ending of two numbers, of a span of numbers, and the last one, which a stop closes
    first = "^" + barline("left", ENDING.format("1, 2", "start"))
    close = barline("right", ENDING.format("1, 2", "stop") + REPEAT.format(""))
    third = "^" + barline("left", ENDING.format("3", "start"))
    assert (
        played("C", "D" + close + first, "E" + barline("right", ENDING.format("3", "discontinue")) + third, "F")
        == "CDCDCEF"
    )
    # a sign on the other side of the bar line: it begins with the next measure, or closed the one before
    ahead = barline("right", '<repeat direction="forward"/>')
    assert played("C" + ahead, "D" + barline("right", REPEAT.format("")), "E") == "CDDE"
    assert played("C", "D", "E^" + barline("left", REPEAT.format(""))) == "CDCDE"
    span = "^" + barline("left", ENDING.format("1-3", "start"))
    fourth = "^" + barline("left", ENDING.format("4", "start"))
    assert played("C", "D" + close.replace("1, 2", "1-3") + span, "E" + fourth, "F") == "CDCDCDCEF"
    # after a jump no sign is repeated, but for one that says so
    assert played("C" + barline("right", REPEAT.format("")), "D" + SOUND.format('dacapo="yes"'), "E") == "CCDCDE"
    again = REPEAT.format(' after-jump="yes"')
    assert played("C" + barline("right", again), "D" + SOUND.format('dacapo="yes"'), "E") == "CCDCCDE"
    assert played("C", "D" + SOUND.format('dacapo="no"'), "E") == "CDE"
    # named signs, and a jump that names none
    a, b = (f"^{SOUND.format(f'segno={name!r}')}" for name in ("one", "two"))
    assert played("C" + a, "D" + b, "E" + SOUND.format('dalsegno="two"'), "F") == "CDEDEF"
    assert played("C", "D" + a, "E" + SOUND.format('dalsegno="other"'), "F") == "CDEDEF"
    # words, in any case; a fine counts once a jump has been followed; words beside a sound that jumps say nothing more
    assert played("C", "D" + WORDS.format("Fine"), "E" + WORDS.format("D.C. al Fine"), "F") == "CDECD"
    assert (
        played(
            "C",
            "D^<direction><direction-type><segno/></direction-type></direction>",
            "E" + WORDS.format("dal segno"),
            "F",
        )
        == "CDEDEF"
    )
    assert (
        played("C", "D" + WORDS.format("To Coda"), "E" + WORDS.format("da capo al coda"), "F^" + WORDS.format("CODA"))
        == "CDECDF"
    )
    coda = "^" + WORDS.format("coda")
    assert played("C", "D" + WORDS.format("To Coda 1"), "E" + WORDS.format("D.C."), "F", "G" + coda) == "CDECDEFG"
    assert played("C", "D" + WORDS.format("To Coda"), "E" + WORDS.format("D.C."), "F", "G" + coda) == "CDECDG"
    unclosed = "^" + barline("left", ENDING.format("1", "start"))
    assert played("C", "D" + barline("right", REPEAT.format("")) + unclosed, "E", "F") == "CDCEF"
    beside = WORDS.format("D.C.").replace("</direction>", '<sound fine="yes"/></direction>')
    assert played("C" + beside, "D", "E") == "CDE"
    # the coda that is meant lies behind
    bars = [Signs(coda=True), Signs(to_coda=True), Signs(jump="dc"), Signs(coda=True)]
    assert order(bars) == [0, 1, 2, 0, 1, 3]
    said: list[str] = []
    assert order([Signs(), Signs(jump="ds"), Signs()], said) == [0, 1, 2] and said == [
        "a D.S. is not played: there is no segno"
    ]
    with pytest.raises(Refused, match=f"more than {MOST_PLAYED} bars"):
        order([Signs(times=20)] * 1 + [Signs()] * MOST_PLAYED)


def test_cue_notes_are_silent_but_in_files_of_musescore(tmp_path: Path) -> None:
    head = "<identification><encoding><software>MuseScore 4.1</software></encoding></identification>"
    part = (note("C") + note("D", inside="<cue/>"),)
    plain, other = read(document(part), tmp_path), read(document(part, head=head), tmp_path)
    assert (pitches(plain), pitches(other)) == ([60], [60, 62])
    assert plain.remarks == ["1 cue note is silent, as the standard says"]
    assert other.remarks == ["1 cue note sounds, as MuseScore wrote it"]


def test_what_is_left_out_or_odd_is_said(tmp_path: Path) -> None:
    high = note("G", octave=9) + note("G1", octave=9) + note("C", octave=-1)
    piece = read(document((high + "<backup><duration>9</duration></backup>" + note("D"),)), tmp_path)
    assert sorted(pitches(piece)) == [0, 62, 127]
    assert piece.remarks == [
        "left out 1 note outside MIDI's range", "1 <backup> leads before its measure's beginning",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="measure 2: a pitch without its step or octave"):
        read(document((note("C"), note("C").replace("<step>C</step>", ""))), tmp_path)
    for inside, said in (
        (attributes("<divisions>0</divisions>"), 'its <divisions> is "0"; expected 1 to 1e+07'),
        (attributes(meter("3/5")), 'its meter is "3/5"; expected e.g. 3/4'),
        (note("C").replace("<duration>1", "<duration>-1"), 'its <duration> is "-1"; expected 0 to 1e+09'),
    ):
        with pytest.raises(ValueError) as caught:
            read(document((inside + note("C"),)), tmp_path)
        assert str(caught.value) == said


GRACE = "<note><grace/><pitch><step>{}</step><octave>4</octave></pitch><voice>{}</voice></note>"


def test_grace_notes_share_the_time_before_their_voice_s_note(tmp_path: Path) -> None:
    """A twelfth of a quarter each; those of one voice do not wait for the note of another."""
    one = note("C", 4, after="<voice>1</voice>")
    grace = GRACE.format("A", 1) + GRACE.format("B", 1)
    other = "<backup><duration>2</duration></backup>" + note("E", 2, after="<voice>2</voice>")
    found = sounding(
        read(
            document(
                (one, note("D", 2, after="<voice>1</voice>") + grace + note("F", 2, after="<voice>1</voice>") + other)
            ),
            tmp_path,
        )
    )
    twelfth = pytest.approx(1 / 12)
    assert found == [
        [
            (0, 60, 4),
            (4, 62, 2),
            (pytest.approx(6 - 2 / 12), 69, twelfth),
            (pytest.approx(6 - 1 / 12), 71, twelfth),
            (6, 64, 2),
            (6, 65, 2),
        ]
    ]


def test_grace_notes_at_the_very_beginning_and_beside_another_voice(tmp_path: Path) -> None:
    """There is no time before the beginning; a note of voice 2 does not end the waiting of voice 1."""
    begins = GRACE.format("A", 1) + note("C", 2, after="<voice>1</voice>")
    found = sounding(read(document((begins,)), tmp_path))[0]
    assert sorted(found) == [(0, 60, 2), (0, 69, pytest.approx(1 / 12))]
    back = "<backup><duration>2</duration></backup>"
    first, last = (note("C", 2, after="<voice>1</voice>"), note("D", 2, after="<voice>1</voice>"))
    between = GRACE.format("A", 1) + note("E", 2, after="<voice>2</voice>") + back + GRACE.format("B", 1)
    found = sounding(read(document((first + between + last,)), tmp_path))[0]
    assert [(round(12 * at), pitch) for at, pitch, _ in found] == [(0, 60), (22, 69), (23, 71), (24, 62), (24, 64)]


def test_instruments_of_kern_are_those_of_general_midi(tmp_path: Path) -> None:
    names = {code: INSTRUMENTS[program] for code, program in PROGRAMS.items()}
    told = ("violn", "viola", "cello", "cbass", "harp", "tuba", "oboe", "picco", "celest")
    assert [names[code] for code in told] == [
        *("violin", "viola", "cello", "contrabass", "orchestral harp", "tuba", "oboe", "piccolo", "celesta")
    ]
    more = {"flt": "flute", "recor": "recorder", "fagot": "bassoon", "clars": "clarinet", "cor": "french horn"}
    more |= {
        "tromp": "trumpet",
        "tromb": "trombone",
        "corin": "english horn",
        "cemba": "harpsichord",
        "timpa": "timpani",
    }
    assert more.items() <= names.items()
    piece = read('**kern\n*I"Fiddle\n*Iviolnx\n*Iviolx\n*Iviola\n4c\n*-\n', tmp_path, "a.krn")
    assert (piece.score.tracks[0].name, piece.score.tracks[0].program) == ("Fiddle", 41)


KERN = """!!!OTL: A  song
**kern\t**text\t**kern
*Icello\t*\t*Iflt
*I"Cello\t*\t*I"Flute
*M3+2/8\t*\t*M5/8
*k[b-e-]\t*\t*k[b-e-]
*g:\t*\t*g:
*MM72.5\t*\t*MM72.5
=1\t=1\t=1
4.GG\tla\t8gg
.\t.\t4ff#
4r\t.\t4ee-
=2:|!\t=2\t=2:|!
00C\t.\t1cQ
.\t.\t0..dd
*-\t*-\t*-
"""


def test_kern_by_hand(tmp_path: Path) -> None:
    """The lowest part is written first; `:|!` plays twice; `00` is a long, `0..` a twice dotted breve."""
    piece = read(KERN.replace("1cQ", "1c"), tmp_path, "a.krn")
    assert piece.title == "A song"
    assert [(t.name, t.program) for t in piece.score.tracks] == [("Flute", 73), ("Cello", 42)]
    flute, cello = sounding(piece)
    once = [(0, 79, 0.5), (0.5, 78, 1), (1.5, 75, 1)]
    assert flute == [*once, *((t + 2.5, p, d) for t, p, d in once), (5, 60, 4), (9, 74, 14)]
    assert cello == [(0, 43, 1.5), (2.5, 43, 1.5), (5, 48, 16)]
    score = piece.score
    assert [(m.numerator, m.denominator) for m in score.time_signatures] == [(5, 8)]
    assert [(k.key, k.tonality) for k in score.key_signatures] == [(-2, 1)]
    assert [round(t.qpm, 2) for t in score.tempos] == [72.5]
    grace = read(KERN, tmp_path, "b.krn").score.tracks[0].notes
    assert sorted(n.duration / 480 for n in grace)[:1] == [pytest.approx(1 / 12)]


@pytest.mark.parametrize(
    ("lines", "expected", "remarks"),
    [
        (  # a spine that splits and joins again is one track
            "**kern;2c;*^;4e 2g;4f .;*v *v;4a;*-",
            [[(0, 60, 2), (2, 64, 1), (2, 67, 2), (3, 65, 1), (4, 69, 1)]],
            [],
        ),
        ("**kern **kern;4C 4c;*x *x;4d 4D;*- *-", [[(0, 60, 1), (1, 62, 1)], [(0, 48, 1), (1, 50, 1)]], []),
        ("**kern;4c;*+;* **kern;4d 4e;* *-;4f;*-", [[(1, 64, 1)], [(0, 60, 1), (1, 62, 1), (2, 65, 1)]], []),
        ("**kern **kern;4c 4e;*v *v;4d 4f;*- *-", [[(0, 64, 1), (1, 65, 1)], [(0, 60, 1), (1, 62, 1)]], []),
        ("**kern;4c;=:!!:;4d;=:|!;4e;*-", [[(n, p, 1) for n, p in enumerate((60, 60, 62, 62, 64))]], []),
        ("**kern;4c;=;=:|!;4d;*-", [[(0, 60, 1), (1, 60, 1), (2, 62, 1)]], []),
        (
            "**kern;*>[A,B,A];*>norep[A,B];4c;*>A;4d;*>B;4e;*-",
            [[(n, p, 1) for n, p in enumerate((60, 62, 64, 62))]],
            [],
        ),
        (
            "**kern;*>[A,C];4c;*>A;4d;*>B;4e;*-",
            [[(0, 60, 1), (1, 62, 1), (2, 64, 1)]],
            ["the list of sections names one that is not there; the repeat signs are played"],
        ),
        (
            "**kern **kern;2c 4d;4e 4f;*- *-",
            [[(0, 62, 1), (1, 65, 1)], [(0, 60, 2), (1, 64, 1)]],
            ["1 note begins before the one before it in its spine ends"],
        ),
        (
            "**kern;2c;*^;4e 2g;*v *v;4a;*-",
            [[(0, 60, 2), (2, 64, 1), (2, 67, 2), (3, 69, 1)]],
            ["1 note begins before the one before it in its spine ends"],
        ),
        (
            "**kern;4c~2e;4CCCCCCC;4?;d;3%2f;*-",  # `~` parts the notes of a chord; `3%2` is two thirds of a whole
            [[(0, 60, 1), (0, 64, 2), (3, 62, 1 / 480), (3, 65, 8 / 3)]],
            [
                "left out 1 note outside MIDI's range",
                "1 sign in the place of a note is neither note nor rest",
                "1 note has no length",
            ],
        ),
        ("!!!OTL:One;!!!OTL:Two;**kern;4c ;*-", [[(0, 60, 1)]], []),
    ],
)
def test_spines_sections_and_signs_of_kern(lines: str, expected: Notes, remarks: list[str], tmp_path: Path) -> None:
    text = lines.replace(" ", "\t").replace("~", " ").replace(";", "\n") + "\n"
    piece = read(text, tmp_path, "a.krn")
    assert sounding(piece) == expected and piece.remarks == remarks
    assert piece.title in ("a", "One")
    with pytest.raises(ValueError, match=r"^line 2: it has 2 columns; expected 1"):
        read("**kern\n4c\t4d\n*-\n", tmp_path, "a.krn")


def test_the_canonical_form_keeps_all_that_plays_and_says_what_it_drops() -> None:
    score = symusic.Score(480)
    track = symusic.Track("a", 42, False)
    track.notes.append(symusic.Note(0, 480, 60, 80))
    track.controls.extend([symusic.ControlChange(9, 7, 100), symusic.ControlChange(3, 64, 127)])
    track.pitch_bends.extend([symusic.PitchBend(9, 100), symusic.PitchBend(3, -8192)])
    track.pedals.extend([symusic.Pedal(9, 3), symusic.Pedal(3, 5)])
    score.tracks.append(track)
    score.key_signatures.extend([symusic.KeySignature(5, 1, 1), symusic.KeySignature(0, -2, 0)])
    score.time_signatures.extend([symusic.TimeSignature(0, 0, 4), symusic.TimeSignature(0, 3, 4)])
    score.tempos.append(symusic.Tempo(0, mspq=0))
    said: list[str] = []
    made = canonical(score, said)
    (kept_track,) = made.tracks
    assert (kept_track.name, kept_track.program, kept_track.is_drum) == ("a", 42, False)
    assert [(c.time, c.number, c.value) for c in kept_track.controls] == [(3, 64, 127), (9, 7, 100)]
    assert [(b.time, b.value) for b in kept_track.pitch_bends] == [(3, -8192), (9, 100)]
    assert [(p.time, p.duration) for p in kept_track.pedals] == [(3, 5), (9, 3)]
    assert [(k.time, k.key, k.tonality) for k in made.key_signatures] == [(0, -2, 0), (5, 1, 1)]
    assert [(m.numerator, m.denominator) for m in made.time_signatures] == [(3, 4)] and not made.tempos
    assert said == ["dropped 1 tempo of nought", "dropped 1 meter of nought"]
    slow = symusic.Score(1)
    slow.tracks.append(symusic.Track())
    slow.tracks[0].notes.append(symusic.Note(0, 14_000, 60, 80))  # at 10 a minute just below a day
    slow.tempos.append(symusic.Tempo(0, 10.0))
    assert canonical(slow).note_num() == 1
    slow.tracks[0].notes[0].duration = 15_000
    with pytest.raises(ValueError, match="it lasts 25 hours; expected at most 24"):
        canonical(slow)
    slow.tracks[0].notes[0].time = -5
    with pytest.raises(ValueError, match="notes before time 0"):
        canonical(slow)


def voices(*rows: tuple[str, list[tuple[int, int, int]]], drums: bool = False) -> symusic.Score:
    """Tracks of (start, duration, pitch) in sixteenths of 3 ticks."""
    score = symusic.Score(12)
    for name, notes in rows:
        track = symusic.Track(name, 0, drums)
        for start, duration, pitch in notes:
            track.notes.append(symusic.Note(start * 3, duration * 3, pitch, 80))
        score.tracks.append(track)
    return score


def test_four_voices_by_name_else_by_height() -> None:
    rows = [("a", [(0, 1, 50)]), ("b", [(1, 2, 70)]), ("c", [(0, 1, 60)])]
    assert four_voices.steps_of(voices(*rows)).tolist() == [[-1, 60, 50, -1], [70, -1, -1, -1], [70, -1, -1, -1]]
    named = [(" Bass", [(0, 1, 70)]), ("SOPRANO", [(0, 1, 50)])]
    assert four_voices.steps_of(voices(*named)).tolist() == [[50, -1, -1, 70]]
    made = four_voices.score_of(four_voices.steps_of(voices(*rows)))
    assert made.ticks_per_quarter == 480 and [t.name for t in made.tracks] == ["soprano", "alto", "tenor"]
    assert [[(n.time, n.duration, n.pitch) for n in t.notes] for t in made.tracks] == [
        [(120, 240, 70)],
        [(0, 120, 60)],
        [(0, 120, 50)],
    ]
    assert (made.tempos[0].qpm, made.tracks[0].program, made.tracks[0].notes[0].velocity) == (
        pytest.approx(100),
        52,
        80,
    )
    off = voices(("a", [(0, 4, 60)]))
    off.tracks[0].notes[0].duration = 13
    with pytest.raises(ValueError, match=r"lasts from quarter 0 to 1.08333, off the grid"):
        four_voices.steps_of(off)
    with pytest.raises(ValueError, match=r"the soprano has two notes at once at quarter 0.25"):
        four_voices.steps_of(voices(("a", [(0, 2, 60), (1, 2, 62)])))
    mixed = voices(("a", [(0, 1, 60)]))
    mixed.tracks.append(voices(("b", [(0, 1, 36)]), drums=True).tracks[0])
    with pytest.raises(ValueError, match="it has drums"):
        four_voices.steps_of(mixed)


def test_a_reading_that_is_kept_is_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, remarks and name come back; a damaged reading is read anew; a full disk is no fault of the file."""
    path = tmp_path / "a.musicxml"
    path.write_text(document((note("C") + note("D", inside="<cue/>"),), head="<movement-title>T</movement-title>"))
    folder = tmp_path / "readings"
    first = kept.read(str(path), 0, folder)
    real = scores.read
    monkeypatch.setattr(scores, "read", None)
    again = kept.read(str(path), 0, folder)
    for piece in (first, again):
        assert (piece.source, piece.title, piece.sha256) == (str(path), "T", first.sha256)
        assert piece.remarks == ["1 cue note is silent, as the standard says"] and pitches(piece) == [60]
    assert len(first.sha256) == 64
    (file,) = (one for one in folder.rglob("*") if one.is_file())
    assert file.relative_to(folder).parts == (kept.version(), first.sha256[:2], first.sha256)
    monkeypatch.setattr(scores, "read", real)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert pitches(kept.read(str(path), 0, folder)) == [60]
    monkeypatch.setattr(kept, "version", lambda: "another")
    (tmp_path / "shut").write_text("a file where a folder should be")
    assert pitches(kept.read(str(path), 0, tmp_path / "shut")) == [60]
    assert {".xml", ".mxl", ".krn"} < kept.SLOW and ".mid" not in kept.SLOW and {"reading", "abc"} == {*kept.READERS}
    monkeypatch.undo()
    now = kept.version()
    kept.version.cache_clear()
    monkeypatch.setattr(kept.metadata, "version", lambda name: "99")
    assert kept.version() != now, "another library may read otherwise"
    kept.version.cache_clear()
    assert {"miditok", "symusic", "music21", "tokenizers"} == {*libraries.LIBRARIES} > set() and libraries.versions()


def test_files_of_scores_are_told_by_their_bytes_and_their_endings(tmp_path: Path) -> None:
    text = document((note("C"),), head="<movement-title>Café</movement-title>")
    (tmp_path / "latin.xml").write_bytes(text.encode("latin-1"))
    (tmp_path / "bom.xml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    for name in ("latin.xml", "bom.xml"):
        assert scores.read(tmp_path / name).title == "Café"
    assert {".mid", ".midi", ".kar", ".xml", ".musicxml", ".mxl", ".krn", ".abc"} == scores.EXTENSIONS
    with pytest.raises(ValueError, match="tune 1 was asked for; only books of ABC hold more than one"):
        scores.read(tmp_path / "bom.xml", 1)
    with (tmp_path / "huge.mid").open("wb") as file:
        file.truncate(scores.MOST_BYTES + 2**20)
    with zipfile.ZipFile(tmp_path / "packed.xml", "w") as archive:
        archive.writestr("__MACOSX/._score.xml", "rubbish")
        archive.writestr("score.xml", text)
    assert scores.read(tmp_path / "packed.xml").title == "Café", "known by its bytes; what Macs add is no score"
    (tmp_path / "bom.krn").write_bytes(b"\xef\xbb\xbf**kern\n4c\n*-\n")
    assert pitches(scores.read(tmp_path / "bom.krn")) == [60]
    (tmp_path / "odd.xml").write_bytes(document((attributes(meter("3\x9b/4")) + note("C"),)).encode())
    with pytest.raises(ValueError, match=r'^its <beats> is "3\\x9b"'):
        scores.read(tmp_path / "odd.xml")
    with pytest.raises(ValueError, match="it has 65 MB; expected at most 64"):
        scores.read(tmp_path / "huge.mid")


def test_a_book_that_changes_is_read_anew_and_a_tune_knows_its_file(tmp_path: Path) -> None:
    import hashlib
    import os

    path = tmp_path / "a.abc"
    path.write_bytes(b"%abc-2.1\r\nX:1\r\nT:One\r\nK:C\r\nC|{cd}\r\n")
    one = scores.read(path)
    assert one.abc and one.remarks == ["left out 2 grace notes that lead to no note"]
    assert (
        one.source == str(path)
        and one.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        and scores.count(path) == 1
    )
    path.write_text("X:1\nK:C\nD|\n\nX:2\nT:" + "y" * 600 + "\nK:C\nE|\n")
    os.utime(path, ns=(1, 1))
    two = scores.read(path, 1)
    assert scores.count(path) == 2 and pitches(two) == [64] and two.title == "y" * 500 and two.source == f"{path}#1"
    assert scores.read(path).title == ""
    with pytest.raises(ValueError, match=r"^line 4: '@' is not ABC music"):
        path.write_text("X:1\nK:C\nD|\n@\n")
        os.utime(path, ns=(2, 2))
        scores.read(path)
    with pytest.raises(ValueError, match=r"^shelf: line 3"):
        scores.piece_from_abc("X:1\nK:C\n@\n", source="shelf").score  # noqa: B018
    named = scores.piece_from_score(voices(("a", [(0, 4, 60)])), title="Name")
    assert "\nT:Name\n" in named.abc


def test_the_guard_says_that_heads_are_missing() -> None:
    from datatools.reading.performing import performed

    written = written_of(document((note("C") + note("D"), note("E"))))
    written.heads[0] += 1
    performed(written)
    assert written.remarks == ["4 notes are written, repeats played; 3 were read"]
