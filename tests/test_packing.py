"""Backbones packed and in parts: nothing passes a start, no chunking shows, ragged prompts are as alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from tests import packing
from tests.test_lstm import lstm
from tests.test_mamba import mamba
from tests.test_transformer import transformer

DTYPES = [torch.float64, torch.float32]
backbones = pytest.mark.parametrize("build", [lstm, mamba, transformer])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@backbones
@given(starts=packing.packings())
@settings(max_examples=12, deadline=None)
def test_packed_equals_separate(build: Callable[[], Any], starts: torch.Tensor) -> None:
    for dtype in DTYPES:
        packing.packed_equals_separate(build(), starts, dtype)


@backbones
@given(starts=packing.packings(most_rows=2))
@settings(max_examples=5, deadline=None)
def test_chunks_equal_whole(build: Callable[[], Any], starts: torch.Tensor) -> None:
    rows, length = starts.shape
    for chunks in ([1] * length, [length // 2, length - length // 2] if length > 1 else [1]):
        packing.chunks_equal_whole(build(), starts, chunks, torch.float64, rows)
    packing.chunks_equal_whole(build(), None, [1] * length, torch.float64, rows)


@backbones
@pytest.mark.parametrize("dtype", DTYPES)
def test_ragged_prompts_continue_as_alone(build: Callable[[], Any], dtype: torch.dtype) -> None:
    packing.ragged_continues_as_alone(build(), [7, 2, 1, 5], dtype)


@backbones
def test_a_start_drops_the_state(build: Callable[[], Any]) -> None:
    packing.start_drops_state(build())
