"""Standard MIDI files, through symusic, and through `salvage` what it cannot read or would read wrongly.

symusic takes every packet of a continued sysex (F7) for music, drops notes that are never released and plays the
independent sequences of a format 2 file at once: the first is mended, the others are remarks.
"""

import re
import struct
from collections import Counter
from collections.abc import Iterator

import symusic

from core.words import agree, counted
from datatools.reading.midi.salvage import SMALLEST, Salvaged, salvaged, unwrapped

# What symusic says, and what it means to people.
_MEANINGS = {
    r".*header is not MThd.*": "it does not begin with MThd",
    r".*File size is less than (\d+).*": r"it has less than \1 bytes",
    r"Get pitch_bend=(-?\d+)": r"its pitch bend is \1; expected -8192 to 8191",
    r"Get (\w+)=(-?\d+)": r"its \1 is \2; expected at most 127",
}
# All pitches of a channel are released long after a track's end: what ends there was never released by the file.
_LATE = 1 << 27
_LATER = b"\xff\x7f\x00\xc0\x80\x80\x00"  # an empty event, and then a time of _LATE
_RELEASES = [
    (bytes((0x90 | channel,)), b"\x00".join(bytes((0x80 | channel, pitch, 0)) for pitch in range(128)))
    for channel in range(16)
]


def score(data: bytes) -> tuple[symusic.Score, list[str]]:
    """(score in the file's own ticks, remarks); ValueError with the reason when too little of it can be had."""
    counts: Counter[str] = Counter()
    plain = unwrapped(data, counts)
    mended: Salvaged | None = None
    remarks: list[str] = []
    if _packets(plain) or counts:
        mended = _salvaged(data)
    else:
        try:
            result = _read(plain, remarks)
        except (RuntimeError, ValueError) as error:
            mended = _salvaged(data, _meaning(str(error)))
    if mended is not None:
        remarks += mended.remarks
        try:
            result = _read(mended.data, remarks)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"it is no valid MIDI file: {_meaning(str(error))}") from error
    kind, tracks = struct.unpack(">HH", data[data.find(b"MThd") + 8 :][:4])
    if kind == 2 and tracks > 1:
        remarks.append(f"its format is 2: its {tracks} tracks are sequences of their own, and are played together")
    return result, remarks


def _salvaged(data: bytes, why: str = "") -> Salvaged:
    try:
        mended = salvaged(data)
    except ValueError as error:
        raise ValueError(f"it is no valid MIDI file: {error}") from error
    if mended.share < SMALLEST:
        raise ValueError(f"it is no valid MIDI file: {100 * mended.share:.0f} % of it can be had{why and f' ({why})'}")
    return mended


def _packets(data: bytes) -> bool:
    """Whether a byte F7 may begin a packet: it does not end a short sysex, and behind its length an event could begin.

    A walk through all events would tell for sure, and takes ten times as long as reading the file.
    """
    if b"\xf7" not in data:
        return False
    ends = {sum(_number(data, at + 1)) - 1 for at in _places(data, b"\xf0")}
    for at in _places(data, b"\xf7"):
        if at not in ends and data[at - 1] < 0x80:
            _, event = _number(data, sum(_number(data, at + 1)))
            if data[event : event + 1] >= b"\x80":
                return True
    return False


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number of variable length at `at`, and where it ends."""
    value = 0
    for end in range(at, min(at + 4, len(data))):
        value = value << 7 | data[end] & 0x7F
        if data[end] < 0x80:
            return value, end + 1
    return 0, len(data)


def _places(data: bytes, byte: bytes) -> Iterator[int]:
    at = data.find(byte)
    while 0 <= at < len(data) - 1:
        yield at
        at = data.find(byte, at + 1)


def _read(data: bytes, remarks: list[str]) -> symusic.Score:
    """What symusic reads, and a remark on notes that are never released, which it leaves out."""
    result: symusic.Score = symusic.Score.from_midi(_released(data))
    if result.end() >= _LATE:
        result = symusic.Score.from_midi(data)
        lost = salvaged(data).struck - int(result.note_num())
        if lost:
            remarks.append(f"left out {counted(lost, 'note')} that {agree(lost, 'is', 'are')} never released")
    return result


def _released(data: bytes) -> bytes:
    """The file with late releases of all notes in each track, of the channels that may strike any."""
    at = 8 + int.from_bytes(data[4:8], "big")
    out = [data[:at]]
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        chunk = data[at + 8 : end]
        if end > len(data) or data[at : at + 4] != b"MTrk" or not chunk.endswith(b"\xff\x2f\x00"):
            break
        releases = b"\x00".join(releases for strike, releases in _RELEASES if strike in chunk)
        if releases:
            chunk = chunk[:-3] + _LATER + releases + b"\x00" + chunk[-3:]
        out += [data[at : at + 4], len(chunk).to_bytes(4, "big"), chunk]
        at = end
    return b"".join([*out, data[at:]])


def _meaning(said: str) -> str:
    reason = " ".join(said.split()).removeprefix("MiniMidi: ").removesuffix(": iostream error")
    for pattern, meaning in _MEANINGS.items():
        match = re.fullmatch(pattern, reason)
        if match:
            return match.expand(meaning).replace("_", " ")
    return reason
