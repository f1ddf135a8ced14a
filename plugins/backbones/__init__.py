"""The door of the built-in backbones, one module or package each: its name is the plugin's, its `build` builds it."""

from collections.abc import Callable

from hparams.backbones.attentive_gru import AttentiveGruHParams
from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from hparams.backbones.gpt2 import Gpt2HParams
from hparams.backbones.gru import GruHParams
from hparams.backbones.hybrid import HybridHParams
from hparams.backbones.lstm import LstmHParams
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.mamba2 import Mamba2HParams
from hparams.backbones.mamba3 import Mamba3HParams
from hparams.backbones.mlstm import MlstmHParams
from hparams.backbones.music_transformer import MusicTransformerHParams
from hparams.backbones.rwkv7 import Rwkv7HParams
from hparams.backbones.transformer import TransformerHParams
from plugins import hookimpl, later

# Saturating gates bear, and want, larger steps than residual blocks do.
_GATED = {"train.lr": 4e-3}


@hookimpl
def register_backbones(register: Callable[..., None]) -> None:
    """Offers all of them; `model_types` are the checkpoints of other libraries that each may start from."""
    register("mamba", MambaHParams, later(f"{__name__}.mamba"), model_types=("mamba", "mamba_ssm"))
    register("mamba2", Mamba2HParams, later(f"{__name__}.mamba2"), model_types=("mamba2",))
    register("mamba3", Mamba3HParams, later(f"{__name__}.mamba3"))
    register("gated_deltanet", GatedDeltanetHParams, later(f"{__name__}.gated_deltanet"))
    register("rwkv7", Rwkv7HParams, later(f"{__name__}.rwkv7"))
    register("mlstm", MlstmHParams, later(f"{__name__}.mlstm"))
    register("transformer", TransformerHParams, later(f"{__name__}.transformer"), model_types=("llama",))
    register("gpt2", Gpt2HParams, later(f"{__name__}.gpt2"), defaults={"train.lr": 1e-3}, model_types=("gpt2",))
    register(
        "music_transformer",
        MusicTransformerHParams,
        later(f"{__name__}.music_transformer"),
        defaults={"train.lr": 1e-3},
    )
    register("lstm", LstmHParams, later(f"{__name__}.lstm"), defaults=_GATED)
    register("gru", GruHParams, later(f"{__name__}.gru"), defaults=_GATED)
    register("attentive_gru", AttentiveGruHParams, later(f"{__name__}.attentive_gru"), defaults=_GATED)
    register("hybrid", HybridHParams, later(f"{__name__}.hybrid"))
