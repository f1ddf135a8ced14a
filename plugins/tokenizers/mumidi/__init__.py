"""MuMIDI: a token is a bar, a place in it, an instrument or a note, with the bar, the place and the tempo that hold.

After PopMAG (Ren et al., arXiv 2008.07703), with MidiTok's vocabularies; what a token leaves open says so (Ignore).
Bars are those of 4/4. MidiTok gives a bar the tempo of its first note and so reads a change within the bar too early;
here a bar bears the tempo that holds where it begins.
Shapes: n notes, l tokens, k streams.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.log import logger
from core.words import agree, counted
from hparams.tokenizers.mumidi import MuMidiHParams
from plugins import hookimpl
from plugins.tokenizers.compound.tokenizer import CompoundTokenizer
from plugins.tokenizers.note_tokens.grid import DRUMS, Array
from plugins.tokenizers.note_tokens.quantise import Music, Raw

if TYPE_CHECKING:
    from plugins.tokenizers.mumidi.grammar import TracksInTurnGrammar

ORDER = ("Pitch", "BarPosEnc", "PositionPosEnc", "Tempo", "Velocity", "Duration")


class MuMidiTokenizer(CompoundTokenizer):
    """Bars, places, instruments and notes in turn."""

    def __init__(self, hparams: MuMidiHParams, folder: Path | None = None) -> None:
        super().__init__("MuMIDI", ORDER, hparams, folder, opened=("Velocity", "Duration"))
        self.bar, self.step = self.grid.bar((4, 4)), self.grid.step(4)
        self.bar_id, self.first_place = self.ids[0]["Bar_None"], self.ids[0]["Position_0"]
        self.program_ids = np.array([self.ids[0].get(f"Program_{p}", -1) for p in (*range(DRUMS), -1)])  # of a rank
        assert self.names[1][0] == "BarPosEnc_0" and self.names[2][:2] == ["PositionPosEnc_None", "PositionPosEnc_0"]

    @property
    def bars(self) -> int:
        """Bars that have a number."""
        return self.vocab_sizes[1]

    def written(self, music: Music) -> Array:
        """Ids (l k) of the notes within the bars that can be told."""
        inside = np.flatnonzero(music.time < self.bars * self.bar)
        if len(inside) < len(music.time):
            left = len(music.time) - len(inside)
            behind = f"{counted(left, 'note')} behind bar {self.bars} {agree(left, 'is', 'are')} left out"
            logger.info(f"{behind} (tokenizer.max_bar_embedding)")
        if not len(inside):
            return np.zeros((0, self.streams), dtype=np.int64)
        rank, time, pitch = music.rank[inside], music.time[inside], music.pitch[inside]
        turn = np.where(rank == DRUMS, 0, rank + 1)  # drums come first
        bars, places = np.arange(0, time.max() + 1, self.bar), np.unique(time)
        tracks = np.unique(np.stack((time, turn, rank)), axis=1)
        counts = (len(bars), len(places), tracks.shape[1], len(time))
        ticks = np.concatenate((bars, places, tracks[0], time))
        ids = np.zeros((len(ticks), self.streams), dtype=np.int64)
        of_bars, of_places, of_tracks, of_notes = np.split(ids, np.cumsum(counts)[:-1])
        ids[:, 1] = ticks // self.bar
        ids[len(bars) :, 2] = 1 + ticks[len(bars) :] % self.bar // self.step
        of_bars[:, 0] = self.bar_id
        of_places[:, 0] = self.first_place + places % self.bar // self.step
        of_tracks[:, 0] = self.program_ids[tracks[2]]
        of_notes[:, 0] = self.pitches[(rank == DRUMS).astype(np.int64), pitch]
        of_notes[:, -1] = self.durations[music.duration[inside]]
        if "Velocity" in self.kinds:
            of_notes[:, self.stream("Velocity")] = self.table("Velocity", range(128))[music.velocity[inside]]
        if "Tempo" in self.kinds:
            changes, tempos = zip(*music.tempos, strict=True)
            holds = np.searchsorted(changes, ticks, side="right") - 1
            ids[:, self.stream("Tempo")] = self.table("Tempo", tempos)[holds]
        # At one tick the bar comes first, then the place, then each instrument with its notes.
        stage = np.repeat((0, 1, 2, 2), counts)
        turns = np.concatenate((np.zeros(counts[0] + counts[1], dtype=np.int64), tracks[1], turn))
        last = np.concatenate((np.full(sum(counts[:3]), -1), pitch))
        return ids[np.lexsort((last, turns, stage, ticks))]

    def read(self, ids: Array) -> Raw:
        """The notes of tokens (l k) that leave nothing of a note open."""
        first = ids[:, 0]
        places, shift = self.places(first)
        bars = first == self.bar_id
        last = np.maximum.accumulate(np.where(bars | places, np.arange(len(ids)), -1))
        time = np.maximum(np.cumsum(bars) - 1, 0) * self.bar + np.where(last >= 0, shift[last], 0)
        tempos: list[tuple[int, int]] = []
        if "Tempo" in self.kinds:
            told = bars | places
            held = self.tempos[ids[told, self.stream("Tempo")]]
            tempos = list(zip(time[told].tolist(), held.tolist(), strict=True))
            tempos = [(0, mspq) for _, mspq in tempos[:1]] + tempos
        ranks = np.full(self.vocab_size, -1)
        ranks[self.program_ids[self.program_ids >= 0]] = np.flatnonzero(self.program_ids >= 0)
        named = ranks[first]
        at = np.maximum.accumulate(np.where(named >= 0, np.arange(len(ids)), -1))
        rank = np.where(at >= 0, named[at], 0)
        pitched = np.array([name.startswith("Pitch") for name in self.names[0]])
        notes = pitched[first] & (ids[:, -1] > 0)
        level = np.full(len(ids), self.grid.velocity)
        if "Velocity" in self.kinds:
            velocity = ids[:, self.stream("Velocity")]
            notes &= velocity > 0
            level = self.values("Velocity")[velocity]
        return Raw(
            self.grid.ticks,
            rank[notes],
            time[notes],
            self.lengths[ids[notes, -1]],
            self.values("Pitch")[first[notes]],
            level[notes],
            meters=[],
            tempos=tempos,
            keys=[],
        )

    def places(self, ids: Array) -> tuple[Array, Array]:
        """Which ids (l,) of the first stream are places in a bar, and their ticks in it, 0 for others."""
        number = ids - self.first_place
        places = (number >= 0) & (number < self.bar // self.step)
        return places, np.where(places, number * self.step, 0)

    def bar_starts(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """Positions of the bars."""
        return [at for at, token in enumerate(ids) if token[0] == self.bar_id]

    def kind_of(self, id: int, stream: int) -> str:
        """What an id tells."""
        name = self.names[stream][id].partition("_")[0]
        onsets = ("Bar", "Position", "BarPosEnc", "PositionPosEnc")
        kinds = {"Duration": "duration", **dict.fromkeys(onsets, "onset")}
        return "pitch" if name.startswith("Pitch") else kinds.get(name, "other")

    def grammar(self, bars: int = 0, length: int = 0) -> "TracksInTurnGrammar":
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens."""
        from plugins.tokenizers.mumidi.grammar import TracksInTurnGrammar

        return TracksInTurnGrammar(self, bars, length)


def build(hparams: MuMidiHParams, folder: Path | None = None) -> MuMidiTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return MuMidiTokenizer(hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `mumidi`."""
    register("mumidi", MuMidiHParams, build, defaults={"data.augment.transpose": 5})
