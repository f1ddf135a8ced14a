"""Ready-made runs. A preset's name is its function's name; `<backbone>_<tokenizer>` composes any two plugins."""

from collections.abc import Callable

import pluggy

from hparams.presets.jsb import lstm_jsb, mamba_jsb, music_transformer_jsb, transformer_jsb
from hparams.presets.latent import music_vae, music_vae_16
from hparams.presets.published import (
    folk_rnn,
    gpt2_abc,
    gpt2_remi,
    llama_remi,
    mamba_tsd_bpe,
    music_transformer_remi,
    performance_rnn,
    performance_rnn_attentive,
    performance_rnn_magenta,
)
from hparams.presets.tiny import tiny

hookimpl = pluggy.HookimplMarker("swaptunes")


@hookimpl
def register_presets(register: Callable[..., None]) -> None:
    """Registers every preset of this folder."""
    for preset in (mamba_jsb, transformer_jsb, lstm_jsb, music_transformer_jsb, tiny):
        register(preset)
    for preset in (music_vae, music_vae_16):
        register(preset)
    for preset in (folk_rnn, gpt2_abc, gpt2_remi, llama_remi, music_transformer_remi, mamba_tsd_bpe):
        register(preset)
    for preset in (performance_rnn, performance_rnn_attentive, performance_rnn_magenta):
        register(preset)
