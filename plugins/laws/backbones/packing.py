"""Laws of packing: pieces side by side in a row, or after padding, must not know of each other.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from plugins.laws.backbones.measures import equal, law
from plugins.laws.backbones.subject import Size, Subject, apply, deviation
from plugins.laws.law import Finding, Skipped


def _require_packs(subject: Subject) -> None:
    if not subject.packs:
        raise Skipped("packs = False")


def patterns(size: Size) -> Iterator[tuple[str, Tensor]]:
    """Names and starts (b l): none, all (pieces of length 1), and irregular ones that differ from row to row."""
    yield "no start", torch.zeros(size, dtype=torch.bool)
    first = torch.zeros(size, dtype=torch.bool)
    first[:, 0] = True
    yield "a start at 0", first
    drawn = torch.Generator().manual_seed(1)
    irregular = torch.rand(size, generator=drawn) < 4 / max(size.length, 5)
    irregular[:, 0] = torch.arange(size.batch) % 2 == 0
    irregular[0, -2:] = True  # a piece of length 1 and one that is only begun
    yield f"starts {_shown(irregular)}", irregular
    if size.length <= 16:
        yield "every token a start", torch.ones(size, dtype=torch.bool)


def _shown(starts: Tensor) -> str:
    rows = [row.nonzero()[:, 0].tolist() for row in starts]
    return str(rows) if sum(map(len, rows)) <= 12 else "irregular"


def pieces(starts: Tensor) -> list[tuple[int, int, int]]:
    """(row, begin, end) of every piece in starts (b l); what comes before a row's first start is a piece too."""
    found = []
    for row in range(starts.shape[0]):
        cuts = sorted({0, starts.shape[1], *starts[row].nonzero()[:, 0].tolist()})
        found += [(row, begin, end) for begin, end in pairwise(cuts)]
    return found


@law("packed equals separate", long=True)
def packed_equals_separate(subject: Subject, size: Size) -> Iterator[Finding]:
    _require_packs(subject)
    x = subject.x(*size)
    for name, mask in patterns(size):
        starts = mask.to(subject.device)
        separate = torch.empty_like(x)
        for row, begin, end in pieces(mask):
            separate[row, begin:end] = subject.hidden(x[row : row + 1, begin:end])[0]
        yield equal(f"{name}, without state", subject.hidden(x, starts), separate)
        yield equal(f"{name}, with a state", subject.call(x, subject.state(*size), starts)[0], separate)
        stepped = subject.steps(x, subject.state(*size), [1] * size.length, starts)[0]
        yield equal(f"{name}, step by step", stepped, separate)


@law("packed gradients equal separate")
def packed_gradients(subject: Subject, size: Size) -> Iterator[Finding]:
    _require_packs(subject)
    weight = subject.x(*size, "weight")
    names = ["x", *(name for name, _ in subject.plain.named_parameters())]
    with torch.enable_grad():
        for pattern, mask in patterns(size):
            x = subject.x(*size).requires_grad_()
            tensors = [x, *subject.plain.parameters()]
            hidden = apply(subject.plain, x, None, mask.to(subject.device))[0]
            packed = torch.autograd.grad((hidden * weight).sum(), tensors, allow_unused=True)
            total = x.new_zeros(())
            for row, begin, end in pieces(mask):
                alone = apply(subject.plain, x[row : row + 1, begin:end])[0]
                total = total + (alone[0] * weight[row, begin:end]).sum()
            separate = torch.autograd.grad(total, tensors, allow_unused=True)
            floor = 0.01 * max(float(gradient.abs().max()) for gradient in separate if gradient is not None)
            for name, found, expected in zip(names, packed, separate, strict=True):
                zero = torch.zeros(())
                if found is not None or expected is not None:
                    found, expected = found if found is not None else zero, expected if expected is not None else zero
                    yield Finding(f"{pattern}: gradient of {name}", deviation(found, expected, floor))


@law("a start inside a continued state", long=True)
def start_in_continued_state(subject: Subject, size: Size) -> Iterator[Finding]:
    _require_packs(subject)
    prompt, x, tail = subject.x(size.batch, 5, "prompt"), subject.x(*size), subject.x(size.batch, 3, "tail")
    before = subject.steps(prompt, subject.state(size.batch, size.length + 8), [5])[1]
    for name, mask in patterns(size):
        found, after = subject.steps(x, before, [size.length], mask.to(subject.device))
        ends = subject.steps(tail, after, [1, 2])[0]
        expected, expected_ends = torch.empty_like(x), torch.empty_like(tail)
        for row, begin, end in pieces(mask):
            first = begin == 0 and not mask[row, 0]
            parts = ([prompt[row]] if first else []) + [x[row, begin:end]]
            last = end == size.length
            whole = subject.hidden(torch.cat(parts + ([tail[row]] if last else []))[None])[0]  # l d
            skip = 5 if first else 0
            expected[row, begin:end] = whole[skip : skip + end - begin]
            if last:
                expected_ends[row] = whole[-3:]
        yield equal(f"{name} after a prompt of 5", found, expected)
        yield equal(f"{name} after a prompt of 5, 3 tokens on", ends, expected_ends)


@law("ragged prompts equal alone", long=True)
def ragged_prompts(subject: Subject, size: Size) -> Iterator[Finding]:
    _require_packs(subject)
    lengths = [max(1, size.length - 3 * row) for row in range(size.batch)]
    x, tail = subject.x(*size), subject.x(size.batch, 4, "tail")
    starts = torch.zeros(size, dtype=torch.bool)
    for row, real in enumerate(lengths):
        starts[row, size.length - real] = True
        x[row, : size.length - real] = 50 * subject.x(1, size.length, "padding")[0, : size.length - real]
    fresh = subject.state(size.batch, size.length + 4)
    found, state = subject.steps(x, fresh, [size.length], starts.to(subject.device))
    on = subject.steps(tail, state, [1] * 4)[0]
    for row, real in enumerate(lengths):
        alone = torch.cat([x[row, size.length - real :], tail[row]])[None]
        expected = subject.hidden(alone)  # 1 l d
        prompt = found[row : row + 1, size.length - real :]
        yield equal(f"row {row}, prompt of {real} padded to {size.length}", prompt, expected[:, :real])
        yield equal(f"row {row}, prompt of {real}, 4 tokens on", on[row : row + 1], expected[:, real:])
