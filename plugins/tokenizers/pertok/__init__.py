"""PerTok: bars, coarse time shifts, and notes with how far each is off them (Lemonaide), through MidiTok.

Tokens are MidiTok's, but for the microtiming behind an instrument, which its note says again and which nobody reads,
and for the shift that MidiTok puts behind it, where a note lies halfway between two places.
MidiTok 3.1.0 tells a change of tempo where the note before it lies, and takes a bar of 6/8 for twelve quarters; neither
is told here.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hparams.tokenizers.pertok import PerTokHParams
from plugins import hookimpl
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.grid import Grid
from plugins.tokenizers.note_tokens.options import grid_of, refuse_marks
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer
from plugins.tokenizers.pertok.coding import MicroDecoder, MicroEncoder
from plugins.tokenizers.pertok.steps import Steps

if TYPE_CHECKING:
    from plugins.tokenizers.pertok.grammar import MicroGrammar


class PerTokTokenizer(MidiTokTokenizer):
    """MidiTok's PerTok on a grid of its steps of microtiming."""

    hparams: PerTokHParams

    def __init__(self, hparams: PerTokHParams, folder: Path | None = None) -> None:
        super().__init__("PerTok", hparams, folder)
        refuse_marks(self._tokenizer.config, "PerTok")

    @cached_property
    def grid(self) -> Grid:
        """Onsets a step of microtiming apart, and durations by `beat_res`."""
        ticks = self.hparams.ticks_per_quarter
        lengths = np.array(sorted(self.steps.lengths.values()), dtype=np.int64)
        found = grid_of(self._tokenizer)
        return Grid(
            **{**vars(found), "ticks": ticks, "positions": ticks // self.hparams.unit, "durations": {4: lengths}}
        )

    @cached_property
    def steps(self) -> Steps:
        """Which shift is told for which time."""
        return Steps(self._tokenizer, self.hparams.unit)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(
            names=tuple(self.base_tokens),
            grid=self.grid,
            bars=True,
            velocities=bool(self._tokenizer.config.use_velocities),
            drum_tokens=bool(self._tokenizer.config.use_pitchdrum_tokens),
            ticks={4: self.steps.lengths},
        )

    @cached_property
    def _fast(self) -> tuple[MicroEncoder, MicroDecoder]:
        return MicroEncoder(self._vocabulary, self.steps), MicroDecoder(self._vocabulary, self.steps)

    def grammar(self, bars: int = 0, length: int = 0) -> "MicroGrammar":  # type: ignore[override]
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens.
        ValueError with a learnt vocabulary."""
        from plugins.tokenizers.pertok.grammar import MicroGrammar

        if self._tokenizer.is_trained:
            raise ValueError("there is no grammar for PerTok with a learnt vocabulary; leave it off to use one")
        return MicroGrammar(self._vocabulary, self.steps, self.eos_id, bars, length)

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        """The first token, since the first bar is not told, and those that tell a bar."""
        return sorted({*range(min(1, len(ids))), *super().bar_starts(ids)})


def build(hparams: PerTokHParams, folder: Path | None = None) -> PerTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return PerTokTokenizer(hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `pertok`."""
    register("pertok", PerTokHParams, build, defaults={"data.augment.transpose": 5})
