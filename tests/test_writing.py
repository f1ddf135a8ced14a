"""What is written is the music: read back by other readers, measured, parsed."""

import json
import wave
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import symusic

from datatools.reading import scores
from datatools.writing import engraving, formats, mirex, musicxml, sound
from supervisors.run import main

MUSIC = Path(__file__).parent / "music"


def made(*notes, tempo=120.0, meter=(4, 4), drums=(), tpq=24):
    """A score of (start, duration, pitch) in ticks of 24 a quarter."""
    score = symusic.Score(tpq)
    score.tempos.append(symusic.Tempo(0, tempo))
    score.time_signatures.append(symusic.TimeSignature(0, *meter))
    for drum, rows in ((False, notes), (True, drums)):
        if rows:
            track = symusic.Track(is_drum=drum)
            for start, duration, pitch in rows:
                track.notes.append(symusic.Note(start, duration, pitch, 90))
            score.tracks.append(track)
    return score


def sounding(score):
    """(onset, duration, pitch) of every note, in 24ths of a quarter."""
    per = score.ticks_per_quarter
    return sorted((n.time * 24 // per, n.duration * 24 // per, n.pitch) for t in score.tracks for n in t.notes)


def through_music21(text, tmp_path):
    music21 = pytest.importorskip("music21")
    path = tmp_path / "score.musicxml"
    path.write_text(text, encoding="utf-8")
    stream = music21.converter.parse(path, forceSource=True).stripTies()
    found = []
    for part in stream.parts:
        for element in part.flatten().notes:
            for pitch in element.pitches:
                found.append((round(element.offset * 24), round(element.quarterLength * 24), pitch.midi))
    return sorted(found)


CASES = {
    "ties over bars": made((0, 96, 60), (72, 60, 67), (132, 12, 64)),
    "triplets": made((0, 8, 60), (8, 8, 62), (16, 8, 64), (24, 16, 65), (40, 8, 67), (48, 32, 69)),
    "three voices": made((0, 96, 48), (0, 24, 60), (24, 24, 62), (12, 36, 72), (48, 48, 64)),
    "chord with one tie": made((0, 144, 60), (0, 96, 64), (96, 48, 65)),
    "6/8 and odd lengths": made((0, 36, 60), (36, 27, 61), (63, 9, 62), meter=(6, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_musicxml_says_the_same_to_another_reader(name, tmp_path):
    score = CASES[name]
    assert through_music21(musicxml.text(score), tmp_path) == sounding(score)


@pytest.mark.parametrize("name", ["mill_lane.abc", "two_of_us.abc", "repeats.musicxml"])
def test_musicxml_of_a_file_comes_back_with_pitch_time_loudness_key_and_meter(name, tmp_path):
    piece = scores.read(MUSIC / name)
    path = formats.write(piece, tmp_path / "again", "musicxml")
    again = scores.read(path).score
    assert sounding(again) == sounding(piece.score)
    assert [(m.numerator, m.denominator) for m in again.time_signatures][:1] == [
        (m.numerator, m.denominator) for m in piece.score.time_signatures
    ][:1]
    loud = [sorted(n.velocity for t in s.tracks for n in t.notes) for s in (piece.score, again)]
    assert loud[0] == loud[1]


def test_musicxml_spells_by_the_key_and_marks_drums_and_tempo():
    score = made((0, 24, 66), (24, 24, 70), drums=((0, 12, 36), (24, 12, 42)), tempo=96)
    score.key_signatures.append(symusic.KeySignature(0, -5, 0))  # D flat major: G flat, B flat
    root = ElementTree.fromstring(musicxml.text(score))
    spelled = [(p.findtext("step"), p.findtext("alter")) for p in root.iter("pitch")]
    assert spelled == [("G", "-1"), ("B", "-1")]
    assert [m.text for m in root.iter("midi-unpitched")] == ["37", "43"] and len(list(root.iter("unpitched"))) == 2
    assert [float(s.get("tempo")) for s in root.iter("sound")] == [96.0]


def test_musicxml_changes_the_tempo_inside_a_bar(tmp_path):
    music21 = pytest.importorskip("music21")
    score = made((0, 96, 60), (96, 96, 62))
    for time, tempo in ((36, 60), (96, 90), (180, 40)):
        score.tempos.append(symusic.Tempo(time, tempo))
    path = formats.write(scores.piece_from_score(score, source="made"), tmp_path / "a", "musicxml")
    expected = [(0, 120), (1.5, 60), (4, 90), (7.5, 40)]
    again = scores.read(path).score
    assert [(t.time / again.ticks_per_quarter, round(t.qpm)) for t in again.tempos] == expected
    marks = music21.converter.parse(path, forceSource=True).flatten().getElementsByClass("MetronomeMark")
    assert [(mark.offset, mark.number) for mark in marks] == expected


def test_musicxml_counts_instruments_from_one(tmp_path):
    score = made((0, 24, 60))
    score.tracks[0].program = 40
    path = formats.write(scores.piece_from_score(score, source="made"), tmp_path / "violin", "musicxml")
    assert [p.text for p in ElementTree.parse(path).iter("midi-program")] == ["41"]
    assert scores.read(path).score.tracks[0].program == 40


def test_engraving_draws_every_note():
    pytest.importorskip("verovio", reason="engraving needs the extra notation")
    page = engraving.svg(CASES["triplets"], "A title")
    root = ElementTree.fromstring(page)
    drawn = [e for e in root.iter() if (e.get("class") or "").split(" ")[0] == "note"]
    assert len(drawn) == len(sounding(CASES["triplets"]))


def test_sound_has_the_pitch_the_length_and_the_silence_of_the_music(tmp_path):
    path = tmp_path / "a.wav"
    sound.write(made((0, 48, 69), (96, 24, 57)), path)  # a' for a second, a second of rest, a for half a second
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, sound.RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 0].astype(float)
    assert len(samples) == pytest.approx((2.5 + sound.TAIL) * sound.RATE, abs=2)

    def loudest(start, stop):
        part = samples[int(start * sound.RATE) : int(stop * sound.RATE)]
        return np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) / (stop - start)

    assert loudest(0.05, 0.95) == pytest.approx(440, abs=2) and loudest(2.02, 2.48) == pytest.approx(220, abs=3)
    rms = [np.sqrt(np.mean(samples[int(a * sound.RATE) : int(b * sound.RATE)] ** 2)) for a, b in ((0, 1), (1.6, 1.95))]
    assert np.abs(samples).max() > 25_000 and rms[1] < rms[0] / 10


def test_pedal_holds_the_plain_sound():
    score = made((0, 24, 60))
    score.tracks[0].pedals.append(symusic.Pedal(0, 96))
    (held,) = sound._notes(score.to("second").tracks[0])
    assert held.end == pytest.approx(2.0)


def test_the_pedal_holds_what_ends_while_it_is_down():
    """Pressed behind the onset of the first note, lifted as the third ends, and again for the fourth."""
    rows = ((0, 24, 60), (36, 6, 62), (40, 20, 64), (90, 12, 65), (120, 12, 67))
    for by_hand in (False, True):
        score = made(*rows)
        if by_hand:  # a value of 64 is down
            for time, value in ((12, 64), (20, 127), (60, 63), (96, 80), (110, 0)):
                score.tracks[0].controls.append(symusic.ControlChange(time, 64, value))
            score.tracks[0].controls.append(symusic.ControlChange(118, 1, 127))
        else:
            score.tracks[0].pedals.extend([symusic.Pedal(12, 48), symusic.Pedal(96, 14)])
        ends = [note.end * 48 for note in sound._notes(score.to("second").tracks[0])]
        assert ends == pytest.approx([60, 60, 60, 110, 132], abs=1e-3)


def test_mirex_is_the_task_s_own_grid_and_comes_back():
    score = made((0, 12, 60), (20 * 24, 24, 62), (68 * 24, 24, 64))  # steps 0, 80 and 272
    assert json.loads(mirex.text(score)) == {"generation": [{"start": 80, "pitch": 62, "duration": 4}]}
    assert json.loads(mirex.text(score, "prompt")) == {"prompt": [{"start": 0, "pitch": 60, "duration": 2}]}
    again = mirex.score({"prompt": [{"start": 0, "pitch": 60, "duration": 2}]})
    assert [(n.time, n.duration, n.pitch) for n in again.tracks[0].notes] == [(0, 2, 60)]
    with pytest.raises(ValueError, match="lacks start"):
        mirex.score({"prompt": [{"pitch": 60}]})


@pytest.mark.parametrize("ending", ["mid", "png", "abc", "musicxml", "wav", "mirex.json"])
def test_convert_writes_what_the_ending_says(ending, tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        main(["convert", str(MUSIC / "two_of_us.abc"), str(tmp_path / f"new/out.{ending}")])
    assert done.value.code == 0 and (tmp_path / f"new/out.{ending}").stat().st_size > 10
    if ending in ("mid", "abc", "musicxml"):
        again = scores.read(tmp_path / f"new/out.{ending}").score
        assert sounding(again) == sounding(scores.read(MUSIC / "two_of_us.abc").score)


@pytest.mark.parametrize(
    "words, said",
    [
        (["a.mid"], "convert takes a file and the file to write"),
        (["none.mid", "b.wav"], "there is no such file"),
        ([str(MUSIC / "band.mid"), "b.doc"], 'its ending is ".doc"; expected one of'),
        ([str(MUSIC / "band.mid"), "b.abc"], "drums, which ABC's notes cannot tell"),
    ],
)
def test_what_cannot_be_converted_is_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["convert", *words])
    told = capsys.readouterr().err
    assert done.value.code == 2 and said in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_quantised_moves_to_the_nearest_place():
    score = made((1, 22, 60), (25, 1, 62))
    assert [(n.time, n.duration) for n in formats.quantised(score).tracks[0].notes] == [(0, 12), (12, 1)]
