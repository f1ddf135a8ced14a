"""A backbone under examination: built small, its weights shaken, fed with reproducible vectors.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from core.contracts.backbone import State, fork
from core.seeds import derive
from plugins.laws.law import LawBroken

WIDTHS = (32, 64, 128)
SHAKE = 0.05


class Size(NamedTuple):
    """The case of a law."""

    batch: int
    length: int

    def __str__(self) -> str:
        return f"batch {self.batch}, length {self.length}"


class Subject:
    """Builds the backbone with two layers and a small width, and with dropout on, which evaluation must not show."""

    def __init__(self, build: Callable[[Any], Any], hparams: Any, device: str, dtype: torch.dtype) -> None:
        self.build = build
        self.hparams = hparams
        self.device = device
        self.dtype = dtype

    @cached_property
    def model(self) -> Any:
        """In evaluation mode, with dropout 0.5 that must be off; (device, dtype) as asked."""
        return self.again(0.5, 0).eval()

    @cached_property
    def plain(self) -> Any:
        """The same weights with dropout 0, in training mode."""
        model = self.again(0.0, 0)
        model.load_state_dict(self.model.state_dict())
        return model.train()

    @property
    def packs(self) -> bool:
        """Whether the backbone says that it honours `starts`."""
        return bool(self.model.packs)

    def again(self, dropout: float, seed: int) -> nn.Module:
        """A new model. Its weights are shaken, so that a zero of the initialization cannot hide a fault."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._smallest(dropout)
            for parameter in model.parameters():
                if parameter.is_floating_point():
                    parameter.data.add_(SHAKE * torch.randn(parameter.shape).to(parameter))
        return model.to(self.device, self.dtype)

    def _smallest(self, dropout: float) -> nn.Module:
        """The first width that the plugin accepts; its own when it accepts none of ours."""
        for width in (*WIDTHS, self.hparams.dim):
            try:
                model = self.build(replace(self.hparams, dim=width, layers=2, dropout=dropout))
                break
            except (ValueError, AssertionError, RuntimeError, ZeroDivisionError):
                if width == self.hparams.dim:
                    raise
        if not isinstance(model, nn.Module):
            raise LawBroken(f"build returned {type(model).__name__}; expected an nn.Module")
        return model

    def x(self, batch: int, length: int, salt: str = "x") -> Tensor:
        """Normal vectors (b l d) that depend on the salt and the size alone, as loud as the backbone wants embeddings.

        One that wants them quiet may multiply them, and be no better than rounding lets it on louder ones.
        """
        drawn = torch.Generator().manual_seed(derive("backbone laws", salt, batch, length))
        std = getattr(self.model, "embedding_std", 1.0)
        std = std if isinstance(std, int | float) and std > 0 else 1.0  # else a law of its own speaks of it
        shape = (batch, length, self.model.dim)
        return (std * torch.randn(shape, generator=drawn, dtype=torch.float64)).to(self.device, self.dtype)  # b l d

    def call(self, x: Tensor, state: State | None = None, starts: Tensor | None = None) -> tuple[Tensor, State | None]:
        """One call of the model under the laws; the given state is copied first, since it may be written in place."""
        return apply(self.model, x, None if state is None else fork(state), starts)

    def hidden(self, x: Tensor, starts: Tensor | None = None) -> Tensor:
        """Hidden states (b l d) without any state."""
        return self.call(x, None, starts)[0]

    def state(self, batch: int, max_length: int) -> State:
        """A fresh state; it must be a dict of tensors."""
        state = self.model.init_state(batch, max_length)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise LawBroken(f"init_state returned {type(state).__name__}; expected a dict of tensors")
        return state

    def steps(self, x: Tensor, state: State, chunks: list[int], starts: Tensor | None = None) -> tuple[Tensor, State]:
        """Feeds x (b l d) in chunks and hands the state on."""
        parts, at = [], 0
        state = fork(state)
        for chunk in chunks:
            cut = slice(at, at + chunk)
            part, state_after = apply(self.model, x[:, cut], state, None if starts is None else starts[:, cut])
            if state_after is None:
                raise LawBroken("no state came back although one was given")
            parts.append(part)
            state, at = state_after, at + chunk
        return torch.cat(parts, 1), state  # b l d


def apply(
    model: nn.Module, x: Tensor, state: State | None = None, starts: Tensor | None = None
) -> tuple[Tensor, State | None]:
    """Calls a backbone and insists on what it must return."""
    returned = model(x, state=state, starts=starts)
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], Tensor)):
        raise LawBroken(f"forward returned {type(returned).__name__}; expected the pair (hidden, state)")
    return returned


def deviation(found: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    """Largest difference, as a share of the largest expected entry (at least `floor`); LawBroken when shapes differ."""
    if found.shape != expected.shape:
        raise LawBroken(f"shape {tuple(found.shape)}; expected {tuple(expected.shape)}")
    if not found.numel():
        return 0.0
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    scale = max(expected.abs().max().item(), floor, torch.finfo(torch.float64).tiny)
    return (found - expected).abs().max().item() / scale


def place(found: Tensor, expected: Tensor) -> str:
    """Where two tensors (b l d) differ most."""
    gap = (found.detach().double() - expected.detach().double()).abs().amax(-1)
    row, position = divmod(int(gap.nan_to_num(torch.inf).argmax()), gap.shape[1])
    return f"row {row}, position {position}"
