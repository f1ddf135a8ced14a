"""Compound words: a token is a bar, a place in it, or a note with its instrument, pitch, loudness and length.

After Hsiao et al. (arXiv 2101.02402), with MidiTok's vocabularies; what a token leaves open says so (Ignore). Bars are
those of 4/4.
Shapes: n notes, l tokens, k streams.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hparams.tokenizers.compound import CpWordHParams
from plugins import hookimpl
from plugins.tokenizers.compound.tokenizer import CompoundTokenizer
from plugins.tokenizers.note_tokens.grid import DRUMS, Array
from plugins.tokenizers.note_tokens.quantise import Music, Raw

if TYPE_CHECKING:
    from plugins.tokenizers.compound.word_grammar import WordGrammar

ORDER = ("Family", "Position", "Tempo", "Program", "Pitch", "Velocity", "Duration")
METRIC, NOTE = 3, 4  # families
BAR, FIRST_POSITION = 1, 2  # what takes the place of a position


class CpWordTokenizer(CompoundTokenizer):
    """Bars, places and notes in turn."""

    def __init__(self, hparams: CpWordHParams, folder: Path | None = None) -> None:
        super().__init__("CPWord", ORDER, hparams, folder)
        self.bar, self.step = self.grid.bar((4, 4)), self.grid.step(4)
        assert self.names[0][METRIC:] == ["Family_Metric", "Family_Note"]
        assert self.names[1][:3] == ["Ignore_None", "Bar_None", "Position_0"]
        self.note_streams = [at for at, kind in enumerate(self.kinds) if kind not in ("Family", "Position", "Tempo")]

    def written(self, music: Music) -> Array:
        """Ids (l k); a change of tempo has a place of its own."""
        order = np.lexsort((music.pitch, music.rank, music.time))
        rank, time = music.rank[order], music.time[order]
        ticks, tempos = (list(each) for each in zip(*music.tempos, strict=True))
        places = np.unique(np.concatenate((time, ticks if "Tempo" in self.kinds else [])).astype(np.int64))
        bars = np.arange(0, time[-1] + 1, self.bar)
        ids = np.zeros((len(bars) + len(places) + len(time), self.streams), dtype=np.int64)
        first, second, third = np.split(ids, [len(bars), len(bars) + len(places)])
        first[:, 0] = second[:, 0] = METRIC
        first[:, 1] = BAR
        second[:, 1] = FIRST_POSITION + places % self.bar // self.step
        third[:, 0] = NOTE
        columns = {
            "Pitch": self.pitches[(rank == DRUMS).astype(np.int64), music.pitch[order]],
            "Duration": self.durations[music.duration[order]],
        }
        if "Tempo" in self.kinds:
            holds = np.searchsorted(ticks, places, side="right") - 1
            second[:, self.stream("Tempo")] = self.table("Tempo", tempos)[holds]
        if "Program" in self.kinds:
            columns["Program"] = self.programs[rank]
        if "Velocity" in self.kinds:
            columns["Velocity"] = self.table("Velocity", range(128))[music.velocity[order]]
        for kind, column in columns.items():
            third[:, self.stream(kind)] = column
        # at one tick the bar comes first, then the place, then the notes
        rank = np.repeat((0, 1, 2), (len(bars), len(places), len(time)))
        return ids[np.lexsort((rank, np.concatenate((bars, places, time))))]

    def read(self, ids: Array) -> Raw:
        """The notes of tokens (l k) that leave nothing of a note open."""
        metric = ids[:, 0] == METRIC
        bars, places = metric & (ids[:, 1] == BAR), metric & (ids[:, 1] >= FIRST_POSITION)
        shift = np.where(places, (ids[:, 1] - FIRST_POSITION) * self.step, 0)
        last = np.maximum.accumulate(np.where(bars | places, np.arange(len(ids)), -1))
        time = np.maximum(np.cumsum(bars) - 1, 0) * self.bar + np.where(last >= 0, shift[last], 0)
        tempos: list[tuple[int, int]] = []
        if "Tempo" in self.kinds:
            tempo = ids[:, self.stream("Tempo")]
            told = places & (tempo > 0)
            tempos = list(zip(time[told].tolist(), self.tempos[tempo[told]].tolist(), strict=True))
            tempos = [(0, mspq) for _, mspq in tempos[:1]] + tempos
        notes = (ids[:, 0] == NOTE) & (ids[:, self.note_streams] > 0).all(1)
        told_notes = dict(zip(self.kinds, ids[notes].T, strict=True))
        count = int(notes.sum())
        level = np.full(count, self.grid.velocity)
        return Raw(
            self.grid.ticks,
            self.ranks[told_notes["Program"]] if "Program" in told_notes else np.zeros(count, dtype=np.int64),
            time[notes],
            self.lengths[told_notes["Duration"]],
            self.values("Pitch")[told_notes["Pitch"]],
            self.values("Velocity")[told_notes["Velocity"]] if "Velocity" in told_notes else level,
            meters=[],
            tempos=tempos,
            keys=[],
        )

    def bar_starts(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """Positions of the bars."""
        return [at for at, token in enumerate(ids) if token[0] == METRIC and token[1] == BAR]

    def kind_of(self, id: int, stream: int) -> str:
        """What an id tells; a family tells whether time goes on."""
        name = self.names[stream][id].partition("_")[0]
        kinds = {"Family": "onset", "Bar": "onset", "Position": "onset", "Duration": "duration"}
        return "pitch" if name.startswith("Pitch") else kinds.get(name, "other")

    def grammar(self, bars: int = 0, length: int = 0) -> "WordGrammar":
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens."""
        from plugins.tokenizers.compound.word_grammar import WordGrammar

        return WordGrammar(self, bars, length)


def build(hparams: CpWordHParams, folder: Path | None = None) -> CpWordTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return CpWordTokenizer(hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `cpword`."""
    register("cpword", CpWordHParams, build, defaults={"data.augment.transpose": 5})
