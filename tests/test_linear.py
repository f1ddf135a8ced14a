"""The linear layer against PyTorch's own."""

import platform
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.model import linear as module
from core.model.linear import linear, outer, product


def test_product_and_linear_equal_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    wide, weight = torch.randn(2, 40, 30, generator=generator), torch.randn(24, 20, generator=generator)
    x = wide[..., :20].requires_grad_()  # rows with gaps between them
    weight.requires_grad_()
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight))
    found = torch.autograd.grad(linear(x, weight).square().sum(), (x, weight))
    for one, two in zip(found, torch.autograd.grad(F.linear(x, weight).square().sum(), (x, weight)), strict=True):
        torch.testing.assert_close(one, two)
    few = torch.randn(40, 12, generator=generator)
    torch.testing.assert_close(outer(few, x.detach()[0]), few.t() @ x.detach()[0])
    torch.testing.assert_close(outer(x.detach()[0], few), x.detach()[0].t() @ few)


@pytest.mark.parametrize(
    ("cpu", "machine", "faster"),
    [
        ("AuthenticAMD avx2 avx512f", "x86_64", True),
        ("AuthenticAMD avx2", "x86_64", False),
        ("GenuineIntel avx2 avx512f", "x86_64", False),
        ("AuthenticAMD avx512f", "arm64", False),
    ],
)
def test_which_cpus_onednn_serves(cpu: str, machine: str, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: cpu)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    assert module.onednn_is_faster.__wrapped__() is faster


def test_both_libraries_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "onednn_is_faster", lambda: torch.backends.mkldnn.is_available())
    test_product_and_linear_equal_pytorch()


def test_the_compiled_product_is_asked_for_few_dense_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def few(x: Tensor, weight: Tensor) -> Tensor:
        asked.append(len(x))
        return x @ weight.t()

    monkeypatch.setattr(module, "_product_of_few", few)
    x, weight = torch.randn(17, 12), torch.randn(9, 12)
    for rows, by in [(x, weight), (x[:16], weight), (x[:3, ::2], weight[:, :6].contiguous())]:
        torch.testing.assert_close(product(rows, by), rows @ by.t())
    product(x[:4], weight.t().contiguous().t())
    product(x[:5].double(), weight.double())
    product(x[:6].contiguous(), weight)
    assert asked == [16, 6]
