"""Our readers against other people's, on any folder of music: `python -m tests.readers FOLDER [files=200] [seed=0]`.

Each file is read by us and by every independent reader that is installed: verovio, partitura and music21 (MusicXML,
kern), mido (MIDI, values clipped), abc2midi (ABC, each tune of a book); with `turns=true` by one after the other until
one agrees with us, which is far faster. Notes are compared by (onset, pitch), onsets from the first note on and on a
grid of a 24th of a quarter, grace notes aside where only their place differs. What is not the same is put in a class
and counted, also that with which none of them agrees; the files of each are listed.
"""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from datatools.abc import book
from datatools.reading import scores
from tests.reading_classes import ABC, Class, plain
from tests.reading_classes_xml import XML

GRID = 24  # of a quarter
Notes = Counter[tuple[int, int]]  # (onset on the grid, pitch)
Reader = Callable[[Path], Notes | None]


def shifted(notes: Notes) -> Notes:
    """The notes with the first at 0: pick-ups and silent first bars are placed in several ways."""
    first = min((onset for onset, _ in notes), default=0)
    return Counter({(onset - first, pitch): count for (onset, pitch), count in notes.items()})


def of_score(score: Any) -> Notes:
    """The notes of a symusic score."""
    quarter = score.ticks_per_quarter
    return Counter((round(note.time * GRID / quarter), note.pitch) for track in score.tracks for note in track.notes)


def by_mido(path: Path) -> Notes:
    import mido

    file = mido.MidiFile(path, clip=True)
    found: Notes = Counter()
    for track in file.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                found[round(now * GRID / file.ticks_per_beat), message.note] += 1
    return found


def _xml(data: bytes) -> str:
    """The text of a notation file, whatever it is packed in."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith("xml") and not name.startswith("META-INF")]
            data = archive.read(names[0])
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    return re.sub(r"encoding=.utf-16.", 'encoding="utf-8"', text, count=1, flags=re.IGNORECASE)


def by_verovio(path: Path) -> Notes | None:
    import symusic
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    if not toolkit.loadData(_xml(path.read_bytes())):
        return None
    return of_score(symusic.Score.from_midi(base64.b64decode(toolkit.renderToMIDI())))


def by_partitura(path: Path) -> Notes | None:
    sys.modules.setdefault("fluidsynth", None)  # type: ignore[arg-type]  # it is not needed, and partitura dies of an odd one
    import partitura

    sys.setrecursionlimit(100_000)  # it copies a part by recursion over its notes
    with tempfile.TemporaryDirectory() as folder:
        packed = path.read_bytes()
        if packed[:2] == b"PK":  # which partitura takes for another kind of score
            path = Path(folder) / "score.musicxml"
            path.write_text(_xml(packed), encoding="utf-8", errors="surrogatepass")
        score = partitura.score.unfold_part_maximal(partitura.load_score(str(path)))
    arrays = [part.note_array() for part in getattr(score, "parts", [score])]
    rows = [row for array in arrays for row in array]
    return Counter((round(float(row["onset_quarter"]) * GRID), int(row["pitch"])) for row in rows)


def by_music21(path: Path) -> Notes | None:
    from music21 import converter

    stream = converter.parse(str(path))
    stream = stream.expandRepeats().toSoundingPitch()
    found: Notes = Counter()
    for note in stream.flatten().notes:
        if note.tie is None or note.tie.type == "start":
            for pitch in note.pitches:
                found[round(note.offset * GRID), pitch.midi] += 1
    return found


def by_abc2midi(path: Path) -> Notes | None:
    import symusic

    with tempfile.TemporaryDirectory() as folder:
        tune, out = Path(folder) / "tune.abc", Path(folder) / "tune.mid"
        tune.write_text(plain(book.decode_bytes(path.read_bytes())), encoding="utf-8", errors="surrogatepass")
        subprocess.run(["abc2midi", str(tune), "-o", str(out)], capture_output=True, timeout=60, check=False)
        if not out.exists():
            return None
        score = symusic.Score.from_midi(out.read_bytes())
    notes = [(note.time, note.pitch) for track in score.tracks for note in track.notes]
    begun = min(notes, default=(0, 0))[0]  # at tick 1
    struck: dict[int, int] = {}  # the notes of some chords are struck 10 ticks of 480 after one another
    for tick in sorted({tick for tick, _ in notes}):
        struck[tick] = struck.get(tick - 10, tick)
    return Counter((round((struck[tick] - begun) * GRID / 480), pitch) for tick, pitch in notes)


def explained(path: Path, read: Reader) -> str:
    """The classes for which a reader and we differ, no more than are needed; nothing where none is known."""
    xml = path.suffix.lower() in scores.XML
    if not xml and path.suffix.lower() != ".abc":
        return ""
    data = path.read_bytes()
    text = _xml(data) if xml else plain(book.decode_bytes(data))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ("amended.musicxml" if xml else "amended.abc")

        def amended(classes: list[Class]) -> Path:
            file.write_text(reduce(lambda kept, one: one.amend(kept), classes, text), "utf-8", "surrogatepass")
            return file

        def agree(classes: list[Class]) -> bool:
            theirs = read(amended(classes))
            return theirs is not None and _ours(file) == shifted(theirs)

        known = [one for one in (XML if xml else ABC) if one.amend(text) != text]
        told = _ours(amended([]))
        found = [one for one in known if one.is_open or _ours(amended([one])) == told]
        all_but_one = [[other for other in found if other is not one] for one in found]
        found = next((some for some in (found, *all_but_one, *([one] for one in found)) if agree(some)), [])
        for one in list(found):
            less = [other for other in found if other is not one]
            found = less if agree(less) else found
    return "; ".join(one.name for one in found)


def _ours(path: Path) -> Notes | None:
    try:
        return shifted(of_score(scores.read(path).score))
    except ValueError:
        return None


def installed() -> dict[str, tuple[frozenset[str], Reader]]:
    """Independent readers that are here, by name, with the extensions that they are asked about."""
    notation = scores.XML | {".krn"}
    known: dict[str, tuple[frozenset[str], Reader]] = {
        "verovio": (notation, by_verovio),
        "partitura": (notation, by_partitura),
        "mido": (scores.MIDI, by_mido),
        "music21": (notation, by_music21),
    }
    found = {name: one for name, one in known.items() if find_spec(name) is not None}
    if shutil.which("abc2midi"):
        found["abc2midi"] = (frozenset({".abc"}), by_abc2midi)
    return found


def apart(paths: list[Path], folder: Path) -> list[Path]:
    """The files, a book of ABC as a file for each of its tunes in `folder`."""
    found: list[Path] = []
    for path in paths:
        tunes = book.tunes(book.decode_bytes(path.read_bytes())) if path.suffix.lower() == ".abc" else []
        if len(tunes) < 2:
            found.append(path)
            continue
        for number, tune in enumerate(tunes):
            found.append(folder / f"{path.stem}#{number}.abc")
            found[-1].write_text(tune, encoding="utf-8", errors="surrogatepass")
    return found


def classed(ours: Notes, theirs: Notes, remarks: list[str]) -> str:
    """The same, or how two readings differ."""
    ours, theirs = shifted(ours), shifted(theirs)
    missing, added = theirs - ours, ours - theirs
    if not missing and not added:
        return "the same"
    pitches = [
        Counter({p: sum(c for (_, q), c in notes.items() if q == p) for _, p in notes}) for notes in (ours, theirs)
    ]
    if pitches[0] == pitches[1]:
        moved = max(missing.total(), added.total()) / max(ours.total(), 1)
        return "the same notes, some a little elsewhere" if moved < 0.1 else "the same notes at other times"
    if remarks:
        return "other notes, and we say why"
    change = abs(ours.total() - theirs.total()) / max(theirs.total(), 1)
    if change > 0.2:
        return "repeats played otherwise"
    return "we have more notes" if ours.total() > theirs.total() else "we have other notes or fewer"


def compare(paths: list[Path], turns: bool = False) -> dict[str, Any]:
    """For each independent reader, and for all together: files by class, and seconds that it and we took.

    With `turns` a reader is asked only about files on which none before it agrees with us, and for a reason only until
    one has been found.
    """
    readers = installed()
    report: dict[str, Any] = {}
    for path in paths:
        extension = path.suffix.lower()
        kind = "MusicXML" if extension in scores.XML else extension[1:]
        asked = {name: read for name, (extensions, read) in readers.items() if extension in extensions}
        verdicts, spent = _verdicts(path, asked, turns)
        if "the same" not in verdicts.values() or not turns:
            for name, verdict in verdicts.items():
                if verdict not in ("the same", "we refuse it") and not verdict.startswith(name):
                    verdicts[name] = explained(path, asked[name]) or verdict
                    if turns and verdicts[name] != verdict:
                        break
        for name, verdict in verdicts.items():
            one = report.setdefault(f"{kind} and {name}", {"files": {}, "seconds": 0.0, "ours": 0.0})
            one["seconds"] += spent[name]
            one["ours"] += spent["ours"]
            one["files"].setdefault(verdict, []).append(str(path))
        told = together(verdicts)
        one = report.setdefault(f"{kind} and any", {"files": {}, "seconds": 0.0, "ours": 0.0})
        one["files"].setdefault(told, []).append(str(path))
        one["ours"] += spent["ours"]
    return report


def _verdicts(path: Path, asked: dict[str, Reader], turns: bool) -> tuple[dict[str, str], dict[str, float]]:
    """What each reader makes of a file beside what we do, and the seconds that each and we took."""
    start = time.process_time()
    try:
        piece = scores.read(path)
    except ValueError:
        return dict.fromkeys(asked, "we refuse it"), dict.fromkeys((*asked, "ours"), 0.0)
    ours = of_score(piece.score)
    verdicts, spent = {}, {"ours": time.process_time() - start}
    for name, read in asked.items():
        start = time.process_time()
        try:
            theirs = read(path)
        except Exception as error:
            verdicts[name] = f"{name} fails: {type(error).__name__}"
        else:
            verdicts[name] = f"{name} reads nothing" if theirs is None else classed(ours, theirs, piece.remarks)
        spent[name] = time.process_time() - start
        if turns and verdicts[name] == "the same":
            break
    return verdicts, spent


def together(verdicts: dict[str, str]) -> str:
    """The verdict on a file: the same as any reader, a known reason to differ from one, or how all differ."""
    if "the same" in verdicts.values():
        return "the same"
    reasons = {one.name for one in (*XML, *ABC)}
    for verdict in verdicts.values():
        if set(verdict.split("; ")) <= reasons:
            return verdict
    return "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())


def main(words: list[str]) -> int:
    """Prints the classes with their counts; all files but the same ones go to readers.json."""
    settings = dict(word.split("=", 1) for word in words[1:])
    extensions = scores.EXTENSIONS
    paths = sorted(path for path in Path(words[0]).rglob("*") if path.suffix.lower() in extensions and path.is_file())
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        paths = apart(paths, Path(folder))
        Random(int(settings.get("seed", 0))).shuffle(paths)
        report = compare(paths[: int(settings.get("files", 200))], settings.get("turns") == "true")
    for pair, one in sorted(report.items()):
        total = sum(len(files) for files in one["files"].values())
        took = f", it takes {one['seconds']:.1f} s" if one["seconds"] else ""
        print(f"{pair}: {total} files; we take {one['ours']:.1f} s{took}")
        for verdict, files in sorted(one["files"].items(), key=lambda item: -len(item[1])):
            print(f"  {len(files):5}  {verdict}")
    differing = {
        pair: {verdict: files for verdict, files in one["files"].items() if verdict != "the same"}
        for pair, one in report.items()
    }
    Path("readers.json").write_text(json.dumps(differing, indent=1))
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
    sys.exit(main(sys.argv[1:]))
