"""What each tokenizer keeps of real music, and how fast: `python -m tests.roundtrip [NAME=FOLDER ...] [pieces=30]`.

Chorales and folk tunes come with the install; other sets are folders of MIDI files, under any name. Of each set every
k-th file in order is read, and each registered tokenizer, with its defaults, tells it and reads it back. `write=true`
puts the table into plugins/README.md. It is a benchmark and no test: it takes minutes.

Columns: pieces told of those read, notes told of theirs, told notes whose onset and duration are kept within a 24th of
a quarter, tokens a note of the source, files encoded and decoded in a second of the processor (the score is read, ABC
is not made of it beforehand). Notes are compared in quarters, or in seconds (a quarter being half of one) where
more come back so: tokens of performances know no beats.
"""

import logging
import sys
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from core.contracts.piece import Piece
from datatools.fetching.search import search
from datatools.reading.scores import MIDI, read
from plugins.manager import load_manager
from supervisors.evaluation.round_trip import DURATION, ONSET, columns, pairs
from tests.readme_pages import block

PIECES = 30
KEPT = 1 / 24 + 1e-6  # quarters
TICKS = 1000  # in a quarter of half a second
HEADER = (
    "| data | tokenizer | pieces | notes told | onset kept | duration kept | tokens a note | encoded a s | decoded |"
    "\n|---|---|---|---|---|---|---|---|---|\n"
)


def sample(things: Sequence[Any], count: int) -> list[Any]:
    """Every k-th, at most `count`."""
    return list(things[:: max(1, -(-len(things) // count))])


def installed(name: str, count: int) -> list[Piece]:
    """Pieces of a data set that needs no folder."""
    entry = load_manager().datasets[name]
    assert entry.build is not None and entry.hparams is not None
    items = sorted(entry.build(entry.hparams()).items())
    return [read(item.path, item.index) for item in sample(items, count)]


def by_the_clock(score: symusic.Score) -> symusic.Score:
    """The same notes at a quarter each half second."""
    seconds = score.to("second")
    result = symusic.Score(TICKS)
    for track in seconds.tracks:
        notes = track.notes.numpy()
        out = symusic.Track(program=track.program, is_drum=track.is_drum)
        ticks = {key: np.rint(notes[key] * 2 * TICKS).astype(np.int32) for key in ("time", "duration")}
        out.notes = symusic.Note.from_numpy(**ticks, pitch=notes["pitch"], velocity=notes["velocity"])
        result.tracks.append(out)
    return result


def compared(source: symusic.Score, again: symusic.Score) -> tuple[int, int, int]:
    """Notes told, and of these the onsets and the durations kept."""
    one, other = columns(source), columns(again)
    mine, theirs = pairs(one, other)
    moved = np.abs(one[mine] - other[theirs]) <= KEPT
    return len(mine), int(moved[:, ONSET].sum()), int(moved[:, DURATION].sum())


def kept(pieces: Sequence[Piece], again: Sequence[symusic.Score]) -> tuple[int, int, int]:
    """`compared` over all pieces, in quarters or in seconds, whichever keeps more onsets."""
    clocks = (lambda score: score, by_the_clock)
    sums = [
        np.sum([compared(clock(p.score), clock(back)) for p, back in zip(pieces, again, strict=True)], axis=0)
        for clock in clocks
    ]
    told, onset, duration = max(sums, key=lambda counts: counts[1]).tolist()
    return told, onset, duration


def row(name: str, tokenizer: Any, pieces: Sequence[Piece]) -> str:
    """Cells behind the name of the data."""
    told: list[Piece] = []
    ids: list[Any] = []
    start = time.process_time()
    for piece in pieces:
        try:
            ids.append(tokenizer.encode(piece))
            told.append(piece)
        except ValueError:
            continue
    encoded = len(pieces) / (time.process_time() - start)
    if not told:
        return f"| {name} | 0 of {len(pieces)} | | | | | | |"
    start = time.process_time()
    again = [tokenizer.decode(each).score for each in ids]
    decoded = len(told) / (time.process_time() - start)
    notes = sum(len(track.notes) for piece in told for track in piece.score.tracks)
    found, onset, duration = kept(told, again)
    cells = [f"{len(told)} of {len(pieces)}", share(found, notes), share(onset, found), share(duration, found)]
    cells += [f"{sum(map(len, ids)) / notes:.2f}", f"{encoded:.0f}", f"{decoded:.0f}"]
    return f"| {name} | {' | '.join(cells)} |"


def share(part: int, whole: int) -> str:
    """In percent, never rounded up to all."""
    return f"{min(100 * part / max(whole, 1), 100 if part == whole else 99.9):.1f} %"


def main() -> None:
    """Prints the table, and writes it where asked."""
    logging.disable(logging.WARNING)
    settings = dict(word.split("=", 1) for word in sys.argv[1:])
    count, write = int(settings.pop("pieces", PIECES)), settings.pop("write", "false") == "true"
    sets = {name: installed(name, count) for name in ("bach_chorales", "folk_tunes")}
    for name, folder in settings.items():
        sets[name] = [read(file) for file in sample(search(Path(folder).resolve(), MIDI).files, count)]
    for piece in chain.from_iterable(sets.values()):
        assert piece.score.tracks
    lines = []
    manager = load_manager()
    for label, pieces in sets.items():
        for name in manager.tokenizers:
            entry = manager.tokenizers[name]
            assert entry.build is not None and entry.hparams is not None
            lines.append(f"| {label} {row(name, entry.build(entry.hparams()), pieces)}")
            print(lines[-1], flush=True)
    if write:
        path, found = block("roundtrip")
        start, end = found.span(1)
        page = HEADER + "\n".join(lines) + "\n"
        path.write_text(found.string[:start] + page + found.string[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
