"""What the machine is, and how fast it multiplies and copies: the two floors under everything else."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from supervisors.bench.matrix import MatrixRate
from tests.gpu.timing import seconds


def measure(device: str) -> dict[str, Any]:
    """Names, versions, FLOP/s of products in fp32 and bf16, bytes/s of a copy (read plus written)."""
    cuda = device == "cuda"
    copied = _copy_rate(1 << (30 if cuda else 22), device)
    products = MatrixRate(device)
    rates = {each: max(products.sample(each).values()) for each in ("fp32", "bf16")}
    return {
        "device": device,
        "name": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "memory": torch.cuda.get_device_properties(0).total_memory if cuda else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("torch", "triton", "transformers", "mamba_ssm", "deepspeed")},
        "matrix": rates,
        "copy": copied,
    }


def _copy_rate(count: int, device: str) -> float:
    source = torch.randn(count, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / seconds(lambda: target.copy_(source), device)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
