"""The Triton kernels in Triton's interpreter, on the CPU, beside the recurrence as written down in float64.

    TRITON_INTERPRET=1 python -m pytest tests/test_triton.py

Triton decides when it is first imported whether it compiles or interprets, so these run in a process of their own.
"""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hparams.backbones.mamba import MambaHParams
from plugins.backbones.cuda import kernels
from plugins.backbones.mamba import build

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("they run by themselves, with TRITON_INTERPRET=1, in .ci/run", allow_module_level=True)
pytest.importorskip("triton", reason="Triton is not installed: pip install 'swaptunes[triton]'")

N, RANK = 3, 2


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Small blocks, few steps."""
    patch = pytest.MonkeyPatch()
    from plugins.backbones.cuda import step
    from plugins.backbones.cuda.conv import conv
    from plugins.backbones.cuda.scan import scan

    patch.setattr(scan, "PLAN", scan.Plan(channels=8, chunk=4, ahead=2, kept=2, programs=3))
    patch.setattr(conv, "PLAN", conv.Plan(channels=8, steps=4, ahead=2))
    patch.setattr(step, "BLOCK", 8)
    yield
    patch.undo()


def literal(
    xz: Tensor, conv: Tensor, conv_bias: Tensor, xw: Tensor, dtw: Tensor, dt_bias: Tensor, A: Tensor, D: Tensor,
    window: Tensor, h: Tensor, starts: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`inner` row by row and step by step: y (b l e), the last state (b e n) and inputs (b e k-1)."""
    outputs, states, windows = [], [], []
    for row in range(len(xz)):
        past, state, made = window[row], h[row], []
        for t in range(xz.shape[1]):
            x, z = xz[row, t].chunk(2)
            if starts[row, t]:
                past, state = torch.zeros_like(past), torch.zeros_like(state)
            full = torch.cat([past, x[:, None]], 1)  # (e k)
            u = F.silu((full * conv).sum(1) + conv_bias)
            low, B, C = (xw @ u).split([RANK, N, N])
            dt = F.softplus(dtw @ low + dt_bias)
            state = torch.exp(dt[:, None] * A) * state + (dt * u)[:, None] * B
            made.append((state @ C + D * u) * F.silu(z))
            past = full[:, 1:]
        outputs.append(torch.stack(made))
        states.append(state)
        windows.append(past)
    return torch.stack(outputs), torch.stack(states), torch.stack(windows)


def inputs(batch: int, length: int, e: int, k: int) -> list[Tensor]:
    """The arguments of `literal` but starts, in float64."""
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = [
        draw(e, k),
        draw(e),
        draw(RANK + 2 * N, e) / 2,
        draw(e, RANK),
        draw(e),
        -draw(e, N).abs() - 0.05,
        draw(e),
    ]
    return [draw(batch, length, 2 * e), *weights, draw(batch, e, k - 1), draw(batch, e, N)]


def compare(values: list[Tensor], starts: Tensor | None, dtype: torch.dtype) -> float:
    """The largest difference of outputs and gradients, as a share of the largest entry."""
    from plugins.backbones.cuda.inner import inner, since_start

    given = [value.to(dtype) if i in (0, 8) else value.float() for i, value in enumerate(values)]
    exact = [value.double().requires_grad_() for value in given]
    none = torch.zeros(values[0].shape[:2], dtype=torch.bool)
    wanted = literal(*exact, none if starts is None else starts)  # type: ignore[call-arg]
    single = [value.requires_grad_() for value in given]
    found: Any = inner(*single, since=None if starts is None else since_start(starts))
    weights = [torch.linspace(-1, 1, each.numel()).view(each.shape) for each in wanted]

    def gradients(outputs: Any, leaves: list[Tensor]) -> tuple[Tensor, ...]:
        total = sum((each * weight).sum() for each, weight in zip(outputs, weights, strict=True))
        return torch.autograd.grad(total, leaves, materialize_grads=True)  # every step may be a start

    pairs = [*zip(wanted, found, strict=True)]
    pairs += zip(gradients(wanted, exact), gradients(found, single), strict=True)
    pairs = [(a.detach(), b.detach().double()) for a, b in pairs if a.numel()]
    return max(float((b - a).abs().max() / a.abs().max().clamp(min=1e-9)) for a, b in pairs)


CASES = {
    "no starts": (1, 6, None),
    "starts here and there": (2, 6, [[0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 0, 0]]),
    "every step a piece": (1, 5, [[1, 1, 1, 1, 1]]),
    "one step": (2, 1, [[0], [1]]),
    "three segments of two chunks": (1, 21, None),
    "a start in the second segment": (1, 21, [[0] * 13 + [1] + [0] * 7]),
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_the_recurrence(case: str) -> None:
    """From a state to a state, outputs and all gradients; odd widths, chunks that the length does not fill."""
    batch, length, marks = CASES[case]
    starts = None if marks is None else torch.tensor(marks, dtype=torch.bool)
    # The gradient of A is made of differences of near numbers.
    assert compare(inputs(batch, length, 5, 4), starts, torch.float32) < 2e-5


def test_a_step_of_any_strides() -> None:
    """Where a row has one step, its stride may be anything, of the input as of the gradient."""
    values = inputs(2, 1, 5, 4)
    values[0] = values[0].as_strided((2, 1, 10), (10, 20, 1))
    values[1] = values[1].t().contiguous().t()  # the convolution's weights
    assert compare(values, None, torch.float32) < 2e-5
    from plugins.backbones.cuda.inner import inner

    given: Any = [value.float().requires_grad_() for value in values]
    y = inner(*given, since=None)[0]
    grad = torch.randn(2, 1, 5)
    (wanted,) = torch.autograd.grad(y, given[0], grad, retain_graph=True)
    (found,) = torch.autograd.grad(y, given[0], grad.as_strided((2, 1, 5), (5, 10, 1)))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_many_states_go_with_fewer_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.backbones.cuda.scan import scan

    def width(states: int) -> int:
        return scan._width(SimpleNamespace(A=torch.zeros(3, states)))  # type: ignore[arg-type]

    assert [width(states) for states in (1, 3)] == [8, 8]  # as planned here
    monkeypatch.setattr(scan, "PLAN", scan.Plan())
    assert [width(states) for states in (1, 16, 17, 32, 33, 64)] == [64, 64, 32, 32, 16, 16]


def test_segments_fill_the_card() -> None:
    """By hand: twelve chunks of four steps, a card that runs 8 programs."""
    from plugins.backbones.cuda.scan.scan import Plan, segment

    plan = Plan(chunk=4, programs=8)
    assert segment(8, 48, 1.0, plan) == 48  # one segment fills it: 12; two take two rounds of 6, and half of it again
    assert segment(2, 48, 1.0, plan) == 12  # four at once: 3 (1 + 3/4); six take two rounds of 2: 4 (1 + 5/6)
    assert segment(5, 48, 0.0, plan) == 16  # 15 programs in two rounds of 4; one segment takes 12, two two rounds of 6
    assert segment(1, 48, 0.0, plan) == 8  # never shorter than two chunks
    assert segment(1, 3, 1.0, plan) == 4
    assert segment(1, 4 * 1000, 0.0, plan) == 4 * 125  # eight at once; two rounds of 63 would take longer


@pytest.mark.parametrize("taps", (1, 2, 4))
def test_convolution_across_parts(taps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of four steps in tiles of two that do not fill them; a start two steps behind a part's end."""
    from plugins.backbones.cuda.conv import conv

    monkeypatch.setattr(conv, "PLAN", conv.Plan(channels=4, steps=4, ahead=2))
    starts = torch.zeros(1, 11, dtype=torch.bool)
    starts[0, 5] = True
    assert compare(inputs(1, 11, 5, taps), starts, torch.float32) < 2e-5
    assert compare(inputs(1, 11, 5, taps), None, torch.float32) < 2e-5


def test_sums_on_the_matrix_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 16 bits (float16: the interpreter multiplies no bfloat16) sums over channels are products with ones."""
    from plugins.backbones.cuda.scan import scan

    monkeypatch.setattr(scan, "PLAN", scan.Plan(channels=16, chunk=4, ahead=2, kept=2, programs=2))
    assert compare(inputs(1, 6, 5, 2), torch.tensor([[0, 0, 0, 1, 0, 0]]).bool(), torch.float16) < 5e-3
    assert compare(inputs(1, 13, 17, 2), None, torch.float16) < 5e-3  # two blocks of channels


def test_a_lost_start_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth."""
    from plugins.backbones.cuda import inner as module

    monkeypatch.setattr(module, "since_start", lambda starts: torch.full(starts.shape, 99, dtype=torch.int32))
    assert compare(inputs(1, 3, 2, 2), torch.tensor([[0, 1, 0]]).bool(), torch.float32) > 1e-2


def test_steps_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token through the decoding kernels, the plain path's outputs and states."""
    torch.manual_seed(0)
    model = build(MambaHParams(dim=6, layers=2, state=3, conv=3, dropout=0.0)).eval()
    x = torch.randn(2, 4, 6)
    with torch.no_grad():
        wanted, kept = model(x, model.init_state(2, 4))
        monkeypatch.setattr(kernels, "usable", lambda *_: True)
        state, parts = model.init_state(2, 4), []
        for token in x.split(1, 1):
            part, state = model(token, state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), wanted, rtol=1e-5, atol=1e-5)
    for key, value in kept.items():
        torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-5)
