"""RWKV-7: blocks of time mixing and channel mixing, pre-norm. State-dict names are those of BlinkDL's trainer.

Its layer 0 has no use for `att.v0, v1, v2`; they are left out here. Of its training, the double learning rate of `w0`
and the penalty on large logits are left out.

Shapes: b batch, l length, d model width, h heads, c width of a head.
Source: Peng et al., arXiv 2503.14456.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.rwkv7 import Rwkv7HParams
from plugins.backbones.parts.layernorm import LayerNorm
from plugins.backbones.parts.recurrences import dplr
from plugins.backbones.stack import Pieces, Stack

_FIRST = "first values of rwkv7"  # in a call's memory: the values of its first layer
_SLOWEST = math.exp(-0.5)  # the largest rate of decay


def shifted(x: Tensor, before: Tensor | None, starts: Tensor | None) -> Tensor:
    """The step before each of x (b l d), zeros where there is none; `before` (b d) precedes x."""
    first = torch.zeros_like(x[:, :1]) if before is None else before[:, None].to(x.dtype)
    past = torch.cat([first, x[:, :-1]], 1)
    return past if starts is None else past.masked_fill(starts[..., None], 0)


class TimeMix(nn.Module):
    """The recurrent layer; the first of a model gives its values to all others."""

    # Registered by name below.
    x_r: Tensor
    x_v: Tensor
    w0: Tensor
    w1: Tensor
    w2: Tensor
    a0: Tensor
    v0: Tensor
    g1: Tensor
    g2: Tensor

    def __init__(self, hparams: Rwkv7HParams, index: int) -> None:
        super().__init__()
        dim = hparams.dim
        self.head, self.first = hparams.head_width, index == 0
        self.heads = dim // self.head
        for letter in "rwkvag":
            self.register_parameter(f"x_{letter}", nn.Parameter(torch.empty(1, 1, dim)))
        for letter, factor in (("w", 2.5), ("a", 2.5), ("v", 1.7), ("g", 5.0)):
            if letter == "v" and self.first:
                continue
            rank = max(32, 32 * round(factor * math.sqrt(dim) / 32))
            if letter != "g":
                self.register_parameter(f"{letter}0", nn.Parameter(torch.empty(1, 1, dim)))
            self.register_parameter(f"{letter}1", nn.Parameter(torch.zeros(dim, rank)))
            second = nn.init.orthogonal_(torch.empty(rank, dim), gain=0.1)
            self.register_parameter(f"{letter}2", nn.Parameter(second))
        self.k_k, self.k_a = (nn.Parameter(torch.empty(1, 1, dim)) for _ in range(2))
        self.r_k = nn.Parameter(torch.full((self.heads, self.head), -0.04))
        self.receptance, self.key, self.value, self.output = (Linear(dim, dim) for _ in range(4))
        self.ln_x = nn.GroupNorm(self.heads, dim, eps=64e-5)
        self.begin(index, hparams.layers)

    @torch.no_grad()
    def begin(self, index: int, layers: int) -> None:
        """The published start, by the layer's depth and the channel's number."""
        dim = self.x_r.shape[-1]
        depth, height = index / max(1, layers - 1), 1 - index / layers
        channel = torch.arange(dim)
        share, line = channel / dim, channel / max(1, dim - 1)
        centred = ((channel % self.head) - (self.head - 1) / 2) / ((self.head - 1) / 2)
        zigzag = centred * centred.abs()
        for letters, power in (("rg", 0.2), ("wa", 0.9), ("kv", 0.7)):
            for letter in letters:
                getattr(self, f"x_{letter}").copy_(1 - share ** (power * height))
        self.w0.copy_(-6 + 6 * line ** (1 + depth**0.3) + 0.5 + 2.5 * zigzag)
        self.a0.copy_(-0.19 + 0.3 * zigzag + 0.4 * (line - 0.5))
        if not self.first:
            self.v0.copy_(0.73 - 0.4 * (line - 0.5))
        self.k_k.copy_(0.71 - 0.1 * (line - 0.5))
        self.k_a.fill_(1.02)
        nn.init.orthogonal_(self.receptance.weight)
        nn.init.orthogonal_(self.value.weight)
        nn.init.orthogonal_(self.key.weight, gain=0.1)
        nn.init.zeros_(self.output.weight)
        self.ln_x.weight.fill_(((1 + index) / layers) ** 0.7)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `att_x` (b d), the last input, and `att` (b h c c)."""
        past = shifted(x, None if state is None else state["att_x"], pieces.starts) - x
        r, w, k, v, a, g = (x + past * getattr(self, f"x_{letter}") for letter in "rwkvag")
        r, k, v = self.receptance(r), self.key(k), self.value(v)
        mixed = v
        v = pieces.once(_FIRST, lambda: mixed)
        if not self.first:
            v = mixed + (v - mixed) * torch.sigmoid(self.v0 + self._low(x + past * self.x_v, "v"))
        g = torch.sigmoid(g @ self.g1) @ self.g2
        wide = torch.promote_types(x.dtype, torch.float32)
        logs = -_SLOWEST * torch.sigmoid((self.w0 + torch.tanh(w @ self.w1) @ self.w2).to(wide))
        a = torch.sigmoid((self.a0 + self._low(a, "a")).to(wide))
        r, k, v = r.to(wide), k.to(wide), v.to(wide)
        logs, r, a, v, keys, k = (
            each.unflatten(-1, (self.heads, self.head))
            for each in (logs, r, a, v, k * self.k_k, k * (1 + (a - 1) * self.k_a))
        )  # (b l h c)
        keys = F.normalize(keys, dim=-1, eps=1e-12)
        if state is not None and pieces.starts is None and x.shape[1] == 1:
            given = (each[:, 0] for each in (r, logs, k, v, -keys, keys * a))
            r_, logs_, k_, v_, a_, b_ = given
            y, memory = dplr.step(r_, logs_, k_, v_, a_, b_, state["att"])
            y = y[:, None]
        else:
            before = None if state is None else state["att"]
            y, memory = dplr.scan(r, logs, k, v, -keys, keys * a, before, pieces.starts)
        bonus = (r * k * self.r_k).sum(-1, keepdim=True) * v
        norm = self.ln_x
        flat = F.group_norm(y.flatten(2).flatten(0, 1), self.heads, norm.weight.to(wide), norm.bias.to(wide), norm.eps)
        y = (flat.view(x.shape) + bonus.flatten(2)) * g
        out = self.output(y.to(self.output.weight.dtype))
        if state is None:
            return out, None
        return out, {"att_x": x[:, -1].to(state["att_x"].dtype), "att": memory.to(state["att"].dtype)}

    def _low(self, x: Tensor, letter: str) -> Tensor:
        """A product of two thin matrices."""
        return x @ getattr(self, f"{letter}1") @ getattr(self, f"{letter}2")  # type: ignore[no-any-return]


class ChannelMix(nn.Module):
    """The feed-forward layer, with squares of ReLU, over this step and the last."""

    def __init__(self, hparams: Rwkv7HParams, index: int) -> None:
        super().__init__()
        hidden = hparams.hidden or 4 * hparams.dim
        height = 1 - index / hparams.layers
        self.x_k = nn.Parameter((1 - (torch.arange(hparams.dim) / hparams.dim) ** height**4)[None, None])
        self.key, self.value = Linear(hparams.dim, hidden), Linear(hidden, hparams.dim)
        nn.init.orthogonal_(self.key.weight)
        nn.init.zeros_(self.value.weight)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `ffn_x` (b d), the last input."""
        past = shifted(x, None if state is None else state["ffn_x"], pieces.starts) - x
        y = self.value(self.key(x + past * self.x_k).relu().square())
        return y, None if state is None else {"ffn_x": x[:, -1].to(state["ffn_x"].dtype)}


class Block(nn.Module):
    """Time mixing, then channel mixing, each as x + dropout(part(norm(x))); the first has a norm of its own before."""

    def __init__(self, hparams: Rwkv7HParams, index: int) -> None:
        super().__init__()
        self.ln0 = LayerNorm(hparams.dim) if index == 0 else None
        self.ln1, self.ln2 = LayerNorm(hparams.dim), LayerNorm(hparams.dim)
        self.att, self.ffn = TimeMix(hparams, index), ChannelMix(hparams, index)
        self.dropout = nn.Dropout(hparams.dropout)
        for name, parameter in self.named_parameters():
            if parameter.dim() != 2 or not name.endswith(".weight"):
                parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d)."""
        if self.ln0 is not None:
            x = self.ln0(x).to(x.dtype)
        y, mixed = self.att(self.ln1(x), state, pieces)
        x = x + self.dropout(y)
        y, kept = self.ffn(self.ln2(x), state, pieces)
        return x + self.dropout(y), None if mixed is None or kept is None else mixed | kept

    def init_state(self, batch: int, max_length: int) -> State:
        """An empty state: last inputs in the weights' precision, the recurrent state in float32 at least."""
        weight, heads, head = self.ln1.weight, self.att.heads, self.att.head
        wide = torch.promote_types(weight.dtype, torch.float32)
        last = weight.new_zeros(batch, len(weight))
        return {
            "att_x": last,
            "ffn_x": last.clone(),
            "att": weight.new_zeros(batch, heads, head, head, dtype=wide),
        }


class Rwkv7(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: Rwkv7HParams) -> None:
        blocks = [Block(hparams, index) for index in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, LayerNorm(hparams.dim), ("blocks", "ln_out"))


def build(hparams: Rwkv7HParams) -> Rwkv7:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Rwkv7(hparams)
