"""Octuple: a token is a whole note with its bar, place, tempo, instrument, pitch, loudness and length.

After MusicBERT (Zeng et al., arXiv 2106.05630), with MidiTok's vocabularies. Unlike there the streams go from when to
what, as each is predicted from those before it. Bars are those of 4/4, since a bar without notes has no place for its
meter.
Shapes: n notes, k streams.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.log import logger
from core.words import agree, counted
from hparams.tokenizers.compound import OctupleHParams
from plugins import hookimpl
from plugins.tokenizers.compound.tokenizer import CompoundTokenizer
from plugins.tokenizers.note_tokens.grid import DRUMS, Array
from plugins.tokenizers.note_tokens.options import SPECIALS
from plugins.tokenizers.note_tokens.quantise import Music, Raw

if TYPE_CHECKING:
    from plugins.tokenizers.compound.note_grammar import WholeNoteGrammar

ORDER = ("Bar", "Position", "Tempo", "Program", "Pitch", "Velocity", "Duration")
FIRST_BAR = len(SPECIALS)


class OctupleTokenizer(CompoundTokenizer):
    """A token a note, by onset, instrument and pitch."""

    def __init__(self, hparams: OctupleHParams, folder: Path | None = None) -> None:
        super().__init__("Octuple", ORDER, hparams, folder)
        self.bar, self.step = self.grid.bar((4, 4)), self.grid.step(4)

    def written(self, music: Music) -> Array:
        """Ids (n k) of the notes within the bars that can be told."""
        bars = self.vocab_size - FIRST_BAR
        order = np.lexsort((music.pitch, music.rank, music.time))
        inside = order[music.time[order] < bars * self.bar]
        if len(inside) < len(order):
            left = len(order) - len(inside)
            behind = f"{counted(left, 'note')} behind bar {bars} {agree(left, 'is', 'are')} left out"
            logger.info(f"{behind} (tokenizer.max_bar_embedding)")
        rank, time, pitch = music.rank[inside], music.time[inside], music.pitch[inside]
        columns = {
            "Bar": FIRST_BAR + time // self.bar,
            "Position": time % self.bar // self.step,
            "Pitch": self.pitches[(rank == DRUMS).astype(np.int64), pitch],
            "Duration": self.durations[music.duration[inside]],
        }
        if "Tempo" in self.kinds:
            ticks, tempos = zip(*music.tempos, strict=True)
            columns["Tempo"] = self.table("Tempo", tempos)[np.searchsorted(ticks, time, side="right") - 1]
        if "Program" in self.kinds:
            columns["Program"] = self.programs[rank]
        if "Velocity" in self.kinds:
            columns["Velocity"] = self.table("Velocity", range(128))[music.velocity[inside]]
        return np.stack([columns[kind] for kind in self.kinds], 1)

    def read(self, ids: Array) -> Raw:
        """The notes of tokens (n k); a tempo holds from the first note that has it."""
        told = dict(zip(self.kinds, ids.T, strict=True))
        time = self.onsets(ids)
        tempos: list[tuple[int, int]] = []
        if "Tempo" in told:
            order = np.argsort(time, kind="stable")
            tempos = list(zip(time[order].tolist(), self.tempos[told["Tempo"][order]].tolist(), strict=True))
            tempos = [(0, mspq) for _, mspq in tempos[:1]] + tempos
        level = np.full(len(ids), self.grid.velocity)
        return Raw(
            self.grid.ticks,
            self.ranks[told["Program"]] if "Program" in told else np.zeros(len(ids), dtype=np.int64),
            time,
            self.lengths[told["Duration"]],
            self.values("Pitch")[told["Pitch"]],
            self.values("Velocity")[told["Velocity"]] if "Velocity" in told else level,
            meters=[],
            tempos=tempos,
            keys=[],
        )

    def onsets(self, ids: Array) -> Array:
        """Ticks (n,) at which tokens (n k) begin."""
        onsets: Array = (ids[:, 0] - FIRST_BAR) * self.bar + ids[:, 1] * self.step
        return onsets

    def bar_starts(self, ids: Sequence[Sequence[int]]) -> list[int]:
        """Positions of the first note in each bar that has notes."""
        starts, bar = [], FIRST_BAR - 1
        for at, token in enumerate(ids):
            if bar < token[0] < self.vocab_size:
                starts.append(at)
                bar = token[0]
        return starts

    def grammar(self, bars: int = 0, length: int = 0) -> "WholeNoteGrammar":
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many notes."""
        from plugins.tokenizers.compound.note_grammar import WholeNoteGrammar

        return WholeNoteGrammar(self, bars, length)


def build(hparams: OctupleHParams, folder: Path | None = None) -> OctupleTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return OctupleTokenizer(hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `octuple`."""
    register("octuple", OctupleHParams, build, defaults={"data.augment.transpose": 5})
