"""The matrix rate of the machine: the best of several large square products, through each library at hand."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

SIZES = {"cpu": (1024, 1536, 2048), "cuda": (4096, 8192, 16384)}
_FLOPS = {"cpu": 1.5e10, "cuda": 1e14}  # arithmetic of one timing, some tenths of a second


class MatrixRate:
    """Products n x n x n in fp32 and bf16; a sample is the rate of each size and library."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch.matmul": torch.matmul}
        if device == "cpu" and _reaches_onednn():
            self._ways["oneDNN"] = lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")

    @torch.inference_mode()
    def sample(self, precision: str) -> dict[str, float]:
        """FLOP/s by "library size"."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        rates = {}
        for size in SIZES[self.device]:
            a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
            work = 2 * size**3
            for name, product in self._ways.items():
                product(a, b)
                count = max(1, round(_FLOPS[self.device] / work))
                seconds = timed(lambda: [product(a, b) for _ in range(count)], self.device)  # noqa: B023
                rates[f"{name} {size}"] = work * count / seconds
        return rates


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds that `work` takes, until the device has done it."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _reaches_onednn() -> bool:
    try:
        one = torch.ones(2, 2)
        return bool(torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "").eq(2).all())
    except (AttributeError, RuntimeError):
        return False
