"""Stacked recurrent layers of torch, with pieces laid out as rows of their own so that every reset is a fresh row.

Shapes: b batch, l length, d model width, s pieces of a packed batch, t steps of the longest of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from core.contracts.backbone import State
from plugins.backbones.parts.piece_layout import PieceLayout, buckets
from plugins.backbones.stack import Pieces, Stack, parts_of

Memory = tuple[Tensor, ...]  # what one layer keeps, (1 b d) each


class Recurrent(Stack):
    """`nn.LSTM` or `nn.GRU` layers with dropout after each, the last included; no residual stream, no norm."""

    embedding_std = 0.2  # nothing here normalizes x: from smaller entries the gates hardly move and learning stalls

    def __init__(self, dim: int, layers: Sequence[nn.Module], dropout: float, keys: str) -> None:
        super().__init__(dim, layers, nn.Identity())
        self.dropout = nn.Dropout(dropout)
        self.keys = keys  # names of what a layer keeps

    def enter(self, x: Tensor, pieces: Pieces) -> Tensor:
        """x itself: there are no sums over layers."""
        return x

    def through(self, stream: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State]:
        """All layers over the stream (b l d), and what they keep: of layer i, `h.i` and of an LSTM `c.i` (b d)."""
        x, starts = stream, pieces.starts
        if state is None:
            y = self._rows(x, [None] * len(self.in_order))[0] if starts is None else self._packed(x, starts)
            return y.to(x.dtype), {}
        parts = parts_of(state)
        before: list[Memory | None] = [
            tuple(parts[i][key][None] for key in self.keys) for i in range(len(self.in_order))
        ]
        y, last = self._rows(x, before) if starts is None else self._continued(x, before, starts)
        after: State = {}
        for i, memory in enumerate(last):
            for key, value in zip(self.keys, memory, strict=True):
                after[f"{key}.{i}"] = value[0].to(parts[i][key].dtype)
        return y.to(x.dtype), after

    def _layer(self, layer: nn.Module, x: Any, memory: Memory | None) -> tuple[Any, Memory]:
        """One layer over rows or packed rows; torch's LSTM takes a pair and its GRU a tensor."""
        given = memory[0] if memory is not None and len(memory) == 1 else memory
        if _narrow_on_cpu(layer) and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            with torch.autocast("cpu", enabled=False):  # oneDNN has no narrow primitive for this CPU
                y, last = self.called(layer)(x.float() if isinstance(x, Tensor) else x, given)
        else:
            y, last = self.called(layer)(x, given)
        return y, last if isinstance(last, tuple) else (last,)

    def _rows(self, x: Tensor, before: list[Memory | None]) -> tuple[Tensor, list[Memory]]:
        """All layers over rows x (b l d) that each hold one piece; None: from the empty state."""
        last = []
        for layer, memory in zip(self.in_order, before, strict=True):
            x, memory = self._layer(layer, x, memory)
            x = self.dropout(x)
            last.append(memory)
        return x, last

    def _packed(self, x: Tensor, starts: Tensor) -> Tensor:
        """Pieces of like lengths are padded on the right and run together: the padding comes after all that is kept."""
        layout = PieceLayout(starts)
        done = []
        order = []
        for pieces in buckets(layout.lengths):
            index, kept = layout.rows(pieces)
            y, _ = self._rows(x.flatten(0, 1)[index], [None] * len(self.in_order))
            done.append(y[kept])
            order.append(index[kept])
        back = torch.cat(order).argsort()
        return torch.cat(done)[back].view(x.shape)

    def _continued(self, x: Tensor, before: list[Memory | None], starts: Tensor) -> tuple[Tensor, list[Memory]]:
        """As `_packed`, from and to a state: padded rows do not show the cell at a piece's end, packed ones do."""
        layout = PieceLayout(starts)
        index, kept = layout.rows(range(len(layout.lengths)))
        lengths = torch.tensor(layout.lengths)
        open_row = layout.open_row(starts)  # (s,) the row that a piece continues, -1 for a new piece
        fresh = (open_row < 0)[None, :, None]
        y = x.flatten(0, 1)[index]  # (s t d)
        last = []
        for layer, memory in zip(self.in_order, before, strict=True):
            assert memory is not None
            first = tuple(part[:, open_row.clamp(min=0)].masked_fill(fresh, 0) for part in memory)
            packed = pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
            packed, end = self._layer(layer, packed, first)
            y = self.dropout(pad_packed_sequence(packed, batch_first=True)[0])
            last.append(tuple(part[:, layout.last] for part in end))
        return y[kept].view(x.shape), last

    def init_state(self, batch: int, max_length: int) -> State:
        """The state before the first of at most `max_length` tokens; its size does not depend on `max_length`."""
        weight = next(self.parameters())
        length = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        state = {"length": length, "limit": torch.full_like(length, max_length)}
        for i in range(len(self.in_order)):
            state |= {f"{key}.{i}": weight.new_zeros(batch, self.dim) for key in self.keys}
        return state


@torch.no_grad()
def begin(model: nn.Module, gates: int) -> None:
    """Fresh weights: orthogonal recurrent and Xavier input matrices gate by gate, biases zero."""
    for name, parameter in model.named_parameters():
        if "bias" in name:
            parameter.zero_()
        else:
            for gate in parameter.chunk(gates):
                (nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_)(gate)


def _narrow_on_cpu(layer: nn.Module) -> bool:
    """Whether autocast would have a layer of float32 weights run in bfloat16 on a CPU."""
    if not torch.is_autocast_enabled("cpu"):  # asked first: looking for a weight takes longer, at every token
        return False
    weight = next(layer.parameters())
    return weight.device.type == "cpu" and weight.dtype == torch.float32
