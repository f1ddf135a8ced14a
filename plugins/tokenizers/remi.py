"""REMI (Huang & Yang, arXiv 2002.00212) through MidiTok."""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.note_tokens import RemiHParams
from plugins import hookimpl
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer


def build(hparams: RemiHParams, folder: Path | None = None) -> MidiTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return MidiTokTokenizer("REMI", hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("remi", RemiHParams, build, defaults={"data.augment.transpose": 5})
