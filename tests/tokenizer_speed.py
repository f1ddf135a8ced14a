"""How fast tokenizers are, beside MidiTok: `python -m tests.tokenizer_speed FOLDER [count] [kind ...]`.

Every way encodes, and then decodes, the same files of the folder in one process on one core, in turns; the median of
the turns counts. MidiTok's own way is its `encode` and `decode` with the same options, less what the hub adds. It is a
benchmark and no test.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from datatools.fetching.search import search
from datatools.reading.scores import MIDI, read
from plugins.manager import load_manager

TURNS = 3
COUNT = 60


def rate(work: Callable[[Any], Any], things: list[Any]) -> float:
    """Things a second of this core."""
    start = time.process_time()
    for thing in things:
        work(thing)
    return len(things) / (time.process_time() - start)


def main() -> None:
    """Prints the table."""
    logging.disable(logging.WARNING)
    folder, *words = sys.argv[1:]
    count = int(words.pop(0)) if words and words[0].isdigit() else COUNT
    manager = load_manager()
    found = search(Path(folder).resolve(), MIDI).files
    files = found[:: max(1, len(found) // count)][:count]
    pieces = [read(file) for file in files]
    kinds = words or ["remi", "tsd", "midilike", "structured"]
    rows: dict[str, Callable[[], float]] = {"reading alone": lambda: rate(lambda file: read(file).score, files)}
    tokens = {}
    for kind in kinds:
        entry = manager.tokenizers[kind]
        assert entry.build is not None and entry.hparams is not None
        ours = entry.build(entry.hparams())
        theirs = ours._tokenizer
        ids = [ours.encode(piece) for piece in pieces]
        tokens[kind] = sum(map(len, ids)) / len(ids)

        def encode(piece: Any, theirs: Any = theirs) -> Any:
            return theirs.encode(piece.score)

        told = [theirs.encode(piece.score) for piece in pieces]
        rows[f"{kind}, MidiTok encodes"] = lambda encode=encode: rate(encode, pieces)
        rows[f"{kind}, ours encodes"] = lambda ours=ours: rate(ours.encode, pieces)
        rows[f"{kind}, MidiTok decodes"] = lambda theirs=theirs, told=told: rate(theirs.decode, told)
        rows[f"{kind}, ours decodes"] = lambda ours=ours, ids=ids: rate(lambda one: ours.decode(one).score, ids)
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(TURNS):
        for name, work in rows.items():
            taken[name].append(work())
    print(f"{len(files)} files of {folder}, {TURNS} turns; tokens a file: {tokens}")
    print("| | files/s a core, median | least | most |\n|---|---|---|---|")
    for name, rates in taken.items():
        print(f"| {name} | {median(rates):.0f} | {min(rates):.0f} | {max(rates):.0f} |")


if __name__ == "__main__":
    main()
