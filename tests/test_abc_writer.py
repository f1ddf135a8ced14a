"""Scores as ABC text: the notes come back exactly, and independent readers hear them."""

from fractions import Fraction

import music21
import numpy as np
import pytest
import symusic

from core.seeds import generator
from datatools.abc import text as abc_text
from datatools.abc import writer as abc_writer
from datatools.abc.tune import Bar, Event, Pitch
from tests import abc_texts
from tests.test_abc_reader import oracle


def score_of(rows, tpq=480, meter=(4, 4), key=None, tracks=1):
    """A score from (time, pitch, duration) in 24ths of a quarter, dealt to the tracks in turn."""
    score = symusic.Score(tpq)
    if meter:
        score.time_signatures.append(symusic.TimeSignature(0, *meter))
    if key is not None:
        score.key_signatures.append(symusic.KeySignature(0, key, 0))
    for number in range(tracks):
        track = symusic.Track(name="", program=0, is_drum=False)
        for time, pitch, duration in rows[number::tracks]:
            track.notes.append(symusic.Note(time * tpq // 24, duration * tpq // 24, pitch, 64))
        score.tracks.append(track)
    return score


def notes(score):
    """(time, pitch, duration) in 24ths of a quarter, sorted."""
    quarter = score.ticks_per_quarter
    return sorted((n.time * 24 / quarter, n.pitch, n.duration * 24 / quarter) for t in score.tracks for n in t.notes)


def random_rows(draw, count, grid):
    return [
        (int(draw.integers(0, 20)) * grid + int(draw.integers(0, 8)) * 24, int(draw.integers(30, 100)), int(d) * grid)
        for d in draw.integers(1, 30, size=count)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_notes_come_back_exactly(seed) -> None:
    draw = generator("abc writer", seed)
    meters = [(4, 4), (3, 4), (6, 8), (2, 2), (7, 8), (5, 16)]
    rows = random_rows(draw, 12, [2, 3, 1, 6][seed % 4])
    score = score_of(rows, [480, 24, 960][seed % 3], meters[seed % 6], [None, -7, 7, 0][seed % 4], 1 + seed % 2)
    text = abc_writer.write(score)
    assert notes(abc_texts.score(text)) == notes(score)
    assert abc_texts.unrolled(text) == text
    assert sorted(p for _, p, _ in oracle(text)) == [int(p) for p in sorted(p for _, p, _ in notes(score))]


def test_music21_hears_the_voices() -> None:
    score = score_of([(0, 60, 24), (24, 61, 36), (60, 63, 12), (0, 48, 48), (48, 50, 24)], meter=(3, 4))
    heard = music21.converter.parse(abc_writer.write(score), format="abc").stripTies()
    found = sorted(
        (float(n.getOffsetInHierarchy(heard)) * 24, n.pitch.midi, n.quarterLength * 24) for n in heard.recurse().notes
    )
    assert found == notes(score)


def test_meters_keys_titles_and_tempos() -> None:
    score = score_of([(0, 61, 24), (24, 66, 96), (96, 70, 24)], key=6)
    score.time_signatures.append(symusic.TimeSignature(960, 3, 8))
    score.tempos.append(symusic.Tempo(0, qpm=90))
    text = abc_writer.write(score, title="A  title")
    assert text.startswith("X:1\nT:A title\nM:4/4\n") and "\nQ:1/4=90\n" in text and "\nK:F#maj\n" in text
    again = abc_texts.score(text)
    assert [(m.time, m.numerator, m.denominator) for m in again.time_signatures] == [(0, 4, 4), (960, 3, 8)]
    assert "^" not in text.partition("K:")[2] and "_" not in text.partition("K:")[2]


def test_bars_add_up_and_triplets_are_groups() -> None:
    text = abc_writer.write(score_of([(at, 60 + at % 5, 8) for at in range(0, 96, 8)]))
    assert text.count("(3") == 4 and text.count("|") == 1


def test_what_has_no_notation_is_named() -> None:
    off = score_of([(0, 60, 24)])
    off.tracks[0].notes.append(symusic.Note(481, 120, 62, 64))
    with pytest.raises(ValueError, match=r"some\.mid: the note 62 at tick 481"):
        abc_writer.write(off, source="some.mid")
    drums = score_of([(0, 36, 24)])
    drums.tracks[0].is_drum = True
    with pytest.raises(ValueError, match="drums"):
        abc_writer.write(drums)
    with pytest.raises(ValueError, match="no note"):
        abc_writer.write(symusic.Score(480))


def test_spelling_stays_within_one_sign() -> None:
    for fifths in range(-7, 8):
        for mode in ("maj", "min"):
            key = abc_writer.plain_key(fifths, mode)
            spelled = [abc_writer.spell(midi, key) for midi in range(12, 120)]
            assert [pitch.midi for pitch in spelled] == list(range(12, 120))
            assert np.abs([pitch.alter for pitch in spelled]).max() <= 1


def test_bars_without_end_are_refused() -> None:
    lonely = score_of([(0, 60, 24), (24 * 4 * 50_000, 60, 24)])
    with pytest.raises(ValueError, match="more than 40000 bars"):
        abc_writer.write(lonely)
    voices = score_of([(0, 60 + n, 24 + n) for n in range(3)] + [(24 * 4 * 20_000, 60, 24)])
    with pytest.raises(ValueError, match="20001 bars in 3 voices; expected at most 40000"):
        abc_writer.write(voices)


@pytest.mark.parametrize(
    ("tick", "per_quarter", "step"),
    [
        *((0, 480, 0), (20, 480, 1), (160, 480, 8), (13, 480, None), (8, 96, 2), (4, 96, 1), (5, 60, 2), (3, 60, None)),
        *((341, 1024, 8), (342, 1024, 8), (343, 1024, None), (1024, 1024, 24)),  # a triplet is 341.33
    ],
)
def test_ticks_on_the_grid_of_24_a_quarter(tick: int, per_quarter: int, step: int | None) -> None:
    assert abc_writer._step(tick, per_quarter) == step


def test_the_text_of_small_scores_by_hand() -> None:
    """Four bars a line, blanks between beats, one dash for a whole chord, a rest to the end of the last bar."""
    jig = score_of([(12 * n, 72 + n % 2, 12) for n in range(36)], meter=(6, 8))
    jig.key_signatures.append(symusic.KeySignature(0, -3, 1))
    for time, tempo in ((0, 3), (0, 60), (0, 90.125), (480, 120)):  # the last that holds from the beginning and is one
        jig.tempos.append(symusic.Tempo(time, tempo))
    four = "c_dc dcd | c_dc dcd | c_dc dcd | c_dc dcd |\nc_dc dcd | c_dc dcd |\n"
    assert abc_writer.write(jig) == f"X:1\nM:6/8\nL:1/8\nQ:1/4=90.125\nK:Cmin\n{four}"
    chord = score_of([(48, 60, 96), (48, 64, 96), (144, 67, 24)])
    assert abc_writer.write(chord) == "X:1\nM:4/4\nL:1/4\nK:Cmaj\nz2 [CE]2- | [CE]2 G z |\n"
    late = score_of([(0, 66, 24), (24, 61, 24)])
    late.key_signatures.append(symusic.KeySignature(960, 2, 0))
    assert abc_writer.write(late) == "X:1\nM:4/4\nL:1/4\nK:Dmaj\nF C z2 |\n"
    # F sharp and G flat need as many signs, C and G major none for these: the key with the fewest is told.
    assert abc_writer.write(score_of([(0, 60, 48), (48, 67, 48)])) == "X:1\nM:4/4\nL:1/8\nK:Cmaj\nC4 G4 |\n"
    two = score_of([(0, 60, 96), (0, 48, 96), (96, 60, 72), (96, 48, 72)], tracks=2)
    two.time_signatures.append(symusic.TimeSignature(1920, 3, 4))
    bars = ("C8 |\nM:3/4\nC6 |\n", "M:4/4\nK:Cmaj\nC,8 |\nM:3/4\nC,6 |\n")
    assert abc_writer.write(two).endswith(f"K:Cmaj\nV:1\n{bars[0]}V:2\n{bars[1]}"), "names that tell nothing apart"
    two.tracks[0].name = two.tracks[1].name = "alike"
    assert "alike" not in abc_writer.write(two)
    two.tracks[0].name, two.tracks[1].name = 'a "b" 50%', "low"
    assert abc_writer.write(two).endswith(f'V:1 name="a \'b\' 50"\n{bars[0]}V:2 name="low"\n{bars[1]}')
    words = abc_text.words(abc_writer.tune_of(two))
    assert " ".join(words) == "M:4/4 L:1/8 K:Cmaj V:1 C 8 | V:2 C, 8 | V:1 M:3/4 C 6 | V:2 M:3/4 C, 6 |"
    tied = abc_texts.unrolled("X:1\nM:4/4\nL:1/4\nK:C\n[C-E]4|C4|E4-|[CE]4|\n")
    assert tied.partition("K:Cmaj\n")[2] == "[C-E]4 | C4 | E4- | [EC]4 |\n", "what is held comes first"
    apart = abc_writer.write(score_of([(0, 60, 96), (0, 64, 48)]))
    assert apart.endswith("V:1\nE4 z4 |\nV:2\nC8 |\n"), "the highest is the first voice"
    uneven = score_of([(0, 60, 4), (4, 62, 4), (8, 64, 8), (16, 65, 8), (24, 67, 72)])
    assert "\n(3:2:4C/2D/2EF G" in abc_writer.write(uneven), "four notes may share a quarter"
    many = score_of([(0, 40 + n, 24 + n) for n in range(33)])
    with pytest.raises(ValueError, match="it needs 33 voices; ABC is written with at most 32"):
        abc_writer.write(many)


def test_a_sign_is_written_where_a_tie_would_bring_another_over_the_bar_line() -> None:
    """F sharp held over the bar, and F natural beside it: no reader may take the sharp for both; later none can."""
    key, whole = abc_writer.plain_key(0, "maj"), Fraction(1)
    sharp, natural = Pitch(3 + 5 * 7 - 7, 1), Pitch(3 + 5 * 7 - 7, 0)
    bars = [
        Bar([Event((sharp,), whole, key, (4, 4), (True,))], (4, 4)),
        Bar([Event((natural, sharp), whole, key, (4, 4), (False, False))], (4, 4)),
        Bar([Event((natural,), whole, key, (4, 4), (False,))], (4, 4)),
    ]
    speller = abc_text.Speller(key)
    said = [[word for word, _ in abc_text.bar_words(bar, speller, whole)] for bar in bars]
    assert said == [["^F", "-"], ["[", "=F", "^F", "]"], ["F"]]
    held = abc_texts.unrolled("X:1\nM:4/4\nL:1/4\nK:D\nF4-|[K:C]F2 F2|\n")
    assert held.endswith("K:Dmaj\nF4- |\nK:Cmaj\n^F2 =F2 |\n"), "under the new key the held note needs its sign"
