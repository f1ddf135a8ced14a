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
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from datatools.abc import book
from datatools.reading import scores
from tests.reading_classes import amended, plain

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
    return data.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def by_verovio(path: Path) -> Notes | None:
    import symusic
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    if not toolkit.loadData(_xml(path.read_bytes())):  # UTF-16, or an archive of it, verovio does not know
        return None
    return of_score(symusic.Score.from_midi(base64.b64decode(toolkit.renderToMIDI())))


def by_partitura(path: Path) -> Notes | None:
    sys.modules.setdefault("fluidsynth", None)  # type: ignore[arg-type]  # it is not needed, and partitura dies of an odd one
    import partitura

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
        score = symusic.Score.from_midi(out.read_bytes())  # the lower notes of some chords are struck 10 ticks late
        return Counter(
            (round((note.time - 5) * GRID / 480), note.pitch) for track in score.tracks for note in track.notes
        )


def explained(path: Path, read: Reader) -> str:
    """The class for which a reader and we differ; nothing where none is known."""
    xml = path.suffix.lower() in scores.XML
    if not xml and path.suffix.lower() != ".abc":
        return ""
    data = path.read_bytes()
    for name, text in amended(_xml(data) if xml else plain(book.decode_bytes(data))):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / ("amended.musicxml" if xml else "amended.abc")
            text = re.sub(r"encoding=.utf-16.", 'encoding="utf-8"', text, count=1, flags=re.IGNORECASE)
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
            theirs = read(file)
            if theirs and shifted(of_score(scores.read(file).score)) == shifted(theirs):
                return name
    return ""


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

    With `turns` a reader is asked only about files on which none before it agrees with us.
    """
    readers = installed()
    report: dict[str, Any] = {}
    for path in paths:
        start = time.process_time()
        try:
            piece = scores.read(path)
            ours, remarks, failure = of_score(piece.score), piece.remarks, ""
        except ValueError as error:
            ours, remarks, failure = Counter(), [], str(error)
        spent = time.process_time() - start
        kind = "MusicXML" if path.suffix.lower() in scores.XML else path.suffix.lower()[1:]
        verdicts: dict[str, str] = {}
        for name, (extensions, read) in readers.items():
            if path.suffix.lower() not in extensions or (turns and "the same" in verdicts.values()):
                continue
            one = report.setdefault(f"{kind} and {name}", {"files": {}, "seconds": 0.0, "ours": 0.0})
            start = time.process_time()
            try:
                theirs = read(path)
            except Exception as error:
                theirs, why = None, f"{name} fails: {type(error).__name__}"
            else:
                why = f"{name} reads nothing"
            one["seconds"] += time.process_time() - start
            one["ours"] += spent
            if failure:
                verdict = "we refuse it" + ", and so does it" * (theirs is None)
            else:
                verdict = why if theirs is None else classed(ours, theirs, remarks)
                if theirs is not None and verdict != "the same":
                    verdict = explained(path, read) or verdict
            verdicts[name] = verdict
            one["files"].setdefault(verdict, []).append(str(path))
        agrees = "the same" in verdicts.values()
        told = "the same" if agrees else "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
        together = report.setdefault(f"{kind} and any", {"files": {}, "seconds": 0.0, "ours": 0.0})
        together["files"].setdefault(told, []).append(str(path))
        together["ours"] += spent
    return report


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
