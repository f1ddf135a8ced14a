"""Decoder-only transformer: pre-norm, rotary positions, SwiGLU, no biases. State-dict names are those of LlamaModel.

Shapes: b batch, l length, d model width, m slots of the cache, k heads of keys and values, c head width.
Source: Touvron et al., arXiv 2302.13971.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.transformer import TransformerHParams
from plugins import hookimpl
from plugins.backbones.native import kernels
from plugins.backbones.native.transformer import blocks as transformer_blocks
from plugins.backbones.native.transformer import step as transformer_step
from plugins.backbones.parts.attention import Attention, Plan, plan_cached, plan_training
from plugins.backbones.parts.rmsnorm import RMSNorm


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = Linear(dim, hidden)
        self.up_proj = Linear(dim, hidden)
        self.down_proj = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (b l d) -> (b l d)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then the feed-forward part, each as x + dropout(part(norm(x)))."""

    def __init__(self, hparams: TransformerHParams) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(hparams.dim, hparams.norm_eps)
        self.self_attn = Attention(hparams)
        self.post_attention_layernorm = RMSNorm(hparams.dim, hparams.norm_eps)
        self.mlp = FeedForward(hparams.dim, hparams.hidden or 16 * math.ceil(8 * hparams.dim / 3 / 16))
        self.dropout = nn.Dropout(hparams.dropout)

    def forward(self, x: Tensor, plan: Plan, state: State | None = None) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d)."""
        y, state = self.self_attn(self.input_layernorm(x), plan, state)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x))), state


class Transformer(nn.Module):
    """The backbone: a stack of blocks and a last norm."""

    packs = True

    def __init__(self, hparams: TransformerHParams) -> None:
        super().__init__()
        self.dim = hparams.dim
        self.width = hparams.dim // hparams.heads
        self.kv_heads = hparams.kv_heads or hparams.heads
        self.base = hparams.rope_base
        self.layers = nn.ModuleList(Block(hparams) for _ in range(hparams.layers))
        self.norm = RMSNorm(hparams.dim, hparams.norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # both ends of a block's branches are smaller, so that the stream's variance stays
                ends = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * hparams.layers) if ends else 0.02)

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """x (b l d) -> hidden (b l d); the state: `length` (b,) and, per layer i, `keys.i`, `values.i` (b m k c)."""
        if state is not None and starts is None and x.shape[1] == 1:
            done = transformer_step.step(self, x, state)
            if done is not None:
                return done
        after: State = {}
        stream = x.to(torch.promote_types(x.dtype, torch.float32))
        if state is None and kernels.usable(stream):
            return transformer_blocks.forward(self, stream, starts), None
        if state is None:
            plan = plan_training(x, starts, self.width, self.base)
        else:
            limit = state["keys.0"].shape[1]
            plan, after["length"] = plan_cached(x, starts, state["length"], limit, self.width, self.base)
        for i, layer in enumerate(self.layers):
            part = None if state is None else {"keys": state[f"keys.{i}"], "values": state[f"values.{i}"]}
            stream, part = layer(stream, plan, part)
            if part is not None:
                after |= {f"{key}.{i}": value for key, value in part.items()}
        return self.norm(stream), None if state is None else after

    def init_state(self, batch: int, max_length: int) -> State:
        """Empty caches of `max_length` slots."""
        weight = self.norm.weight
        state = {"length": torch.zeros(batch, dtype=torch.int64, device=weight.device)}
        shape = (batch, max_length, self.kv_heads, self.width)
        for i in range(len(self.layers)):
            state |= {f"{key}.{i}": weight.new_zeros(shape) for key in ("keys", "values")}
        return state


def build(hparams: TransformerHParams) -> Transformer:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Transformer(hparams)


@hookimpl
def register_backbones(register: Callable[..., None]) -> None:
    """Offers `transformer`."""
    register("transformer", TransformerHParams, build)
