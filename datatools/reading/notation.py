"""MusicXML, compressed MusicXML and Humdrum kern to a score, through music21.

Repeats are played, ties joined, transposing instruments written at sounding pitch; a part is a track. A first bar
shorter than its meter (a pick-up) is moved to the end of a whole bar, so that bar lines fall where a counting grid puts
them. Grace notes take a twelfth of a quarter each, just before the note they lead to (at the very beginning: together
with it). A note has the loudness that the file gives it, else 80. Ticks are 480 a quarter.
"""

import io
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import symusic

from core.log import logger
from datatools.reading import played_order as measures
from datatools.reading.canonical import MOST_QUARTERS
from datatools.reading.notation_limits import Refused, check_kern, check_xml

Note = tuple[int, int, int, int]  # start and end in ticks, pitch, velocity

TICKS = 480
VELOCITY = 80
GRACE = Fraction(1, 12)
# What the library raises for damaged archives; UnicodeDecodeError and "negative seek" are ValueErrors.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)
# Most bytes that a compressed score may unpack to.
MOST_BYTES = 64 * 2**20


def score(data: bytes, extension: str, source: str = "") -> tuple[str, symusic.Score]:
    """(title, score) of a file's bytes; ValueError with a one-line reason when it cannot be read."""
    from music21 import converter

    if extension == ".mxl" or data[:4] == b"PK\x03\x04":
        data = unpacked(data)
    kind = "humdrum" if extension == ".krn" else "musicxml"
    text = _text(data)
    if kind == "musicxml":
        if "<score-partwise" not in text and "<score-timewise" not in text:
            raise ValueError("it is no MusicXML: there is no <score-partwise> in it")
        if "<!ENTITY" in text:
            raise ValueError("it defines XML entities, which no score needs")
    try:
        check_xml(text) if kind == "musicxml" else check_kern(text)
        with _heard(source):
            stream = converter.parseData(text, format=kind)
            stream = stream.scores[0] if "Opus" in stream.classes else stream
            title = str(stream.metadata.bestTitle or "") if stream.metadata is not None else ""
            return title, _score(stream, source)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # whatever a foreign parser may raise: the file is at fault and is named by the caller
        raise ValueError(f"music21 cannot read it: {type(error).__name__}: {_one_line(error)}") from error


@contextmanager
def _heard(source: str) -> Iterator[None]:
    """Keeps what music21 prints and warns of from the terminal; where it reads the file after all, the log has it."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, redirect_stdout(printed), redirect_stderr(printed):
        warnings.simplefilter("always")
        yield
    said = [*printed.getvalue().splitlines(), *(str(warning.message) for warning in warned)]
    for line in dict.fromkeys(" ".join(line.split())[:200] for line in said if line.strip()):
        logger.info("%s: music21 says: %s", source or "a score", line)


def unpacked(data: bytes) -> bytes:
    """The score inside a compressed MusicXML archive, read in memory; nothing is unpacked to disk."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if total > MOST_BYTES:
                raise Refused(f"its archive unpacks to {total >> 20} MB; expected at most {MOST_BYTES >> 20}")
            for info in infos:
                name = PurePosixPath(info.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts:
                    raise Refused(f'its archive holds the path "{info.filename}", which leads out of it')
            return _member(archive, _root(archive))
    except Refused:
        raise
    except _BROKEN as error:
        raise ValueError(f"it is no readable archive: {_one_line(error)}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        data = file.read(MOST_BYTES + 1)  # the sizes in an archive's index may lie
    if len(data) > MOST_BYTES:
        raise Refused(f"its archive unpacks to more than {MOST_BYTES // 2**20} MB")
    return data


def _root(archive: zipfile.ZipFile) -> str:
    """Name of the score: what META-INF/container.xml says, else the first XML file."""
    from xml.etree import ElementTree

    names = archive.namelist()
    if "META-INF/container.xml" in names:
        try:
            tree = ElementTree.fromstring(_member(archive, "META-INF/container.xml"))
        except ElementTree.ParseError as error:
            raise Refused(f"its META-INF/container.xml is broken: {_one_line(error)}") from error
        for element in tree.iter():
            path = element.get("full-path", "")
            if element.tag.rpartition("}")[2] == "rootfile" and path in names:
                return path
    for name in names:
        if name.lower().endswith((".xml", ".musicxml")) and not name.startswith(("META-INF", "__MACOSX")):
            return name
    raise Refused("its archive holds no MusicXML")


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _score(stream: Any, source: str) -> symusic.Score:
    stream = _played(stream, source)
    parts = list(stream.parts) or [stream]
    orders = _orders(parts, source) if measures.plain(stream) else _written(parts)
    pickup = _pickup(parts)
    result = symusic.Score(TICKS)
    for part, played in zip(parts, orders, strict=True):
        for track in _tracks(part, played, pickup, source):
            result.tracks.append(track)
    _marks(result, parts, orders, pickup)
    return result


def _orders(parts: list[Any], source: str) -> list[list[int] | None]:
    """The order of measures of each part; the written one where the parts do not repeat alike."""
    bars = [list(part.getElementsByClass("Measure")) for part in parts]
    if not all(bars):
        return _written(parts)
    orders = [measures.order(part) for part in bars]
    if any(played != orders[0] for played in orders):
        logger.warning("%s: repeats not written out: the parts do not repeat alike", source or "a score")
        return _written(parts)
    return list(orders)


def _written(parts: list[Any]) -> list[list[int] | None]:
    return [None for _ in parts]


def _played(stream: Any, source: str) -> Any:
    """Repeats other than |: and :| written out, where they make sense, and instruments at sounding pitch."""
    from music21.exceptions21 import Music21Exception

    if not measures.plain(stream):
        try:
            expanded = stream.expandRepeats()
            lengths = {part.highestTime for part in expanded.parts}
            if len(lengths) > 1 and len({part.highestTime for part in stream.parts}) == 1:
                raise ValueError("the parts do not repeat alike")
            stream = expanded
        except (Music21Exception, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            logger.warning("%s: repeats not written out: %s", source or "a score", _one_line(error))
    instruments = stream.recurse().getElementsByClass("Instrument")
    transposing = any(instrument.transposition is not None for instrument in instruments)
    return stream.toSoundingPitch() if transposing else stream


def _pickup(parts: list[Any]) -> Fraction:
    """Quarters by which to delay the music so that a short first bar ends on a bar line."""
    missing = set()
    for part in parts:
        bars = list(part.getElementsByClass("Measure"))
        if len(bars) < 2:
            return Fraction(0)
        first = bars[0]
        meter = next(iter(first.getElementsByClass("TimeSignature")), None)
        if meter is None:
            return Fraction(0)
        missing.add(Fraction(meter.barDuration.quarterLength) - Fraction(bars[1].offset - first.offset))
    return max(missing) if len(missing) == 1 and max(missing) > 0 else Fraction(0)


def _tick(quarters: Fraction | float) -> int:
    if not -MOST_QUARTERS <= quarters <= MOST_QUARTERS:
        raise Refused(f"it spans {float(quarters):.3g} quarters; expected at most {MOST_QUARTERS}")
    return round(Fraction(quarters) * TICKS)


def _tracks(part: Any, played: list[int] | None, pickup: Fraction, source: str) -> list[Any]:
    instrument = part.getInstrument(returnDefault=False)
    program = (getattr(instrument, "midiProgram", None) or 0) if instrument is not None else 0
    name = str(getattr(part, "partName", None) or "")
    pitched, drums = _notes(part, played, pickup, source)
    result = []
    for notes, is_drum in ((pitched, False), (drums, True)):
        if notes:
            track = symusic.Track(name=name, program=0 if is_drum else program, is_drum=is_drum)
            for start, end, pitch, velocity in notes:
                track.notes.append(symusic.Note(start, max(end - start, 1), pitch, velocity))
            result.append(track)
    return result


def _notes(part: Any, played: list[int] | None, pickup: Fraction, source: str) -> tuple[list[Note], list[Note]]:
    """(pitched, unpitched) notes of a part as (start, end, pitch, velocity) in ticks, ties joined."""
    pitched: list[list[Any]] = []
    drums: list[list[Any]] = []
    tied: dict[int, list[Any]] = {}  # pitch -> the note that a tie may lengthen
    graces: list[Any] = []
    dumb = 0
    for offset, element in measures.elements(part, played, ("NotRest",)):
        if "Harmony" in element.classes:  # a chord symbol, which is read and not played
            continue
        start = offset + pickup
        velocity = element.volume.velocity
        velocity = VELOCITY if velocity is None else max(1, min(127, int(velocity)))
        if element.duration.isGrace:
            graces.append((start, element, velocity))
            continue
        for at, grace, loudness in _placed(graces, start):
            pitched.extend([at, at + GRACE, pitch.midi, loudness] for pitch in getattr(grace, "pitches", ()))
        graces = []
        end = start + Fraction(element.quarterLength)
        for note in getattr(element, "notes", (element,)):
            if "Unpitched" in note.classes:
                sound = getattr(note.storedInstrument, "percMapPitch", None)
                if sound is None:
                    dumb += 1
                else:
                    drums.append([start, end, int(sound), velocity])
                continue
            midi = note.pitch.midi
            tie = note.tie.type if note.tie is not None else ""
            earlier = tied.get(midi)
            if tie in ("stop", "continue") and earlier is not None and earlier[1] == start:
                earlier[1] = end
            else:
                earlier = [start, end, midi, velocity]
                pitched.append(earlier)
            if tie in ("start", "continue"):
                tied[midi] = earlier
            else:
                tied.pop(midi, None)
    for at, grace, loudness in _placed(graces, None):
        pitched.extend([at, at + GRACE, pitch.midi, loudness] for pitch in getattr(grace, "pitches", ()))
    if dumb:
        logger.warning("%s: left out %d unpitched notes whose sound the file does not say", source or "a score", dumb)
    return _ticks(pitched), _ticks(drums)


def _placed(graces: list[Any], start: Fraction | None) -> Iterable[tuple[Fraction, Any, int]]:
    """Onsets of the grace notes that lead to `start` (None: they end the part, and begin where they are written)."""
    for index, (written, grace, velocity) in enumerate(graces):
        at = written + index * GRACE if start is None else written - (len(graces) - index) * GRACE
        yield max(Fraction(0), at), grace, velocity


def _ticks(notes: list[list[Any]]) -> list[Note]:
    return [(_tick(start), _tick(end), pitch, velocity) for start, end, pitch, velocity in notes if 0 <= pitch <= 127]


def _marks(result: symusic.Score, parts: list[Any], orders: list[list[int] | None], pickup: Fraction) -> None:
    """Tempos, meters and keys, each from all parts, one at a time and only where it changes."""
    tempos: dict[int, float] = {}
    meters: dict[int, tuple[int, int]] = {}
    keys: dict[int, tuple[int, int]] = {}
    for part, played in zip(parts, orders, strict=True):
        for offset, element in measures.elements(part, played, ("MetronomeMark", "TimeSignature", "KeySignature")):
            tick = _tick(offset + pickup) if offset else 0
            if "MetronomeMark" in element.classes:
                speed = element.getQuarterBPM() if not element.numberImplicit else element.numberSounding
                if speed:
                    tempos.setdefault(tick, float(speed))
            elif "TimeSignature" in element.classes:
                meters.setdefault(tick, (int(element.numerator), int(element.denominator)))
            else:
                keys.setdefault(tick, (int(element.sharps), int(getattr(element, "mode", "major") == "minor")))
    for tick, speed in _changes(tempos):
        result.tempos.append(symusic.Tempo(tick, qpm=speed))
    for tick, (beats, unit) in _changes(meters):
        result.time_signatures.append(symusic.TimeSignature(tick, beats, unit))
    for tick, (sharps, minor) in _changes(keys):
        result.key_signatures.append(symusic.KeySignature(tick, sharps, minor))


def _changes(marks: dict[int, Any]) -> list[tuple[int, Any]]:
    result: list[tuple[int, Any]] = []
    for tick in sorted(marks):
        if not result or result[-1][1] != marks[tick]:
            result.append((tick, marks[tick]))
    return result
