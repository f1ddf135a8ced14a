"""Structured, a time shift before each note (Hadjeres & Crestel, arXiv 2107.05944), through MidiTok."""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.note_tokens import StructuredHParams
from plugins import hookimpl
from plugins.tokenizers.note_tokens.options import config, refuse_marks
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer


def build(hparams: StructuredHParams, folder: Path | None = None) -> MidiTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given; HubError for options that are not of notes."""
    refuse_marks(config(hparams, "Structured"), "Structured")  # MidiTok's own would switch them off without a word
    return MidiTokTokenizer("Structured", hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("structured", StructuredHParams, build, defaults={"data.augment.transpose": 5})
