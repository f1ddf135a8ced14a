"""Files that want to crash, hang, fill or fool a reader: each ends in music or in a reason, in the hub's own workers.

`SWAPTUNES_DATA` names a folder with hostile/, unpacked or as an archive, for the whole set; what is made here does
without.
"""

import io
import os
import re
import struct
import tarfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.contracts.dataset import Item
from datatools.preparing import survey
from datatools.reading import scores
from datatools.workers.pool import Failure, map_pieces

MUSIC = Path(__file__).parent / "music"
XML = (MUSIC / "repeats.musicxml").read_text()
HEAD = "X:1\nM:4/4\nL:1/8\nK:C\n"


def midi(*events: bytes, division: int = 480, end: bytes = b"\0\xff\x2f\0") -> bytes:
    """A file of one track; an event is its delta time and its bytes."""
    track = b"".join(events) + end
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, division)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def packed(**files: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return buffer.getvalue()


def repeats(count: int, times: int = 2) -> str:
    """Repeats inside one another."""
    line = '<barline location="{}"><repeat direction="{}" times="{}"/></barline>'
    rest = "<note><rest/><duration>6</duration></note>"
    begin = f"<measure>{line.format('left', 'forward', times)}{rest}</measure>"
    end = f"<measure>{rest}{line.format('right', 'backward', times)}</measure>"
    return XML.replace("</part>", begin * count + end * count + "</part>", 1)


NOTE = b"\0\x90\x3c\x40\x60\x80\x3c\x40"
MADE: dict[str, tuple[bytes | str, str]] = {
    "tpq-0.mid": (midi(NOTE, division=0), "it has 0 ticks a quarter"),
    "short.mid": (b"MThd", "does not begin with MThd"),
    "smpte.mid": (midi(NOTE, division=0xE728), "read"),
    "tempo-0.mid": (midi(b"\0\xff\x51\3\0\0\0", NOTE), "read"),
    "tempo-short.mid": (midi(b"\0\xff\x51\2\7\1", NOTE), "read"),
    "meter-0.mid": (midi(b"\0\xff\x58\4\0\2\x18\x08", NOTE), "read"),
    "meter-of-two-to-the-255.mid": (midi(b"\0\xff\x58\4\4\xff\x18\x08", NOTE), "read"),
    "velocity-200.mid": (midi(b"\0\x90\x3c\xc8", NOTE), "read"),
    "program-208.mid": (midi(b"\0\xc0\xd0", NOTE), "read"),
    "status-f4.mid": (midi(b"\0\xf4\0", NOTE), "it has no notes"),
    "sysex-unended.mid": (midi(NOTE, b"\0\xf0\x7f\1\2"), "read"),
    "cut.mid": (midi(NOTE)[:-9], "no valid MIDI file"),
    "chunk-of-4-GB.mid": (midi(NOTE).replace(b"MTrk\0\0", b"MTrk\xff\xff"), "read"),
    "silence-of-years.mid": (midi(b"\xff\xff\xff\x7f\x90\x3c\x40\x60\x80\x3c\x40", division=1), "it spans"),
    "slow.mid": (midi(b"\0\xff\x51\3\xff\xff\xff", b"\0\x90\x3c\x40\xff\xff\x7f\x80\x3c\x40", division=96), "hours"),
    "off-without-on.mid": (midi(b"\0\x80\x3c\x40"), "no notes"),
    "on-without-off.mid": (midi(b"\0\x90\x3c\x40" * 500, NOTE), "read"),
    "notes-by-the-thousand.mid": (midi(b"\0\x90\x3c\x40\0\x80\x3c\x40" * 20_000), "read"),
    "tracks-claimed.mid": (midi(NOTE)[:10] + b"\xff\xff" + midi(NOTE)[12:], "read"),
    "meter-4-0.abc": (HEAD.replace("4/4", "4/0") + "abc|\n", "line 2: M:4/0"),
    "length-0.abc": (HEAD.replace("1/8", "1/0") + "abc|\n", "line 3: L:1/0"),
    "note-of-years.abc": (HEAD + "a999999999|\n", "line 5: a note or rest"),
    "brackets.abc": (HEAD + "[" * 50_000 + "\n", "closing bracket"),
    "colons.abc": (HEAD + "abc" + ":" * 50_000 + "\n", "line 5: the bar line"),
    "repeats.abc": (HEAD + "|:" * 400 + "abc" + ":|" * 400 + "\n", "read"),
    "parts.abc": (HEAD.replace("K:", "P:(((A9)9)9)9\nK:") + "P:A\nabc|\nP:B\nabc|\n", "more than 500 parts"),
    "digits.abc": (HEAD.replace("M:4/4", "M:4" + "1" * 100_000) + "abc|\n", "line 2: the field M:"),
    "blanks.abc": (HEAD.replace("M:4/4", "M:4" + " " * 100_000 + "x") + "abc|\n", "line 2: the field M:"),
    "grace.abc": (HEAD + "{abc\n", "line 5: grace notes without"),
    "quote.abc": (HEAD + '"abc\n', "no note"),
    "nul.abc": (HEAD + "ab\0c|\n", "line 5: '\\x00c|' is not ABC"),
    "orders.abc": (HEAD + "K:\x1b[2J\nabc|\n", r"line 5: K:\\x1b\[2J is no key"),
    "title.abc": (HEAD.replace("X:1\n", "X:1\nT:../../../etc/passwd\n") + "abc|\n", "read"),
    "line.abc": (HEAD + "abc|" * 1_100_000 + "\n", "the tune has more than 4000000 characters"),
    "long-title.abc": (HEAD.replace("X:1\n", "X:1\nT:" + "a" * 3_000_000 + "\n") + "abc|\n", "read"),
    "tunes.abc": ("X:1\nK:C\nabc|\n\n" * 2_000, "read"),
    "midi.abc": (midi(NOTE), "it holds no tune"),
    "laughs.xml": ('<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + XML, "XML entities"),
    "outside.xml": ('<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + XML, "XML entities"),
    "beats.xml": (XML.replace("<beats>3<", "<beats>1e308<"), 'its <beats> is "1e308"'),
    "many-beats.xml": (XML.replace("<beats>3<", "<beats>1000000<"), "expected 1 to 99"),
    "fifths.xml": (XML.replace("<fifths>2<", "<fifths>2147483648<"), "its <fifths>"),
    "staves.xml": (XML.replace("<time>", "<staves>2147483648</staves><time>", 1), "read"),
    "divisions-0.xml": (XML.replace("<divisions>6<", "<divisions>0<"), 'its <divisions> is "0"; expected 1 to'),
    "years.xml": (XML.replace("<duration>6<", "<duration>900000000<", 1), "it spans"),
    "times.xml": (XML.replace('direction="backward"', 'direction="backward" times="9999"'), "number of playings"),
    "nested.xml": (repeats(30), "read"),
    "deep.xml": (XML.replace("</score-p", "<a>" * 20_000 + "</a>" * 20_000 + "</score-p"), "read"),
    "unclosed.xml": (XML[:2_000], "line [0-9]+, column [0-9]+: its XML is broken"),
    "encoding.xml": (XML.replace("UTF-8", "none-such"), "read"),
    "timewise.xml": (XML.replace("score-partwise", "score-timewise"), "no notes"),
    "bomb.mxl": (packed(score_xml=XML, bomb_xml=bytes(70 << 20)), "unpacks to 70 MB"),
    "lying.mxl": (packed(score_xml=bytes(70 << 20)).replace(struct.pack("<I", 70 << 20), b"\5\0\0\0"), "no readable"),
    "flipped.mxl": (packed(score_xml=XML)[:60] + b"\xff\xff\xff" + packed(score_xml=XML)[63:], "no readable archive"),
    "meter.krn": ("**kern\n*M999999999/4\n4c\n*-\n", "read"),
    "spines.krn": ("**kern\n" + "*^\n" * 40 + "4c\n*-\n", "columns|no notes"),
}
LIMITS: dict[str, Any] = {"workers": 1, "seconds": 60.0, "megabytes": 1024}  # three times as patient as the hub


def endings(paths: list[Path]) -> dict[str, str]:
    """`read` or the reason for each tune of each file, by the hub's workers."""
    items = []
    for path in paths:
        try:
            tunes = scores.count(path)
        except (ValueError, OSError):
            tunes = 1
        items += [Item(str(path), index) for index in range(min(tunes, 3))]
    found = map_pieces(partial(survey.measure, survey.read_item), items, warm=survey.warm, **LIMITS)
    return {
        f"{Path(item.path).name}#{item.index}": result.reason if isinstance(result, Failure) else "read"
        for item, result in found
    }


def test_what_is_made_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, (data, _) in MADE.items():
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    found = endings([tmp_path / name for name in MADE])
    for name, (_, expected) in MADE.items():
        why = found[f"{name}#0"]
        assert re.search(expected, why), f"{name}: {why}"
        assert why.isprintable()
    assert capfd.readouterr() == ("", "")


def test_what_is_odd_is_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "odd.krn"
    path.write_text("**kern\n*M4/4\n4c\n4?\n4d\n*-\n")
    piece = scores.read(path)
    assert piece.score.note_num() == 2
    assert piece.remarks == ["1 sign in the place of a note is neither note nor rest"]


def test_the_hostile_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No file of the set kills its worker, takes longer or needs more than it may."""
    if not os.environ.get("SWAPTUNES_DATA"):
        pytest.skip("SWAPTUNES_DATA names no folder with the hostile files")
    root = Path(os.environ["SWAPTUNES_DATA"]) / "hostile"
    archive = root / "hostile.tar.gz"
    if archive.is_file():
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path, filter="tar")  # the set has a link that leads nowhere, on purpose
        root = tmp_path
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in scores.EXTENSIONS)
    if not paths:
        pytest.skip(f"{root} holds no hostile file")
    found = endings(paths)
    assert not [name for name, why in found.items() if why.startswith(("kills", "ends the process", "takes", "needs"))]
    assert all(why.isprintable() for why in found.values())
    assert sum(why == "read" for why in found.values()) > 200
    assert capfd.readouterr() == ("", "")
