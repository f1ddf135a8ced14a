"""Other people's models at our sizes: `transformers`, `mambapy`, `mamba_ssm`, and PyTorch's own LSTM.

Shapes: b batch, l length, d model width, v vocabulary.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.language_model import LanguageModel
from supervisors.bench.subjects import CHUNK, Spec, Subject, Trained, cross_entropy


class Wrapped:
    """Somebody's layers between our embedding and head; trains only."""

    def __init__(self, layers: nn.Module, dim: int, spec: Spec) -> None:
        self.model = LanguageModel(_Layers(layers, dim), spec.vocabulary)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """See `Subject`."""
        return cross_entropy(self.model(ids)[0], targets)


class _Layers(nn.Module):
    """Any module of vectors (b l d) as a backbone without a state."""

    packs = False

    def __init__(self, layers: nn.Module, dim: int) -> None:
        super().__init__()
        self.layers, self.dim = layers, dim

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d)."""
        y = self.layers(x)
        return (y[0] if isinstance(y, tuple) else y), None

    def init_state(self, batch: int, max_length: int) -> State:
        """It has none."""
        raise NotImplementedError


class _Embedded(nn.Module):
    """A model of `transformers` that is given vectors, in rows of whole chunks where it takes no others."""

    def __init__(self, model: nn.Module, chunk: int = 1) -> None:
        super().__init__()
        self.model, self.chunk = model, chunk

    def forward(self, x: Tensor) -> Tensor:
        """x (b l d) -> (b l d)."""
        whole = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % self.chunk))
        hidden: Tensor = self.model(inputs_embeds=whole, use_cache=False).last_hidden_state
        return hidden[:, : x.shape[1]]


class HuggingFace:
    """A causal language model of `transformers`, with the cache that its own `generate` would use."""

    def __init__(self, model: nn.Module, argument: str, chunk: int | None, static: bool = False) -> None:
        self.model, self.argument, self.chunk, self.static = model, argument, chunk, static

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """See `Subject`."""
        return cross_entropy(self.model(input_ids=ids, use_cache=False).logits, targets)

    def cache(self, limit: int) -> Any:
        """See `Subject`."""
        from transformers import DynamicCache, StaticCache

        config: Any = self.model.config
        return StaticCache(config=config, max_cache_len=limit) if self.static else DynamicCache(config=config)

    def read(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """See `Subject`."""
        out = self.model(input_ids=ids, use_cache=True, logits_to_keep=1, **{self.argument: cache})
        return out.logits[:, -1], cache

    def repeat(self, cache: Any, batch: int) -> Any:
        """See `Subject`."""
        cache.reorder_cache(torch.zeros(batch, dtype=torch.int64))
        return cache

    def copy(self, cache: Any) -> Any:
        """See `Subject`."""
        return copy.deepcopy(cache)


def _mamba(spec: Spec, use_mambapy: bool = False) -> Subject:
    from transformers import MambaConfig, MambaForCausalLM

    h = spec.hparams
    config = MambaConfig(
        vocab_size=spec.vocabulary,
        hidden_size=h.dim,
        num_hidden_layers=h.layers,
        state_size=h.state,
        conv_kernel=h.conv,
        expand=h.expand,
        time_step_rank=h.dt_rank or "auto",
        tie_word_embeddings=True,
        use_mambapy=use_mambapy,
    )
    return HuggingFace(MambaForCausalLM(config), "cache_params", None)  # it reads no prompt in parts


def _mamba2(spec: Spec) -> Subject:
    from transformers import Mamba2Config, Mamba2ForCausalLM

    h = spec.hparams
    config = Mamba2Config(
        vocab_size=spec.vocabulary,
        hidden_size=h.dim,
        num_hidden_layers=h.layers,
        state_size=h.state,
        conv_kernel=h.conv,
        expand=h.expand,
        head_dim=h.head_width,
        num_heads=h.expand * h.dim // h.head_width,
        n_groups=h.groups,
        tie_word_embeddings=True,
    )
    return HuggingFace(Mamba2ForCausalLM(config), "cache_params", None)


def _gpt2(spec: Spec) -> Subject:
    from transformers import GPT2Config, GPT2LMHeadModel

    h = spec.hparams
    config: Any = GPT2Config(
        vocab_size=spec.vocabulary,
        n_embd=h.dim,
        n_layer=h.layers,
        n_head=h.heads,
        n_inner=h.hidden or 4 * h.dim,
        n_positions=h.positions,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    config._attn_implementation = "sdpa"
    return HuggingFace(GPT2LMHeadModel(config), "past_key_values", CHUNK)


def _llama(spec: Spec, static: bool = False) -> Subject:
    from transformers import LlamaConfig, LlamaForCausalLM

    h = spec.hparams
    config: Any = LlamaConfig(
        vocab_size=spec.vocabulary,
        hidden_size=h.dim,
        num_hidden_layers=h.layers,
        num_attention_heads=h.heads,
        num_key_value_heads=h.kv_heads or h.heads,
        intermediate_size=h.hidden,
        max_position_embeddings=1 << 20,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "sdpa"
    return HuggingFace(LlamaForCausalLM(config), "past_key_values", CHUNK, static)


def _gated_deltanet(spec: Spec) -> Subject:
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig  # no other has blocks of this kind alone

    h = spec.hparams
    config: Any = Qwen3_5TextConfig(
        vocab_size=spec.vocabulary,
        hidden_size=h.dim,
        num_hidden_layers=h.layers,
        layer_types=["linear_attention"] * h.layers,
        linear_num_key_heads=h.head_count,
        linear_num_value_heads=h.head_count,
        linear_key_head_dim=h.head_width,
        linear_value_head_dim=h.expand * h.head_width,
        linear_conv_kernel_dim=h.conv,
        intermediate_size=h.hidden,
        tie_word_embeddings=True,
    )
    return HuggingFace(Qwen3_5ForCausalLM(config), "past_key_values", CHUNK)


def _mlstm(spec: Spec) -> Trained:
    from transformers import xLSTMConfig, xLSTMModel

    h = spec.hparams
    config = xLSTMConfig(
        vocab_size=1,  # it is given vectors
        hidden_size=h.dim,
        num_blocks=h.layers,
        num_hidden_layers=h.layers,
        num_heads=h.heads,
        ffn_proj_factor=h.hidden / h.dim,
        ffn_round_up_to_multiple_of=1,
        mode="train",
    )
    model: Any = xLSTMModel(config)
    model.embeddings = nn.Identity()
    return Wrapped(_Embedded(model, config.chunk_size), h.dim, spec)


def _mambapy(spec: Spec) -> Trained:
    from mambapy.mamba import Mamba, MambaConfig, RMSNorm

    h = spec.hparams
    config = MambaConfig(h.dim, h.layers, h.dt_rank or "auto", h.state, h.expand, h.conv)
    return Wrapped(nn.Sequential(Mamba(config), RMSNorm(h.dim)), h.dim, spec)


def _mamba_ssm(spec: Spec) -> Trained:
    from mamba_ssm.models.config_mamba import MambaConfig
    from mamba_ssm.models.mixer_seq_simple import MixerModel

    h = spec.hparams
    config = MambaConfig(d_model=h.dim, n_layer=h.layers, vocab_size=spec.vocabulary)
    blocks = MixerModel(
        h.dim,
        h.layers,
        0,
        spec.vocabulary,
        ssm_cfg={"layer": "Mamba1", "d_state": h.state, "d_conv": h.conv, "expand": h.expand},
        rms_norm=config.rms_norm,
        fused_add_norm=config.fused_add_norm,
        residual_in_fp32=config.residual_in_fp32,
    )
    blocks.embedding = nn.Identity()  # it is given vectors
    return Wrapped(blocks, h.dim, spec)


def _lstm(spec: Spec) -> Trained:
    h = spec.hparams
    return Wrapped(nn.LSTM(h.dim, h.dim, h.layers, batch_first=True), h.dim, spec)


def _gru(spec: Spec) -> Trained:
    h = spec.hparams
    return Wrapped(nn.GRU(h.dim, h.dim, h.layers, batch_first=True), h.dim, spec)


@dataclass(frozen=True)
class Peer:
    """`like` names the backbone of ours whose size it takes; `sweeps` and `decodes`: whether it is in those figures."""

    title: str
    like: str
    build: Callable[[Spec], Trained]
    requires: tuple[str, ...]
    sweeps: bool = False
    trains: bool = True
    decodes: bool = False
    device: str = ""


PEERS = {
    "mambapy": Peer("mambapy", "mamba", _mambapy, ("mambapy",), sweeps=True),
    "transformers_mamba": Peer("transformers Mamba", "mamba", _mamba, ("transformers",), decodes=True),
    "transformers_mambapy": Peer(
        "transformers Mamba, use_mambapy", "mamba", lambda spec: _mamba(spec, True), ("transformers", "mambapy")
    ),
    "mamba_ssm": Peer("mamba_ssm", "mamba", _mamba_ssm, ("mamba_ssm",), sweeps=True, device="cuda"),
    "transformers_llama": Peer(
        "transformers Llama", "transformer", _llama, ("transformers",), sweeps=True, decodes=True
    ),
    "transformers_llama_static": Peer(
        "transformers Llama, StaticCache",
        "transformer",
        lambda spec: _llama(spec, True),
        ("transformers",),
        trains=False,
        decodes=True,
    ),
    "transformers_mamba2": Peer("transformers Mamba-2", "mamba2", _mamba2, ("transformers",)),
    "transformers_gated_deltanet": Peer(
        "transformers gated DeltaNet", "gated_deltanet", _gated_deltanet, ("transformers",)
    ),
    "transformers_xlstm": Peer("transformers xLSTM", "mlstm", _mlstm, ("transformers",)),
    "transformers_gpt2": Peer("transformers GPT-2", "gpt2", _gpt2, ("transformers",), decodes=True),
    "torch_gru": Peer("torch.nn.GRU", "gru", _gru, ()),
    "torch_lstm": Peer("torch.nn.LSTM", "lstm", _lstm, ()),
}
LIBRARIES = ("transformers", "mambapy", "mamba_ssm")


def installed(name: str, device: str) -> bool:
    """Whether the peer can be tried here."""
    peer = PEERS[name]
    return peer.device in ("", device) and all(find_spec(module) is not None for module in peer.requires)


def build(spec: Spec) -> Trained:
    """The peer on its device, with weights of its own beginning."""
    torch.manual_seed(0)
    subject = PEERS[spec.name].build(spec)
    subject.model.to(spec.device)
    return subject
