"""Whether other programs read what is written: `python -m tests.readback [PIECES] [TOKENIZER ...]`, 100 of three.

Pieces are random tokens under each tokenizer's grammar, whose rhythms are worse than any model's. MusicXML is read by
music21 and, where it is installed, by Verovio, whose notes must be those that were written; WAV must have the music's
length and sound where it sounds; ABC must be taken by abc2midi, where it is installed, without an error.
"""

import base64
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import symusic

from core.errors import HubError
from datatools.writing import formats, sound
from tests.test_writing import sounding
from tests.validity import built, sequences

CHANNELS = re.compile("All 16 MIDI channels used up|Channel limit exceeded")


def through_verovio(text: str) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch) in 24ths of a quarter, as Verovio plays the score."""
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    if not toolkit.loadData(text):
        return []
    played = symusic.Score.from_midi(base64.b64decode(toolkit.renderToMIDI()))
    per = played.ticks_per_quarter / 24  # a note is let go a tick early
    return sorted(
        (round(n.time / per), round((n.duration + 1) / per), n.pitch) for track in played.tracks for n in track.notes
    )


def through_music21(path: Path) -> list[tuple[int, int, int]]:
    """The same as music21 reads it. Its own `stripTies` leaves ties of chords and voices; these are joined here."""
    music21 = __import__("music21")
    found = []
    for part in music21.converter.parse(path, forceSource=True).parts:
        open_: dict[tuple[int, int], tuple[int, int]] = {}  # (where it ends, pitch) -> onset and length so far
        for element in sorted(part.flatten().notes, key=lambda one: one.offset):
            for note in element.notes if element.isChord else [element]:
                tie = (note.tie or element.tie).type if (note.tie or element.tie) else ""
                start, length = round(element.offset * 24), round(element.quarterLength * 24)
                if tie in ("stop", "continue"):
                    begun, before = open_.pop((start, note.pitch.midi), (start, 0))
                    start, length = begun, before + length
                if tie in ("start", "continue"):
                    open_[start + length, note.pitch.midi] = start, length
                else:
                    found.append((start, length, note.pitch.midi))
    return sorted(found)


def heard(path: Path, score: symusic.Score) -> str:
    """What is wrong with a file of sound; empty where nothing is."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32768
        seconds = file.getnframes() / file.getframerate()
    timed = score.to("second")
    end = max(note.time + note.duration for track in timed.tracks for note in track.notes)
    if abs(seconds - end - sound.TAIL) > 0.1:
        return f"lasts {seconds:.2f} s, expected {end + sound.TAIL:.2f}"
    for track in timed.tracks:
        for note in track.notes:
            first = int(note.time * sound.RATE)
            if np.abs(samples[first : first + sound.RATE // 10]).max(initial=0) < 1e-3:
                return f"is silent at {note.time:.2f} s"
    return ""


def taken(path: Path) -> str:
    """What abc2midi says against a tune; empty where it takes it."""
    out = path.with_suffix(".by_abc2midi.mid")
    said = subprocess.run(["abc2midi", str(path), "-o", str(out)], capture_output=True, text=True, timeout=60)
    # A tune with more voices than MIDI has channels is none that MIDI could hold.
    errors = [line for line in said.stdout.splitlines() if line.startswith("Error") and not CHANNELS.search(line)]
    return errors[0] if errors else "" if out.exists() else "no MIDI file came of it"


def faults_of(ids: list[int], tokenizer: object, folder: Path) -> dict[str, str]:
    """Reader -> what is wrong with what it read of one piece."""
    piece = tokenizer.decode(ids)  # type: ignore[attr-defined]
    score = piece.score if formats.on_grid(piece.score) else formats.quantised(piece.score)
    wanted, found = sounding(score), {}
    path = formats.write(piece, folder / "piece", "musicxml")
    readers = {"music21": through_music21, "verovio": lambda path: through_verovio(path.read_text(encoding="utf-8"))}
    for name, reader in readers.items():
        try:
            read = reader(path)
        except ImportError:
            continue
        missing, extra = Counter(wanted) - Counter(read), Counter(read) - Counter(wanted)
        if missing or extra:
            found[name] = f"lacks {sorted(missing)[:3]}, has {sorted(extra)[:3]} more, of {len(wanted)} notes"
    if wrong := heard(formats.write(piece, folder / "piece", "wav"), piece.score):
        found["wav"] = wrong
    if shutil.which("abc2midi") and (wrong := taken(formats.write(piece, folder / "piece", "abc"))):
        found["abc2midi"] = wrong
    return found


def main(words: list[str]) -> None:
    """Prints how many pieces of each tokenizer each reader read right, and the first faults."""
    warnings.filterwarnings("ignore")
    count, *names = words or ["100"]
    wrong = 0
    for name in names or ["remi", "tsd", "abc"]:
        tokenizer = built(name, 0)
        counts: Counter[str] = Counter()
        for number, ids in enumerate(sequences(tokenizer, 0, int(count), True)):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = faults_of(ids, tokenizer, Path(folder))
                except (HubError, ValueError) as error:
                    found = {"writing": str(error)}
            for reader, why in found.items():
                counts[reader] += 1
                if counts[reader] <= 3:
                    print(f"{name} {number}: {reader}: {why[:300]}", flush=True)
        wrong += counts.total()
        print(f"{name}: {count} pieces; wrong: {dict(counts) or 'none'}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
