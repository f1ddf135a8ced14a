"""Readers of music files: known answers, the canonical form, and reasons for what cannot be read."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import symusic

from datatools.reading import scores
from datatools.reading.canonical import canonical
from datatools.reading.musicxml import archive

MUSIC = Path(__file__).parent / "music"


def notes(score: Any) -> list[list[tuple[int, int, int, int]]]:
    return [[(n.time, n.duration, n.pitch, n.velocity) for n in track.notes] for track in score.tracks]


def made(*tracks: list[tuple[int, int, int, int]], tpq: int = 480) -> Any:
    score = symusic.Score(tpq)
    for rows in tracks:
        track = symusic.Track()
        for row in rows:
            track.notes.append(symusic.Note(*row))
        score.tracks.append(track)
    return score


def test_a_bar_of_rests_alone_is_no_longer_than_its_meter(tmp_path: Path) -> None:
    rest = "<note><rest/><duration>4</duration></note>"
    note = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>4</duration></note>"
    meter = "<attributes><divisions>1</divisions><time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
    bars = [f"<measure>{meter}{{}}</measure><measure>{note}</measure>".format(first) for first in (note, rest + rest)]
    parts = "".join(f'<part id="P{number}">{part}</part>' for number, part in enumerate(bars))
    (tmp_path / "rests.musicxml").write_text(f"<score-partwise>{parts}</score-partwise>")
    score = scores.read(tmp_path / "rests.musicxml").score
    assert [[note.time / 480 for note in track.notes] for track in score.tracks] == [[0, 4], [4]]


def test_musicxml_plays_what_is_written() -> None:
    piece = scores.read(MUSIC / "repeats.musicxml")
    clarinet, cello = notes(piece.score)
    # a pick-up of one beat ends the first bar of three; the part is written a tone above what sounds; the repeat is
    # played; the tie over two notes is one; triplets are exact; the grace note comes before its beat
    once = [(0, 1440, 72), (1440, 160, 76), (1600, 160, 74), (1760, 160, 72), (1880, 40, 69), (1920, 960, 67)]
    expected = [(960, 480, 67)] + [(t + 1440 + r, d, p) for r in (0, 2880) for t, d, p in once]
    assert [row[:3] for row in clarinet] == expected
    assert [row[:3] for row in cello[:3]] == [(1440, 1440, 48), (2880, 1440, 43), (2880, 1440, 55)]
    assert piece.title == "Two voices"
    assert piece.score.tracks[0].program == 71
    assert [(m.time, m.numerator, m.denominator) for m in piece.score.time_signatures] == [(0, 3, 4)]
    assert [round(t.qpm) for t in piece.score.tempos] == [90]
    assert [(k.time, k.key) for k in piece.score.key_signatures] == [(0, 0)]


def musicxml(folder: Path, *measures: str) -> Any:
    """The score of one part."""
    part = "".join(f"<measure>{measure}</measure>" for measure in measures)
    (folder / "part.musicxml").write_text(f'<score-partwise><part id="P1">{part}</part></score-partwise>')
    return scores.read(folder / "part.musicxml").score


def written(duration: int, staff: int = 1) -> str:
    """A middle C that lasts so many divisions."""
    pitch = "<pitch><step>C</step><octave>4</octave></pitch>"
    return f"<note>{pitch}<duration>{duration}</duration><staff>{staff}</staff></note>"


def test_lengths_of_musicxml_are_those_of_the_divisions_that_hold(tmp_path: Path) -> None:
    bars = [f"<attributes><divisions>{per}</divisions></attributes>{written(2) * 2}" for per in (1, 4, 2)]
    found = [(time, length) for time, length, _, _ in notes(musicxml(tmp_path, *bars))[0]]
    # two halves, two eighths, two quarters
    assert found == [(0, 960), (960, 960), (1920, 240), (2160, 240), (2400, 480), (2880, 480)]


def test_transpositions_of_musicxml_go_down_an_octave_and_hold_for_their_staves(tmp_path: Path) -> None:
    one = "<attributes><transpose number='2'><chromatic>-3</chromatic></transpose></attributes>"
    down = "<transpose><chromatic>2</chromatic><octave-change>1</octave-change><double/></transpose>"
    each = written(1) + written(1, 2)
    found = musicxml(tmp_path, f"{one}{each}", f"<attributes>{down}</attributes>{each}")
    # the second transposes all staves: a tone, an octave up and, doubled, one down
    assert [[row[2] for row in track] for track in notes(found)] == [[60, 62], [57, 62]]


@pytest.mark.parametrize(
    ("beat", "dots", "told", "expected"),
    [
        ("quarter", 0, "60", 60),
        ("quarter", 1, "60", 90),
        ("quarter", 2, "40", 70),
        ("half", 1, "20", 60),
        ("eighth", 0, "c. 100", 50),
    ],
)
def test_a_metronome_mark_of_musicxml_counts_its_dots(
    tmp_path: Path, beat: str, dots: int, told: str, expected: float
) -> None:
    mark = f"<beat-unit>{beat}</beat-unit>{'<beat-unit-dot/>' * dots}<per-minute>{told}</per-minute>"
    shown = f"<direction><direction-type><metronome>{mark}</metronome></direction-type></direction>"
    found = musicxml(tmp_path, shown + written(1))
    assert [tempo.qpm for tempo in found.tempos] == pytest.approx([expected], rel=1e-5)


def test_kern() -> None:
    piece = scores.read(MUSIC / "two_spines.krn")
    melody = [(0, 480, 60), (480, 480, 62), (960, 240, 64), (1200, 240, 65), (1440, 480, 67), (1920, 1920, 72)]
    assert [row[:3] for row in notes(piece.score)[0]] == melody
    assert [round(t.qpm) for t in piece.score.tempos] == [100]


def test_midi_equals_mido() -> None:
    piece = scores.read(MUSIC / "band.mid")
    found = sorted((n.time, n.pitch) for track in piece.score.tracks for n in track.notes)
    expected = []
    for track in mido.MidiFile(MUSIC / "band.mid").tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                expected.append((now, message.note))
    assert found == sorted(expected)
    assert [track.is_drum for track in piece.score.tracks] == [False, False, True]
    assert piece.sha256 == hashlib.sha256((MUSIC / "band.mid").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["band.kar", "BAND.MID", "-rf $(echo) ملف.midi"])
def test_names_do_not_matter(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((MUSIC / "band.mid").read_bytes())
    assert notes(scores.read(tmp_path / name).score) == notes(scores.read(MUSIC / "band.mid").score)


def test_mxl_equals_its_content(tmp_path: Path) -> None:
    xml = (MUSIC / "repeats.musicxml").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.mxl", "w") as archive:
        archive.writestr("other.xml", "<nothing/>")
        archive.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>',
        )
        archive.writestr("score.xml", xml)
    (tmp_path / "b.xml").write_bytes(xml.decode().replace("UTF-8", "UTF-16").encode("utf-16"))
    expected = notes(scores.read(MUSIC / "repeats.musicxml").score)
    assert notes(scores.read(tmp_path / "a.mxl").score) == expected
    assert notes(scores.read(tmp_path / "b.xml").score) == expected


def test_archives_stay_in_memory_and_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(name: str, data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        return buffer.getvalue()

    assert archive.unpacked(packed("score.xml", b"abc")) == b"abc"
    for name in ("../score.xml", "/score.xml", "a/../../score.xml"):
        with pytest.raises(ValueError, match="leads out of it"):
            archive.unpacked(packed(name, b"abc"))
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="unpacks to"):
        archive.unpacked(packed("score.xml", b"a" * 1001))


REASONS = {
    "nothing.mid": (b"", "it is empty"),
    "blank.xml": (b"  \n", "it is empty"),
    "pointer.mid": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-LFS pointer"),
    "page.abc": (b"<!DOCTYPE html><html></html>", "web page"),
    "page.mid": (b"\n<HTML><body>", "web page"),
    "missing.abc": (b"404: Not Found", "failed download"),
    "text.mid": (b"hello world, no music", "no valid MIDI file"),
    "cut.mid": ((MUSIC / "band.mid").read_bytes()[:60], "no valid MIDI file"),
    "other.xml": (b"<?xml version='1.0'?><svg/>", "no MusicXML"),
    "bomb.xml": (b"<!DOCTYPE a [<!ENTITY b 'c'>]><score-partwise/>", "entities"),
    "broken.xml": (b"<score-partwise><part>", "line 1, column 22: its XML is broken"),
    "bare.xml": (b"<score-partwise></score-partwise>", "no notes"),
    "no.mxl": (b"no archive", "no readable archive"),
    "song.txt": (b"abc", "extension"),
}


@pytest.mark.parametrize("name", REASONS)
def test_bad_files_give_one_line(tmp_path: Path, name: str) -> None:
    data, reason = REASONS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=reason) as caught:
        scores.read(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "new", "reason"),
    [
        (0, b"\0", "it does not begin with MThd"),
        (12, b"\0\0", "it has 0 ticks a quarter; expected 1 or more"),
        (14, b"XXXX", "it has no track"),
    ],
)
def test_reasons_of_midi_are_for_people(tmp_path: Path, at: int, new: bytes, reason: str) -> None:
    data = (MUSIC / "band.mid").read_bytes()
    whole = data[:at] + new + (data[at + len(new) :] if at < 14 else b"")
    (tmp_path / "a.mid").write_bytes(whole)
    with pytest.raises(ValueError, match=f"{reason}$"):
        scores.read(tmp_path / "a.mid")


def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.mid").mkdir()
    with pytest.raises(ValueError, match="no such file"):
        scores.read(tmp_path / "none.mid")
    with pytest.raises(ValueError, match="no file"):
        scores.read(tmp_path / "folder.mid")


def test_canonical_order() -> None:
    rng = np.random.default_rng(0)
    rows = [tuple(int(x) for x in rng.integers((0, 1, 40, 1), (4, 4, 44, 4))) for _ in range(60)]
    score = made([], rows, [(0, 0, 60, 1)])
    for tick in (960, 0):
        score.tempos.append(symusic.Tempo(tick, 120 + tick / 10))
        score.time_signatures.append(symusic.TimeSignature(tick, 4, 4))
    result = canonical(score)
    assert notes(result)[0] == sorted(rows, key=lambda r: (r[0], r[2], r[1], r[3]))
    assert notes(result)[1] == [(0, 1, 60, 1)]
    assert [t.time for t in result.tempos] == [m.time for m in result.time_signatures] == [0, 960]
    again = canonical(result)
    assert notes(again) == notes(result) and again.tempos == result.tempos


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (made([]), "no notes"),
        (made([(2_000_000, 1, 60, 64)], tpq=1), "quarters"),
        (made([(0, 2_000_000_000, 60, 64)], tpq=480), "quarters"),
        (made([(0, 200_000, 60, 64)], tpq=1), "hours"),
        (made([(0, 10, 60, 64)], tpq=0), "ticks a quarter"),
    ],
)
def test_unusable_scores(score: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        scores.piece_from_score(score)


def test_book_of_tunes(tmp_path: Path) -> None:
    pytest.importorskip("datatools.abc.reader")
    pytest.importorskip("datatools.abc.book")
    tune = (MUSIC / "small.abc").read_text()
    path = tmp_path / "book.abc"
    path.write_text("\n".join(tune.replace("X:1", f"X:{i}").replace("Small", f"Small {i}") for i in range(3)))
    (tmp_path / "LOUD.ABC").write_text(path.read_text())
    assert scores.count(path) == scores.count(tmp_path / "LOUD.ABC") == 3 and scores.count(MUSIC / "band.mid") == 1
    pieces = [scores.read(path, i) for i in range(3)]
    assert [piece.title for piece in pieces] == [f"A Small {i} Tune" for i in range(3)]
    assert len({piece.sha256 for piece in pieces}) == 3 and pieces[1].source == f"{path}#1"
    assert notes(pieces[0].score) == notes(pieces[2].score)
    pitches = [n.pitch for n in pieces[0].score.tracks[0].notes]
    assert pitches == [69] + [74, 78, 76, 79, 78, 74, 69, 74] * 2
    with pytest.raises(ValueError, match="holds 3"):
        scores.read(path, 3)
    path.write_text("nothing here")
    with pytest.raises(ValueError, match="no tune"):
        scores.read(path)
