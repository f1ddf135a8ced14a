"""The Triton kernels compiled for a card that need not be there: to machine code, as the hub would launch them.

    python -m pytest tests/test_triton_compiled.py

The interpreter (test_triton.py) knows no types of a compiler and nothing of a card's limits. Nothing is run here.
"""

import os
from typing import Any

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("Triton interprets here", allow_module_level=True)
triton = pytest.importorskip("triton", reason="Triton is not installed: pip install 'swaptunes[triton]'")


class _Card:
    """What the compiler asks a driver: an H100 or H200, which need not be there."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _: int) -> int:
        return 0


# Triton warns where it is not told whether to fuse products and sums.
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What launches compiled, none of which was run."""
    from triton.runtime import driver, jit

    found: list[Any] = []
    launch = jit.JITFunction.run

    def compile_only(self: Any, *arguments: Any, **options: Any) -> Any:
        found.append(launch(self, *arguments, **{**options, "warmup": True}))
        return found[-1]

    monkeypatch.setattr(jit.JITFunction, "run", compile_only)
    monkeypatch.setattr(driver, "_active", _Card())
    return found


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype, requires_grad=True)


CASES = {
    "bf16": (torch.bfloat16, 2, 200, 96, 16, False, False),
    "packed": (torch.bfloat16, 2, 200, 96, 16, True, False),
    "fp32, odd": (torch.float32, 1, 70, 18, 5, True, True),
    "one step, one channel": (torch.float32, 1, 1, 1, 1, False, True),
    "64 states": (torch.bfloat16, 1, 200, 96, 64, True, False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mixer_compiles(case: str, compiled: list[Any]) -> None:
    """Forward and backward, with and without starts and a state before."""
    from plugins.backbones.cuda.inner import inner, since_start

    dtype, batch, length, e, n, packed, stateful = CASES[case]
    weights = [draw(e, 4), draw(e), draw(2 + 2 * n, e), draw(e, 2), draw(e), draw(e, n), draw(e)]
    state = [draw(batch, e, 3), draw(batch, e, n)] if stateful else [None, None]
    since = since_start(torch.zeros(batch, length, dtype=torch.bool)) if packed else None
    outputs: Any = inner(draw(batch, length, 2 * e, dtype=dtype), *weights, *state, since)
    (outputs[0].float().sum() + outputs[1].sum()).backward()
    names = {kernel.metadata.name for kernel in compiled}
    wanted = {"convolve", "convolve_back", "combine", "walk", "differentiate"}
    assert names == wanted | ({"walk_back"} if length > 128 else set())
    assert all(kernel.asm["cubin"] for kernel in compiled)


def test_a_step_compiles(compiled: list[Any]) -> None:
    """Decoding."""
    from plugins.backbones.cuda.step import step

    e, n = 96, 16
    with torch.no_grad():
        step(draw(3, 2 * e), draw(e, 4), draw(e), draw(2 + 2 * n, e), draw(e, 2), draw(e), draw(e, n), draw(e),
             draw(3, e, 3), draw(3, e, n))  # fmt: skip
    assert len(compiled) == 2 and all(kernel.asm["cubin"] for kernel in compiled)
