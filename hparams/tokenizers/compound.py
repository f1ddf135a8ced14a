"""Hyper-parameters of the tokenizers whose tokens have several streams."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from hparams.base import require
from hparams.tokenizers.note_tokens import MidiTokHParams

MORE_BARS = "as many bars as the longest piece has, at most tokenizer.max_bar_embedding=4096"


@dataclass(kw_only=True)
class CompoundHParams(MidiTokHParams):
    """What they share: notes, tempos and instruments, and no vocabulary to learn."""

    remedies: ClassVar[dict[str, str | tuple[str, ...]]] = {
        cause: setting for cause, setting in MidiTokHParams.remedies.items() if cause not in ("meters", "pedals")
    }

    # Bars are counted as 4/4 throughout.
    use_time_signatures: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("use_rests", "use_chords", "use_time_signatures", "use_key_signatures"):
            require(not getattr(self, key), f"tokenizer.{key}", True, "false: tokens of several streams do not tell it")
        require(self.bpe == 0, "tokenizer.bpe", self.bpe, "0: tokens of several streams are not joined")
        require(not self.options, "tokenizer.options", dict(self.options), "none for tokens of several streams")


@dataclass(kw_only=True)
class OctupleHParams(CompoundHParams):
    """Octuple (MusicBERT, Zeng et al., arXiv 2106.05630) of MidiTok: a token is a whole note and its place."""

    remedies: ClassVar[dict[str, str | tuple[str, ...]]] = CompoundHParams.remedies | {"others": MORE_BARS}

    # Bars that have a number; notes behind them are left out.
    max_bar_embedding: int = 256
    name: Literal["octuple"] = "octuple"

    def __post_init__(self) -> None:
        super().__post_init__()
        bars = self.max_bar_embedding
        require(1 <= bars <= 4096, "tokenizer.max_bar_embedding", bars, "1 to 4096 bars")


@dataclass(kw_only=True)
class CpWordHParams(CompoundHParams):
    """Compound words (Hsiao et al., arXiv 2101.02402) of MidiTok: bars, places, and notes as one token each."""

    name: Literal["cpword"] = "cpword"
