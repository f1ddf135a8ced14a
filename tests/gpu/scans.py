"""The selective scan by itself: milliseconds forward and with backward against length, with and without resets.

The floor is what the card cannot go below: the bytes of inputs and outputs, each once, over its copy rate.

Shapes: b batch, l length, e inner width, n states.
"""

import importlib.util
from typing import Any

import torch
from torch import Tensor

from tests.gpu.timing import peak, seconds

_RANK = 128


def measure(device: str) -> dict[str, Any]:
    """Width 4096 (d 2048), 16 states, bf16, 8,192 tokens; ours and, where it is installed, mamba_ssm's."""
    if device != "cuda":
        return {"rows": [], "why": "only kernels on a card are timed"}
    rows = []
    for length in (2048, 4096, 8192):
        for ways in _ways(max(1, 8192 // length), length, 4096, 16):
            name, work, forward_only = ways
            row: dict[str, Any] = {"name": name, "length": length, "peak": peak(work, device)}
            row["forward"] = seconds(forward_only, device)
            row["both"] = seconds(work, device)
            rows.append(row)
    return {"rows": rows}


def _ways(batch: int, length: int, e: int, n: int) -> list[tuple[str, Any, Any]]:
    from plugins.backbones.cuda.inner import inner, since_start

    generator = torch.Generator("cuda").manual_seed(0)

    def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cuda").mul_(0.5).to(dtype).requires_grad_()

    xz = draw(batch, length, 2 * e, dtype=torch.bfloat16)
    weights = (draw(e, 4), draw(e), draw(_RANK + 2 * n, e), draw(e, _RANK), draw(e))
    A = (-torch.arange(1.0, n + 1, device="cuda").repeat(e, 1)).requires_grad_()
    D = draw(e)
    starts = torch.rand(batch, length, generator=generator, device="cuda") < 0.005
    since = since_start(starts)
    grad = torch.randn(batch, length, e, generator=generator, device="cuda").bfloat16()

    def both(marks: Tensor | None) -> None:
        y = inner(xz, *weights, A, D, since=marks)[0]
        torch.autograd.grad(y, [xz, *weights, A, D], grad)

    @torch.no_grad()
    def once(marks: Tensor | None) -> None:
        inner(xz, *weights, A, D, since=marks)

    ways: list[tuple[str, Any, Any]] = [
        ("ours", lambda: both(None), lambda: once(None)),
        ("ours, packed", lambda: both(since), lambda: once(since)),
    ]
    if importlib.util.find_spec("mamba_ssm") is not None:
        from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn

        flat = xz.detach().transpose(1, 2).contiguous().requires_grad_()
        # It projects what comes out, which ours leaves to the block: to so few channels that it costs next to nothing.
        out = torch.eye(16, e, device="cuda", dtype=torch.bfloat16)
        few = grad[..., :16].contiguous()
        given = [weights[0][:, None].bfloat16(), weights[1].bfloat16(), weights[2].bfloat16(), weights[3].bfloat16()]

        def theirs() -> Tensor:
            y: Tensor = mamba_inner_fn(flat, *given, out, None, A, None, None, D, weights[4], delta_softplus=True)
            return y

        ways.append(("mamba_ssm", lambda: torch.autograd.grad(theirs(), [flat, A, D], few), torch.no_grad()(theirs)))
    return ways
