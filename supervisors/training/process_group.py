"""The process group of torch.distributed: by which several processes agree, and which DeepSpeed wants of one, too."""

import logging
import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from core.log import logger
from supervisors.training.ranks import Ranks

T = TypeVar("T")

# The first process may read a corpus for hours while the others wait; dead ones are the launcher's to notice.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Several(Ranks):
    """One of several processes."""

    def barrier(self) -> None:
        dist.barrier()

    def any(self, flag: bool) -> bool:
        vote = torch.tensor([int(flag)], device=self.device)
        dist.all_reduce(vote, op=dist.ReduceOp.MAX)
        return bool(vote.item())

    def from_first(self, value: T) -> T:
        box = [value]
        dist.broadcast_object_list(box, device=self.device)
        return box[0]

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(value)
        return value


def join(local: int) -> Several:
    """This process, number `local` on its machine, among those that the launcher started."""
    ranks = Several(int(os.environ.get("RANK", "0")), int(os.environ["WORLD_SIZE"]), local)
    device = ranks.device  # its own GPU, before the group is made on it
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    if ranks.rank:
        logger.setLevel(logging.ERROR)  # the first process says what concerns all
    return ranks


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
