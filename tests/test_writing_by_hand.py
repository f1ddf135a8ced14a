"""What is written, element by element and sample by sample, against values worked out by hand."""

import json
import logging
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
import pytest
import symusic

from core.errors import HubError
from core.log import warn_once
from datatools.bar_lines import bar_lines
from datatools.reading import scores
from datatools.writing import engraving, formats, instruments, mirex, musicxml, sound
from tests.test_writing import made, sounding


def track(*notes, name="", program=0, drums=False):
    """A track of (start, duration, pitch, velocity)."""
    result = symusic.Track(name, program, drums)
    for row in notes:
        result.notes.append(symusic.Note(*row))
    return result


def quartet():
    """A violin with a change of key and meter, a tuba, a track without notes, drums; F minor, 3/4 and then 2/4."""
    score = symusic.Score(24)
    score.tempos.append(symusic.Tempo(0, 133.337))
    score.tempos.append(symusic.Tempo(90, 61.25))
    score.time_signatures.append(symusic.TimeSignature(0, 3, 4))
    score.time_signatures.append(symusic.TimeSignature(72, 2, 4))
    score.key_signatures.append(symusic.KeySignature(0, -4, 1))
    score.key_signatures.append(symusic.KeySignature(72, 2, 0))
    score.tracks.append(track((0, 42, 65, 45), (48, 8, 68, 90), (56, 8, 70, 127), (64, 56, 72, 9), program=40))
    score.tracks.append(symusic.Track("silent"))
    score.tracks.append(track((0, 72, 36, 60), (72, 48, 38, 60), (72, 48, 45, 30), name="low", program=58))
    score.tracks.append(track((0, 24, 36, 80), (24, 24, 42, 100), drums=True))
    return score


# Of the violin: 42 divisions are a dotted quarter tied to a sixteenth; then a rest, a triplet, a tie over the bar line.
HEADS = [
    *(("quarter", 1, 36), ("16th", 0, 6), ("16th", 0, 6)),
    *(("eighth", 0, 8), ("eighth", 0, 8), ("eighth", 0, 8)),
    ("half", 0, 48),
]


def test_every_element_of_a_score_is_as_the_standard_has_it():
    """MusicXML 4.0: programs, channels and unpitched keys count from 1; 100 % dynamics are a velocity of 90."""
    root = ElementTree.fromstring(musicxml.text(quartet(), "A  title"))
    assert root.findtext("work/work-title") == "A title"
    assert [p.findtext("part-name") for p in root.iter("score-part")] == ["Track 1", "low", "Drums"]
    assert [m.text for m in root.iter("midi-channel")] == ["1", "2", "10", "10"]
    assert [m.text for m in root.iter("midi-program")] == ["41", "59", "1", "1"]
    assert [m.text for m in root.iter("midi-unpitched")] == ["37", "43"]
    violin, tuba, drums = root.findall("part")
    assert [part.get("id") for part in (violin, tuba, drums)] == ["P1", "P2", "P3"]
    # Tempos stand in the first part alone, the second one 18 divisions behind the bar line; readers heed the sound.
    assert not [d for part in (tuba, drums) for d in part.iter("direction")]
    assert [[d.tag for d in m.iter("direction")] for m in violin] == [["direction"], ["direction"]]
    assert [m.findtext("beat-unit") for m in violin.iter("metronome")] == ["quarter", "quarter"]
    told = [(float(m.findtext("per-minute")), s) for m, s in zip(violin.iter("metronome"), violin.iter("sound"))]
    assert [shown for shown, _ in told] == pytest.approx([133.337, 61.25], abs=1e-3)
    assert [float(s.get("tempo")) for _, s in told] == pytest.approx([133.337, 61.25], abs=1e-3)
    assert [(o.get("sound"), o.text) for o in violin.iter("offset")] == [("yes", "18")]
    for part in (violin, tuba):
        assert [(k.findtext("fifths"), k.findtext("mode")) for k in part.iter("key")] == [
            ("-4", "minor"),
            ("2", "major"),
        ]
    for part in (violin, tuba, drums):
        assert [(t.findtext("beats"), t.findtext("beat-type")) for t in part.iter("time")] == [("3", "4"), ("2", "4")]
        assert [m.get("implicit") for m in part] == [None, None] and [m.get("number") for m in part] == ["1", "2"]
        assert [b.text for b in part.iter("bar-style")] == ["light-heavy"]
        assert part.find("measure[2]/barline").get("location") == "right"
        assert [d.text for d in part.iter("divisions")] == ["24"]
    assert not list(drums.iter("key"))
    clefs = [(c.findtext("sign"), c.findtext("line")) for c in root.iter("clef")]
    assert clefs == [("G", "2"), ("F", "4"), ("percussion", None)]
    loud = [float(n.get("dynamics")) for n in violin.iter("note") if n.get("dynamics")]
    assert loud == pytest.approx([50, 100, 141.1, 10], abs=0.05)
    heads = [(n.findtext("type"), len(n.findall("dot")), int(n.findtext("duration"))) for n in violin.iter("note")]
    assert heads == HEADS
    ratios = [(r.findtext("actual-notes"), r.findtext("normal-notes")) for r in violin.iter("time-modification")]
    assert ratios == [("3", "2")] * 3
    assert [t.get("type") for t in violin.iter("tuplet")] == ["start", "stop"]
    struck = [n for n in drums.iter("note") if n.find("unpitched") is not None]
    strokes = [(n.findtext("unpitched/display-step"), n.find("instrument").get("id")) for n in struck]
    assert strokes == [("C", "P3-I36"), ("G", "P3-I42")]
    # The last bar of the tuba: a chord, which no second voice is needed for.
    chord = tuba.findall("measure[2]/note")
    assert [n.find("chord") is not None for n in chord] == [False, True]
    assert {n.findtext("voice") for n in tuba.iter("note")} == {"1"}


def test_voices_have_their_own_ties_and_bars_may_be_of_any_length():
    score = made((0, 120, 60), (24, 24, 72), (48, 72, 76), (120, 24, 60), meter=(4, 4))
    score.time_signatures.append(symusic.TimeSignature(72, 2, 4))
    first, second, third = measures = ElementTree.fromstring(musicxml.text(score)).find("part")
    assert [m.get("implicit") for m in measures][:2] == ["yes", None], "a meter that changes early cuts a bar"
    voices = [n.findtext("voice") for n in first.findall("note")]
    assert voices == ["1"] + ["2"] * (len(voices) - 1) and [b.findtext("duration") for b in first.iter("backup")] == [
        "72"
    ]
    ties = [
        (n.findtext("pitch/step") + n.findtext("pitch/octave"), [t.get("type") for t in n.iter("tie")])
        for m in (first, second, third)
        for n in m.findall("note")
        if n.find("pitch") is not None
    ]
    assert ties == [
        *(("C4", ["start"]), ("C5", []), ("E5", ["start"])),
        *(("C4", ["stop"]), ("E5", ["stop"])),
        ("C4", []),
    ]


def test_thirty_tracks_have_channels_that_are_no_drums():
    score = symusic.Score(24)
    for number in range(17):
        score.tracks.append(track((0, 24, 60 + number, 80)))
    root = ElementTree.fromstring(musicxml.text(score))
    channels = [int(m.text) for m in root.iter("midi-channel")]
    assert channels == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 1, 2]


def test_pages_of_an_engraving_stand_below_one_another():
    pages = [f'<?xml version="1.0"?><svg viewBox="0 0 {w} {h}"><g id="{h}"/></svg>' for w, h in ((200, 100), (210, 50))]
    root = ElementTree.fromstring(engraving._joined(pages))
    assert root.get("viewBox") == "0 0 210 150" and "<?xml" not in engraving._joined(pages)
    assert [(page.get("y"), page.get("height"), page[0].get("id")) for page in root] == [
        ("0", "100", "100"),
        ("100", "50", "50"),
    ]


def test_an_engraving_bears_its_title(tmp_path):
    pytest.importorskip("verovio", reason="engraving needs the extra notation")
    piece = scores.piece_from_score(made((0, 24, 60)), source="made")
    path = formats.save(piece, tmp_path / "page.SVG", "Wanderlied")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<svg") and "Wanderlied" in "".join(ElementTree.fromstring(text).itertext())
    off = scores.piece_from_score(made((1, 23, 60), tpq=50), source="made")
    assert formats.save(off, tmp_path / "off.svg").stat().st_size > 1000, "notation is written on the grid"


def test_all_pages_of_an_engraving_are_taken(monkeypatch):
    pages = [f'<svg viewBox="0 0 10 {height}"/>' for height in (20, 30, 40)]
    toolkit = SimpleNamespace(setOptions=dict, loadData=str, getPageCount=lambda: 3, renderToSVG=lambda n: pages[n - 1])
    monkeypatch.setattr(engraving, "_toolkit", lambda: toolkit)
    root = ElementTree.fromstring(engraving.svg(made((0, 24, 60))))
    assert [page.get("y") for page in root] == ["0", "20", "50"] and root.get("viewBox") == "0 0 10 90"


def test_the_ending_says_the_format_and_a_title_is_kept(tmp_path):
    piece = scores.piece_from_score(made((0, 24, 60)), source="made")
    assert formats.write(piece, tmp_path / "a.b", "mirex").name == "a.b.mirex.json"
    for name, begins in (
        ("a.midi", b"MThd"),
        ("a.MID", b"MThd"),
        ("a.xml", b"<?xml"),
        ("a.abc", b"X:1"),
        ("a.png", b"\x89PNG"),
    ):
        if name == "a.png":
            pytest.importorskip("matplotlib")
        assert formats.save(piece, tmp_path / name, "Wanderlied").read_bytes().startswith(begins)
    for name in ("a.xml", "a.abc"):
        assert "Wanderlied" in (tmp_path / name).read_text()
    with pytest.raises(HubError, match=r'generate.formats has "docx", which is no format'):
        formats.check("generate.formats", ["mid", "docx"])
    # A piece's own ABC says more than its notes; one that has none, or whose own cannot be read, is written from them.
    own = SimpleNamespace(score=piece.score, abc="X:1\nK:C\n%%own\nC|\n")
    assert formats.save(own, tmp_path / "own.abc").read_text() == own.abc
    assert formats.save(own, tmp_path / "own.abc", "a\nb").read_text() == "X:1\nT:a b\nK:C\n%%own\nC|\n"
    own.abc = "X:1\nT:mine\nK:C\nC|\n"
    assert formats.save(own, tmp_path / "own.abc", "a").read_text() == own.abc
    assert (
        formats.save(SimpleNamespace(score=piece.score), tmp_path / "none.abc", "a b")
        .read_text()
        .startswith("X:1\nT:a b\nM:4")
    )

    class Broken:
        score = piece.score

        @property
        def abc(self):
            raise ValueError("no ABC")

    assert "K:Cmaj\nC z3" in formats.save(Broken(), tmp_path / "broken.abc").read_text()


def test_what_cannot_be_written_leaves_the_old_file_as_it_was(tmp_path):
    (tmp_path / "a.abc").write_text("before")
    piece = SimpleNamespace(score=made(drums=((0, 12, 36),)))
    with pytest.raises(ValueError, match="drums"):
        formats.save(piece, tmp_path / "a.abc")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.abc", "before")]


def test_music_off_the_grid_moves_whole_and_says_so(caplog, tmp_path):
    """Twelve places a quarter: ends are rounded as ends, and tempos, meters and keys move along."""
    score = made((1, 2, 60), (51, 50, 62), (99, 20, 64), tpq=48)
    score.tempos.append(symusic.Tempo(95, 60))
    score.time_signatures.append(symusic.TimeSignature(191, 3, 4))
    score.key_signatures.append(symusic.KeySignature(47, 3, 0))
    before = sounding(score)
    moved = formats.quantised(score)
    assert moved.ticks_per_quarter == 12 and sounding(score) == before
    # ticks over 4, of .5 the even one: 0.25 to 0.75, 12.75 to 25.25, 24.75 to 29.75
    assert [(n.time, n.duration) for n in moved.tracks[0].notes] == [(0, 1), (13, 12), (25, 5)]
    assert [t.time for t in moved.tempos] == [0, 24] and [t.time for t in moved.time_signatures] == [0, 48]
    assert [k.time for k in moved.key_signatures] == [12]
    assert not formats.on_grid(score) and formats.on_grid(moved)
    assert not formats.on_grid(made((0, 25, 60), tpq=48)), "an end off the grid is off the grid"
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "swaptunes"):
        for ending in ("musicxml", "abc", "musicxml"):
            formats.write(SimpleNamespace(score=score), tmp_path / "a", ending)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["musicxml", "abc"]
    assert "12 places a quarter" in caplog.records[0].message


def test_mirex_takes_pitches_in_order_of_time_from_80_up_to_272():
    score = made(
        (478, 2, 70), (477, 20, 60), (1629, 6, 50), (1631, 30, 51), (480, 1, 40), (900, 6, 30), drums=((600, 6, 36),)
    )
    found = json.loads(mirex.text(score))["generation"]
    # sixteenths are 6 ticks: 79.67, 79.5 (80, the even one), 271.5 (272: too late), 271.8, and 80 again
    assert [(n["start"], n["pitch"], n["duration"]) for n in found] == [
        *((80, 40, 1), (80, 60, 3), (80, 70, 1)),
        (150, 30, 1),
    ]
    assert json.loads(mirex.text(score, "prompt")) == {"prompt": []}
    tree = {
        "prompt": [{"start": 0, "pitch": 60, "duration": 2}],
        "generation": [{"start": 80, "pitch": 61, "duration": 4}],
    }
    again = mirex.score(tree)
    assert sounding(again) == [(0, 12, 60), (480, 24, 61)]
    with pytest.raises(ValueError, match="no notes under"):
        mirex.score([])


def test_instruments_are_those_of_general_midi():
    from miditok.constants import MIDI_INSTRUMENTS

    assert [name.lower() for name in instruments.NAMES] == [one["name"].lower() for one in MIDI_INSTRUMENTS]
    assert instruments.label(track(name="VIOLA", program=41)) == "viola"
    assert instruments.label(track(name=" a \n b " + "c" * 60, program=40)) == "a b " + "c" * 36 + " (violin)"

    class Unreadable:
        is_drum, program = False, 40

        @property
        def name(self):
            return b"\xff".decode()

    assert instruments.label(Unreadable()) == "violin"
    assert instruments.label(track(name="kit", program=5, drums=True)) == "kit (drums)"


def second(samples, begin, end):
    return samples[round(begin * sound.RATE) : round(end * sound.RATE), 0].astype(np.float64)


def at(samples, frequency):
    """The amplitude at a frequency."""
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / sound.RATE)
    return float(abs((samples * window * turn).sum())) / window.sum() * 2


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(sound, "_soundfont", lambda asked: None)


def test_the_plain_sound_has_the_levels_partials_and_release_of_its_notes(plain):
    """At 120 a minute 24 ticks are half a second: a' loud, its like at half the velocity, and MIDI's highest note."""
    score = symusic.Score(24)
    score.tracks.append(track((0, 48, 69, 100), (96, 48, 69, 50), (192, 24, 127, 100)))
    samples = sound.render(score)
    assert samples.shape == (round((4.5 + sound.TAIL) * sound.RATE), 2) and samples.dtype == np.float32
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-6) and np.array_equal(samples[:, 0], samples[:, 1])
    loud, quiet = second(samples, 0.1, 0.9), second(samples, 2.1, 2.9)
    assert at(loud, 440) / at(quiet, 440) == pytest.approx(2**1.5, rel=1e-3)
    levels = [at(loud, 440 * number) / at(loud, 440) for number in (1, 2, 3, 4, 5)]
    assert levels == pytest.approx([1, 0.4, 0.2, 0.1, 0], abs=0.005)
    fades = at(second(samples, 0.8, 0.9), 440) / at(second(samples, 0.2, 0.3), 440)
    assert fades == pytest.approx(np.exp(-0.6 * (1.2 + 440 / 800)), rel=0.02)
    # it is let go within 0.08 s, and what the highest note's partials would fold down to is not there
    released = [np.abs(second(samples, begin, begin + 0.01)).max() for begin in (0.98, 1.03, 1.09)]
    assert released[0] > 1.5 * released[1] > 0 and released[2] == 0
    high = second(samples, 4.05, 4.2)
    assert at(high, 12543.85) > 0.01 and at(high, sound.RATE - 2 * 12543.85) < at(high, 12543.85) / 100


def test_the_plain_sound_follows_tempos_adds_notes_and_strikes_drums(plain):
    score = made((0, 24, 69), (0, 24, 69), (48, 24, 69), drums=((96, 240, 36), (192, 1, 42)))
    score.tempos.append(symusic.Tempo(48, 60))
    samples = sound.render(score)  # two quarters of half a second, then whole ones; the last stroke's note ends at 13 s
    assert len(samples) == round((13 + sound.TAIL) * sound.RATE)
    assert at(second(samples, 0.1, 0.4), 440) / at(second(samples, 1.1, 1.4), 440) == pytest.approx(2, rel=1e-3)
    bass, hat = (np.abs(np.fft.rfft(second(samples, begin, begin + 0.2))) ** 2 for begin in (3, 7))
    low = slice(0, 40)  # below 200 Hz
    assert bass[low].sum() > 0.9 * bass.sum() and hat[low].sum() < 0.1 * hat.sum()
    assert not second(samples, 3.3, 6.9).any() and not second(samples, 7.3, 8).any(), "a stroke does not last"


def test_a_drum_is_as_loud_as_it_is_struck(plain):
    score = symusic.Score(24)
    score.tracks.append(track((0, 12, 38, 120), (48, 12, 38, 60), drums=True))
    samples = sound.render(score)
    loud, quiet = (np.abs(second(samples, begin, begin + 0.2)).max() for begin in (0, 1))
    assert loud / quiet == pytest.approx(2**1.5, rel=1e-3)


def test_what_cannot_be_rendered_is_said(plain, caplog, tmp_path):
    with pytest.raises(HubError, match="lasts 61 minutes; expected at most 60"):
        sound.render(made((0, 24 * 120 * 61, 60)))
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "swaptunes"):
        sound.write(symusic.Score(24), tmp_path / "nothing.wav")
    assert "plain synthesizer (no soundfont here)" in caplog.text
    assert (tmp_path / "nothing.wav").stat().st_size == 44 + 4 * round(sound.TAIL * sound.RATE)


def test_the_loudest_sample_is_nine_tenths_of_the_full_scale(plain, tmp_path):
    sound.write(made((0, 24, 69)), tmp_path / "a.wav")
    samples = np.frombuffer((tmp_path / "a.wav").read_bytes()[44:], "<i2").astype(int)
    assert abs(samples).max() == int(0.9 * 32767) == 29490


def test_only_the_pedal_s_controller_holds_notes():
    score = made((0, 24, 60))
    score.tracks[0].controls.extend([symusic.ControlChange(12, 7, 127), symusic.ControlChange(90, 7, 0)])
    (note,) = sound._notes(score.to("second").tracks[0])
    assert note.end == pytest.approx(0.5)


def test_a_soundfont_that_is_no_file_is_named():
    with pytest.raises(HubError, match=r"none.sf2 is no file; expected a soundfont"):
        sound.render(made((0, 24, 60)), "none.sf2")


class Synth:
    """Stands for FluidSynth: keeps what it is told and gives as many samples as it is asked for."""

    made: ClassVar[list] = []

    def __init__(self, gain, samplerate):
        self.rate, self.at, self.said, self.alive = samplerate, 0, [], True
        Synth.made.append(self)

    def sfload(self, path):
        return -1 if "broken" in path else 7

    def program_select(self, channel, font, bank, program):
        self.said.append(("program", channel, font, bank, program))

    def noteon(self, channel, pitch, velocity):
        self.said.append((round(self.at / self.rate, 3), "on", channel, pitch, velocity))

    def noteoff(self, channel, pitch):
        self.said.append((round(self.at / self.rate, 3), "off", channel, pitch))

    def get_samples(self, count):
        self.at += count
        return np.full(2 * count, 8192, dtype=np.int16)

    def delete(self):
        self.alive = False


@pytest.fixture
def synth(monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", SimpleNamespace(Synth=Synth))
    monkeypatch.setattr(Synth, "made", [])
    return Synth


def test_fluidsynth_is_told_programs_strokes_and_releases(synth, tmp_path):
    """Half a second a quarter; a note that is struck again as it ends is released first."""
    (tmp_path / "a.sf2").touch()
    score = symusic.Score(24)
    score.tracks.append(track((0, 24, 60, 100), (24, 24, 60, 50), program=40))
    score.tracks.append(track((24, 12, 36, 70), program=8, drums=True))
    samples = sound.render(score, str(tmp_path / "a.sf2"))
    (one,) = synth.made
    assert one.rate == sound.RATE and not one.alive
    assert [said[1:] for said in one.said if said[0] == "program"] == [(0, 7, 0, 40), (9, 7, 128, 8)]
    assert [said for said in one.said if said[0] != "program"] == [
        (0, "on", 0, 60, 100), (0.5, "off", 0, 60), (0.5, "on", 0, 60, 50), (0.5, "on", 9, 36, 70),
        (0.75, "off", 9, 36), (1, "off", 0, 60),
    ]  # fmt: skip
    assert samples.shape == (round((1 + sound.TAIL) * sound.RATE), 2) and (samples == np.float32(0.9)).all()
    assert (sound._one_synth([(track(program=3), [])], 5, tmp_path / "a.sf2") == 0.25).all()
    (tmp_path / "broken.sf2").touch()
    with pytest.raises(HubError, match=r"broken.sf2 cannot be read as a soundfont"):
        sound.render(score, str(tmp_path / "broken.sf2"))


def test_more_tracks_than_channels_sound_together(synth, tmp_path):
    (tmp_path / "a.sf2").touch()
    tracks = [(track(program=number), [sound.Note(0, 1, 60, 80)]) for number in range(17)]
    total = sound._through_fluidsynth(tracks, 1.0, tmp_path / "a.sf2")
    programs = [[(said[1], said[4]) for said in one.said if said[0] == "program"] for one in synth.made]
    channels = [*range(9), *range(10, 16)]
    assert programs == [list(zip(channels, range(15), strict=True)), [(0, 15), (1, 16)]]
    assert (total == 0.5).all(), "both synthesizers' samples are added"


def test_a_long_roll_is_wrapped_with_its_bars_pitches_and_notes_in_place():
    from datatools.writing import pianoroll

    pytest.importorskip("matplotlib")
    score = made((0, 36, 60), (24 * 50, 48, 67), (24 * 499, 24, 64), meter=(3, 4))
    figure = pianoroll._figure(score, "Name", given=50.0)
    rows = figure.axes
    assert [axes.get_xlim() for axes in rows] == [(48.0 * n, 48.0 * (n + 1)) for n in range(8)]
    assert rows[0].get_title(loc="left") == "Name (the first 384 of 500 quarters)"
    labels = dict(zip(rows[0].get_yticks(), (text.get_text() for text in rows[0].get_yticklabels()), strict=True))
    assert labels == {60: "C4", 72: "C5"}
    bars = {text.get_text(): text.get_position()[0] for text in rows[1].texts if text.get_text().isdigit()}
    assert bars["17"] == 48 and bars["18"] == 51 and min(map(int, bars)) == 17
    corners = [np.array([path.vertices for path in axes.collections[0].get_paths()]) for axes in rows[:2]]
    (first,), (fifty,) = corners
    assert (first[:, 0].min(), first[:, 1].min(), first[:, 1].max()) == pytest.approx((0, 59.58, 60.42))
    assert first[:, 0].max() == pytest.approx(1.44) and fifty[:, 0].min() == pytest.approx(50)
    ends = [[line for line in axes.lines if line.get_color() == "#B00020"] for axes in rows[:3]]
    assert [len(found) for found in ends] == [0, 1, 0] and set(ends[1][0].get_xdata()) == {50.0}
    shaded = [
        [p for p in axes.patches if p.get_facecolor()[:3] == pytest.approx((0xE4 / 255, 0xE4 / 255, 0xEA / 255))]
        for axes in rows[:3]
    ]
    assert [[(p.get_x(), p.get_width()) for p in found] for found in shaded] == [[(0, 48)], [(48, 2)], []]
    assert all(a[1] == b[0] for a, b in pairwise(axes.get_xlim() for axes in rows))


def test_a_prompt_that_ends_where_a_line_does_is_marked_once():
    from datatools.writing import pianoroll

    pytest.importorskip("matplotlib")
    figure = pianoroll._figure(made((0, 24 * 100, 60)), "", given=48.0)
    marks = [[line for line in axes.lines if line.get_color() == "#B00020"] for axes in figure.axes]
    assert [len(found) for found in marks] == [1, 0, 0]


def test_bars_begin_where_the_meters_put_them():
    score = made((0, 24, 60), meter=(6, 8))
    score.time_signatures.append(symusic.TimeSignature(24 * 4, 2, 2))
    assert bar_lines(score, 8.0) == [0, 3, 4, 8]
    late = symusic.Score(24)
    late.time_signatures.append(symusic.TimeSignature(24 * 5, 3, 4))
    assert bar_lines(late, 9.0) == [0, 4, 5, 8] and bar_lines(symusic.Score(24), 4.0) == [0, 4]


def test_a_page_shows_the_score_of_a_piece_that_is_short_enough(monkeypatch):
    from datatools.writing.page import roll

    monkeypatch.setattr(roll.engraving, "svg", lambda score, title: f"<?xml?><svg>{title}</svg>")
    monkeypatch.setattr(roll, "MOST_ENGRAVED", 2)
    short, long = made((0, 24, 60), (24, 24, 62)), made((0, 24, 60), (24, 24, 62), (48, 24, 64))
    shown = '<details><summary>Score</summary><div class="score"><svg>t</svg></div></details>'
    assert shown in roll.section(short, "p", "t") and "<details>" not in roll.section(long, "p", "t")
    assert "<details>" not in roll.section(short, "p", "t", engraved=False)


def test_a_page_cuts_what_is_too_long_and_says_so(monkeypatch):
    from datatools.writing.page import roll

    monkeypatch.setattr(roll, "MOST_NOTES", 2)
    score = made((0, 24, 60), (24, 24, 72), (48, 24, 64), drums=((0, 6, 36),))
    text = roll.section(score, "p", "t", "facts.", given=0.25, engraved=False)
    assert "facts. The first 2 of 4 notes." in text
    data = json.loads(text[text.index('application/json">') + 18 : text.rindex("</script>")])
    assert data == {"notes": [[0, 0.125, 36, 90, 1], [0, 0.5, 60, 90, 0]], "seconds": 0.5, "drums": [1]}
    root = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    shapes = [(r.get("x"), r.get("y"), r.get("width"), r.get("class")) for r in root.iter("rect")]
    # 0.5 s are 1000 wide; pitches 35 to 61, the highest first: 26 rows, 60 is the second
    assert shapes == [("0", "0", "500.00", "given"), ("0.00", "25", "2", "drum"), ("0.00", "1", "940.00", None)]
    assert root.get("viewBox") == "0 0 1000 27"
