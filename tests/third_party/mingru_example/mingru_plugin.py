"""minGRU (Feng et al., arXiv 2410.01201): a gated recurrence whose gate and candidate do not look at the past."""

from dataclasses import dataclass
from typing import Literal

import pluggy
import torch
from torch import nn


@dataclass(kw_only=True)
class MinGruHParams:
    name: Literal["mingru"] = "mingru"
    dim: int = 256
    layers: int = 4
    dropout: float = 0.1


class MinGru(nn.Module):
    packs = True  # `starts` is honored

    def __init__(self, hparams):
        super().__init__()
        self.dim = hparams.dim
        self.norms = nn.ModuleList(nn.RMSNorm(self.dim) for _ in range(hparams.layers))
        self.gates = nn.ModuleList(nn.Linear(self.dim, 2 * self.dim) for _ in range(hparams.layers))
        self.dropout = nn.Dropout(hparams.dropout)

    def init_state(self, batch, max_length):
        return {f"h{i}": norm.weight.new_zeros(batch, self.dim) for i, norm in enumerate(self.norms)}

    def forward(self, x, state=None, starts=None):
        after = dict(state) if state is not None else self.init_state(len(x), x.shape[1])
        for i, (norm, gate) in enumerate(zip(self.norms, self.gates)):
            mix, new = gate(norm(x)).chunk(2, -1)  # b l d
            mix, h, hidden = mix.sigmoid(), after[f"h{i}"], []
            for t in range(x.shape[1]):
                if starts is not None:  # nothing from before a start may pass
                    h = h.masked_fill(starts[:, t, None], 0)
                h = h + mix[:, t] * (new[:, t] - h)  # b d
                hidden.append(h)
            after[f"h{i}"] = h
            x = x + self.dropout(torch.stack(hidden, 1))  # b l d
        return x, after if state is not None else None


@pluggy.HookimplMarker("swaptunes")
def register_backbones(register):
    register("mingru", MinGruHParams, MinGru)
