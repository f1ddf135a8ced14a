"""The compiled short convolution against a loop over steps, and in the backbones that take it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from hparams.backbones.mamba2 import Mamba2HParams
from plugins.backbones import gated_deltanet, mamba2
from plugins.backbones.native import kernels
from plugins.backbones.native.mamba.conv import conv

pytestmark = pytest.mark.skipif(
    "not kernels.available()", reason="the fused kernels cannot be compiled, or are switched off"
)


def by_steps(
    x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Each step by itself: the inputs of its piece, newest first, times the taps from the last."""
    past = weight.shape[1] - 1
    rows, kept = [], []
    for row in range(len(x)):
        earlier = [] if before is None else [before[row, :, place] for place in range(past)]
        piece, outputs = earlier, []
        for step in range(x.shape[1]):
            if starts is not None and starts[row, step]:
                piece = []
            piece = [*piece, x[row, step]]
            total = bias
            for distance, value in enumerate(reversed(piece[-past - 1 :])):
                total = total + weight[:, past - distance] * value
            outputs.append(total * torch.sigmoid(total))
        rows.append(torch.stack(outputs))
        last = piece[-past:] if past else []
        missing = [torch.zeros_like(bias)] * (past - len(last))
        kept.append(torch.stack([*missing, *last], -1) if past else bias.new_zeros(len(bias), 0))
    return torch.stack(rows), None if before is None else torch.stack(kept)


@pytest.mark.parametrize(
    ("batch", "length", "channels", "taps", "state", "share"),
    [
        (2, 40, 24, 4, True, 0.2),
        (1, 3, 7, 4, True, 0.5),
        (3, 33, 17, 2, True, 0.0),
        (2, 70, 5, 6, False, 0.1),
        (1, 64, 16, 1, False, 0.0),
    ],
)
def test_steps_state_and_gradients(
    batch: int, length: int, channels: int, taps: int, state: bool, share: float
) -> None:
    generator = torch.Generator().manual_seed(length)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()

    wide = draw(batch, length, channels + 3)  # x is a part of a wider projection
    weight, bias = draw(channels, taps), draw(channels)
    before = draw(batch, channels, taps - 1) if state else None
    starts = torch.rand(batch, length, generator=generator) < share if share else None
    given = [wide, weight, bias, *([before] if before is not None and before.numel() else [])]
    found, wanted = (
        function(wide[..., 1 : channels + 1], weight, bias, before, starts) for function in (conv, by_steps)
    )
    cotangent = torch.randn(batch, length, channels, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((y * cotangent).sum(), given) for y, _ in (found, wanted)]
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-10, atol=1e-10)
    assert (found[1] is None) is (wanted[1] is None)
    if found[1] is not None:
        torch.testing.assert_close(found[1], wanted[1], rtol=0, atol=0)
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("build", "hparams"),
    [
        (mamba2.build, Mamba2HParams(dim=16, layers=2, state=8, dropout=0)),
        (gated_deltanet.build, GatedDeltanetHParams(dim=16, layers=2, dropout=0)),
    ],
    ids=["mamba2", "gated_deltanet"],
)
def test_a_backbone_with_it_equals_itself_without(build: Any, hparams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = build(hparams).double()
    x, starts = torch.randn(2, 50, 16, dtype=torch.float64), torch.rand(2, 50) < 0.1

    def results() -> list[Tensor]:
        whole, _ = model(x, None, starts)
        first, state = model(x[:, :20], model.init_state(2, 50), starts[:, :20])
        second, state = model(x[:, 20:49], state, starts[:, 20:49])
        gradients = torch.autograd.grad(whole.square().sum(), list(model.parameters()))
        return [whole, first, second, model(x[:, 49:], state)[0], *gradients]

    asked: list[int] = []
    usable = kernels.usable
    monkeypatch.setattr(kernels, "usable", lambda x: asked.append(x.shape[1]) is None and usable(x))
    found = results()
    assert 50 in asked and 29 in asked
    monkeypatch.setenv(kernels.SWITCH, "0")
    for one, two in zip(found, results(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-9)
