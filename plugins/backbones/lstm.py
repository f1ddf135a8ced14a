"""A stack of LSTM layers with dropout after each, the last included, as Folk-RNN stacks them.

Shapes: b batch, l length, d model width, s pieces of a packed batch, t steps of the longest of them.
Source: Hochreiter & Schmidhuber, 1997; Sturm et al., arXiv 1604.08723.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from core.contracts.backbone import State
from hparams.backbones.lstm import LstmHParams
from plugins import hookimpl
from plugins.backbones.parts.piece_layout import PieceLayout, buckets
from plugins.backbones.parts.positions import check_room, positions

Pair = tuple[Tensor, Tensor]  # hidden and cell state of one layer, (1 b d) each, as nn.LSTM takes them


class Lstm(nn.Module):
    """The backbone. Pieces packed into a row are laid out as rows of their own, so that every reset is a fresh row."""

    packs = True
    embedding_std = 0.2  # nothing here normalizes x: from smaller entries the gates hardly move and learning stalls

    def __init__(self, hparams: LstmHParams) -> None:
        super().__init__()
        self.dim = hparams.dim
        self.layers = nn.ModuleList(nn.LSTM(hparams.dim, hparams.dim, batch_first=True) for _ in range(hparams.layers))
        self.dropout = nn.Dropout(hparams.dropout)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Fresh weights: orthogonal recurrent and Xavier input matrices gate by gate, and forget gates that begin open
        (bias 1; Gers et al. 2000), so that gradients last from the start."""
        for name, parameter in self.named_parameters():
            if "bias" in name:
                parameter.zero_()
                parameter[self.dim : 2 * self.dim] = float("bias_ih" in name)
            else:
                for gate in parameter.chunk(4):
                    (nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_)(gate)

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """x (b l d) -> hidden (b l d); the state: `length`, `limit` (b,) and, per layer i, `h.i` and `c.i` (b d)."""
        if state is None:
            if starts is None:
                return self._stack(x, [None] * len(self.layers))[0].to(x.dtype), None
            return self._packed(x, starts).to(x.dtype), None
        place = positions(x.shape[0], x.shape[1], state["length"], starts, x.device)
        check_room(place, state["limit"])
        before: list[Pair | None] = [(state[f"h.{i}"][None], state[f"c.{i}"][None]) for i in range(len(self.layers))]
        y, last = self._stack(x, before) if starts is None else self._continued(x, before, starts)
        after = {"length": place[:, -1] + 1, "limit": state["limit"]}
        for i, (h, c) in enumerate(last):
            after |= {f"h.{i}": h[0].to(state[f"h.{i}"].dtype), f"c.{i}": c[0].to(state[f"c.{i}"].dtype)}
        return y.to(x.dtype), after

    def _stack(self, x: Tensor, before: list[Pair | None]) -> tuple[Tensor, list[Pair]]:
        """All layers over rows x (b l d) that each hold one piece; None: from the empty state."""
        last = []
        for layer, pair in zip(self.layers, before, strict=True):
            x, pair = layer(x, pair)
            x = self.dropout(x)
            last.append(pair)
        return x, last

    def _packed(self, x: Tensor, starts: Tensor) -> Tensor:
        """Pieces of like lengths are padded on the right and run together: the padding comes after all that is kept."""
        layout = PieceLayout(starts)
        done = []
        order = []
        for pieces in buckets(layout.lengths):
            index, kept = layout.rows(pieces)
            y, _ = self._stack(x.flatten(0, 1)[index], [None] * len(self.layers))
            done.append(y[kept])
            order.append(index[kept])
        back = torch.cat(order).argsort()
        return torch.cat(done)[back].view(x.shape)

    def _continued(self, x: Tensor, before: list[Pair | None], starts: Tensor) -> tuple[Tensor, list[Pair]]:
        """As `_packed`, from and to a state: padded rows do not show the cell at a piece's end, packed ones do."""
        layout = PieceLayout(starts)
        index, kept = layout.rows(range(len(layout.lengths)))
        lengths = torch.tensor(layout.lengths)
        open_row = layout.open_row(starts)  # (s,) the row that a piece continues, -1 for a new piece
        fresh = (open_row < 0)[None, :, None]
        y = x.flatten(0, 1)[index]  # (s t d)
        last = []
        for layer, pair in zip(self.layers, before, strict=True):
            assert pair is not None
            first = tuple(part[:, open_row.clamp(min=0)].masked_fill(fresh, 0) for part in pair)
            packed = pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
            packed, (h, c) = layer(packed, first)
            y = self.dropout(pad_packed_sequence(packed, batch_first=True)[0])
            last.append((h[:, layout.last], c[:, layout.last]))
        return y[kept].view(x.shape), last

    def init_state(self, batch: int, max_length: int) -> State:
        """The state before the first of at most `max_length` tokens; its size does not depend on `max_length`."""
        weight = next(self.parameters())
        length = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        state = {"length": length, "limit": torch.full_like(length, max_length)}
        for i in range(len(self.layers)):
            state |= {f"{key}.{i}": weight.new_zeros(batch, self.dim) for key in "hc"}
        return state


def build(hparams: LstmHParams) -> Lstm:
    """Makes the backbone with fresh weights from torch's current random state."""
    return Lstm(hparams)


@hookimpl
def register_backbones(register: Callable[..., None]) -> None:
    """Offers `lstm`."""
    # Saturating gates bear, and want, larger steps than residual blocks do.
    register("lstm", LstmHParams, build, defaults={"train.lr": 4e-3})
