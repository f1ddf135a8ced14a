"""Standard MIDI files that are damaged, odd or wrapped, rewritten as plain ones, with a word for each thing mended.

Events are walked one by one: sysex and its continued or escaped packets (F7) are left out by their lengths, values
above 127 become 127, bytes that mean nothing are passed over, and a track that breaks off keeps what came before.

Source: The Complete MIDI 1.0 Detailed Specification (1996), "Standard MIDI Files 1.0"; RP-29 (RMID).
"""

import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from core.words import agree, counted

SMALLEST = 0.5  # share of a file that must be there
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_META_LENGTHS = {0x51: 3, 0x58: 4, 0x59: 2}  # of tempo, meter and key; others are of any length
_END = 0x2F
_SECONDS = b"\x00\xff\x51\x03" + (1_000_000).to_bytes(3, "big") + b"\x00\xff\x2f\x00"  # a quarter a second
# What was mended, by how many of it there were.
_WORDS: dict[str, Callable[[int], str]] = {
    "wrapped": lambda n: "taken out of its RIFF file",
    "preceded": lambda n: f"{counted(n, 'byte')} before MThd passed over",
    "header": lambda n: f"a header of {counted(n, 'byte')}",
    "format": lambda n: f"its format {n} taken for 1",
    "frames": lambda n: f"times in frames ({counted(n, 'tick')} a second) told as ticks at 60 quarters a minute",
    "clipped": lambda n: f"{counted(n, 'value')} above 127 made 127",
    "junk": lambda n: f"{counted(n, 'byte')} of no meaning passed over",
    "meta": lambda n: f"{n:,} {agree(n, 'tempo, meter or key', 'tempos, meters or keys')} of a wrong length left out",
    "cut": lambda n: f"{counted(n, 'track')} {agree(n, 'breaks', 'break')} off; what came before is kept",
    "held": lambda n: f"{counted(n, 'note')} left sounding where a track breaks off {agree(n, 'ends', 'end')} there",
}


@dataclass
class Salvaged:
    """A plain MIDI file; `share` of what it should hold is there, `struck` counts its notes."""

    data: bytes
    share: float
    struck: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def remarks(self) -> list[str]:
        """What was mended, a line each."""
        return [f"mended: {words(self.counts[kind])}" for kind, words in _WORDS.items() if self.counts[kind]]


def unwrapped(data: bytes, counts: Counter[str]) -> bytes:
    """The bytes from MThd on; those before it are a RIFF or MacBinary header or the like."""
    start = data.find(b"MThd")
    if start <= 0:
        return data
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        counts["wrapped"] = 1
    else:
        counts["preceded"] = start
    return data[start:]


def salvaged(data: bytes) -> Salvaged:
    """What can be had of a damaged MIDI file; ValueError where it has no header or no track."""
    counts: Counter[str] = Counter()
    data = unwrapped(data, counts)
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError("it does not begin with MThd")
    length, kind, declared, division = struct.unpack(">LHHH", data[4:14])
    if length != 6:
        counts["header"] = length or 1
    if kind > 2:
        counts["format"] = kind
    at = 8 + length if 6 <= length <= 1024 else 14
    quarter = _division(division, counts)
    tracks: list[bytes] = []
    had = claimed = struck = 0
    while True:
        at = data.find(b"MTrk", at)
        if at < 0 or at + 8 > len(data):
            break
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        track = _Track(data[at + 8 : at + 8 + size], counts)
        tracks.append(track.written(tempos=not counts["frames"]))
        had += track.read
        struck += sum(event[0] >> 4 == 9 and event[2] > 0 for _, event in track.events)
        claimed += track.read if track.ended else max(size, track.read)
        at += 8 + (size if at + 8 + size <= len(data) else track.read)
    if not tracks:
        raise ValueError("it has no track")
    if counts["cut"] and declared > len(tracks):  # what broke off may have been whole tracks
        claimed += (declared - len(tracks)) * claimed // len(tracks)
    if counts["frames"]:
        tracks.append(_SECONDS)
    header = struct.pack(">LHHH", 6, min(len(tracks) - 1, 1), len(tracks), quarter)
    chunks = b"".join(b"MTrk" + struct.pack(">L", len(track)) + track for track in tracks)
    return Salvaged(b"MThd" + header + chunks, had / max(claimed, 1), struck, counts)


def _division(division: int, counts: Counter[str]) -> int:
    """Ticks a quarter; frames a second become ticks of quarters that last a second."""
    if division < 0x8000:
        if not division:
            raise ValueError("it has 0 ticks a quarter; expected 1 or more")
        return division
    frames, ticks = 256 - (division >> 8), division & 0xFF
    if not ticks:
        raise ValueError(f"its times are {frames} frames of no tick; expected 1 or more")
    # 29 stands for 30 frames in 1.001 seconds
    counts["frames"] = min((30 if frames == 29 else frames) * ticks, 0x7FFF)
    return counts["frames"]


class _Track:
    """One track: its events (time, bytes), how many of its bytes were read, and whether it came to its end."""

    def __init__(self, data: bytes, counts: Counter[str]) -> None:
        self.data = data
        self.counts = counts
        self.events: list[tuple[int, bytes]] = []
        self.now = self.at = self.read = 0
        self.ended = False
        with suppress(IndexError):  # the data end within an event
            self._walk()
        if not self.ended:
            counts["cut"] += 1
            self._release()

    def written(self, tempos: bool) -> bytes:
        """The track's bytes, with every status in full and its end; without its tempos unless they are wanted."""
        out = bytearray()
        before = 0
        for time, event in [*self.events, (self.now, b"\xff\x2f\x00")]:
            if not tempos and event[:2] == b"\xff\x51":
                continue
            out += _varlen(time - before) + event
            before = time
        return bytes(out)

    def _walk(self) -> None:
        data = self.data
        status = 0
        while not self.ended:
            self.read = self.at
            if self.at >= len(data):
                return
            self.now += self._number()
            first = data[self.at]
            if first >= 0xF0:
                status = 0
                self._system(first)
                continue
            if first >= 0x80:
                status = first
                self.at += 1
            elif not status:
                self.counts["junk"] += 1
                self.at += 1
                continue
            count = _DATA_BYTES[status >> 4]
            values = data[self.at : self.at + count]
            if len(values) < count:
                return
            high = sum(value > 127 for value in values)
            if high:
                self.counts["clipped"] += high
                values = bytes(min(value, 127) for value in values)
            self.at += count
            self.events.append((self.now, bytes((status,)) + values))

    def _system(self, status: int) -> None:
        self.at += 1
        if status in (0xF0, 0xF7):
            length = self._number()
            if self.at + length > len(self.data):
                raise IndexError
            self.at += length
        elif status == 0xFF:
            kind = self.data[self.at]
            self.at += 1
            length = self._number()
            content = self.data[self.at : self.at + length]
            if len(content) < length:
                raise IndexError
            self.at += length
            if kind == _END:
                self.ended = True
                self.read = self.at
            elif kind in _META_LENGTHS and length != _META_LENGTHS[kind]:
                self.counts["meta"] += 1
            else:
                self.events.append((self.now, bytes((0xFF, kind)) + _varlen(length) + content))
        else:
            self.counts["junk"] += 1
            self.at += _SYSTEM_BYTES.get(status, 0)

    def _number(self) -> int:
        value = 0
        for _ in range(4):
            byte = self.data[self.at]
            self.at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise IndexError  # a number of more than four bytes: what follows cannot be told

    def _release(self) -> None:
        """Ends the notes that sound where the track breaks off."""
        held: Counter[tuple[int, int]] = Counter()
        for _, event in self.events:
            key = (event[0] & 0x0F, event[1])
            if event[0] >> 4 == 9 and event[2]:
                held[key] += 1
            elif event[0] >> 4 in (8, 9) and held[key]:
                held[key] -= 1
        for (channel, pitch), count in held.items():
            self.counts["held"] += count
            self.events += [(self.now, bytes((0x80 | channel, pitch, 64)))] * count


def _varlen(number: int) -> bytes:
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(number & 0x7F | 0x80)
    return bytes(reversed(out))
