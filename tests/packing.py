"""What holds of any backbone that packs: rows with `starts` equal their pieces run alone; no cut in time matters."""

from itertools import pairwise
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from core.contracts.backbone import State, fork, select

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@st.composite
def packings(draw: Any, most_rows: int = 3, most_steps: int = 10) -> Tensor:
    """`starts` (b l) bool: none, all, single ones, runs of pieces of length 1."""
    rows, steps = draw(st.integers(1, most_rows)), draw(st.integers(1, most_steps))
    share = draw(st.sampled_from([0.0, 0.15, 0.5, 1.0]))
    seed = draw(st.integers(0, 2**31))
    return torch.rand(rows, steps, generator=torch.Generator().manual_seed(seed)) < share


def noise(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_near(found: Tensor, expected: Tensor, tolerance: float, scale: float | None = None) -> None:
    """Equal up to `tolerance` of the largest entry (or of `scale`)."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    largest = float(expected.detach().abs().max()) if scale is None else scale
    deviation = float((found - expected).detach().abs().max())
    assert deviation <= tolerance * max(largest, 1e-30), f"{deviation} of {largest}"


def pieces(starts: Tensor) -> list[list[tuple[int, int]]]:
    """For each row the spans of its pieces."""
    length = starts.shape[1]
    return [list(pairwise(sorted({0, length, *row.nonzero().flatten().tolist()}))) for row in starts]


def packed_equals_separate(model: Any, starts: Tensor, dtype: torch.dtype) -> None:
    """Outputs, and gradients of input and parameters."""
    model = model.to(dtype)
    x = noise(*starts.shape, model.dim, dtype=dtype, seed=1).requires_grad_()
    weight = noise(*x.shape, dtype=dtype, seed=2)
    variables = [x, *model.parameters()]
    packed, state = model(x, None, starts)
    assert state is None
    separate = torch.cat(
        [
            torch.cat([model(x[row : row + 1, begin:end])[0] for begin, end in spans], 1)
            for row, spans in enumerate(pieces(starts))
        ]
    )
    assert_near(packed, separate, TOLERANCE[dtype])
    found = torch.autograd.grad((packed * weight).sum(), variables)
    expected = torch.autograd.grad((separate * weight).sum(), variables)
    largest = max(float(gradient.abs().max()) for gradient in expected)
    for a, b in zip(found, expected, strict=True):  # the query's gradient is 0 in pieces of length 1: rounding is left
        assert_near(a, b, TOLERANCE[dtype], max(float(b.abs().max()), 0.2 * largest))


def chunks_equal_whole(model: Any, starts: Tensor | None, chunks: list[int], dtype: torch.dtype, rows: int = 2) -> None:
    """From a state that is not empty, with and without gradients, to outputs and to what comes after the state."""
    model = model.to(dtype)
    length = sum(chunks)
    before = noise(rows, 3, model.dim, dtype=dtype, seed=3)
    x = noise(rows, length, model.dim, dtype=dtype, seed=4)
    coda = noise(rows, 2, model.dim, dtype=dtype, seed=5)

    def run(cuts: list[int]) -> tuple[Tensor, State]:
        _, state = model(before, model.init_state(rows, length + 5))
        outputs, done = [], 0
        for chunk in cuts:
            marks = None if starts is None else starts[:, done : done + chunk]
            y, state = model(x[:, done : done + chunk], state, marks)
            outputs.append(y)
            done += chunk
        outputs.append(model(coda, fork(state))[0])
        return torch.cat(outputs, 1), state

    with torch.no_grad():
        expected, whole = run([length])
        found, cut = run(chunks)
    assert_near(found, expected, TOLERANCE[dtype])
    assert all(tensor.shape[0] == rows for tensor in whole.values())
    for key, tensor in whole.items():
        if not tensor.is_floating_point():
            assert torch.equal(tensor, cut[key]), key
    with torch.inference_mode():
        assert_near(run(chunks)[0], expected, TOLERANCE[dtype])
    found = run(chunks)[0]
    weight = noise(*found.shape, dtype=dtype, seed=6)
    variables = list(model.parameters())
    gradients = torch.autograd.grad((found * weight).sum(), variables)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for a, b in zip(gradients, torch.autograd.grad((run([length])[0] * weight).sum(), variables), strict=True):
        assert_near(a, b, TOLERANCE[dtype], max(float(b.abs().max()), 1e-3 * largest))


def ragged_continues_as_alone(model: Any, lengths: list[int], dtype: torch.dtype) -> None:
    """Prompts padded on the left, one prefill, some steps: each row as if alone, and with room for as many tokens."""
    model = model.to(dtype)
    longest, rows, steps = max(lengths), len(lengths), 4
    x = noise(rows, longest + steps, model.dim, dtype=dtype, seed=7)
    starts = torch.zeros(rows, longest, dtype=torch.bool)
    for row, length in enumerate(lengths):
        starts[row, longest - length] = True
    with torch.no_grad():
        y, state = model(x[:, :longest], model.init_state(rows, longest + steps), starts)
        after = [y[:, -1:]]
        assert state["length"].tolist() == lengths
        for step in range(steps):
            y, state = model(x[:, longest + step : longest + step + 1], state)
            after.append(y)
        together = torch.cat(after, 1)
        for row, length in enumerate(lengths):
            mine = x[row : row + 1, longest - length :]
            alone, kept = model(mine, model.init_state(1, longest + steps))
            assert_near(together[row : row + 1], alone[:, -steps - 1 :], TOLERANCE[dtype])
            coda = noise(1, 1, model.dim, dtype=dtype, seed=8)
            if length < longest:  # there is room left in this row, whatever the others have used
                found = model(coda, select(state, [row]))[0]
                assert_near(found, model(coda, kept)[0], TOLERANCE[dtype])


def start_drops_state(model: Any) -> None:
    """A start at position 0 makes a given state as good as an empty one, full though it was."""
    model = model.double()
    x = noise(2, 5, model.dim, dtype=torch.float64, seed=9)
    starts = torch.tensor([[True] + [False] * 4] * 2)
    with torch.no_grad():
        _, full = model(noise(2, 5, model.dim, dtype=torch.float64, seed=10), model.init_state(2, 5))
        found, after = model(x, full, starts)
        expected, fresh = model(x, model.init_state(2, 5))
    assert_near(found, expected, 1e-10)
    assert after["length"].tolist() == fresh["length"].tolist() == [5, 5]
