"""Splits work over channels among a few threads, each of which runs its torch operations on one core.

Torch's own threads meet at a barrier after every operation. For thousands of small operations that costs much, and on a
machine that is busy with something else it costs everything: each barrier then waits for a turn of the scheduler. Here
threads meet once per call.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from threading import Barrier

import torch

_MOST_THREADS = 4  # beyond it they wait for each other's Python
_WORTH_IT = 1 << 20  # numbers per call below which one thread is faster


@lru_cache(maxsize=1)
def _pool(count: int) -> ThreadPoolExecutor:
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "swaptunes-channels", initializer=torch.set_num_threads, initargs=(1,))
    barrier = Barrier(count)
    for _ in pool.map(lambda _: barrier.wait(), range(count)):
        pass
    torch.set_num_threads(threads)  # a thread's setting is also the default of threads yet to come
    return pool


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of its parent's threads


def channel_threads(channels: int, numbers: int, device: torch.device) -> int:
    """The number of threads worth using for a call that makes so many `numbers`; 1 on an accelerator."""
    if device.type != "cpu" or numbers < _WORTH_IT:
        return 1
    return min(torch.get_num_threads(), _MOST_THREADS, channels)


def over_channels(function: Callable[[slice, int], None], channels: int, threads: int, device: torch.device) -> None:
    """Calls `function(part, index)` for `threads` slices that together cover `channels`, without gradients or autocast.

    Each part must write to places of its own.
    """
    inference = torch.is_inference_mode_enabled()

    def run(part: slice, index: int) -> None:
        with torch.inference_mode(inference), torch.no_grad(), torch.autocast(device.type, enabled=False):
            function(part, index)

    if threads == 1:
        run(slice(0, channels), 0)
        return
    edges = [channels * i // threads for i in range(threads + 1)]
    parts = [slice(begin, end) for begin, end in pairwise(edges)]
    for _ in _pool(threads).map(run, parts, range(threads)):
        pass
