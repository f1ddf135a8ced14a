"""The processes of one run: how many there are, which one this is, and how they agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from core.errors import HubError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """A process alone, which agrees with itself; it needs no launcher, and no PyTorch before it computes."""

    rank: int = 0
    world: int = 1
    local: int = 0  # the process's number on its machine

    @property
    def first(self) -> bool:
        """Whether this process writes what all share."""
        return self.rank == 0

    @cached_property
    def device(self) -> "torch.device":
        """Where this process computes: its own GPU where there are some."""
        import torch  # here: who prepares data computes nothing

        if not torch.cuda.is_available():
            return torch.device("cpu")
        device = torch.device("cuda", self.local)
        torch.cuda.set_device(device)
        return device

    def barrier(self) -> None:
        """Waits until every process has come here."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag

    def from_first(self, value: T) -> T:
        """What the first process has, in every process."""
        return value

    @contextmanager
    def together(self) -> Iterator[None]:
        """What raises in one process ends the block with an error in all, so that none waits for one that left.

        The block itself must not make the processes meet before it may raise.
        """
        fault: Exception | None = None
        try:
            yield
        except Exception as error:
            fault = error
        if self.any(fault is not None):
            raise fault or HubError("another process of this run could not go on, and says why")

    def sum(self, value: "torch.Tensor") -> "torch.Tensor":
        """The sum of a tensor over all processes."""
        return value
