"""What belongs to the whole process and a plugin, while it loads, might change for everybody: it is put back."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from core.log import logger


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Puts back the working folder, logging and PyTorch's defaults, and says so; prints go to stderr, for stdout is the
    command's own."""
    before = _state("torch" in sys.modules)
    try:
        with redirect_stdout(sys.stderr), redirect_stderr(sys.stderr):
            yield
    finally:
        for what, value in _state("torch" in sys.modules).items():
            if value != before.get(what, _FRESH.get(what)):
                _put_back(what, before.get(what, _FRESH.get(what)))
                logger.warning('plugin "%s" changed %s while it was loaded; it is put back', name, what)


_FRESH = {"torch's default dtype": "float32", "torch's default device": "cpu", "whether torch takes gradients": True}


def _state(torch_is_there: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"what logging shows": logging.root.manager.disable}
    with suppress(OSError):  # a folder that was removed meanwhile
        found["the working folder"] = os.getcwd()
    if torch_is_there:
        import torch

        values = (
            str(torch.get_default_dtype())[len("torch.") :],
            str(torch.get_default_device()),
            torch.is_grad_enabled(),
        )
        found.update(zip(_FRESH, values, strict=True))
    return found


def _put_back(what: str, value: Any) -> None:
    if what == "what logging shows":
        logging.disable(value)
    elif what == "the working folder":
        os.chdir(value)
    else:
        import torch

        dtype, device, _ = _FRESH
        if what == dtype:
            torch.set_default_dtype(getattr(torch, value))
        elif what == device:
            torch.set_default_device(None if value == "cpu" else value)
        else:
            torch.set_grad_enabled(value)
