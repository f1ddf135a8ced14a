"""xLSTM of mLSTM blocks: a matrix memory with exponential gates, then SwiGLU, pre-norm.

State-dict names are those of transformers' xLSTMModel.

Shapes: b batch, l length, d model width, h heads, c width of keys, v width of values (2 c).
Source: Beck et al., arXiv 2405.04517 and 2503.13427.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import State
from core.model.linear import Linear
from hparams.backbones.mlstm import MlstmHParams
from plugins.backbones.parts.recurrences import matrix_memory
from plugins.backbones.parts.rmsnorm import RMSNorm
from plugins.backbones.stack import Pieces, Stack

_EPS = 1e-6  # of all norms


class HeadNorm(nn.Module):
    """Layer norm over each head, with a weight for every channel."""

    def __init__(self, heads: int, dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, y: Tensor) -> Tensor:
        """y (b l h v) -> (b l d)."""
        return F.layer_norm(y, y.shape[-1:], None, None, _EPS).flatten(-2) * self.weight.to(y.dtype)


class Layer(nn.Module):
    """The mLSTM."""

    def __init__(self, hparams: MlstmHParams) -> None:
        super().__init__()
        self.heads, self.cap = hparams.heads, hparams.gate_soft_cap
        self.key_width, self.width = hparams.dim // 2 // hparams.heads, hparams.dim // hparams.heads
        self.q, self.k = Linear(hparams.dim, hparams.dim // 2), Linear(hparams.dim, hparams.dim // 2)
        self.v, self.ogate_preact = Linear(hparams.dim, hparams.dim), Linear(hparams.dim, hparams.dim)
        self.igate_preact, self.fgate_preact = (nn.Linear(hparams.dim, self.heads) for _ in range(2))
        self.multihead_norm = HeadNorm(self.heads, hparams.dim)
        self.out_proj = Linear(hparams.dim, hparams.dim)

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d) -> (b l d); the state holds `memory` (b h c v+1) and `peak` (b h)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        q, k, v = (each(x).to(wide).unflatten(-1, (self.heads, -1)) for each in (self.q, self.k, self.v))  # (b l h ..)
        q = q * self.key_width**-0.5
        i, f = (self._capped(each(x).to(wide)) for each in (self.igate_preact, self.fgate_preact))  # (b l h)
        f = F.logsigmoid(f)
        before = None if state is None else (state["memory"], state["peak"])
        if before is not None and pieces.starts is None and x.shape[1] == 1:
            y, memory = matrix_memory.step(q[:, 0], k[:, 0], v[:, 0], i[:, 0], f[:, 0], before)
            y = y[:, None]
        else:
            y, memory = matrix_memory.scan(q, k, v, i, f, before, pieces.starts)
        y = torch.sigmoid(self.ogate_preact(x)) * self.multihead_norm(y)
        out = self.out_proj(y.to(self.out_proj.weight.dtype))
        if state is None:
            return out, None
        return out, {key: value.to(state[key].dtype) for key, value in zip(("memory", "peak"), memory, strict=True)}

    def _capped(self, x: Tensor) -> Tensor:
        return self.cap * torch.tanh(x / self.cap)

    def init_state(self, batch: int, max_length: int) -> State:
        """An empty memory, in float32 at least."""
        weight = self.multihead_norm.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        memory = weight.new_zeros(batch, self.heads, self.key_width, self.width + 1, dtype=dtype)
        return {"memory": memory, "peak": weight.new_zeros(batch, self.heads, dtype=dtype)}


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj_up_gate, self.proj_up = Linear(dim, hidden), Linear(dim, hidden)
        self.proj_down = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (b l d) -> (b l d)."""
        return self.proj_down(F.silu(self.proj_up_gate(x)) * self.proj_up(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """The mLSTM, then the feed-forward part, each as x + dropout(part(norm(x)))."""

    def __init__(self, hparams: MlstmHParams) -> None:
        super().__init__()
        self.norm_mlstm = RMSNorm(hparams.dim, _EPS)
        self.mlstm_layer = Layer(hparams)
        self.norm_ffn = RMSNorm(hparams.dim, _EPS)
        self.ffn = FeedForward(hparams.dim, hparams.hidden or 64 * math.ceil(8 * hparams.dim / 3 / 64))
        self.dropout = nn.Dropout(hparams.dropout)
        self.begin(hparams.layers)

    @torch.no_grad()
    def begin(self, layers: int) -> None:
        """The published start: gates that hang on nothing yet, hardly write and mostly remember."""
        small, ends = math.sqrt(2 / 5), 2 / layers
        for name, parameter in self.named_parameters():
            if "gate_preact.bias" in name:
                steps = torch.linspace(3, 6, len(parameter)) if "fgate" in name else torch.tensor(-10.0)
                parameter.copy_(steps)
            elif "igate" in name or "fgate" in name:
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                ending = "out_proj" in name or "proj_down" in name
                nn.init.normal_(parameter, std=(ends if ending else small) / math.sqrt(parameter.shape[1]))

    def forward(self, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
        """x (b l d), the residual stream, -> (b l d)."""
        y, state = self.mlstm_layer(self.norm_mlstm(x), state, pieces)
        x = x + self.dropout(y)
        return x + self.dropout(self.ffn(self.norm_ffn(x))), state

    def init_state(self, batch: int, max_length: int) -> State:
        """The mLSTM's."""
        return self.mlstm_layer.init_state(batch, max_length)


class Mlstm(Stack):
    """The backbone: a stack of blocks and a last norm."""

    def __init__(self, hparams: MlstmHParams) -> None:
        blocks = [Block(hparams) for _ in range(hparams.layers)]
        super().__init__(hparams.dim, blocks, RMSNorm(hparams.dim, _EPS), ("blocks", "out_norm"))


def build(hparams: MlstmHParams) -> Mlstm:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Mlstm(hparams)
