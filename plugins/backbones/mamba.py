"""Mamba-1: pre-norm residual blocks around a selective state-space mixer.

State-dict names are those of mamba_ssm's MambaLMHeadModel without the prefix `backbone.`.

Shapes: b batch, l length, d model width, e inner width (expand * d), n state dimensions, k taps, r rank of the step
size.
Source: Gu & Dao, arXiv 2312.00752.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.linear import Linear, linear
from hparams.backbones.mamba import MambaHParams
from plugins.backbones.cuda import kernels as triton_kernels
from plugins.backbones.native import kernels
from plugins.backbones.native.mamba import blocks
from plugins.backbones.native.mamba import step as mamba_step
from plugins.backbones.native.mamba.functions import inner
from plugins.backbones.parts import mamba_kernels
from plugins.backbones.parts.causal_conv import causal_conv, causal_conv_step
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.parts.selective_scan import selective_scan, selective_step
from plugins.backbones.stack import Pieces, Stack


class Mixer(nn.Module):
    """The selective state-space layer."""

    def __init__(self, hparams: MambaHParams) -> None:
        super().__init__()
        self.inner = hparams.expand * hparams.dim
        self.states = hparams.state
        self.rank = hparams.dt_rank or math.ceil(hparams.dim / 16)
        self.in_proj = Linear(hparams.dim, 2 * self.inner)
        self.conv1d = nn.Conv1d(self.inner, self.inner, hparams.conv, groups=self.inner)
        self.x_proj = Linear(self.inner, self.rank + 2 * self.states)
        self.dt_proj = nn.Linear(self.rank, self.inner)
        self.A_log = nn.Parameter(torch.arange(1.0, self.states + 1).log().repeat(self.inner, 1))  # (e n)
        self.D = nn.Parameter(torch.ones(self.inner))
        self.out_proj = Linear(self.inner, hparams.dim)
        for parameter in (self.A_log, self.D, self.dt_proj.bias):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]
        self._reset(hparams.layers)

    def _reset(self, layers: int) -> None:
        """Step sizes log-uniform from 1e-3 to 0.1; the way out scaled down, so that the stream's variance stays."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = math.log(1e-3), math.log(0.1)
        dt = torch.exp(low + (high - low) * torch.rand(self.inner)).clamp(min=1e-4)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse of softplus
            self.out_proj.weight.div_(math.sqrt(layers))

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `conv` (b e k-1) and `ssm` (b e n)."""
        if state is not None and starts is None and x.shape[1] == 1:
            return self._step(x, state)
        if kernels.usable(x):
            return self._fused(x, state, starts)
        conv, ssm = (None, None) if state is None else (state["conv"], state["ssm"])
        marks = None if starts is None else starts.t()
        u, z = self.in_proj(x.transpose(0, 1)).chunk(2, -1)  # (l b e)
        fast = mamba_kernels.usable(u, self.states)
        convolve, scan = (fast.causal_conv, fast.selective_scan) if fast else (causal_conv, selective_scan)
        u, conv = convolve(u, self._taps(), self._conv_bias(), conv, marks)
        dt, B, C = self.x_proj(self._narrow(u)).split([self.rank, self.states, self.states], -1)
        delta = linear(dt, self.dt_proj.weight)
        y, ssm = scan(u, delta, self.rates(), B, C, self.D, z, self.dt_proj.bias, ssm, marks)
        out = self.out_proj(self._narrow(y)).transpose(0, 1)  # (b l d)
        return out, self._keep(state, conv, ssm)

    def _fused(self, x: Tensor, state: State | None, starts: Tensor | None) -> tuple[Tensor, State | None]:
        """On the compiled operators, for a stack in which other blocks stand beside."""
        conv, ssm = (None, None) if state is None else (state["conv"], state["ssm"])
        taps, bias, dt, rates = self._taps(), self._conv_bias(), self.dt_proj, self.rates()
        y, ssm, conv = inner(
            self.in_proj(x), taps, bias, self.x_proj.weight, dt.weight, dt.bias, rates, self.D, conv, ssm, starts
        )
        out = self.out_proj(self._narrow(y))
        return out, None if conv is None else self._keep(state, conv.contiguous(), ssm)

    def _step(self, x: Tensor, state: State) -> tuple[Tensor, State | None]:
        u, z = self.in_proj(x[:, 0]).chunk(2, -1)  # (b e)
        u, conv = causal_conv_step(u, self._taps(), self._conv_bias(), state["conv"])
        dt, B, C = self.x_proj(self._narrow(u)).split([self.rank, self.states, self.states], -1)
        delta = linear(dt, self.dt_proj.weight)
        y, ssm = selective_step(u, delta, self.rates(), B, C, self.D, z, self.dt_proj.bias, state["ssm"])
        return self.out_proj(self._narrow(y))[:, None], self._keep(state, conv, ssm)

    def _taps(self) -> Tensor:
        return rearrange(self.conv1d.weight, "e 1 k -> e k")

    def _conv_bias(self) -> Tensor:
        assert self.conv1d.bias is not None
        return self.conv1d.bias

    def rates(self) -> Tensor:
        """A (e n), at least in float32 whatever the weights' precision."""
        return -torch.exp(self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)))

    def _narrow(self, x: Tensor) -> Tensor:
        return x.to(self.out_proj.weight.dtype)

    @staticmethod
    def _keep(state: State | None, conv: Tensor, ssm: Tensor) -> State | None:
        if state is None:
            return None
        return {"conv": conv.to(state["conv"].dtype), "ssm": ssm.to(state["ssm"].dtype)}

    def init_state(self, batch: int) -> State:
        """An empty state: convolution inputs in the weights' precision, the recurrent state in float32 at least."""
        weight = self.conv1d.weight
        conv = weight.new_zeros(batch, self.inner, weight.shape[2] - 1)
        ssm = weight.new_zeros(batch, self.inner, self.states, dtype=torch.promote_types(weight.dtype, torch.float32))
        return {"conv": conv, "ssm": ssm}


class Block(nn.Module):
    """x + dropout(mixer(norm(x)))."""

    def __init__(self, hparams: MambaHParams) -> None:
        super().__init__()
        self.norm = RMSNorm(hparams.dim)
        self.mixer = Mixer(hparams)
        self.dropout = nn.Dropout(hparams.dropout)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d) in x's precision."""
        normed = self.norm(x)
        if triton_kernels.usable(normed, self.mixer.states):
            from plugins.backbones.cuda import mixer as on_cuda  # imports Triton, which takes a second

            y, state = on_cuda.forward(self.mixer, normed, state, pieces)
        else:
            y, state = self.mixer(normed, state, pieces.starts)
        return x + self.dropout(y), state

    def init_state(self, batch: int, max_length: int) -> State:
        """See `Mixer`; its size does not depend on `max_length`."""
        return self.mixer.init_state(batch)


class Mamba(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: MambaHParams) -> None:
        blocks = [Block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, RMSNorm(hparams.dim), ("layers", "norm_f"))

    def fast_step(self, x: Tensor, state: State) -> tuple[Tensor, State] | None:
        """One token in one call of the fused operators, if they can take it."""
        return mamba_step.step(self, x, state)

    def through(self, stream: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State]:
        """See `Stack`; on the fused operators, if they can take the stream."""
        if kernels.usable(stream):
            return blocks.forward(self, stream, state, pieces.starts)
        return super().through(stream, state, pieces)


def build(hparams: MambaHParams) -> Mamba:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Mamba(hparams)
