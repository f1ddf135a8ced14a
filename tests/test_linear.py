"""The linear layer against PyTorch's own."""

import torch
from torch.nn import functional as F

from core.model.linear import linear, outer


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
