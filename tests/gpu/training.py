"""Training tokens a second against length: a step is forward, loss, backward and AdamW in bf16, without a pause.

Every backbone gets the parameters of `mamba` at its width; rows of all lengths hold the same number of tokens. Memory
is what a step holds beyond weights and moments.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from core.model.language_model import LanguageModel
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones import mamba, transformer
from tests.gpu.timing import peak, seconds

VOCABULARY = 512
SIZES = ((2048, 4), (256, 7))  # widths and Mamba blocks
_TOKENS = 65536
_LENGTHS = {2048: (2048, 4096, 8192, 32768, 65536), 256: (1024, 4096, 16384, 65536)}


def measure(device: str) -> dict[str, Any]:
    """Rows of name, width, length, tokens a second and bytes, with what model FLOPs are counted by."""
    cuda = device == "cuda"
    rows: list[dict[str, Any]] = []
    for dim, layers in SIZES if cuda else ((16, 1),):
        tokens, lengths = (_TOKENS, _LENGTHS[dim]) if cuda else (64, (32, 64))
        for name, build in models(dim, layers).items():
            model = LanguageModel(build(), VOCABULARY).to(device)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=cuda)
            about = {"name": name, "dim": dim, "parameters": sum(each.numel() for each in model.parameters())}
            about["attention"] = dim * max(1, layers // 2) if name == "transformer" else 0
            for length in lengths:
                for packed in (False, True):
                    ids, starts = _data(tokens // length, length, packed)
                    work = _step(model, optimizer, ids.to(device), None if starts is None else starts.to(device))
                    row = {**about, "length": length, "packed": packed, "seen": seen(length, starts)}
                    try:
                        work()
                        row["bytes"] = peak(work, device)
                        row["rate"] = ids[:, 1:].numel() / seconds(work, device, warm=0)
                    except (RuntimeError, ValueError) as error:
                        row["failed"] = str(error).splitlines()[0][:200]
                    rows.append(row)
            del model, optimizer
            if cuda:
                torch.cuda.empty_cache()
    return {"rows": rows}


def models(dim: int, layers: int) -> dict[str, Callable[[], Any]]:
    """Mamba, and a Transformer of as many parameters: its blocks of width d have about twice those of a Mamba's."""
    heads, hidden = max(2, dim // 128), 16 * round(8 * dim / 3 / 16)
    return {
        "mamba": lambda: mamba.build(MambaHParams(dim=dim, layers=layers, dropout=0.0)),
        "transformer": lambda: transformer.build(
            TransformerHParams(dim=dim, layers=max(1, layers // 2), heads=heads, hidden=hidden, dropout=0.0)
        ),
    }


def seen(length: int, starts: Tensor | None) -> float:
    """How many tokens one attends to in the mean, itself included, in rows of pieces that begin at `starts` (b l)."""
    if starts is None:
        return (length + 1) / 2
    at = torch.arange(length).expand_as(starts)
    begun = torch.where(starts, at, 0).cummax(1).values
    return float((at - begun + 1).double().mean())


def _data(batch: int, length: int, packed: bool) -> tuple[Tensor, Tensor | None]:
    """Ids (b l+1) and, packed, starts (b l) of pieces of about 500 tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (batch, length + 1), generator=generator)
    return ids, torch.rand(batch, length, generator=generator) < 1 / 500 if packed else None


def _step(model: Any, optimizer: Any, ids: Tensor, starts: Tensor | None) -> Callable[[], None]:
    def step() -> None:
        with torch.autocast(ids.device.type, torch.bfloat16):
            loss = model.loss(ids[:, :-1], ids[:, 1:], starts)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
