"""Attention inside pieces laid end to end, with a loop over pieces in the place of the CUDA kernel."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from plugins.backbones.parts.attending import packed_attention


def by_loop(
    q: Tensor, k: Tensor, v: Tensor, borders: Tensor, *_: Any, window_size: tuple[int, int], **__: Any
) -> Tensor:
    done = []
    for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        one, two, three = (each[begin:end].transpose(0, 1) for each in (q, k, v))
        y = F.scaled_dot_product_attention(one, two, three, is_causal=window_size == (-1, 0))
        done.append(y.transpose(0, 1))
    return torch.cat(done)


def test_a_true_kernel_is_taken_and_a_false_one_is_not() -> None:
    assert packed_attention._agrees(by_loop, "cpu")
    assert not packed_attention._agrees(lambda *given, **named: 1.5 * by_loop(*given, **named), "cpu")
    assert not packed_attention._agrees(lambda *given, **_: by_loop(*given, window_size=(-1, -1)), "cpu")


def test_rows_begin_pieces_of_their_own() -> None:
    starts = torch.zeros(2, 5, dtype=torch.bool)
    starts[0, 3] = True
    pieces = packed_attention.pieces_of(starts)
    assert pieces.borders.tolist() == [0, 3, 5, 10] and pieces.longest == 5


def test_nothing_on_the_cpu() -> None:
    assert packed_attention.usable(torch.ones(1, 1, 8, dtype=torch.bfloat16), 8) is None
