"""Hyper-parameters of the tokenizer mmm."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from hparams.base import require
from hparams.following import Follows
from hparams.tokenizers.note_tokens import NotesOnlyHParams


@dataclass(kw_only=True)
class MmmHParams(NotesOnlyHParams):
    """MMM (Ens & Pasquier, arXiv 2008.06048) of MidiTok: the instruments one after the other, each a whole piece."""

    follows: ClassVar[dict[str, str]] = {"use_velocities": "velocities"}

    # How each instrument's notes are told, in MidiTok's names.
    base_tokenizer: Literal["REMI", "TSD"] = "REMI"
    # Instruments are always told.
    use_programs: Follows = True
    name: Literal["mmm"] = "mmm"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.use_programs is True, "tokenizer.use_programs", self.use_programs, "true: Mmm tells instruments")
