"""Mamba-2: pre-norm residual blocks around a state-space mixer whose heads decay as wholes.

State-dict names are those of mamba_ssm's MambaLMHeadModel without the prefix `backbone.`.

Shapes: b batch, l length, d model width, e inner width (expand * d), h heads, p channels of a head, g groups,
s state dimensions, k taps.
Source: Dao & Gu, arXiv 2405.21060.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.mamba2 import Mamba2HParams
from plugins.backbones.native import kernels
from plugins.backbones.native.recurrences import state_space
from plugins.backbones.parts.gated_norm import gate_then_norm
from plugins.backbones.parts.recurrences import state_space_duality
from plugins.backbones.parts.residual import Residual, step_bias
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.parts.short_conv import short_conv
from plugins.backbones.stack import Pieces, Stack


class Mixer(nn.Module):
    """The state-space layer; in its projection lie gate, channels, ways in, ways out and step sizes, in this order."""

    def __init__(self, hparams: Mamba2HParams) -> None:
        super().__init__()
        self.inner = hparams.expand * hparams.dim
        self.head, self.groups, self.states = hparams.head_width, hparams.groups, hparams.state
        self.heads = self.inner // self.head
        self.convolved = self.inner + 2 * self.groups * self.states
        self.in_proj = Linear(hparams.dim, self.inner + self.convolved + self.heads)
        self.conv1d = nn.Conv1d(self.convolved, self.convolved, hparams.conv, groups=self.convolved)
        self.dt_bias = nn.Parameter(step_bias(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = RMSNorm(self.inner)
        self.out_proj = Linear(self.inner, hparams.dim)
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]
        with torch.no_grad():
            self.out_proj.weight.div_(math.sqrt(hparams.layers))  # so that the stream's variance stays

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `conv` (b e+2gs k-1) and `ssm` (b h p s)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        z, u, dt = self.in_proj(x).split([self.inner, self.convolved, self.heads], -1)
        steps = F.softplus(dt.to(wide) + self.dt_bias.to(wide))  # (b l h)
        logs = -steps * self.A_log.to(wide).exp()
        one = state is not None and pieces.starts is None and x.shape[1] == 1
        assert self.conv1d.bias is not None
        u, conv = short_conv(u, self.conv1d.weight[:, 0], self.conv1d.bias, state, pieces)
        u, B, C = u.split([self.inner, self.groups * self.states, self.groups * self.states], -1)
        u = u.unflatten(-1, (self.heads, self.head))  # (b l h p)
        B, C = (each.unflatten(-1, (self.groups, self.states)) for each in (B, C))  # (b l g s)
        before, D = None if state is None else state["ssm"], self.D.to(wide)
        if kernels.usable(u) and not one:
            y, ssm = state_space.scan(u, steps, logs, B, C, D, before, pieces.starts)
        else:
            u, B, C = (each.to(wide) for each in (u, B, C))
            driven = u * steps[..., None]
            if before is not None and one:
                y, ssm = state_space_duality.step(driven[:, 0], logs[:, 0], B[:, 0], C[:, 0], before)
                y = y[:, None]
            else:
                y, ssm = state_space_duality.scan(driven, logs, B, C, before, pieces.starts)
            y = torch.addcmul(y, u, D[:, None])
        y = gate_then_norm(y.flatten(2), z, self.norm.weight, self.inner // self.groups, self.norm.eps)
        out = self.out_proj(y.to(self.out_proj.weight.dtype))
        if state is None or conv is None:
            return out, None
        return out, {"conv": conv.to(state["conv"].dtype), "ssm": ssm.to(state["ssm"].dtype)}

    def init_state(self, batch: int, max_length: int) -> State:
        """An empty state: convolution inputs in the weights' precision, the recurrent state in float32 at least."""
        weight = self.conv1d.weight
        wide = torch.promote_types(weight.dtype, torch.float32)
        return {
            "conv": weight.new_zeros(batch, self.convolved, weight.shape[2] - 1),
            "ssm": weight.new_zeros(batch, self.heads, self.head, self.states, dtype=wide),
        }


class Mamba2(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: Mamba2HParams) -> None:
        blocks = [block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, RMSNorm(hparams.dim), ("layers", "norm_f"))


def block(hparams: Mamba2HParams) -> Residual:
    """One block."""
    return Residual(hparams.dim, Mixer(hparams), hparams.dropout)


def build(hparams: Mamba2HParams) -> Mamba2:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Mamba2(hparams)
