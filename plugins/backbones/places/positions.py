"""Where each token stands in its piece, and whether the piece still has room.

Shapes: b batch, l length.
"""

import torch
from torch import Tensor


def positions(batch: int, length: int, before: Tensor | None, starts: Tensor | None, device: torch.device) -> Tensor:
    """The number of tokens between each token and the start of its piece, (b l) int64.

    `before` (b,) counts the tokens that a row's open piece already has (none: 0); `starts` (b l) bool opens new pieces.
    """
    steps = torch.arange(length, device=device)
    continued = steps.expand(batch, length) if before is None else before[:, None] + steps
    if starts is None:
        return continued
    latest = torch.where(starts, steps, -1).cummax(1).values  # (b l), -1 before the first start
    return torch.where(latest >= 0, steps - latest, continued)


def check_room(place: Tensor, limit: Tensor | int) -> None:
    """Raises ValueError if a token's place (b l) lies beyond the state's `max_length` (a number, or (b,) int64).

    Reads one number from the device; left out where that is impossible (export, capture of a CUDA graph).
    """
    if recorded(place):
        return
    room = limit[:, None] if isinstance(limit, Tensor) else limit
    if bool((place >= room).any()):
        most = int(limit.max()) if isinstance(limit, Tensor) else limit
        raise ValueError(
            f"a piece reaches {int(place.max()) + 1} tokens, but its state was made for max_length {most}; "
            "call init_state with a larger max_length"
        )


def recorded(x: Tensor) -> bool:
    """Whether what happens to x is being recorded (export, capture of a CUDA graph), so that no number can be read."""
    return torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())
