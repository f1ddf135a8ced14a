"""Seconds of work on a device, and the memory it takes at most."""

import statistics
import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], device: str, least: float = 0.15, warm: int = 2) -> float:
    """The median over repetitions that fill about `least` seconds, after `warm` that do not count."""
    for _ in range(warm):
        work()
    once = _timed(work, device)
    return statistics.median(_timed(work, device) for _ in range(max(3, min(50, round(least / once)))))


def _timed(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak(work: Callable[[], object], device: str) -> int | None:
    """Bytes that `work` holds at most beyond what was held before; None on the CPU."""
    if device != "cuda":
        work()
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
