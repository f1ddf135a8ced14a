"""MIDI-like, keys pressed and released (Oore et al., arXiv 1808.03715), through MidiTok."""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.note_tokens import MidiLikeHParams
from plugins import hookimpl
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer


def build(hparams: MidiLikeHParams, folder: Path | None = None) -> MidiTokTokenizer:
    """The tokenizer, as `save` left it in `folder` if one is given."""
    return MidiTokTokenizer("MIDILike", hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("midilike", MidiLikeHParams, build, defaults={"data.augment.transpose": 5})
