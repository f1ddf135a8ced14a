"""The Triton kernels beside the plain path in float64 on the same device, and packed rows beside separate ones.

Shapes: b batch, l length, d model width.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hparams.backbones.mamba import MambaHParams
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones import mamba, transformer


def measure(device: str) -> dict[str, Any]:
    """Relative differences ||found - wanted|| / ||wanted||."""
    small = device != "cuda"
    dim, length = (16, 40) if small else (256, 1000)
    builds: dict[str, tuple[Any, Any]] = {
        "mamba": (mamba.build, MambaHParams(dim=dim, layers=2, state=16, dropout=0.0)),
        "transformer": (transformer.build, TransformerHParams(dim=dim, layers=2, hidden=2 * dim, dropout=0.0)),
    }
    rows: list[dict[str, Any]] = []
    for name, (build, hparams) in builds.items():
        torch.manual_seed(0)
        exact = build(hparams).to(device, torch.float64)
        x = torch.randn(4, length, dim, dtype=torch.float64, device=device)
        starts = torch.rand(4, length, device=device) < 0.02
        wanted = _out_and_gradients(exact, x, starts, torch.float64)
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            model = build(hparams).to(device)
            found = _out_and_gradients(model, x, starts, dtype)
            row: dict[str, Any] = {"name": name, "dtype": str(dtype).removeprefix("torch.")}
            row["output"] = _distance(found[0], wanted[0])
            row["gradients"] = max(_distance(a, b) for a, b in zip(found[1:], wanted[1:], strict=True))
            row["packed"] = _packed(model, x.float(), dtype)
            rows.append(row)
    return {"rows": rows}


def _out_and_gradients(model: Any, x: Tensor, starts: Tensor, dtype: torch.dtype) -> list[Tensor]:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = model(x.to(next(model.parameters()).dtype), None, starts)[0]
    weights = torch.linspace(-1, 1, y.shape[-1], device=y.device, dtype=y.dtype)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), list(model.parameters()))]


@torch.no_grad()
def _packed(model: Any, x: Tensor, dtype: torch.dtype) -> float:
    """One row of pieces of 1, 2, 3, ... tokens beside each of them alone."""
    row = x[:1]
    borders = [0]
    while borders[-1] < row.shape[1]:
        borders.append(min(row.shape[1], borders[-1] + 2 * len(borders) - 1))
    starts = torch.zeros(row.shape[:2], dtype=torch.bool, device=x.device)
    starts[:, borders[:-1]] = True
    with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        together = model(row, None, starts)[0]
        alone = torch.cat([model(row[:, begin:end])[0] for begin, end in pairwise(borders)], 1)
    return _distance(together, alone)


def _distance(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.double(), wanted.double()
    return float((found - wanted).norm() / wanted.norm())
