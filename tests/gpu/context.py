"""Decoding tokens a second of one row against what it has read: Mamba and a Transformer of as many parameters, fp32."""

from typing import Any

import torch

from core.model.language_model import LanguageModel
from core.model.stepping import Stepper
from tests.gpu.decoding import burst
from tests.gpu.training import SIZES, VOCABULARY, models

_CHUNK = 4096  # tokens of a prompt that are read at once


def measure(device: str) -> dict[str, Any]:
    """Rows of name, width, context, whether steps were recorded, and tokens a second."""
    cuda = device == "cuda"
    rows: list[dict[str, Any]] = []
    for dim, layers in SIZES if cuda else ((16, 1),):
        for name, build in models(dim, layers).items():
            torch.manual_seed(0)
            model = LanguageModel(build(), VOCABULARY).to(device).eval()
            weights = list(model.parameters())
            about = {"name": name, "dim": dim, "parameters": sum(each.numel() for each in weights)}
            about["bytes_of_weights"] = sum(each.numel() * each.element_size() for each in weights)
            for length in (256, 4096, 16384, 65536) if cuda else (32, 64):
                row: dict[str, Any] = {**about, "length": length}
                try:
                    row |= _after(model, length, 200 if cuda else 4, device)
                except (RuntimeError, ValueError) as error:
                    row["failed"] = str(error).splitlines()[0][:200]
                rows.append(row)
    return {"rows": rows}


@torch.inference_mode()
def _after(model: LanguageModel, length: int, steps: int, device: str) -> dict[str, Any]:
    state = model.init_state(1, length + steps + 16)
    ids = torch.randint(0, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(length)).to(device)
    for part in ids.split(_CHUNK, 1):
        logits, state = model(part, state)
    assert state is not None
    stepper = Stepper(model, state, steps)
    last, _ = burst(model, stepper, logits[:, -1].argmax(-1), 3)
    return {"recorded": stepper.recorded, "rate": steps / burst(model, stepper, last, steps)[1]}
