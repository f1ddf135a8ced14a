"""A small backbone that keeps every law: learned positions, a gated memory, attention over a window.

Each fault of `planted_faults_backbones` replaces one of its methods.
Shapes: b batch, l length, d model width, w window less one.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

TABLE = 1024


@dataclass(kw_only=True)
class ReferenceHParams:
    name: Literal["reference"] = "reference"
    dim: int = 64
    layers: int = 2
    dropout: float = 0.1
    window: int = 4


class Reference(nn.Module):
    packs = True

    def __init__(self, hparams):
        super().__init__()
        self.dim = dim = hparams.dim
        self.kept = hparams.window - 1
        self.dropout = nn.Dropout(hparams.dropout)
        self.table = nn.Parameter(torch.randn(TABLE, dim))
        self.gates = nn.ModuleList([nn.Linear(dim, 2 * dim) for _ in range(hparams.layers)])
        self.heads = nn.ModuleList([nn.Linear(dim, 3 * dim) for _ in range(hparams.layers)])
        self.out = nn.Linear(dim, dim)

    def init_state(self, batch, max_length):
        like = self.table
        state = {"position": torch.zeros(batch, dtype=torch.int64, device=like.device)}
        for layer in range(len(self.gates)):
            state[f"memory{layer}"] = like.new_zeros(batch, self.dim)
            state[f"keys{layer}"] = like.new_zeros(batch, self.kept, self.dim)
            state[f"values{layer}"] = like.new_zeros(batch, self.kept, self.dim)
            state[f"alive{layer}"] = torch.zeros(batch, self.kept, dtype=torch.bool, device=like.device)
        return state

    def forward(self, x, state=None, starts=None):
        batch, length, _ = x.shape
        new = self.begin(batch, length, state)
        if starts is None:
            starts = torch.zeros(batch, length, dtype=torch.bool, device=x.device)
        position = self.positions(new["position"], starts)
        if int(position.max()) >= TABLE:
            raise ValueError(f"{int(position.max()) + 1} tokens are more than {TABLE}")
        new["position"] = self.next_position(position)
        hidden = x + self.table[position]
        for layer in range(len(self.gates)):
            hidden = hidden + self.drop(self.remember(layer, hidden, new, starts))
            hidden = hidden + self.drop(self.attend(layer, hidden, new, starts))
        return self.result(self.out(hidden), new if state is not None else None)

    def begin(self, batch, length, state):
        return dict(state) if state is not None else self.init_state(batch, length)

    def result(self, hidden, state):
        return hidden, state

    def drop(self, x):
        return self.dropout(x)

    def positions(self, position, starts):
        """Tokens since the piece began (b l)."""
        step = torch.arange(starts.shape[1], device=starts.device)
        latest = torch.where(starts, step, -1).cummax(1).values  # b l
        return torch.where(latest < 0, position[:, None] + step, step - latest)  # b l

    def next_position(self, position):
        return position[:, -1] + 1

    def remember(self, layer, hidden, state, starts):
        gate, value = self.gates[layer](hidden).chunk(2, -1)
        keep, memory, out = torch.sigmoid(gate), self.recall(layer, state), []
        for t in range(hidden.shape[1]):
            memory = keep[:, t] * self.carried(memory, starts[:, t]) + value[:, t]
            out.append(memory)
        self.store(layer, state, memory)
        return torch.tanh(torch.stack(out, 1))  # b l d

    def recall(self, layer, state):
        return state[f"memory{layer}"]

    def store(self, layer, state, memory):
        state[f"memory{layer}"] = memory

    def carried(self, memory, start):
        """What of the memory (b d) passes into a token."""
        return memory.masked_fill(start[:, None], 0)

    def attend(self, layer, hidden, state, starts):
        query, key, value = self.heads[layer](hidden).chunk(3, -1)
        keys = torch.cat([state[f"keys{layer}"], key], 1)  # b w+l d
        values = torch.cat([state[f"values{layer}"], value], 1)  # b w+l d
        piece = self.pieces(starts)  # b l
        before = torch.where(state[f"alive{layer}"], 0, -1)  # b w
        seen = torch.cat([before, piece], 1)  # b w+l
        scores = query @ keys.transpose(1, 2) / self.dim**0.5  # b l w+l
        near = self.near(hidden.shape[1], hidden.device)  # l w+l
        allowed = near & (seen[:, None, :] == piece[:, :, None])
        mixed = F.softmax(scores.masked_fill(~allowed, -torch.inf), -1) @ values  # b l d
        last = slice(keys.shape[1] - self.kept, None)
        state[f"keys{layer}"], state[f"values{layer}"] = keys[:, last], values[:, last]
        state[f"alive{layer}"] = self.alive(seen[:, last], piece[:, -1:])
        return mixed

    def pieces(self, starts):
        return starts.cumsum(1)

    def alive(self, seen, current):
        return seen == current

    def near(self, length, device):
        """Which of the kept and the new tokens are at most `window - 1` tokens back (l w+l)."""
        back = (
            torch.arange(length, device=device)[:, None] + self.kept - torch.arange(length + self.kept, device=device)
        )
        return (back >= 0) & (back <= self.kept)


def build(hparams):
    return Reference(hparams)
