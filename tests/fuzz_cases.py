"""Fuzzed music files, each a pure function of (kind, seed, number) and of the good files it is made from, and how
reading one ends: read, refused with a reason in one line, or a finding.
"""

import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from xml.etree import ElementTree

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from datatools.abc import book as abc_book
from datatools.preparing import survey
from datatools.reading import scores
from datatools.reading.musicxml.archive import unpacked
from datatools.workers.worker import reason
from tests import fuzz_abc, fuzz_midi, fuzz_notation, made_scores

MUSIC = Path(__file__).parent / "music"
Corpus = dict[str, list[bytes]]
Mutation = Callable[[Random, bytes, bytes], bytes]

KINDS: dict[str, tuple[str, Mutation]] = {
    "midi": (".mid", fuzz_midi.mutated),
    "abc": (".abc", fuzz_abc.mutated),
    "musicxml": (".musicxml", fuzz_notation.musicxml),
    "mxl": (".mxl", fuzz_notation.mxl),
    "kern": (".krn", fuzz_notation.kern),
}
# Bytes of a good file, at most: many small inputs find more than few large ones.
MOST_BYTES = {"midi": 4_000, "abc": 1_500, "musicxml": 6_000, "kern": 2_500}
MOST_FILES = 400  # of one kind
_LAYOUT = ("default-", "relative", "color", "font-siz", "font-fam", "width")
PARTS, MEASURES = 2, 2  # that are kept of a MusicXML file
LONGEST_ABC = 1_000  # quarters of a piece that is written as ABC


class Outcome(NamedTuple):
    """`end` is read, refused, slow, memory or unhandled; `why` the reason or the exception."""

    end: str
    why: str
    seconds: float


class TooSlow(BaseException):
    """A limit of time has passed; no `except Exception` holds it up."""


def corpus(folder: str = "") -> Corpus:
    """Good files by kind: those of the tests and, where a folder is named, those below it."""
    found: Corpus = {kind: [] for kind in KINDS}
    for score in made_scores.tunes(6):
        found["midi"].append(score.dumps_midi())
    for root in (MUSIC, Path(folder)) if folder else (MUSIC,):
        names = sorted(path for path in root.rglob("*") if path.suffix.lower() in scores.EXTENSIONS and path.is_file())
        for path in names:
            for kind, data in _good(path):
                if len(data) <= MOST_BYTES[kind] and len(found[kind]) < MOST_FILES:
                    found[kind].append(data)
    found["mxl"] = found["musicxml"]
    return found


def _good(path: Path) -> Iterator[tuple[str, bytes]]:
    """(kind, bytes) of what a good file lends: itself, the tunes of a book, the beginning of a MusicXML file."""
    extension, data = path.suffix.lower(), path.read_bytes()
    if extension in scores.MIDI:
        with suppress(ValueError):
            fuzz_midi.parsed(data)
            yield "midi", data
    elif extension == ".krn":
        yield "kern", data
    elif extension == ".abc":
        text = abc_book.decode_bytes(data)
        for index in range(min(abc_book.count_tunes(text), 20)):
            yield "abc", abc_book.tune(text, index).encode()
    else:
        root = ElementTree.fromstring(unpacked(data) if data[:2] == b"PK" else data)
        for part in root.findall("part")[PARTS:]:
            root.remove(part)
        for listed in root.findall("part-list"):
            for entry in [entry for entry in listed if entry.tag != "score-part"] + listed.findall("score-part")[
                PARTS:
            ]:
                listed.remove(entry)
        for part in root.findall("part"):
            for measure in part.findall("measure")[MEASURES:]:
                part.remove(measure)
        for element in list(root.iter()):
            element.attrib = {name: value for name, value in element.attrib.items() if name[:8] not in _LAYOUT}
            for child in [child for child in element if child.tag in ("print", "credit", "defaults", "lyric", "beam")]:
                element.remove(child)
        yield "musicxml", ElementTree.tostring(root)


def case(kind: str, seed: int, number: int, good: Corpus) -> bytes:
    """Input `number` of a kind: mostly a mutation that knows the format, else one of bytes."""
    random = Random(f"{kind} {seed} {number}")
    data, other = random.choice(good[kind]), random.choice(good[kind])
    if random.random() < 0.85:
        return KINDS[kind][1](random, data, other)
    if kind == "mxl":
        data = fuzz_notation.mxl(random, data, other)
    return flipped(random, data, other)


def flipped(random: Random, data: bytes, other: bytes) -> bytes:
    """A few bytes changed, taken out or put in; cut short, or joined to another file, at times."""
    result = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30))):
        at = random.randrange(len(result) + 1)
        way = random.randrange(8)
        if way < 4 and at < len(result):
            result[at] = random.choice((result[at] ^ 1 << random.randrange(8), random.randrange(256), 0, 255))
        elif way == 4:
            del result[at : at + random.choice((1, 1, 4, 60))]
        elif way == 5:
            result[at:at] = random.randbytes(random.choice((1, 4, 60)))
        elif way == 6:
            result[at:at] = result[at : at + 20] * random.choice((1, 30))
        elif random.random() < 0.2:
            result[at:] = other[random.randrange(len(other)) :] if random.random() < 0.5 else b""
    return bytes(result)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TooSlow in what runs longer; native code that does not return is the worker's parent's business."""

    def stop(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ending(work: Callable[[], Any], seconds: float) -> Outcome:
    """How a piece of work ends; a ValueError of one line is a reason, every other exception a finding."""
    start = time.perf_counter()
    try:
        with limited(seconds):
            work()
        end, why = "read", ""
    except TooSlow:
        end, why = "slow", f"more than {seconds:g} s"
    except MemoryError:
        end, why = "memory", "MemoryError"
    except ValueError as error:
        ours = type(error) is ValueError or type(error).__module__.split(".")[0] in ("core", "datatools", "plugins")
        good = ours and str(error).strip() and str(error).isprintable()
        end, why = ("refused", str(error)) if good else ("unhandled", f"{type(error).__name__}: {reason(error)}")
    except Exception as error:
        end, why = "unhandled", reason(error)
    return Outcome(end, why, time.perf_counter() - start)


def reading(kind: str, data: bytes, folder: Path, seconds: float, write: bool) -> Outcome:
    """How a file of these bytes ends that is used as the hub uses it; of a book, the first tune of two that reads."""
    path = folder / f"input{KINDS[kind][0]}"
    path.write_bytes(data)
    tunes: list[int] = []
    outcome = ending(lambda: tunes.append(scores.count(path)), seconds)
    for index in range(min(2, tunes[0])) if outcome.end == "read" else ():
        outcome = ending(partial(use, path, index, write), seconds)
        if outcome.end != "refused":
            break
    return outcome


def use(path: Path, index: int, write: bool) -> None:
    """Reads a piece and measures it; `write` has it written as MIDI and as ABC too, and read again."""
    piece = scores.read(path, index)
    survey.measure(lambda _: piece, Item(str(path), index))
    if write:
        written(piece)


def written(piece: Piece) -> None:
    """Writes a piece as MIDI and, where ABC can tell it, as ABC, and reads both again."""
    from datatools.reading.midi import reader

    score = piece.score
    again, _ = reader.score(score.dumps_midi())
    assert again.note_num() > 0, "no note is left in the MIDI file"
    if score.end() > LONGEST_ABC * score.ticks_per_quarter:  # it would only take longer
        return
    try:
        text = piece.abc
    except ValueError:
        return
    try:
        told = scores.piece_from_abc(text).score
    except ValueError as error:
        raise AssertionError(f"its ABC cannot be read again: {error}") from error
    assert notes(told) == notes(score), "its ABC tells other notes"


def notes(score: Any) -> list[tuple[Fraction, Fraction, int]]:
    """(onset, end, pitch) of all notes in quarters, sorted."""
    ticks = score.ticks_per_quarter
    return sorted(
        (Fraction(note.time, ticks), Fraction(note.time + note.duration, ticks), note.pitch)
        for track in score.tracks
        for note in track.notes
    )


def family(why: str) -> str:
    """A reason without what differs from file to file."""
    why = re.sub(r"line \d+: |^/\S*: ", "", why)
    why = re.sub(r"""'[^']*'|"[^"]*"|[KLMVPQ]:\S*""", "...", why)
    return re.sub(r"[-\d./#]*\d[-\d./]*", "#", why)[:70]


def most(counts: dict[str, int], number: int) -> Iterable[tuple[str, int]]:
    """The commonest entries."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:number]


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, kilobytes elsewhere
