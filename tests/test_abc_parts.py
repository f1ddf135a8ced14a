"""ABC piece by piece against the standard (2.1): fields, bar lines, lengths, parts, overlays, transposing."""

from fractions import Fraction
from typing import Any

import pytest

from datatools.abc import book, keys
from datatools.abc.lexer import lex
from datatools.abc.overlays import layers
from datatools.abc.parsing import lengths
from datatools.abc.parsing.marks import Mark, bar_line, ending_numbers
from datatools.abc.parsing.voice import Item, higher
from datatools.abc.parts import MOST_PARTS, divided, ordered, share
from datatools.abc.tune import Event, Pitch, spelled
from tests.abc_texts import score
from tests.test_abc_reader import HEAD, line, notes

C, D, E, F, G, A, B = (Pitch(28 + step, 0) for step in range(7))


def refused(value: Any) -> bool:
    return value is ValueError


@pytest.mark.parametrize(
    ("value", "sounding"),
    [
        ("bass", (0, None, None)),
        ("treble+8", (1, None, None)),
        ("clef=bass-8", (-1, None, None)),
        ("clef=alto_8", (-1, None, None)),
        ("treble^15 octave=-2", (2, -2, None)),
        ("clef=bass_15 transpose=-12", (-2, None, -12)),
        ('name="Flute" octave=1 transpose=+3', (None, 1, 3)),
    ],
)
def test_what_a_clef_says_of_sounding_pitch(value: str, sounding: tuple[int | None, ...]) -> None:
    assert keys.parse_sounding(value) == sounding


@pytest.mark.parametrize(
    ("key", "semitones", "name"),
    [
        ("C", 1, "Dbmaj"),
        ("C", 6, "Gbmaj"),
        ("C", -1, "Bmaj"),
        ("B", 2, "C#maj"),  # seven sharps are written, eight are four flats
        ("F#", 2, "Abmaj"),
        ("Gb", -2, "Emaj"),
        ("Cb", 12, "Cbmaj"),
        ("Am", 3, "Cmin"),
        ("Ddor", -3, "Bdor"),
    ],
)
def test_a_key_is_moved_with_few_signs(key: str, semitones: int, name: str) -> None:
    found = keys.parse_key(key)
    assert found is not None and keys.transposed(found, semitones).name == name


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        *(("1/8", Fraction(1, 8)), ("1", Fraction(1)), (" 3 / 16", Fraction(3, 16)), ("1/", Fraction(1))),
        *(("4", Fraction(4)), ("1/512", Fraction(1, 512))),
        *((bad, ValueError) for bad in ("1/513", "5", "0", "1/0", "", "x")),
    ],
)
def test_unit_lengths(value: str, unit: Any) -> None:
    if refused(unit):
        with pytest.raises(ValueError, match="is no unit length"):
            keys.parse_unit(value)
    else:
        assert keys.parse_unit(value) == unit


@pytest.mark.parametrize(
    ("value", "meter"),
    [
        *(("C", (4, 4)), ("C|", (2, 2)), ("none", None), ("", None), ("6/8", (6, 8)), ('"3/4"', (3, 4))),
        *(("2+3/8", (5, 8)), ("(2+2+3)/16", (7, 16)), ("64/64", (64, 64)), ("1/1", (1, 1))),
        *((bad, ValueError) for bad in ("65/4", "0/4", "4/3", "4/128", "x")),
    ],
)
def test_meters(value: str, meter: Any) -> None:
    if refused(meter):
        with pytest.raises(ValueError, match=r"is no meter|expected 1 to 64 beats"):
            keys.parse_meter(value)
    else:
        assert keys.parse_meter(value) == meter


def test_the_default_unit_turns_at_three_quarters() -> None:
    """Section 3.1.7: below 0.75 it is a sixteenth, from there on an eighth."""
    found = [keys.default_unit(meter) for meter in ((2, 4), (11, 16), (3, 4), (6, 8), None)]
    assert found == [Fraction(1, n) for n in (16, 16, 8, 8, 8)]


@pytest.mark.parametrize(
    ("value", "quarters"),
    [
        *(("1/4=120", 120.0), ("3/8=60", 90.0), ("1/8=120.5", 60.25), ('"Allegro" 1/4=100', 100.0)),
        *(("1/4 1/8=80", 120.0), ("80", 40.0), ("C=100", 50.0), ("C3=40", 60.0), ('"Lento"', None)),
        *(("1/4=4", 4.0), ("1/4=3", None), ("1/4=2000", 2000.0), ("1/4=2001", None), ("1/0=60", None)),
    ],
)
def test_tempos_in_quarters_where_the_unit_is_an_eighth(value: str, quarters: float | None) -> None:
    assert keys.parse_tempo(value, Fraction(1, 8)) == quarters


def test_a_book_s_tunes_keep_the_lines_that_they_stand_on() -> None:
    text = "M:3/4\nX:1\nK:C\nC|\n\nX:2\nL:1/4\nK:D\nD|\n"
    assert book.located(text) == [
        ("X:1\nM:3/4\nK:C\nC|\n", [2, 1, 3, 4]),
        ("X:2\nM:3/4\nL:1/4\nK:D\nD|\n", [6, 1, 7, 8, 9]),
    ]
    assert book.located("K:C\n\nC|\n\nnot of it\n") == [("K:C\nC|\n", [1, 3])] and book.located(" \n") == []


def test_a_lone_colon_joins_the_bar_line_beside_it() -> None:
    found = lex("X:1\nK:C\nC D||\n:E:\n|F|]\n").symbols
    assert [(s.parts[0], s.line) for s in found if s.kind == "bar"] == [("||:", 3), (":|", 4), ("|]", 5)]
    assert [s.kind for s in found] == ["note", "note", "bar", "note", "bar", "note", "bar"]
    assert [s.kind for s in lex("X:1\nK:C\nC D% E\n").symbols] == ["note", "note"]
    with pytest.raises(ValueError, match=r"^line 3: %%begintext without its %%endtext"):
        lex("X:1\nK:C\n%%begintext\nC\n\nD\n")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        *(
            ("", Fraction(1)),
            ("3", Fraction(3)),
            ("/", Fraction(1, 2)),
            ("//", Fraction(1, 4)),
            ("3/2", Fraction(3, 2)),
        ),
        *(("/4", Fraction(1, 4)), ("5//", Fraction(5, 4)), ("1/65536", Fraction(1, 65536))),
        *((bad, ValueError) for bad in ("0", "1/0", "1/65537", "1234567890123")),
    ],
)
def test_lengths(text: str, length: Any) -> None:
    if refused(length):
        with pytest.raises(ValueError, match="is none"):
            lengths.length(text)
    else:
        assert lengths.length(text) == length


@pytest.mark.parametrize(
    ("text", "again", "left", "double"),
    [
        *(("|", 0, False, False), ("||", 0, False, True), ("|]", 0, False, True), ("[|", 0, False, True)),
        *(("|:", 0, True, False), (":|", 1, False, False), ("::", 1, True, False), (":|:", 1, True, False)),
        *(("::|", 2, False, False), (":" * 9 + "|", 9, False, False), (":::", 2, True, False)),
    ],
)
def test_bar_lines(text: str, again: int, left: bool, double: bool) -> None:
    assert bar_line(text, 7) == Mark(again=again, left=left, double=double, line=7)


def test_too_many_playings_and_wrong_endings_are_refused() -> None:
    for bad in (":" * 10 + "|", ":"):
        with pytest.raises(ValueError, match=r"asks for 11 playings|no bar line"):
            bar_line(bad, 1)
    assert [ending_numbers(text) for text in ("1", "1,3", "2-4", "1.", "1,3-5", "20")] == [
        *((1,), (1, 3), (2, 3, 4), (1,), (1, 3, 4, 5), (20,))
    ]
    for bad in ("0", "21", "-", "100"):
        with pytest.raises(ValueError, match="expected numbers from 1 to 20"):
            ending_numbers(bad)


def test_rests_of_whole_bars() -> None:
    """`Z2` in 3/4 are six quarters of silence, that is twelve eighths, after a note of one."""
    assert line("C Z2 D|", HEAD.replace("4/4", "3/4")) == [(0, 60, 1), (13, 62, 1)]
    line("C Z1000|")
    for bad in ("Z0", "Z1001", "Z/2", "Z3/2"):
        with pytest.raises(ValueError, match=r"expected a rest of 1 to 1000 bars|is none"):
            line(f"C {bad}|")


def test_a_tune_may_be_as_long_as_midi_can_hold() -> None:
    head = HEAD.replace("1/8", "4")
    whole = "C16 " * 1562 + "C8"  # 100,000 whole notes
    assert len(notes(score(f"{head}{whole}|\n"))[0]) == 1563
    with pytest.raises(ValueError, match="more than 100000 whole notes"):
        score(f"{head}{whole} C/4|\n")


def test_free_meter_is_told_once() -> None:
    found = score("X:1\nM:none\nL:1/4\nK:C\nC|D|\nM:3/4\nE|\nM:4/4\nF|\n").time_signatures
    assert [(s.time // 480, s.numerator, s.denominator) for s in found] == [(0, 4, 4), (2, 3, 4), (3, 4, 4)]


def test_double_signs_become_their_neighbours() -> None:
    assert [spelled(C.step, alter) for alter in (-2, -1, 0, 1, 2, 3)] == [
        *(Pitch(B.step - 7, -1), Pitch(C.step, -1), C, Pitch(C.step, 1), D, Pitch(D.step, 1))
    ]
    assert spelled(E.step, 2) == Pitch(F.step, 1) and spelled(F.step, -2) == Pitch(E.step, -1)


@pytest.mark.parametrize(
    ("semitones", "letters"),
    [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 4), (7, 4), (8, 5), (-1, -1), (-2, -1), (12, 7), (-14, -8)],
)
def test_transposing_moves_letters_as_the_key_does(semitones: int, letters: int) -> None:
    """Up a semitone C becomes D flat, up a tritone G flat, since their keys have the fewest signs."""
    for pitch in (C, D, E, F, G, A, B):
        moved = higher(pitch, semitones)
        assert moved.midi == pitch.midi + semitones and abs(moved.alter) <= 1
    assert higher(C, semitones).step == C.step + letters


@pytest.mark.parametrize(
    ("order", "played"),
    [
        *(("AB", "AB"), ("A2(BC)2", "AABCBC"), ("A((BC)2D)2", "ABCBCDBCBCD"), ("(AB)", "AB"), ("A12", "A" * 12)),
        *(("", ""), ("(AB", ""), ("Play(twice", ""), ("(A50)10", "A" * MOST_PARTS), ("A5(B)2", "AAAAABB")),
    ],
)
def test_orders_of_parts(order: str, played: str) -> None:
    """Section 3.1.9: P:A2.(BC)2 and the like."""
    assert ordered(order) == played
    with pytest.raises(ValueError, match="more than 500 parts"):
        ordered("A(A99)6")


def event(quarters: int) -> Event:
    key = keys.plain_key(0)
    return Event((C,), Fraction(quarters, 4), key, (4, 4))


def test_a_part_that_one_voice_names_holds_for_all() -> None:
    part, other, bar = Mark(part="A"), Mark(part="B"), Mark()
    a, b, c, d, e, opens = event(1), event(2), event(1), event(1), event(4), Mark(left=True)
    voices: dict[str, list[Item]] = {
        "1": [a, part, b, bar, other, c],
        "2": [a, bar, opens, b, c, d, bar],
        "3": [e, bar],
        "4": [a, b, bar, other, c],
    }
    share(voices)
    assert voices["1"] == [a, part, b, bar, other, c]
    assert voices["2"] == [a, bar, part, opens, b, other, c, d, bar]
    assert voices["3"] == [e, bar, part, other]
    assert voices["4"] == [a, part, b, bar, other, c]
    assert divided(voices["2"]) == {"": [a, bar], "A": [part, opens, b], "B": [other, c, d, bar]}
    assert divided([a, part, b, other, c, part, d])["A"] == [part, b, part, d]


def test_an_order_of_one_part_plays_it_as_often_as_it_says() -> None:
    assert [pitch for _, pitch, _ in line("P:A\nC D|\n", HEAD.replace("K:", "P:A2\nK:"))] == [60, 62, 60, 62]


def test_layers_have_all_bars_and_rests_where_they_are_short() -> None:
    """`C2 D & E | F &G2 &A |B` in quarters."""
    bar = Mark(line=1)
    c, d, e, f, g, a, b = event(2), event(1), event(1), event(1), event(2), event(1), event(1)
    found = layers([c, d, Mark(layer=1), e, bar, f, Mark(layer=1), g, Mark(layer=2), a, bar, b])

    def told(items: list[Item]) -> list[Any]:
        return [(item.pitches == (C,), item.duration * 4) if isinstance(item, Event) else "|" for item in items]

    assert [told(layer) for layer in found] == [
        [(True, 2), (True, 1), "|", (True, 1), (False, 1), "|", (True, 1), "|"],
        [(True, 1), (False, 2), "|", (True, 2), "|", (False, 1), "|"],
        [(False, 3), "|", (True, 1), (False, 1), "|", (False, 1), "|"],
    ]
    assert layers([c, bar]) == [[c, bar]] and layers([]) == [[]]
