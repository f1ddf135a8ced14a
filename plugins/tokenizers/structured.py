"""Structured, a time shift before each note (Hadjeres & Crestel, arXiv 2107.05944), through MidiTok."""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.note_tokens import StructuredHParams
from plugins import hookimpl
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer


def build(hparams: StructuredHParams, folder: Path | None = None) -> MidiTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return MidiTokTokenizer("Structured", hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("structured", StructuredHParams, build, defaults={"data.augment.transpose": 5})
