"""Mamba-3: pre-norm residual blocks around a state-space mixer that rotates its state and weighs two inputs a step.

State-dict names are those of mamba_ssm's MambaLMHeadModel without the prefix `backbone.`.

Shapes: b batch, l length, d model width, e inner width (expand * d), h heads, p channels of a head, g groups, r rank,
s state dimensions, a angles.
Source: arXiv 2603.15569.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.mamba3 import Mamba3HParams
from plugins.backbones.parts.recurrences import trapezoid
from plugins.backbones.parts.residual import Residual, step_bias
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.stack import Pieces, Stack

_SLOWEST = 1e-4  # the least rate of decay


class Mixer(nn.Module):
    """The state-space layer; its projection holds gate, channels, ways in and out, step, rate, weight and angles."""

    def __init__(self, hparams: Mamba3HParams) -> None:
        super().__init__()
        self.inner = hparams.expand * hparams.dim
        self.head, self.rank, self.states = hparams.head_width, hparams.rank, hparams.state
        self.heads, self.groups, self.angles = self.inner // self.head, hparams.groups, hparams.angles
        self.heavy = hparams.a_activation == "heavy_tail"
        ways = self.rank * self.groups * self.states
        self.widths = [self.inner, self.inner, ways, ways, self.heads, self.heads, self.heads, self.angles]
        self.in_proj = Linear(hparams.dim, sum(self.widths))
        self.dt_bias = nn.Parameter(step_bias(self.heads))
        self.B_bias, self.C_bias = (nn.Parameter(torch.ones(self.heads, self.rank, self.states)) for _ in range(2))
        self.B_norm, self.C_norm = RMSNorm(self.states), RMSNorm(self.states)
        self.D = nn.Parameter(torch.ones(self.heads))
        exempt = [self.dt_bias, self.B_bias, self.C_bias, self.D]
        if self.rank > 1:
            shape = (self.heads, self.rank, self.head)
            self.mimo_x, self.mimo_o = (nn.Parameter(torch.full(shape, 1 / self.rank)) for _ in range(2))
            self.mimo_z = nn.Parameter(torch.ones(shape))
            exempt += [self.mimo_x, self.mimo_o, self.mimo_z]
        self.out_proj = Linear(self.inner, hparams.dim)
        for parameter in exempt:
            parameter._no_weight_decay = True  # type: ignore[attr-defined]
        with torch.no_grad():
            self.out_proj.weight.div_(math.sqrt(hparams.layers))  # so that the stream's variance stays

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state: `angle` (b h a), `ssm` (b h p s), `key` (b r h s), `value` (b r h p)."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        z, u, B, C, dt, rate, trap, angle = self.in_proj(x).split(self.widths, -1)
        dt = F.softplus(dt.to(dtype) + self.dt_bias.to(dtype))  # (b l h)
        logs = -self._rate(rate.to(dtype)) * dt
        share = torch.sigmoid(trap.to(dtype))  # of this step's input, against the last one's
        turn, angle = self._turn(angle.to(dtype), dt, None if state is None else state["angle"])  # (b l h a)
        k, q = (
            self._rotated(self._way(each, norm, bias.to(dtype)), turn)  # (b l r h s)
            for each, norm, bias in ((B, self.B_norm, self.B_bias), (C, self.C_norm, self.C_bias))
        )
        v = u.to(dtype).unflatten(-1, (1, self.heads, self.head))  # (b l 1 h p)
        gate = F.silu(z.to(dtype).unflatten(-1, (1, self.heads, self.head)))
        if self.rank > 1:
            v = v * self.mimo_x.to(dtype).transpose(0, 1)
            gate = F.silu(z.to(dtype).unflatten(-1, (1, self.heads, self.head)) * self.mimo_z.to(dtype).transpose(0, 1))
        before = None if state is None else (state["ssm"], state["key"], state["value"])
        now, late = share * dt, (1 - share) * dt
        if before is not None and pieces.starts is None and x.shape[1] == 1:
            y, memory = trapezoid.step(q[:, 0], k[:, 0], v[:, 0], logs[:, 0], now[:, 0], late[:, 0], before)
            y = y[:, None]
        else:
            y, memory = trapezoid.scan(q, k, v, logs, now, late, before, pieces.starts)
        y = (y + self.D.to(dtype)[:, None] * v) * gate  # (b l r h p)
        y = (y * self.mimo_o.to(dtype).transpose(0, 1)).sum(2) if self.rank > 1 else y.squeeze(2)
        out = self.out_proj(y.flatten(2).to(self.out_proj.weight.dtype))
        if state is None:
            return out, None
        found = {"angle": angle, **dict(zip(("ssm", "key", "value"), memory, strict=True))}
        return out, {key: value.to(state[key].dtype) for key, value in found.items()}

    def _rate(self, x: Tensor) -> Tensor:
        """How fast the state decays, positive."""
        if not self.heavy:
            return F.softplus(x).clamp(min=_SLOWEST)
        return torch.where(x >= 0, 1 + x, 1 / (1 - x.clamp(max=0))).clamp(min=_SLOWEST)

    def _turn(self, angle: Tensor, dt: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """How far the state has turned at each step, (b l h a), and after the last (b h a); only differences matter."""
        # In double precision: the sum grows with the piece, and a difference of two is what counts.
        steps = (torch.tanh(angle)[:, :, None] * math.pi * dt[..., None]).double()
        turn = steps.cumsum(1) if before is None else before[:, None].double() + steps.cumsum(1)
        turn = turn.remainder(2 * math.pi).to(dt.dtype)
        return turn, turn[:, -1]

    def _way(self, x: Tensor, norm: RMSNorm, bias: Tensor) -> Tensor:
        """Normed ways in or out, a bias a head: (b l rgs) -> (b l r h s)."""
        x = x.unflatten(-1, (self.rank, self.groups, self.states)).to(bias.dtype)
        x = F.rms_norm(x, (self.states,), norm.weight.to(x.dtype), norm.eps)
        return x.repeat_interleave(self.heads // self.groups, 3) + bias.transpose(0, 1)

    def _rotated(self, x: Tensor, turn: Tensor) -> Tensor:
        """x (b l r h s) turned by (b l h a): neighbours are pairs; with several ranks, entries half the state apart."""
        cos, sin = turn.cos()[:, :, None], turn.sin()[:, :, None]  # (b l 1 h a)
        if self.rank == 1:
            first, second = x[..., : 2 * self.angles].unflatten(-1, (-1, 2)).unbind(-1)
            turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)
            return torch.cat([turned, x[..., 2 * self.angles :]], -1)
        first, second = x.chunk(2, -1)
        a, b = first[..., : self.angles], second[..., : self.angles]
        parts = [a * cos - b * sin, first[..., self.angles :], a * sin + b * cos, second[..., self.angles :]]
        return torch.cat(parts, -1)

    def init_state(self, batch: int, max_length: int) -> State:
        """An empty state, in float32 at least."""
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        shapes = {
            "angle": (self.heads, self.angles),
            "ssm": (self.heads, self.head, self.states),
            "key": (self.rank, self.heads, self.states),
            "value": (self.rank, self.heads, self.head),
        }
        return {key: self.D.new_zeros(batch, *shape, dtype=dtype) for key, shape in shapes.items()}


class Mamba3(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: Mamba3HParams) -> None:
        blocks = [block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, RMSNorm(hparams.dim), ("layers", "norm_f"))


def block(hparams: Mamba3HParams) -> Residual:
    """One block."""
    return Residual(hparams.dim, Mixer(hparams), hparams.dropout)


def build(hparams: Mamba3HParams) -> Mamba3:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Mamba3(hparams)
