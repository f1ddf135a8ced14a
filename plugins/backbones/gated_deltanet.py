"""Gated DeltaNet: blocks of a gated delta-rule mixer and SwiGLU, pre-norm.

State-dict names are those of flash-linear-attention's GatedDeltaNetModel.

Shapes: b batch, l length, d model width, h heads, c width of keys, v width of values, k taps.
Source: Yang et al., arXiv 2412.06464; negative eigenvalues: Grazzi et al., arXiv 2411.12537.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from plugins.backbones.native import kernels
from plugins.backbones.native.recurrences import delta_rule
from plugins.backbones.parts.gated_norm import norm_then_gate
from plugins.backbones.parts.recurrences import gated_delta_rule
from plugins.backbones.parts.residual import step_bias
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.parts.short_conv import short_conv
from plugins.backbones.parts.swiglu import FeedForward
from plugins.backbones.parts.unit_length import unit_length
from plugins.backbones.stack import Pieces, Stack


class Mixer(nn.Module):
    """The gated delta-rule layer."""

    def __init__(self, hparams: GatedDeltanetHParams) -> None:
        super().__init__()
        self.head, self.heads = hparams.head_width, hparams.head_count
        self.value = hparams.expand * self.head
        self.most = 2.0 if hparams.allow_neg_eigval else 1.0  # of what a write may replace
        keys, values = self.heads * self.head, self.heads * self.value
        self.widths = [keys, keys, values]
        self.q_proj, self.k_proj, self.v_proj = (Linear(hparams.dim, width) for width in self.widths)
        self.a_proj, self.b_proj = Linear(hparams.dim, self.heads), Linear(hparams.dim, self.heads)
        self.g_proj = Linear(hparams.dim, values)
        self.q_conv1d, self.k_conv1d, self.v_conv1d = (
            nn.Conv1d(width, width, hparams.conv, groups=width, bias=False) for width in self.widths
        )
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(0.01, 16).log())
        self.dt_bias = nn.Parameter(step_bias(self.heads))
        self.o_norm = RMSNorm(self.value)
        self.o_proj = Linear(values, hparams.dim)
        for parameter in (self.A_log, self.dt_bias):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `conv` (b 2hc+hv k-1) and `memory` (b h c v)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        one = state is not None and pieces.starts is None and x.shape[1] == 1
        joined = torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], -1)
        taps = torch.cat([conv.weight[:, 0] for conv in (self.q_conv1d, self.k_conv1d, self.v_conv1d)])
        joined, conv = short_conv(joined, taps, taps.new_zeros(len(taps)), state, pieces)
        q, k, v = (each.unflatten(-1, (self.heads, -1)) for each in joined.split(self.widths, -1))  # (b l h ...)
        q, k = unit_length(q, self.head**-0.5), unit_length(k)
        beta = self.most * torch.sigmoid(self.b_proj(x).to(wide))  # (b l h)
        logs = -self.A_log.to(wide).exp() * F.softplus(self.a_proj(x).to(wide) + self.dt_bias.to(wide))
        before = None if state is None else state["memory"]
        if before is not None and one:
            q, k, v, logs, beta = (each[:, 0] for each in (q, k, v.to(wide), logs, beta))
            y, memory = gated_delta_rule.step(q, k, v, logs, beta, before)
            y = y[:, None]
        elif kernels.usable(v):
            y, memory = delta_rule.scan(q, k, v, logs, beta, before, pieces.starts)
        else:
            y, memory = gated_delta_rule.scan(q, k, v.to(wide), logs, beta, before, pieces.starts)
        gate = self.g_proj(x).unflatten(-1, (self.heads, self.value))
        y = norm_then_gate(y, gate, self.o_norm.weight, self.o_norm.eps).flatten(2)
        out = self.o_proj(y.to(self.o_proj.weight.dtype))
        if state is None or conv is None:
            return out, None
        return out, {"conv": conv.to(state["conv"].dtype), "memory": memory.to(state["memory"].dtype)}

    def init_state(self, batch: int, max_length: int) -> State:
        """An empty state: convolution inputs in the weights' precision, the memory in float32 at least."""
        weight = self.q_conv1d.weight
        wide = torch.promote_types(weight.dtype, torch.float32)
        return {
            "conv": weight.new_zeros(batch, sum(self.widths), weight.shape[2] - 1),
            "memory": weight.new_zeros(batch, self.heads, self.head, self.value, dtype=wide),
        }


class Block(nn.Module):
    """The mixer, then the feed-forward part, each as x + dropout(part(norm(x)))."""

    def __init__(self, hparams: GatedDeltanetHParams) -> None:
        super().__init__()
        self.attn_norm = RMSNorm(hparams.dim)
        self.attn = Mixer(hparams)
        self.mlp_norm = RMSNorm(hparams.dim)
        self.mlp = FeedForward(hparams.dim, hparams.hidden or 16 * math.ceil(8 * hparams.dim / 3 / 16))
        self.dropout = nn.Dropout(hparams.dropout)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # both ends of the branches smaller, so that the stream's variance stays
                ends = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * hparams.layers) if ends else 0.02)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d)."""
        y, state = self.attn(self.attn_norm(x), state, pieces)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.mlp_norm(x))), state

    def init_state(self, batch: int, max_length: int) -> State:
        """The mixer's."""
        return self.attn.init_state(batch, max_length)


class GatedDeltanet(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: GatedDeltanetHParams) -> None:
        super().__init__(hparams.dim, [Block(hparams) for _ in range(hparams.layers)], RMSNorm(hparams.dim))


def build(hparams: GatedDeltanetHParams) -> GatedDeltanet:
    """Makes the backbone with fresh weights from torch's current random state."""
    return GatedDeltanet(hparams)
