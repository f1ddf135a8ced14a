"""What is said of lost time, loudness, meters and pedals, counted by hand; and what is advised is done."""

import shlex
from collections.abc import Sequence

import numpy as np
import pytest
import symusic

from core.contracts.piece import Piece
from datatools.preparing.losses import advice, contents, cuts, losses, losses_of
from hparams.loading import section_of_words
from plugins.manager import load_manager

MANAGER = load_manager()
Note = tuple[int, int, int]  # time and duration of 480 a quarter, pitch


def made(
    notes: Sequence[Note],
    tempos: Sequence[tuple[int, float]] = (),
    meters: Sequence[tuple[int, int, int]] = (),
    pedals: Sequence[tuple[int, int]] = (),
    drums: Sequence[tuple[int, int]] = (),
) -> symusic.Score:
    """A piano, and drums as (time, loudness)."""
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for time, duration, pitch in notes:
        score.tracks[0].notes.append(symusic.Note(time, duration, pitch, 80))
    for time, duration in pedals:
        score.tracks[0].pedals.append(symusic.Pedal(time, duration))
    if drums:
        score.tracks.append(symusic.Track("", 0, True))
        for time, velocity in drums:
            score.tracks[-1].notes.append(symusic.Note(time, 120, 36, velocity))
    for time, tempo in tempos:
        score.tempos.append(symusic.Tempo(time, tempo))
    for mark in meters:
        score.time_signatures.append(symusic.TimeSignature(*mark))
    return score


def lost(score: symusic.Score, name: str, *words: str) -> dict[str, int]:
    tokenizer = MANAGER.make("tokenizer", section_of_words(MANAGER.section("tokenizer", name), words, "tokenizer."))
    piece = Piece("", "", "", lambda: score, str)
    return losses_of(piece, tokenizer.decode(tokenizer.encode(piece)))


def said(found: dict[str, int], name: str, *words: str) -> list[str]:
    section = section_of_words(MANAGER.section("tokenizer", name), words, "tokenizer.")
    return advice({"counts": {"train": {"notes": 10}}, "lost": found, "remarks": 0}, section)


EIGHTHS = [(240 * k, 240, 60 + 7 * k % 12) for k in range(24)]
LONG = [*EIGHTHS, (5760, 480 * 20, 50)]
PERFORMANCES = ("performance_240", "performance_388")


def test_seconds_pass_by_the_tempo_that_holds() -> None:
    """120 for a quarter, 60 for four, then 240: a quarter lasts half a second, one second, and a quarter of one."""
    score = made([(0, 480, 60)], tempos=[(480, 60.0), (2400, 240.0)])
    found = cuts._seconds(score, np.array([0.0, 0.5, 1.0, 3.0, 5.0, 7.0]))
    assert (found / 2).tolist() == [0.0, 0.25, 0.5, 2.5, 4.5, 5.0]


def test_a_meter_told_once_is_lost_where_it_comes_back() -> None:
    read = made([(480 * k, 480, 60) for k in range(16)], meters=[(1920, 3, 4), (3360, 4, 4), (5280, 3, 4)])
    told = made([(480 * k, 480, 60) for k in range(16)], meters=[(1920, 3, 4)])
    assert losses(read, told) == {"meters": 2}
    assert losses(told, read) == {}


@pytest.mark.parametrize("name", PERFORMANCES)
def test_a_performance_is_compared_in_its_time(name: str) -> None:
    """Eighths at 180 are thirds of a quarter at 120: the same time; and so where the tempo changes, and of one note."""
    assert lost(made(EIGHTHS, [(0, 180)]), name) == {"tempos": 1}
    assert lost(made(EIGHTHS, [(0, 240), (2880, 60)]), name) == {"tempos": 2}
    assert lost(made([(0, 480, 60)], [(0, 180)]), name) == {"tempos": 1}


def test_bars_are_compared_in_theirs() -> None:
    """At most 12 quarters: the note of 20 is cut, though at 240 a minute it takes less time than 12 at 120."""
    for tempo in (60, 240):
        assert lost(made(LONG, [(0, tempo)]), "remi") == {"durations": 1, "tempos": 1}
        assert lost(made(LONG, [(0, tempo)]), "midilike") == {"tempos": 1}


def test_what_is_rounded_is_not_cut() -> None:
    """Sixty 32nds are told as twelfths of a quarter; of 12, 12.6 and 13.2 quarters the last is cut."""
    short = [(60 * k, 60, 60 + 7 * k % 12) for k in range(60)]
    assert {name: lost(made(short), name) for name in ("remi", "pertok")} == {"remi": {}, "pertok": {}}
    held = [(480 * 20 * k, 480 * 12 + k * 288, 60) for k in range(3)]
    assert lost(made(held), "remi") == {"durations": 1}


def test_the_loudness_of_drums_is_lost_too() -> None:
    drums = [(480 * k, velocity) for k, velocity in enumerate((60, 90, 110))]
    score = made([], drums=drums)
    assert contents(score) == (True, True, False)
    assert lost(score, "remi", "tokenizer.use_programs=true") == {"velocities": 3}
    assert lost(score, "remi", "tokenizer.use_programs=true", "tokenizer.use_velocities=true") == {}
    assert lost(made(EIGHTHS, drums=drums), "remi") == {"drums": 3}, "of drums that are left out nothing else is lost"


@pytest.mark.parametrize("name", ("remi", "midilike", *PERFORMANCES))
def test_a_note_is_cut_where_its_key_is_struck_again(name: str) -> None:
    """Forty notes of two quarters, each key again after one and a half: the last of three keys last."""
    assert lost(made([(240 * k, 960, 60 + k % 3) for k in range(40)]), name) == {"overlaps": 37}
    assert lost(made([(480 * k, 485, 60) for k in range(8)]), name) == {}, "five ticks of legato are rounding"
    merged = [(0, 480, 60), (0, 1440, 60), (0, 960, 60), (720, 480, 60)]
    assert lost(made(merged), name) == {"unisons": 2, "overlaps": 1}, "of three at once the longest stays, and is cut"
    line = "lost         370 % of notes: durations cut where the key is struck again"
    assert said({"overlaps": 37}, name) == [f"{line} (a key that is struck again sounds once)"]


def test_meters_that_say_something_are_counted() -> None:
    """4/4 at the beginning, the same again, one of two at once and one behind the last note say nothing."""
    marks = [(0, 4, 4), (1920, 4, 4), (3840, 6, 8), (3840, 3, 4), (5280, 3, 4), (9600, 2, 4)]
    assert lost(made(EIGHTHS, meters=marks), "cpword") == {"meters": 1}
    assert lost(made(EIGHTHS, meters=marks), "remi") == {}
    assert lost(made(EIGHTHS, meters=marks[:2]), "cpword") == {}
    assert lost(made(EIGHTHS, meters=[(0, 2, 2)]), "remi") == {"meters": 1}, "told as 4/4"
    assert said({"meters": 1}, "cpword") == ["lost         1 mark: meters (this tokenizer cannot tell them)"]


def test_pedals_are_counted_and_a_fold_into_the_notes_keeps_them() -> None:
    score = made(EIGHTHS, pedals=[(1920 * k, 1800) for k in range(3)])
    assert lost(score, "remi") == lost(score, "performance_240") == {"pedals": 3}
    assert said({"pedals": 3}, "performance_240") == ["lost         3 marks: pedals (this tokenizer cannot tell them)"]
    assert said({"pedals": 3}, "performance_388") == []


def test_a_tempo_that_no_token_tells_is_not_beyond_the_fastest() -> None:
    """The grid is always decoded at 100."""
    assert "clipped" not in lost(made([(120 * k, 120, 60) for k in range(8)], [(0, 120)]), "grid")
    assert said({"clipped": 2}, "grid") == ["lost         2 marks: tempos (this tokenizer cannot tell them)"]


BARS = [(480 * 4 * k, 480, 60) for k in range(300)]
FASTER = [(480 * k, 61 + 33 * k) for k in range(10)]
REMEDIED = [
    ("durations", "remi", LONG, {}, ()),
    ("repeats", "remi", [(480 + 30 * k, 30, 60) for k in range(4)], {}, ()),
    ("tempos", "remi", EIGHTHS, {"tempos": FASTER}, ("tokenizer.use_tempos=true",)),
    ("clipped", "tsd", EIGHTHS, {"tempos": [(0, 390)]}, ("tokenizer.use_tempos=true",)),
    ("meters", "remi", EIGHTHS, {"meters": [(0, 5, 16)]}, ()),
    ("meters", "tsd", EIGHTHS, {"meters": [(0, 3, 4)]}, ("tokenizer.use_time_signatures=false",)),
    ("pedals", "midilike", EIGHTHS, {"pedals": [(0, 960)]}, ()),
    ("others", "octuple", BARS, {}, ()),
    ("others", "mumidi", BARS, {}, ()),
]


@pytest.mark.parametrize(("cause", "name", "notes", "marks", "words"), REMEDIED)
def test_what_is_printed_helps(cause: str, name: str, notes: list[Note], marks: dict, words: tuple[str, ...]) -> None:
    score = made(notes, **marks)
    found = lost(score, name, *words)
    assert found[cause]
    printed = said({cause: found[cause]}, name, *words)[0].partition(" -> ")[2]
    remedy = [word for word in shlex.split(printed) if word.startswith("tokenizer.")]
    assert remedy and cause not in lost(score, name, *words, *remedy)


def test_what_is_set_already_is_not_advised_again() -> None:
    long = "lost         10 % of notes: durations cut"
    assert said({"durations": 1}, "remi", "tokenizer.beat_res={0_4: 12, 4_32: 4}") == [
        f"{long} -> a longer stretch, e.g. 'tokenizer.beat_res={{0_4: 12, 4_128: 4}}'"
    ]
    wide = ("tokenizer.tempo_range=[20,500]", "tokenizer.num_tempos=300")
    assert "[1,1000]" in said({"clipped": 1}, "remi", *wide)[0]


@pytest.mark.parametrize("name", sorted(MANAGER.tokenizers))
def test_every_setting_that_is_advised_can_be_set(name: str) -> None:
    section = MANAGER.section("tokenizer", name)
    for remedies in getattr(section, "remedies", {}).values():
        for remedy in (remedies,) if isinstance(remedies, str) else remedies:
            words = [word for word in shlex.split(remedy) if word.startswith("tokenizer.")]
            assert words and section_of_words(section, words, "tokenizer.") is not None
