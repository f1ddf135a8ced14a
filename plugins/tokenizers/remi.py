"""REMI (Huang & Yang, arXiv 2002.00212) through MidiTok."""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers import RemiHParams
from plugins import hookimpl
from plugins.tokenizers.miditok_tokens import MidiTokTokenizer


def build(hparams: RemiHParams, folder: Path | None = None) -> MidiTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return MidiTokTokenizer("REMI", hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("remi", RemiHParams, build)
