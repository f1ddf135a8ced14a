"""Work done again and again on the same places in memory: on CUDA a recorded graph, one launch for all its kernels."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from core.log import warn_once

WORTH_IT = 64  # repetitions from which on recording takes less time than it saves


def pays(places: Iterable[torch.Tensor], steps: int) -> bool:
    """Whether so many steps on these tensors are worth recording: all lie on CUDA, and the steps are many."""
    return steps >= WORTH_IT and all(place.is_cuda for place in places)


def recorded(work: Callable[[], object], warm: Callable[[], object], device: torch.device) -> Any:
    """A torch.cuda.CUDAGraph whose `replay` does `work` once more; None, and a warning, where it cannot be recorded.

    `warm` does the like beforehand: what is compiled or set up at a first call cannot be recorded.
    """
    try:
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(2):
                warm()
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph
    except RuntimeError as error:  # a plugin may read numbers from the device
        torch.cuda.synchronize()
        warn_once(f"decoding without a CUDA graph, more slowly: {str(error).splitlines()[0][:160]}")
        return None
