"""Hyper-parameters of the tokenizer mumidi."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from hparams.base import require
from hparams.following import Follows
from hparams.tokenizers.compound import MORE_BARS, CompoundHParams


@dataclass(kw_only=True)
class MuMidiHParams(CompoundHParams):
    """MuMIDI (PopMAG, Ren et al., arXiv 2008.07703) of MidiTok: bars, places, instruments, notes and where each is."""

    remedies: ClassVar[dict[str, str | tuple[str, ...]]] = CompoundHParams.remedies | {"others": MORE_BARS}
    follows: ClassVar[dict[str, str]] = {"use_velocities": "velocities", "use_tempos": "tempos"}

    # Instruments are always told.
    use_programs: Follows = True
    # Drums always have pitches of their own.
    use_pitchdrum_tokens: bool = True
    # Bars that have a number; notes behind them are left out.
    max_bar_embedding: int = 256
    name: Literal["mumidi"] = "mumidi"

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("use_programs", "use_pitchdrum_tokens"):
            require(getattr(self, key) is True, f"tokenizer.{key}", getattr(self, key), "true: MuMIDI always tells it")
        bars = self.max_bar_embedding
        require(1 <= bars <= 4096, "tokenizer.max_bar_embedding", bars, "1 to 4096 bars")
