"""A linear layer without bias whose float32 products on the CPU are made by the faster of PyTorch's two libraries.

PyTorch gives float32 products to MKL, which keeps a CPU that is not Intel's to the instructions of AVX2. oneDNN asks
the CPU what it can do; with AVX-512 it is more than twice as fast there. The choice hangs on the CPU alone, so that a
run can be repeated.

Shapes: ... any, r rows, i inputs, o outputs.
"""

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_LEAST = 8  # rows or inputs; below, a call of oneDNN costs more than its arithmetic
_FEW = 16  # rows; up to here what either library does before it multiplies costs more than the product

# Compiled ways that are faster still, where somebody has brought them: the product of few rows, the copied transpose.
_product_of_few: Callable[[Tensor, Tensor], Tensor] | None = None
_transposed: Callable[[Tensor], Tensor] | None = None


def use(product_of_few: Callable[[Tensor, Tensor], Tensor], transposed: Callable[[Tensor], Tensor]) -> None:
    """Takes compiled ways for float32 on the CPU, rows dense: `product` of few rows, and a matrix copied turned."""
    global _product_of_few, _transposed
    _product_of_few, _transposed = product_of_few, transposed


@cache
def onednn_is_faster() -> bool:
    """Whether this CPU has AVX-512, is not Intel's, and this PyTorch offers oneDNN's float32 product."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        one, two = torch.ones(3, 2), torch.full((4, 2), 2.0)
        same = bool(torch.ops.mkldnn._linear_pointwise(one, two, None, "none", [], "").eq(4).all())
    except (OSError, AttributeError, RuntimeError):
        return False
    return same and platform.machine() in ("x86_64", "AMD64") and "GenuineIntel" not in about and "avx512f" in about


def _single(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu"


def _by_onednn(x: Tensor) -> bool:
    return _single(x) and min(x.shape) >= _LEAST and onednn_is_faster()


def _dense(x: Tensor) -> Tensor:
    """x, or its transpose, without gaps between rows: for anything else oneDNN falls back to loops without vectors."""
    return x if x.is_contiguous() or x.t().is_contiguous() else x.contiguous()


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x (r i) times the transpose of weight (o i), as (r o); no gradient."""
    dense = _single(x) and _single(weight) and x.is_contiguous() and weight.is_contiguous()
    if _product_of_few and len(x) <= _FEW and dense:
        return _product_of_few(x, weight)
    if _by_onednn(x):
        x, weight = _dense(x), _dense(weight)
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # type: ignore[no-any-return]
    return x @ weight.t()


def outer(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of a weight (o i): grad (r o) transposed times x (r i); no gradient of its own."""
    # oneDNN wants what comes first copied as its transpose, with one thread if PyTorch does it; MKL reads it as it is.
    turned = _transposed if _transposed and _by_onednn(x) and grad.stride(1) == x.stride(1) == 1 else Tensor.t
    if grad.shape[1] > x.shape[1]:  # the smaller one is copied
        return turned(product(turned(x), grad.t()))
    return product(turned(grad), x.t())


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            of_x = product(grad, weight.t()) if needs_x else None
            return of_x, outer(grad, x) if needs_weight else None


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """`F.linear(x, weight)` without bias for x (... i) and weight (o i), autocast included."""
    plain = not _single(x) or weight.dtype != torch.float32
    if plain or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling() or not onednn_is_faster():
        return F.linear(x, weight)
    rows = x.flatten(0, -2)
    y: Tensor = _Linear.apply(rows, weight) if torch.is_grad_enabled() else product(rows, weight)  # type: ignore[no-untyped-call]
    return y.unflatten(0, x.shape[:-1])


class Linear(nn.Linear):
    """`nn.Linear` without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (... i) -> (... o)."""
        return linear(x, self.weight)
