"""The melodies of a token store's pieces, as its tokens tell them, kept beside it: what copies are looked for in.

As the tokens tell them, because what a model has seen, and what it makes, went through the tokenizer.
"""

import json
from typing import Any
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from core.contracts.dataset import SPLITS, Split
from core.contracts.tokenizer import Tokenizer
from core.files import atomic
from datatools.preparing.store import TokenStore
from plugins.metrics.parts.copies import Melody, of_line
from plugins.metrics.parts.embedding import melody
from plugins.metrics.parts.notes import STEPS, Integers, notes_of

FILE = "melodies.npz"
FORMAT = 1
Line = tuple[Integers, Integers]  # onsets in steps of the grid, and pitches


def lines(store: TokenStore, tokenizer: Tokenizer) -> dict[Split, list[Line]]:
    """Onsets and pitches of the highest notes of every piece, split by split."""
    counts = [store.count(split) for split in SPLITS]
    path = store.folder / FILE
    try:
        with np.load(path, allow_pickle=False) as held:
            table, offsets = held["table"], held["offsets"]
            good = int(held["format"]) == FORMAT and len(offsets) == sum(counts) + 1
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        good = False
    if not good:
        found = [
            np.stack(melody(notes_of(tokenizer.decode(store.ids(split, number).tolist()).score)))
            for split in tqdm(SPLITS, desc="melodies", unit="split", dynamic_ncols=True)
            for number in tqdm(range(store.count(split)), desc=split, unit="piece", leave=False, dynamic_ncols=True)
        ]
        table = np.concatenate([np.zeros((2, 0)), *found], axis=1).astype(np.int32)
        offsets = np.cumsum([0, *(line.shape[1] for line in found)])
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, table=table, offsets=offsets, format=np.array(FORMAT))
    parts = np.split(table.astype(np.int64), offsets[1:-1], axis=1) if sum(counts) else []
    everything = [(part[0], part[1]) for part in parts]
    ends = np.cumsum(counts).tolist()
    return {split: everything[end - count : end] for split, count, end in zip(SPLITS, counts, ends, strict=True)}


def whole(line: Line) -> Melody:
    """A line in steps."""
    return of_line(*line)


def beginning(line: Line, beats: float) -> Melody:
    """The first so many quarters of a line, in steps."""
    onsets, pitches = line
    inside = onsets < beats * STEPS
    return of_line(onsets[inside], pitches[inside])


def works(store: TokenStore, split: Split) -> Integers:
    """A number for each piece of a split, the same for pieces that are near-duplicates of each other."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.get(name, name) != name:
            name = root[name]
        return name

    for row in near(store):
        for elder in row["elders"]:
            root[find(elder["name"])] = find(row["source"])
    roots = [find(info.source) for info in store.pieces(split)]
    return np.unique(roots, return_inverse=True)[1] if roots else np.zeros(0, dtype=np.int64)


def near(store: TokenStore) -> list[dict[str, Any]]:
    """The store's record of near-duplicates: each piece that has elders, its side and these."""
    return [json.loads(line) for line in (store.folder / "near.jsonl").read_bytes().splitlines()]
