"""From notes on the grid to MMM's base ids and back: a frame and an instrument around each instrument's notes.

Shapes: n notes, l ids.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from plugins.tokenizers.note_tokens.decoder import Decoder
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.encoder import Encoder
from plugins.tokenizers.note_tokens.grid import DRUMS, Array
from plugins.tokenizers.note_tokens.quantise import COLUMNS, Music, Raw

START, END = "Track_Start", "Track_End"
UNTOLD = "Untold"  # stands for a kind of token that the notes of one instrument do not have


def alone(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary of one instrument's notes, which do not name it."""
    return replace(vocabulary, grid=replace(vocabulary.grid, programs=None))


def of_one(vocabulary: Vocabulary, drums: bool) -> Vocabulary:
    """The vocabulary as the grammar of one instrument has it, with the pitches of drums or those of all others."""
    low, high = vocabulary.grid.drum_pitches
    names = list(vocabulary.names)
    for id, name in enumerate(names):
        kind, _, value = name.partition("_")
        if kind in ("Pitch", "PitchDrum"):
            own = kind == ("PitchDrum" if drums and vocabulary.drum_tokens else "Pitch")
            fits = own and (not drums or low <= int(value) <= high)
            names[id] = f"{'Pitch' if fits else UNTOLD}_{value}"
        elif kind == "Program":
            names[id] = f"{UNTOLD}_{value}"
    return replace(alone(vocabulary), names=tuple(names), drum_tokens=False)


class TracksEncoder:
    """Tells the instruments in the order of their programs, drums last; `base` tells each one's notes."""

    def __init__(self, vocabulary: Vocabulary, base: type[Encoder]) -> None:
        self.base = base(alone(vocabulary))
        self.start, self.end = self.base.id[START], self.base.id[END]
        programs = [*range(DRUMS), -1]
        self.programs = [self.base.id.get(f"Program_{program}", -1) for program in programs]

    def __call__(self, music: Music) -> tuple[Array, Array]:
        """Base ids (l,) of music with notes, and the ticks (l,) at which they are told, from 0 for each instrument."""
        ids: list[Any] = []
        ticks: list[Any] = []
        for rank in np.unique(music.rank).tolist():
            here = music.rank == rank
            told, when = self.base(music._replace(**{key: getattr(music, key)[here] for key in COLUMNS}))
            ids += [[self.start, self.programs[rank]], told, [self.end]]
            ticks += [[0, 0], when, [when[-1]]]
        return np.concatenate(ids).astype(np.int64), np.concatenate(ticks).astype(np.int64)


class TracksDecoder:
    """Reads what stands between a start and the end or the next start, as the notes of the instrument named first."""

    def __init__(self, vocabulary: Vocabulary, base: type[Decoder]) -> None:
        self.base = base(alone(vocabulary))
        self.start, self.end = vocabulary.names.index(START), vocabulary.names.index(END)
        told = [name.partition("_") for name in vocabulary.names]
        ranks = [int(value) if kind == "Program" else -2 for kind, _, value in told]
        self.ranks = np.array([DRUMS if rank == -1 else rank for rank in ranks])  # -2 for what is no program

    def __call__(self, ids: Array) -> Raw:
        """The music that base ids (l,) tell."""
        none = np.empty(0, dtype=np.int64)
        parts = [Raw(self.base.grid.ticks, none, none, none, none, none, [], [], [])]
        starts = np.flatnonzero(ids == self.start)
        for track in np.split(ids, starts)[1:]:
            ends = np.flatnonzero(track == self.end)
            track = track[1 : ends[0]] if len(ends) else track[1:]
            if not len(track):
                continue
            programs = self.ranks[track][self.ranks[track] >= 0]
            found = self.base(track)
            rank = int(programs[0]) if len(programs) else 0
            parts.append(found._replace(rank=np.full(len(found.time), rank)))
        joined = {key: np.concatenate([getattr(part, key) for part in parts]) for key in COLUMNS}
        return Raw(parts[0].tpq, **joined, meters=[], tempos=[], keys=[])
