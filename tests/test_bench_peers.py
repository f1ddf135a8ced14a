"""Peers of the benchmark that take other rows than it has."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisors.bench.peers import _Embedded


class Chunked(nn.Module):
    """Sums what came before, of whole chunks of four alone."""

    def forward(self, inputs_embeds: Tensor, use_cache: bool) -> Any:
        assert inputs_embeds.shape[1] % 4 == 0 and not use_cache
        return SimpleNamespace(last_hidden_state=inputs_embeds.cumsum(1))


@pytest.mark.parametrize("length", [1, 3, 4, 9])
def test_rows_are_filled_up_to_whole_chunks_and_cut_again(length: int) -> None:
    x = torch.arange(2.0 * length * 3).view(2, length, 3)
    assert torch.equal(_Embedded(Chunked(), 4)(x), x.cumsum(1))
