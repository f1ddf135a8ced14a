"""TSD, time shift and duration (Fradet et al., arXiv 2301.11975), through MidiTok."""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.note_tokens import TsdHParams
from plugins import hookimpl
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer


def build(hparams: TsdHParams, folder: Path | None = None) -> MidiTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return MidiTokTokenizer("TSD", hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("tsd", TsdHParams, build, defaults={"data.augment.transpose": 5})
