"""Damaged and odd MIDI files are read as mido reads them, with a word on what was mended; hopeless ones are refused."""

import struct
from collections import Counter
from io import BytesIO
from pathlib import Path

import mido
import pytest

from datatools.reading.midi import reader
from datatools.reading.midi.salvage import salvaged

BAND = (Path(__file__).parent / "music" / "band.mid").read_bytes()


def track(*events: bytes) -> bytes:
    body = b"".join(events) + b"\x00\xff\x2f\x00"
    return b"MTrk" + struct.pack(">L", len(body)) + body


def file(*tracks: bytes, kind: int = 1, division: int = 480) -> bytes:
    return b"MThd" + struct.pack(">LHHH", 6, kind, len(tracks), division) + b"".join(tracks)


def by_mido(data: bytes) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for part in mido.MidiFile(file=BytesIO(data), clip=True).tracks:
        now = 0
        for message in part:
            now += message.time
            if message.type == "note_on" and message.velocity:
                found[now, message.note] += 1
    return found


def ours(data: bytes) -> tuple[Counter[tuple[int, int]], str]:
    score, remarks = reader.score(data)
    return Counter((note.time, note.pitch) for part in score.tracks for note in part.notes), "; ".join(remarks)


NOTE, OFF = b"\x00\x90\x3c\x50", b"\x60\x80\x3c\x40"
ODD = {
    "riff": (b"RIFF\x00\x00\x00\x00RMIDdata\x00\x00\x00\x00" + BAND, BAND, "taken out of its RIFF file"),
    "macbinary": (b"\x00\x04BAND" + bytes(122) + BAND, BAND, "128 bytes before MThd"),
    "long_header": (BAND[:7] + b"\x08" + BAND[8:14] + b"\x00\x00" + BAND[14:], BAND, "a header of 8 bytes"),
    "loud": (file(track(b"\x00\x90\x3c\xd0", OFF)), file(track(NOTE, OFF)), "1 value above 127 made 127"),
    "undefined": (file(track(NOTE, b"\x00\xf4", OFF)), file(track(NOTE, OFF)), "1 byte of no meaning"),
    "sysex_in_packets": (
        file(track(NOTE, b"\x10\xf0\x02\x43\x12\x10\xf7\x03\x40\x41\xf7", OFF, NOTE, OFF)),
        file(track(NOTE, b"\x20\xff\x01\x00", OFF, NOTE, OFF)),
        "",
    ),
    "escape": (file(track(NOTE, b"\x00\xf7\x02\xf3\x01", OFF)), file(track(NOTE, OFF)), ""),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_mended(name: str) -> None:
    data, plain, remark = ODD[name]
    found, remarks = ours(data)
    assert found == by_mido(plain)
    assert remark in remarks if remark else not remarks


def test_a_file_that_breaks_off_keeps_what_came_before() -> None:
    found, remarks = ours(BAND[: len(BAND) * 9 // 10])
    assert found < by_mido(BAND) and found.total() > by_mido(BAND).total() // 2
    assert "track breaks off; what came before is kept" in remarks
    with pytest.raises(ValueError, match=r"it is no valid MIDI file: \d+ % of it can be had"):
        ours(BAND[: len(BAND) // 3])


def test_frames_become_seconds() -> None:
    data = file(
        track(NOTE, b"\x64\xff\x51\x03\x01\x00\x00", b"\x83\x10\x80\x3c\x40"), division=0x10000 - (25 << 8) + 20
    )
    score, remarks = reader.score(data)
    (note,) = score.to("second").tracks[0].notes
    assert note.duration == pytest.approx(1.0)  # 500 ticks of 25 frames of 20 ticks, whatever the tempo
    assert "times in frames (500 ticks a second)" in remarks[0]


def test_what_is_left_out_is_said() -> None:
    twice = file(track(NOTE, b"\x00\x3e\x50", OFF))
    found, remarks = ours(twice)
    assert found == {(0, 60): 1} and remarks == "left out 1 note that is never released"
    _, remarks = ours(file(track(NOTE, OFF), track(NOTE, OFF), kind=2))
    assert remarks == "its format is 2: its 2 tracks are sequences of their own, and are played together"
    _, remarks = ours(b"RIFF\x00\x00\x00\x00RMID" + file(track(NOTE, OFF), track(NOTE, OFF), kind=2))
    assert remarks.startswith("mended: taken out of its RIFF file; its format is 2: its 2 tracks")
    _, remarks = ours(file(track(NOTE, b"\x60\x90\x3c\x00", b"\x00\x90\x40\x50")))
    assert remarks == "left out 1 note that is never released", "a stroke of no loudness is a release"
    assert ours(BAND) == (by_mido(BAND), "")


def test_what_sounds_where_a_track_breaks_off_ends_there_once_for_each_stroke() -> None:
    """One stroke released by one of no loudness; then three of one pitch, of which one is released, and another's."""
    struck = NOTE + b"\x60\x90\x3c\x00" + NOTE * 3 + b"\x00\x90\x40\x50"
    body = struck + b"\x10\x80\x3c\x40" + b"\x10\xc0\x05"
    found = salvaged(file(b"MTrk" + struct.pack(">L", len(body) + 4) + body, kind=5))
    assert found.struck == 5 and found.share == pytest.approx(len(body) / (len(body) + 4))
    assert found.remarks == [
        "mended: its format 5 taken for 1",
        "mended: 1 track breaks off; what came before is kept",
        "mended: 3 notes left sounding where a track breaks off end there",
    ]
    plain = mido.MidiFile(file=BytesIO(found.data))
    now, ends = 0, Counter[tuple[int, int]]()
    for message in plain.tracks[0]:
        now += message.time
        if message.type == "note_off" or (message.type == "note_on" and not message.velocity):
            ends[now, message.note] += 1
    assert plain.type == 0 and ends == {(96, 60): 1, (112, 60): 1, (128, 60): 2, (128, 64): 1}


def test_lengths_that_are_wrong_lose_no_track_and_no_music() -> None:
    """Of a track that says it is longer than the file, or that goes on in zeros behind its end; of a tempo's bytes."""
    first, second = track(NOTE, OFF), track(b"\x00\x90\x40\x50", b"\x60\x80\x40\x40")
    endless = b"MTrk" + struct.pack(">L", 9999) + first[8:]
    found = salvaged(file(endless, second))
    assert by_mido(found.data) == by_mido(file(first, second)) and found.share == 1.0
    padded = b"MTrk" + struct.pack(">L", len(first) - 8 + 400) + first[8:] + bytes(400)
    found = salvaged(file(padded, second))
    assert by_mido(found.data) == by_mido(file(first, second)) and found.share == 1.0 and not found.remarks
    tempos = b"\x00\xff\x51\x03\x0f\x42\x40", b"\x00\xff\x51\x04\x07\xa1\x20\x00"
    found = salvaged(file(track(*tempos, NOTE, OFF)))
    assert found.remarks == ["mended: 1 tempo, meter or key of a wrong length left out"]
    told = [
        message.tempo for message in mido.MidiFile(file=BytesIO(found.data)).tracks[0] if message.type == "set_tempo"
    ]
    assert told == [1_000_000]
    for system in (b"\xf1\x01", b"\xf2\x01\x02", b"\xf3\x01", b"\xf6"):
        assert salvaged(file(track(NOTE, b"\x00" + system, OFF))).data == file(track(NOTE, OFF), kind=0)


def test_frames_of_film_are_ticks_and_loud_values_are_127() -> None:
    """29 stands for 30 frames in 1.001 seconds (the standard's drop frame); 40 ticks each are 1,200 a second."""
    for frames, ticks in ((24, 960), (25, 1000), (29, 1200), (30, 1200)):
        score, _ = reader.score(file(track(NOTE, OFF), division=(256 - frames) << 8 | 40))
        assert score.ticks_per_quarter == ticks and [round(tempo.qpm, 3) for tempo in score.tempos] == [60]
    score, _ = reader.score(ODD["loud"][0])
    assert [note.velocity for note in score.tracks[0].notes] == [127]
