"""The fused CPU kernels of a Mamba block against plain PyTorch, finite differences and themselves."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.contracts.backbone import State, fork
from hparams.backbones.mamba import MambaHParams
from plugins.backbones.mamba import Mamba, build
from plugins.backbones.native import kernels
from plugins.backbones.native.mamba.functions import inner
from plugins.backbones.native.norm import add_norm
from plugins.backbones.parts.causal_conv import causal_conv
from plugins.backbones.parts.selective_scan import selective_scan
from tests.threads import same_bits_on_any_number

# A string is evaluated when a test is set up, not when tests are collected: the first may have to compile.
needs_kernels = pytest.mark.skipif(
    "not kernels.available()", reason="the fused kernels cannot be compiled, or are switched off"
)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

Shape = tuple[int, int, int, int, int, int, bool, float]
# batch, length, inner width, states, rank, taps, state given, share of starts: vectors, tiles, chunks and strips filled
# and not, and nothing at all
SHAPES = [
    (2, 40, 24, 16, 3, 4, True, 0.15),
    (1, 5, 7, 5, 2, 3, True, 0.3),
    (2, 70, 33, 20, 4, 2, True, 0.0),
    (2, 3, 16, 1, 1, 4, True, 0.5),
    (1, 130, 16, 16, 1, 1, True, 0.05),
    (3, 200, 80, 16, 8, 4, False, 0.02),
    (1, 64, 64, 64, 8, 6, False, 0.0),
    (1, 70, 1030, 3, 4, 4, True, 0.1),
    (1, 1, 1, 3, 1, 4, True, 0.0),
    (2, 5, 1, 3, 17, 4, False, 0.0),
    (2, 0, 7, 5, 2, 4, True, 0.0),
    (0, 5, 7, 5, 2, 4, True, 0.0),
]


def test_where_they_compile_they_are_right() -> None:
    """Were they wrong, the hub would leave them alone, and all tests of them would be skipped unseen."""
    if os.environ.get(kernels.SWITCH) == "0" or not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler, or the kernels are switched off")
    assert kernels.fault() is None


def deviation(found: Tensor, wanted: Tensor) -> float:
    if not wanted.numel():
        return 0.0
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max().clamp_min(1e-30))


def arguments(shape: Shape, dtype: torch.dtype) -> tuple[list[Tensor], Tensor | None]:
    b, l, e, n, r, k, state, share = shape
    generator = torch.Generator().manual_seed(b * l + e)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    values = [draw(b, l, 2 * e), draw(e, k), draw(e), draw(r + 2 * n, e) / e**0.5, draw(e, r), draw(e)]
    values += [-draw(e, n).exp(), draw(e)]
    if state:
        values += [draw(b, e, k - 1), draw(b, e, n)]
    starts = torch.rand(b, l, generator=generator) < share if share else None
    return [value.to(dtype) for value in values], starts


def reference(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor,
    x_weight: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    conv: Tensor | None = None,
    ssm: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`inner` from the plain operators, whose tensors have time first."""
    (_, n), r = A.shape, dt_weight.shape[1]
    marks = None if starts is None else starts.t()
    u, z = xz.transpose(0, 1).chunk(2, -1)
    u, window = causal_conv(u, conv_weight, conv_bias, conv, marks)
    dt, B, C = F.linear(u, x_weight).split([r, n, n], -1)
    y, last = selective_scan(u, F.linear(dt, dt_weight), A, B, C, D, z, dt_bias, ssm, marks)
    return y.transpose(0, 1), last, window


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_inner_and_its_gradients_equal_the_plain_operators(shape: Shape, dtype: torch.dtype) -> None:
    values, starts = arguments(shape, dtype)
    results: list[list[Tensor]] = []
    for function in (reference, inner):
        given = [value.clone().requires_grad_() for value in values]
        padded = given + [None] * (10 - len(given))
        outputs = [each for each in function(*padded, starts) if each is not None][: 3 if len(given) == 10 else 2]  # type: ignore[operator]
        torch.manual_seed(1)
        total = sum((each * torch.randn(each.shape, dtype=dtype)).sum() for each in outputs)
        assert isinstance(total, Tensor)
        results.append([*outputs, *torch.autograd.grad(total, given)])
    for wanted, found in zip(*results, strict=True):
        assert found.dtype == dtype and deviation(found, wanted) < TOLERANCE[dtype]


@needs_kernels
@pytest.mark.parametrize("states", [3, 16])
def test_gradients_are_true(states: int) -> None:
    values, starts = arguments((2, 5, 3, states, 2, 3, True, 0.2), torch.float64)
    given = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(lambda *values: inner(*values, starts), given, fast_mode=True)


@needs_kernels
@pytest.mark.parametrize("with_branch", [False, True])
def test_norm_and_its_gradients(with_branch: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    stream, branch, weight = (
        torch.randn(*size, generator=generator, dtype=torch.float64, requires_grad=True)
        for size in ((2, 75, 19), (2, 75, 19), (19,))
    )
    given = [stream, branch, weight] if with_branch else [stream, weight]

    def fused(*values: Tensor) -> tuple[Tensor, Tensor]:
        return add_norm(values[0], values[1] if with_branch else None, values[-1], 1e-5, torch.float64)

    added = stream + branch if with_branch else stream
    found = fused(*given)
    assert deviation(found[0], added) == 0
    assert deviation(found[1], F.rms_norm(added, (19,), weight, 1e-5)) < 1e-14
    assert torch.autograd.gradcheck(fused, given, fast_mode=True)


def model(**changes: object) -> Mamba:
    torch.manual_seed(0)
    hparams = MambaHParams(**{"dim": 48, "layers": 2, "dropout": 0.0, **changes})  # type: ignore[arg-type]
    mamba = build(hparams).eval()
    for weight in mamba.parameters():
        if bool((weight == 1).all()):  # D and the norms' weights: what is all ones is not seen to be read
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return mamba


@needs_kernels
@pytest.mark.parametrize("changes", [{}, {"state": 5, "conv": 2, "dim": 20}, {"state": 40, "conv": 1}], ids=str)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 6, 19])
def test_single_tokens_equal_the_plain_path(
    changes: dict[str, object], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mamba = model(**changes)
    x = torch.randn(batch, 9, mamba.dim)

    def walk(step: Callable[[Tensor, State], Any]) -> Tensor:
        with torch.inference_mode():
            state = mamba.init_state(batch, 20)
            hidden, state = mamba(x[:, :4], state)  # type: ignore[assignment]
            parts = [hidden]
            for t in range(4, 9):
                hidden, state = step(x[:, t : t + 1].contiguous(), state)  # a single call takes no other
                parts.append(hidden)
            parts += [each for each in state.values() if each.dim() > 2]
            return torch.cat([each.flatten(1) for each in parts], 1)

    found = walk(mamba.fast_step)
    monkeypatch.setenv(kernels.SWITCH, "0")
    assert deviation(found, walk(mamba)) < 1e-5


@needs_kernels
def test_a_single_token_leaves_a_state_of_other_rows_alone() -> None:
    mamba = model().eval()
    with torch.inference_mode():
        state = mamba.init_state(1, 9)
        assert mamba.fast_step(torch.randn(2, 1, mamba.dim), state) is None
    assert state["length"].tolist() == [0]


@needs_kernels
def test_a_step_with_gradient_equals_one_without() -> None:
    mamba = model()
    x = torch.randn(2, 1, mamba.dim)
    state = mamba.init_state(2, 20)
    with torch.no_grad():
        _, state = mamba(torch.randn(2, 5, mamba.dim), state)  # type: ignore[assignment]
        wanted, after = mamba(x, fork(state))
    found, also = mamba(x, fork(state))
    assert found.requires_grad and deviation(found, wanted) < 1e-5
    assert after is not None and also is not None and also.keys() == after.keys()
    for key, value in after.items():
        assert deviation(also[key].double(), value.double()) < 1e-5


@needs_kernels
def test_training_step_equals_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    mamba = model()
    x, weights, starts = torch.randn(3, 90, mamba.dim), torch.randn(3, 90, mamba.dim), torch.rand(3, 90) < 0.05

    def gradients() -> list[Tensor]:
        hidden, _ = mamba(x, None, starts)
        return [hidden, *torch.autograd.grad((hidden * weights).sum(), list(mamba.parameters()))]

    found = gradients()
    monkeypatch.setenv(kernels.SWITCH, "0")
    for one, two in zip(found, gradients(), strict=True):
        assert deviation(one, two) < 1e-5


@needs_kernels
def test_autocast_stays_near_float32() -> None:
    mamba = model()
    x, weights = torch.randn(2, 60, mamba.dim), torch.randn(2, 60, mamba.dim)

    def gradients(enabled: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            hidden, _ = mamba(x)
        return [hidden.float(), *torch.autograd.grad((hidden.float() * weights).sum(), list(mamba.parameters()))]

    for found, wanted in zip(gradients(True), gradients(False), strict=True):
        assert found.dtype == torch.float32 and deviation(found, wanted) < 0.05


@needs_kernels
def test_same_bits_every_time() -> None:
    values, starts = arguments((3, 150, 96, 16, 6, 4, False, 0.05), torch.float32)

    def gradients() -> list[Tensor]:
        given = [value.clone().requires_grad_() for value in values]
        y, last, _ = inner(*given, starts=starts)
        return [y, last, *torch.autograd.grad(y.square().sum() + last.sum(), given)]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = gradients()
        assert all(map(torch.equal, one, gradients()))
        torch.set_num_threads(2)
        two = gradients()
        assert all(map(torch.equal, two, gradients()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (64, 16), (65, 33), (5, 100), (200, 7), (0, 4)], ids=str)
def test_a_transpose_is_a_copy_of_it(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x = torch.randn(shape[0], shape[1] + 3, dtype=dtype)[:, : shape[1]]
    found = torch.ops.swaptunes_native.transposed(x)
    assert found.is_contiguous() and torch.equal(found, x.t())


@needs_kernels
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 16, 17])
@pytest.mark.parametrize("shape", [(512, 256), (47, 33), (1, 1)], ids=str)
def test_few_rows_are_multiplied(rows: int, shape: tuple[int, int]) -> None:
    x, weight = torch.randn(rows, shape[1]), torch.randn(shape)
    found = torch.ops.swaptunes_native.few_rows(x, weight)
    torch.testing.assert_close(found, (x.double() @ weight.double().t()).float(), rtol=1e-5, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize("place", [0, 3, 6])
def test_not_a_number_is_not_hidden(place: int) -> None:
    values, _ = arguments((1, 20, 16, 16, 2, 4, False, 0.0), torch.float32)
    values[place].view(-1)[0] = float("nan")
    assert inner(*values)[0].isnan().any()


def test_without_a_compiler_the_plain_path_runs_and_says_so(tmp_path: Path) -> None:
    code = (
        "import torch; from hparams.backbones.mamba import MambaHParams; from plugins.backbones.mamba import build;"
        "print(tuple(build(MambaHParams(dim=16, layers=1))(torch.ones(1, 3, 16))[0].shape))"
    )
    environment = {**os.environ, "CXX": "/no/such/compiler", "SWAPTUNES_CACHE": str(tmp_path), kernels.SWITCH: "1"}
    here = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=here, check=True
    )
    assert done.stdout.strip() == "(1, 3, 16)"
    assert done.stderr.count("no fused CPU kernels") == 1 and "/no/such/compiler" in done.stderr


def test_the_switch_turns_the_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.SWITCH, "0")
    assert not kernels.usable(torch.ones(1, 1, 4))


@needs_kernels
@pytest.mark.parametrize("batch", [2, 6])
def test_a_step_has_the_same_bits_on_any_number_of_threads(batch: int) -> None:
    mamba = model(dim=256)  # wide enough to be shared out
    x = torch.randn(batch, 1, 256)

    def results() -> list[Tensor]:
        with torch.inference_mode():
            state = mamba.init_state(batch, 3)
            return [mamba(x, state)[0] for _ in range(3)]

    assert same_bits_on_any_number(results)
