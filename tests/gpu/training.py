"""Training tokens a second against length: a step is forward, loss, backward and AdamW in bf16, without a pause.

Every backbone gets the parameters of `mamba` at its width; rows of all lengths hold the same number of tokens. Memory
is what a step holds beyond weights and moments.
"""

from collections.abc import Callable
from typing import Any

import torch

from core.model.language_model import LanguageModel
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones import mamba, transformer
from tests.gpu.timing import peak, seconds

VOCABULARY = 512


def measure(device: str) -> dict[str, Any]:
    """Rows of name, width, length, tokens a second and bytes."""
    cuda = device == "cuda"
    rows: list[dict[str, Any]] = []
    sizes = ((2048, 4, 32768, (2048, 4096, 8192, 32768)), (256, 7, 65536, (1024, 4096, 16384, 65536)))
    for dim, layers, tokens, lengths in sizes if cuda else ((16, 1, 64, (32,)),):
        for name, build in _models(dim, layers).items():
            model = LanguageModel(build(), VOCABULARY).to(device)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=cuda)
            count = sum(parameter.numel() for parameter in model.backbone.parameters())
            for length in lengths:
                for packed in (False, True):
                    work = _step(model, optimizer, tokens // length, length, packed, device)
                    row = {"name": name, "dim": dim, "length": length, "packed": packed, "parameters": count}
                    try:
                        work()
                        row["bytes"] = peak(work, device)
                        row["rate"] = tokens // length * length / seconds(work, device, warm=0)
                    except (RuntimeError, ValueError) as error:
                        row["failed"] = str(error).splitlines()[0][:200]
                    rows.append(row)
            del model, optimizer
            if cuda:
                torch.cuda.empty_cache()
    return {"rows": rows}


def _models(dim: int, layers: int) -> dict[str, Callable[[], Any]]:
    """Mamba, and a Transformer of as many parameters: its blocks of width d have about twice those of a Mamba's."""
    heads, hidden = max(2, dim // 128), 16 * round(8 * dim / 3 / 16)
    return {
        "mamba": lambda: mamba.build(MambaHParams(dim=dim, layers=layers, dropout=0.0)),
        "transformer": lambda: transformer.build(
            TransformerHParams(dim=dim, layers=max(1, layers // 2), heads=heads, hidden=hidden, dropout=0.0)
        ),
    }


def _step(model: Any, optimizer: Any, batch: int, length: int, packed: bool, device: str) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (batch, length + 1), generator=generator).to(device)
    starts = (torch.rand(batch, length, generator=generator) < 1 / 500).to(device) if packed else None

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = model.loss(ids[:, :-1], ids[:, 1:], starts)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
