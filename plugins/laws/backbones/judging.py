"""All laws over one backbone: what must hold for training, prefilling and stepping to be the same model."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from plugins.laws.backbones import gradients as gradient_laws
from plugins.laws.backbones import packing as packing_laws
from plugins.laws.backbones import sequences as sequence_laws
from plugins.laws.backbones.measures import MEASURES, Marked, Measure
from plugins.laws.backbones.subject import Size, Subject
from plugins.laws.law import Finding, Law, one_thread

MODULES = [module.__name__ for module in (sequence_laws, packing_laws, gradient_laws)]  # filled MEASURES
SIZE, LONG = Size(3, 13), Size(2, 160)
# The largest deviation that rounding explains, as a share of the largest entry.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 5e-2}
CUDA_FLOAT32 = 1e-3  # kernels multiply in other orders, and with fast exponentials


def backbone_laws(
    build: Callable[[Any], Any], hparams: Any, device: str = "cpu", dtype: torch.dtype = torch.float64
) -> list[Law]:
    """The laws, not yet judged. The backbone is made small: `dim`, `layers` and `dropout` of `hparams` are replaced."""
    subject = Subject(build, hparams, device, dtype)
    return [
        Law(
            name=marked.name,
            measure=partial(_measured, marked.measure, subject),
            cases=partial(tuple, (SIZE, LONG) if marked.long else (SIZE,)),
            smaller=smaller_sizes,
            tolerance=_tolerance(marked, device, dtype),
        )
        for marked in sorted(MEASURES, key=lambda marked: MODULES.index(marked.measure.__module__))
    ]


def _tolerance(marked: Marked, device: str, dtype: torch.dtype) -> float:
    if isinstance(marked.within, float):
        return marked.within
    if marked.within is not None:
        return marked.within[dtype]
    return CUDA_FLOAT32 if device.startswith("cuda") and dtype == torch.float32 else TOLERANCE[dtype]


def _measured(measure: Measure, subject: Subject, size: Size) -> Iterator[Finding]:
    with one_thread(), torch.no_grad():
        yield from measure(subject, size)


def smaller_sizes(size: Size) -> Iterator[Size]:
    """Sizes below the given one, the smallest first."""
    lengths = [*range(1, 17), 24, 32, 48, 64, 96, 128]
    sizes = [Size(b, l) for b in range(1, size.batch + 1) for l in lengths if l <= size.length]
    yield from sorted(sizes, key=lambda other: (other.batch * other.length, other.batch))
