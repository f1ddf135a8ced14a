"""Where kernels are tried, whatever the call stands in that is the first to need them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.autograd.graph import saved_tensors_hooks


@contextmanager
def trial(device: str) -> Iterator[None]:
    """Gradients are taken, precision is as given, and what autograd keeps is kept as it is: not by the hooks of
    activation checkpointing, which count it."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device, enabled=False),
        saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor),
    ):
        yield
