"""MMM: the instruments one after the other, each framed and told by REMI or TSD (Ens & Pasquier), through MidiTok.

arXiv 2008.06048; with durations where the paper has notes released, as in MidiTok. Bars are those of 4/4, and tempos
are not told: MidiTok writes both anew for each instrument and reads those of the first.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hparams.tokenizers.mmm import MmmHParams
from plugins import hookimpl
from plugins.tokenizers.mmm.tracks import END, START, TracksDecoder, TracksEncoder
from plugins.tokenizers.note_tokens.grid import Array, Sections
from plugins.tokenizers.note_tokens.options import refuse_marks
from plugins.tokenizers.note_tokens.tokenizer import FAST, MidiTokTokenizer

if TYPE_CHECKING:
    from plugins.tokenizers.mmm.grammar import TracksGrammar


class MmmTokenizer(MidiTokTokenizer):
    """MidiTok's MMM."""

    hparams: MmmHParams

    def __init__(self, hparams: MmmHParams, folder: Path | None = None) -> None:
        super().__init__("MMM", hparams, folder)
        refuse_marks(self._tokenizer.config, "Mmm", but="program_changes")

    @cached_property
    def _fast(self) -> tuple[TracksEncoder, TracksDecoder]:  # type: ignore[override]  # called alike
        encoder, decoder = FAST[self.hparams.base_tokenizer]
        return TracksEncoder(self._vocabulary, encoder), TracksDecoder(self._vocabulary, decoder)

    def _written(self, base: Array, ticks: Array, sections: Sections) -> list[str]:
        """The words, none of which holds a frame or an instrument beside anything else."""
        start, end = self.base_tokens.index(START), self.base_tokens.index(END)
        frames = np.flatnonzero((base == start) | (base == end))
        words = []
        for first, last in pairwise(frames.tolist()):
            if base[first] == start:
                words += [self._characters[base[first]], self._characters[base[first + 1]]]
                words += super()._written(base[first + 2 : last], ticks[first + 2 : last], sections)
                words.append(self._characters[base[last]])
        return words

    def grammar(self, bars: int = 0, length: int = 0) -> "TracksGrammar":  # type: ignore[override]
        """What may follow what. `bars` > 0: instruments of exactly so many bars each; `length` > 0: of at most so many
        tokens in all. ValueError with a learnt vocabulary."""
        from plugins.tokenizers.mmm.grammar import TracksGrammar

        if self._tokenizer.is_trained:
            raise ValueError("there is no grammar for MMM with a learnt vocabulary; leave it off to use one")
        return TracksGrammar(self._vocabulary, self.eos_id, bars, length)

    @property
    def bar_starts(self) -> Callable[[Sequence[int]], list[int]]:  # type: ignore[override]
        """There are none: bars begin anew with each instrument."""
        raise AttributeError("bars begin anew with each instrument")


def build(hparams: MmmHParams, folder: Path | None = None) -> MmmTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return MmmTokenizer(hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `mmm`."""
    register("mmm", MmmHParams, build, defaults={"data.augment.transpose": 5})
