"""Decoding tokens a second of models of 3 M parameters: the likeliest token again and again, and drawn pieces."""

import time
from typing import Any

import torch

from core.contracts.backbone import fork
from core.model.generation import generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from core.model.stepping import Stepper
from plugins.manager import load_manager

VOCABULARY = 512
_PROMPT = 256
_LIMIT = 60.0  # seconds of all together


def measure(device: str) -> dict[str, Any]:
    """Rows of name, batch, whether it was recorded, tokens a second of the whole batch,
    greedy and drawn, and the share of rows whose fourth token is the same recorded and not."""
    cuda = device == "cuda"
    rows: list[dict[str, Any]] = []
    ends = time.monotonic() + _LIMIT
    backbones = load_manager().backbones
    for name in sorted(backbones, key=lambda name: name not in ("mamba", "transformer", "lstm")):
        if time.monotonic() > ends:
            rows.append({"name": name, "failed": "no time was left"})
            continue
        entry = backbones[name]
        assert entry.build is not None and entry.hparams is not None
        torch.manual_seed(0)
        model = LanguageModel(entry.build(entry.hparams()), VOCABULARY).to(device).eval()
        for batch in (1, 64) if cuda else (1,):
            row: dict[str, Any] = {"name": name, "batch": batch}
            try:
                row |= _greedy(model, batch, 200 if cuda else 4, device)
                row["drawn"] = _drawn(model, batch, 128 if cuda else 4)
            except (RuntimeError, ValueError) as error:
                row["failed"] = str(error).splitlines()[0][:200]
            rows.append(row)
    return {"rows": rows}


@torch.inference_mode()
def _greedy(model: LanguageModel, batch: int, steps: int, device: str) -> dict[str, Any]:
    prompt = torch.randint(0, VOCABULARY, (batch, _PROMPT if steps > 64 else 8)).to(device)
    logits, state = model(prompt, model.init_state(batch, prompt.shape[1] + 2 * steps + 16))
    assert state is not None
    plain, recorded = Stepper(model, fork(state), 0), Stepper(model, state, steps)
    found: dict[str, Any] = {"recorded": recorded.recorded}
    first: dict[str, list[int]] = {}
    for key, stepper, count in (("plain", plain, max(4, steps // 8)), ("greedy", recorded, steps)):
        ids = logits[:, -1].argmax(-1)
        for _ in range(3):
            ids = model.logits(stepper(ids)).argmax(-1)
        first[key] = ids.tolist()
        began = time.perf_counter()
        for _ in range(count):
            ids = model.logits(stepper(ids)).argmax(-1)
        ids.tolist()
        found[key] = batch * count / (time.perf_counter() - began)
    found["same"] = sum(a == b for a, b in zip(first["plain"], first["greedy"], strict=True)) / batch
    return found


def _drawn(model: LanguageModel, batch: int, length: int) -> float:
    prompts: list[list[int]] = [[] for _ in range(batch)]

    def run() -> int:
        made = generate(
            model, prompts, bos_id=1, eos_id=2, pad_id=0, length=length, sampling=Sampling(), max_batch=batch
        )
        return sum(len(piece.ids) for piece in made)

    run()
    began = time.perf_counter()
    return run() / (time.perf_counter() - began)
