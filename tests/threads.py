"""Runs the same with one thread and with two."""

from collections.abc import Callable

import torch
from torch import Tensor


def same_bits_on_any_number(results: Callable[[], list[Tensor]]) -> bool:
    """Whether one thread and two give the same tensors, bit for bit; the number of threads is left as it was."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = results()
        torch.set_num_threads(2)
        return all(map(torch.equal, one, results()))
    finally:
        torch.set_num_threads(before)
