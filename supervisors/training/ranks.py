"""The processes of one run: how many there are, which one this is, and how they agree."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from core.errors import HubError
from core.log import logger

T = TypeVar("T")

# The first process may read a corpus for hours while the others wait; dead ones are the launcher's to notice.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """Rank and number of the processes, and this process's device; one process needs no launcher."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes what all share."""
        return self.rank == 0

    def barrier(self) -> None:
        """Waits until every process has come here."""
        if self.world > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        vote = torch.tensor([int(flag)], device=self.device)
        dist.all_reduce(vote, op=dist.ReduceOp.MAX)
        return bool(vote.item())

    def from_first(self, value: T) -> T:
        """What the first process has, in every process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=self.device)
        return box[0]

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

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        if self.world > 1:
            dist.all_reduce(value)
        return value


def start() -> Ranks:
    """Reads what torchrun, DeepSpeed's launcher or Slurm set; joins the process group when there are several ranks."""
    rank = int(os.environ.get("RANK", "0"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    if rank:
        logger.setLevel(logging.ERROR)  # the first process says what concerns all
    return Ranks(rank, world, device)


def alone() -> None:
    """Makes a process group of this one process, which DeepSpeed wants even then; on the loopback only."""
    if dist.is_initialized():
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def stop() -> None:
    """Leaves the group of several processes; without this, processes that end at different times may abort.

    A process alone stays in its own: DeepSpeed keeps that group for what is trained next here.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()
        dist.destroy_process_group()
