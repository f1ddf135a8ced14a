"""The fused recurrences against the recurrences written out, gradients included, and in the models that use them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.mamba2 import Mamba2HParams
from hparams.backbones.music_transformer import MusicTransformerHParams
from plugins.backbones import gated_deltanet, mamba, mamba2, music_transformer
from plugins.backbones.native import kernels  # noqa: F401  # of `needs_kernels`
from plugins.backbones.native.recurrences import delta_rule, state_space
from tests import packing
from tests.backbones.judging import KEY, broken
from tests.threads import same_bits_on_any_number

needs_kernels = pytest.mark.skipif(
    "not kernels.available()", reason="the fused kernels cannot be compiled, or are switched off"
)
CHUNK = 64
LENGTH = 70  # one chunk and the beginning of another
# Of the largest entry, and of each entry itself: results in bfloat16 are rounded once, from float32.
TOLERANCE = {torch.float64: (1e-11, 0.0), torch.float32: (2e-5, 0.0), torch.bfloat16: (2e-5, 1.001 * 2**-8)}


def noise(*shape: int, seed: int) -> Tensor:
    return packing.noise(*shape, dtype=torch.float64, seed=seed)


def marks(batch: int, length: int) -> Tensor:
    """Starts (b l): in the first row at each chunk's first step alone, elsewhere anywhere."""
    starts = torch.rand(batch, length, generator=torch.Generator().manual_seed(7)) < 0.1
    starts[0] = torch.arange(length) % CHUNK == 0
    return starts


def kept(starts: Tensor | None, t: int) -> Any:
    return 1.0 if starts is None else (~starts[:, t]).double()[:, None, None, None]


def state_space_inputs(
    heads: int = 6, groups: int = 1, width: int = 5, states: int = 7, batch: int = 2, length: int = LENGTH
) -> list[Tensor]:
    """x, steps, logs, B, C, D, before; a task takes four heads of a group at most."""
    steps = noise(batch, length, heads, seed=1).sigmoid()
    logs = -steps * noise(batch, length, heads, seed=2).exp()
    ways = [noise(batch, length, groups, states, seed=seed) for seed in (3, 4)]
    x, before = noise(batch, length, heads, width, seed=0), noise(batch, heads, width, states, seed=6)
    return [x, steps, logs, *ways, noise(heads, seed=5), before]


def state_space_written_out(
    x: Tensor, steps: Tensor, logs: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    group = [head * B.shape[2] // x.shape[2] for head in range(x.shape[2])]
    found = []
    for t in range(x.shape[1]):
        written = steps[:, t, :, None, None] * x[:, t, ..., None] * B[:, t, group][:, :, None]
        state = state * kept(starts, t) * logs[:, t].exp()[..., None, None] + written
        found.append((state * C[:, t, group][:, :, None]).sum(-1) + D[:, None] * x[:, t])
    return torch.stack(found, 1), state


def delta_rule_inputs(keys: int = 6, values: int = 9, batch: int = 2, length: int = LENGTH) -> list[Tensor]:
    """q, k, v, logs, beta, before."""
    q, k = (torch.nn.functional.normalize(noise(batch, length, 3, keys, seed=seed), dim=-1) for seed in (0, 1))
    logs, beta = -noise(batch, length, 3, seed=3).exp(), 2 * noise(batch, length, 3, seed=4).sigmoid()
    return [q, k, noise(batch, length, 3, values, seed=2), logs, beta, noise(batch, 3, keys, values, seed=5)]


def delta_rule_written_out(
    q: Tensor, k: Tensor, v: Tensor, logs: Tensor, beta: Tensor, state: Tensor, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    found = []
    for t in range(q.shape[1]):
        state = state * kept(starts, t) * logs[:, t].exp()[..., None, None]
        held = (state * k[:, t, ..., None]).sum(-2)
        state = state + k[:, t, ..., None] * (beta[:, t, :, None] * (v[:, t] - held))[:, :, None]
        found.append((state * q[:, t, ..., None]).sum(-2))
    return torch.stack(found, 1), state


def results(scan: Callable[..., Any], inputs: list[Tensor], starts: Tensor | None) -> list[Tensor]:
    """Output, last state, and gradients of all inputs."""
    given = [each.clone().requires_grad_() for each in inputs]
    y, last = scan(*given, starts)
    weights = [noise(*each.shape, seed=9).bfloat16().to(each.dtype) for each in (y, last)]
    return [y, last, *torch.autograd.grad((y * weights[0]).sum() + (last * weights[1]).sum(), given)]


# Which of the inputs may be bfloat16: x, B and C; q, k and v.
NARROW = {state_space.scan: [0, 3, 4], delta_rule.scan: [0, 1, 2]}
CASES: list[tuple[Any, Any, list[Tensor]]] = [
    (state_space.scan, state_space_written_out, state_space_inputs()),
    (state_space.scan, state_space_written_out, state_space_inputs(groups=2, width=16, states=32)),
    (delta_rule.scan, delta_rule_written_out, delta_rule_inputs()),
    (delta_rule.scan, delta_rule_written_out, delta_rule_inputs(keys=16, values=32)),
    # Of a row alone: a last chunk of one step, a length of one, several tasks in each of two groups.
    (state_space.scan, state_space_written_out, state_space_inputs(10, 2, 17, 3, batch=1, length=2 * CHUNK + 1)),
    (state_space.scan, state_space_written_out, state_space_inputs(batch=1, length=1)),
    (delta_rule.scan, delta_rule_written_out, delta_rule_inputs(3, 17, batch=1, length=2 * CHUNK + 1)),
    (delta_rule.scan, delta_rule_written_out, delta_rule_inputs(batch=1, length=1)),
]


@needs_kernels
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_equals_the_recurrence_written_out(case: int, packed: bool, dtype: torch.dtype) -> None:
    scan, written_out, inputs = CASES[case]
    starts = marks(*inputs[0].shape[:2]) if packed else None
    narrow = NARROW[scan] if dtype == torch.bfloat16 else []
    inputs = [each.bfloat16().double() if i in narrow else each for i, each in enumerate(inputs)]
    single = torch.float32 if dtype == torch.bfloat16 else dtype
    given = [each.to(dtype if i in narrow else single) for i, each in enumerate(inputs)]
    for found, wanted in zip(results(scan, given, starts), results(written_out, inputs, starts), strict=True):
        whole, own = TOLERANCE[found.dtype]
        assert found.shape == wanted.shape and found.dtype in (dtype, single)
        assert bool(((found - wanted).abs() <= whole * wanted.abs().max() + own * wanted.abs()).all())


@needs_kernels
@pytest.mark.parametrize("case", [0, 2])
@pytest.mark.parametrize("used", [0, 1], ids=["output", "last state"])
def test_no_state_is_one_of_zeros(case: int, used: int) -> None:
    scan, _, inputs = CASES[case]
    given = [each.clone().requires_grad_() for each in inputs[:-1]]
    without, zeros = (scan(*given, before, None)[used] for before in (None, torch.zeros_like(inputs[-1])))
    pull = noise(*without.shape, seed=9)
    wanted = torch.autograd.grad((zeros * pull).sum(), given)
    assert torch.equal(without, zeros)
    assert all(map(torch.equal, torch.autograd.grad((without * pull).sum(), given), wanted))


@needs_kernels
@pytest.mark.parametrize("case", [0, 2])
def test_what_does_not_fit_is_refused_and_not_read(case: int) -> None:
    scan, _, inputs = CASES[case]
    for i, each in enumerate(inputs):
        if each.dim() > 1:
            with pytest.raises(RuntimeError, match="expected"):
                scan(*inputs[:i], each[:1], *inputs[i + 1 :], None)
    with pytest.raises(RuntimeError, match="expected"):
        scan(*inputs, torch.zeros(1, LENGTH, dtype=torch.bool))


@needs_kernels
@pytest.mark.parametrize("case", [0, 2])
def test_same_bits_on_any_number_of_threads(case: int) -> None:
    scan, _, inputs = CASES[case]
    single = [each.float() for each in inputs]
    assert same_bits_on_any_number(lambda: results(scan, single, None))


@needs_kernels
@pytest.mark.parametrize("case", [0, 2])
def test_not_a_number_is_not_hidden(case: int) -> None:
    scan, _, inputs = CASES[case]
    inputs = [each.float() for each in inputs]
    inputs[0][0, 3, 0, 0] = float("nan")
    assert scan(*inputs, None)[0][0, 3, 0].isnan().any()


@needs_kernels
@pytest.mark.parametrize(
    "model",
    [
        mamba.build(MambaHParams(dim=16, layers=1)),
        mamba2.build(Mamba2HParams(dim=16, layers=1)),
        gated_deltanet.build(GatedDeltanetHParams(dim=16, layers=1)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_state_of_another_number_of_rows_is_refused(model: Any) -> None:
    with pytest.raises(RuntimeError, match="expected"):
        model(torch.zeros(2, 5, 16), model.init_state(1, 9))


@needs_kernels
@pytest.mark.parametrize(
    ("build", "hparams"),
    [
        (mamba2.build, Mamba2HParams(state=8, head=8, groups=2)),
        (mamba2.build, Mamba2HParams(state=8, head=8)),
        (gated_deltanet.build, GatedDeltanetHParams(head=8, heads=2, hidden=16, allow_neg_eigval=True)),
        (music_transformer.build, MusicTransformerHParams(hidden=32, heads=2, distances=5, table="per_head")),
    ],
)
def test_models_keep_the_laws(build: Any, hparams: Any) -> None:
    assert not broken(build, hparams, *KEY)
