"""Mutations of standard MIDI files at the level of chunks and events, so that most of them are still music."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

NUMBERS = (0, 1, 2, 63, 64, 96, 127, 128, 255, 480, 16383, 16384, 65535, 2**21, 2**28 - 1, 2**28, 2**31 - 1, 2**32 - 1)
TEXTS = (b"", b"\xff\xfe\x80", b"\x00" * 9, b"../../etc/passwd", b"a\nb\x1b[2J", "\N{MUSICAL SYMBOL G CLEF}".encode())


@dataclass
class Event:
    """Ticks since the event before, status byte, and what follows it; a meta event's first data byte is its type."""

    delta: int
    status: int
    data: bytes


@dataclass
class File:
    """Format, division and the events of each track."""

    format: int
    division: int
    tracks: list[list[Event]]


def parsed(data: bytes) -> File:
    """A well-formed file taken apart; ValueError for one that is not."""
    try:
        return _parsed(data)
    except (IndexError, struct.error) as error:
        raise ValueError("it is not well-formed") from error


def _parsed(data: bytes) -> File:
    format, _, division = struct.unpack(">HHH", data[8:14])
    at, tracks = 14, []
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            tracks.append(_events(data[at + 8 : at + 8 + length]))
        at += 8 + length
    return File(format, division, tracks)


def _events(data: bytes) -> list[Event]:
    events, at, status = [], 0, 0

    def number() -> int:
        nonlocal at
        value = 0
        while True:
            byte = data[at]
            at += 1
            value = value << 7 | byte & 127
            if byte < 128:
                return value

    while at < len(data):
        delta = number()
        if data[at] >= 128:
            status = data[at]
            at += 1
        if status == 0xFF:
            kind = data[at : at + 1]
            at += 1
            length = number()
            events.append(Event(delta, status, kind + data[at : at + length]))
            at += length
        elif status in (0xF0, 0xF7):
            length = number()
            events.append(Event(delta, status, data[at : at + length]))
            at += length
        else:
            length = 1 if status & 0xE0 == 0xC0 else 2
            events.append(Event(delta, status, data[at : at + length]))
            at += length
    return events


def vlq(value: int) -> bytes:
    """A number as MIDI writes it, in groups of seven bits; more than four groups are not allowed, and are written."""
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def mutated(random: Random, data: bytes, other: bytes) -> bytes:
    """A mutation of the file `data`; `other` lends tracks and events."""
    file, lender = parsed(data), parsed(other)
    for _ in range(min(1 + int(random.expovariate(0.5)), 12)):
        tracks = [track for track in file.tracks if track]
        if random.random() < 0.8 and tracks:
            random.choice(_EVENT_WAYS)(random, random.choice(tracks))
        else:
            random.choice(_FILE_WAYS)(random, file, lender)
    return _written(random, file)


def _delta(random: Random, track: list[Event]) -> None:
    event = random.choice(track)
    event.delta = random.choice((0, event.delta * 2, event.delta // 2, random.randrange(2000), random.choice(NUMBERS)))


def _note(random: Random, track: list[Event]) -> None:
    notes = [event for event in track if event.status & 0xE0 == 0x80 and len(event.data) == 2] or track
    event = random.choice(notes)
    wild = random.random() < 0.1
    value = random.randrange(256 if wild else 128)
    place = random.randrange(2)
    event.data = (event.data + b"\0\0")[:place] + bytes([value]) + event.data[place + 1 :]


def _status(random: Random, track: list[Event]) -> None:
    event = random.choice(track)
    if event.status < 0xF0 and random.random() < 0.9:
        event.status = random.choice((event.status & 0xF0 | random.randrange(16), event.status ^ 0x10))
        event.data = event.data[:1] if event.status & 0xE0 == 0xC0 else (event.data + b"\x40")[:2]
    else:
        event.status = random.randrange(0x80, 0x100)


def _meta(random: Random, track: list[Event]) -> None:
    """A meta event that means much or nothing, of the right length or not."""
    kind, *values = random.choice(
        (
            (0x51, b"\0\0\0", b"\0\0\1", b"\xff\xff\xff", b"\x07\xa1\x20"),
            (0x58, b"\4\xff\x18\x08", b"\0\2\x18\x08", b"\4\0\0\0", b"\xff\7\x18\x08", b"\7\3\x18\x08", b"\3\2\0\0"),
            (0x59, b"\x80\0", b"\x08\0", b"\0\xff", b"\xf9\1", b"\2\1"),
            (0x2F, b""),
            (0x54, bytes(5), b"\xff" * 5),
            (0x20, b"\x0f", b"\xff"),
            (0x21, b"\xff"),
            (0x00, b"\xff\xff"),
            *((kind, *TEXTS, b"x" * 300) for kind in (0x01, 0x03, 0x04, 0x05, 0x06, 0x7F)),
        )
    )
    value = random.choice(values)
    if random.random() < 0.15:
        value = value[:-1] if random.random() < 0.5 else value + b"\0"
    track.insert(random.randrange(len(track) + 1), Event(random.randrange(100), 0xFF, bytes([kind]) + value))


def _channel(random: Random, track: list[Event]) -> None:
    """Pedals, bends, programs and controls in the middle of the music."""
    kind = random.choice((0xA0, 0xB0, 0xB0, 0xC0, 0xD0, 0xE0))
    first = random.choice((64, 120, 123, 0, 7, 127, random.randrange(128)))
    data = bytes([first] if kind & 0xE0 == 0xC0 else [first, random.choice((0, 64, 127))])
    place = random.randrange(len(track) + 1)
    track[place:place] = [Event(random.randrange(30), kind | random.randrange(16), data)] * random.choice((1, 1, 40))


def _sysex(random: Random, track: list[Event]) -> None:
    data = random.randbytes(random.choice((0, 1, 6, 200))) + random.choice((b"\xf7", b""))
    status = random.choice((0xF0, 0xF0, 0xF7, 0xF1, 0xF2, 0xF4, 0xFA))
    track.insert(random.randrange(len(track) + 1), Event(0, status, data if status in (0xF0, 0xF7) else b""))


def _drop(random: Random, track: list[Event]) -> None:
    start = random.randrange(len(track))
    del track[start : start + random.choice((1, 1, 1, 5, 50))]


def _again(random: Random, track: list[Event]) -> None:
    """A stretch a second time on top of itself or after itself, once or many times."""
    start = random.randrange(len(track))
    part = track[start : start + random.choice((1, 2, 10))]
    if random.random() < 0.3:
        part = [Event(0, event.status, event.data) for event in part]
    track[start:start] = part * random.choice((1, 1, 2, 100))


def _move(random: Random, track: list[Event]) -> None:
    start = random.randrange(len(track))
    part = track[start : start + random.choice((1, 3, 20))]
    del track[start : start + len(part)]
    place = random.randrange(len(track) + 1)
    track[place:place] = part


def _tracks(random: Random, file: File, lender: File) -> None:
    way = random.randrange(5)
    if way == 0 and len(file.tracks) > 1:
        file.tracks.pop(random.randrange(len(file.tracks)))
    elif way == 1 and lender.tracks:
        file.tracks.insert(random.randrange(len(file.tracks) + 1), random.choice(lender.tracks))
    elif way == 2:
        file.tracks += [[] for _ in range(random.choice((1, 300)))]
    elif way == 3:
        file.tracks.append([event for track in file.tracks for event in track])
    else:
        random.shuffle(file.tracks)


def _division(random: Random, file: File, lender: File) -> None:
    odd = (1, 24, 32767, lender.division, 96, 0, 0x8000 | 0x1900 | 40, 0xE728, 0xFFFF)
    file.division = random.choice(odd if random.random() < 0.4 else odd[:5])


def _format(random: Random, file: File, lender: File) -> None:
    file.format = random.choice((0, 1, 1, 2, 2, 3, 65535))


_EVENT_WAYS: tuple[Callable[[Random, list[Event]], None], ...] = (
    _delta,
    _delta,
    _note,
    _note,
    _note,
    _status,
    _meta,
    _meta,
    _channel,
    _sysex,
    _drop,
    _drop,
    _again,
    _again,
    _move,
)
_FILE_WAYS: tuple[Callable[[Random, File, File], None], ...] = (_tracks, _tracks, _division, _format)


def _written(random: Random, file: File) -> bytes:
    """The bytes, rarely with lies about lengths and counts, and with running status or without."""
    running, lies = random.random() < 0.5, random.random() < 0.08
    count = random.choice(NUMBERS) & 0xFFFF if lies and random.random() < 0.3 else len(file.tracks)
    length = random.choice((0, 5, 7, 2**31)) if lies and random.random() < 0.2 else 6
    body = b"MThd" + struct.pack(">IHHH", length, file.format, count, file.division)
    for track in file.tracks:
        data, before = bytearray(), 0
        for event in track:
            data += vlq(event.delta)
            if not (running and event.status == before < 0xF0):
                data.append(event.status)
            before = event.status
            if event.status == 0xFF:
                data += event.data[:1] + vlq(len(event.data) - 1) + event.data[1:]
            else:
                data += (vlq(len(event.data)) if event.status in (0xF0, 0xF7) else b"") + event.data
        said = random.choice(NUMBERS) if lies and random.random() < 0.2 else len(data)
        if random.random() < 0.02:
            body += b"XFIH" + struct.pack(">I", 3) + b"abc"
        body += b"MTrk" + struct.pack(">I", said) + data
    if random.random() < 0.02:
        body = b"RIFF" + struct.pack("<I", len(body) + 12) + b"RMIDdata" + struct.pack("<I", len(body)) + body
    return bytes(body)
