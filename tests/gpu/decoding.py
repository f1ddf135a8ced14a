"""Decoding tokens a second of models of 3 M parameters: the likeliest token again and again, and drawn pieces, freely
and under the grammar of REMI tokens. No piece ends before the others."""

import time
from typing import Any

import torch
from torch import Tensor

from core.contracts.backbone import fork
from core.contracts.grammar import Grammar
from core.model.generation import generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from core.model.stepping import Stepper
from plugins.manager import load_manager
from tests.gpu.endless import Endless
from tests.gpu.turns import Row, turns

_PROMPT = 256
_LIMIT = 80.0  # seconds of all together


def measure(device: str, before: list[Row]) -> dict[str, Any]:
    """Rows of name, batch, whether it was recorded, tokens a second of the whole batch, greedy, drawn freely and under
    a grammar, and the share of rows whose fourth token is the same recorded and not."""
    cuda = device == "cuda"
    manager = load_manager()
    remi = manager.tokenizers["remi"]
    assert remi.build is not None and remi.hparams is not None
    tokenizer: Any = remi.build(remi.hparams())
    grammar = Endless(tokenizer.grammar(), tokenizer.eos_id)
    grammar.allowed(grammar.begin(1))  # it may be compiled at first use

    def work(name: str, ends: float) -> list[Row]:
        entry = manager.backbones[name]
        assert entry.build is not None and entry.hparams is not None
        torch.manual_seed(0)
        model = LanguageModel(entry.build(entry.hparams()), tokenizer.vocab_size).to(device).eval()
        weights = list(model.parameters())
        rows = []
        for batch in (1, 64) if cuda else (1,):
            row: Row = {"batch": batch, "parameters": sum(each.numel() for each in weights)}
            row["bytes_of_weights"] = sum(each.numel() * each.element_size() for each in weights)
            try:
                row |= _greedy(model, batch, 200 if cuda else 4, device)
                row["drawn"] = _drawn(model, batch, 128 if cuda else 4, tokenizer, None)
                row["under_grammar"] = _drawn(model, batch, 128 if cuda else 4, tokenizer, grammar)
            except (RuntimeError, ValueError) as error:
                row["failed"] = str(error).splitlines()[0][:200]
            rows.append(row)
        return rows

    names = sorted(manager.backbones, key=lambda name: name not in ("mamba", "transformer", "lstm"))
    return {"rows": turns([{"name": name} for name in names], before, _LIMIT, work)}


def burst(model: LanguageModel, stepper: Stepper, ids: Tensor, count: int) -> tuple[Tensor, float]:
    """The likeliest token (b) again and again, `count` times from ids (b) on: the last, and seconds."""
    began = time.perf_counter()
    for _ in range(count):
        ids = model.logits(stepper(ids)).argmax(-1)
    ids.tolist()  # waits for the device
    return ids, time.perf_counter() - began


@torch.inference_mode()
def _greedy(model: LanguageModel, batch: int, steps: int, device: str) -> Row:
    prompt = torch.randint(0, model.vocab_size, (batch, _PROMPT if steps > 64 else 8)).to(device)
    logits, state = model(prompt, model.init_state(batch, prompt.shape[1] + 2 * steps + 16))
    assert state is not None
    plain, recorded = Stepper(model, fork(state), 0), Stepper(model, state, steps)
    found: Row = {"recorded": recorded.recorded}
    first: list[list[int]] = []
    for key, stepper, count in (("plain", plain, max(4, steps // 8)), ("greedy", recorded, steps)):
        ids, _ = burst(model, stepper, logits[:, -1].argmax(-1), 3)
        first.append(ids.tolist())
        found[key] = batch * count / burst(model, stepper, ids, count)[1]
    found["same"] = sum(a == b for a, b in zip(*first, strict=True)) / batch
    return found


def _drawn(model: LanguageModel, batch: int, length: int, tokenizer: Any, grammar: Grammar | None) -> float:
    prompts: list[list[int]] = [[] for _ in range(batch)]
    # What is padding is never drawn: an end that stands for it does not come.
    ids = {"bos_id": tokenizer.bos_id, "eos_id": tokenizer.pad_id, "pad_id": tokenizer.pad_id}

    def run() -> float:
        began = time.perf_counter()
        made = generate(
            model, prompts, length=length, sampling=Sampling(), grammar=grammar, max_batch=batch, **ids
        )  # fmt: skip
        assert all(len(piece.ids) == length for piece in made)
        return batch * length / (time.perf_counter() - began)

    run()
    return run()
