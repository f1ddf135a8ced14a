"""How fast our readers are beside other people's: `python -m tests.reading_speed FOLDER ... [files=60] [others=6]`.

A row for each folder and format: as many of its files, evenly taken, are read by us, of those so many by every
independent reader that is installed (`tests.readers`), one after the other, on one core in one process, three times
over; the median of the rates counts. It is a benchmark and no test.
"""

import sys
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import mean, median

from datatools.fetching.search import search
from datatools.reading import scores
from tests.readers import installed, of_score

TURNS = 3
FORMATS: dict[str, Collection[str]] = {
    "MusicXML": scores.XML,
    "kern": frozenset({".krn"}),
    "ABC": frozenset({".abc"}),
    "MIDI": scores.MIDI,
}


def evenly(files: list[Path], count: int) -> list[Path]:
    """As many of the files, or all, in even steps."""
    return files[:: max(1, len(files) // count)][:count]


def rate(read: Callable[[Path], object], files: list[Path]) -> tuple[float, int]:
    """Files a second of this core's time, and how many of them failed."""
    failed, start = 0, time.process_time()
    for file in files:
        try:
            failed += read(file) is None
        except Exception:  # whatever another reader does
            failed += 1
    return len(files) / (time.process_time() - start), failed


def row(name: str, files: list[Path], count: int, others: int) -> list[str]:
    """The cells of a table's row: what was read, and each reader's rate."""
    ours = evenly(files, count)
    readers = {name: read for name, (known, read) in installed().items() if ours[0].suffix.lower() in known}
    few = evenly(ours, others)
    for read in readers.values():  # what is imported or compiled at first use
        rate(read, few[:1])
    rates: dict[str, list[float]] = {name: [] for name in ("ours", *readers)}
    failures: dict[str, int] = {}
    for _ in range(TURNS):
        rates["ours"].append(rate(scores.read, ours)[0])
        for reader, read in readers.items():
            speed, failures[reader] = rate(read, few)
            rates[reader].append(speed)
    notes = mean(of_score(scores.read(file).score).total() for file in few)
    size = mean(file.stat().st_size for file in ours) / 1000
    cells = [f"{name}, {len(ours)} files of {notes:,.0f} notes, {size:,.0f} kB", f"{median(rates.pop('ours')):.0f}"]
    for reader, speeds in rates.items():
        failed = f", failed on {failures[reader]} of {len(few)}" if failures[reader] else ""
        cells.append(f"{reader} {median(speeds):.2g}{failed}")
    return cells


def main() -> None:
    """Prints the table."""
    warnings.simplefilter("ignore")
    options = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    count, others = int(options.get("files", 60)), int(options.get("others", 6))
    for folder in (Path(word) for word in sys.argv[1:] if "=" not in word):
        for kind, extensions in FORMATS.items():
            files = search(folder.resolve(), extensions).files
            if files:
                print("| " + " | ".join(row(f"{folder.name}: {kind}", files, count, others)) + " |", flush=True)


if __name__ == "__main__":
    main()
