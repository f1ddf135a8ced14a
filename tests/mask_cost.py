"""What the grammar costs a decoding step of the presets: `python -m tests.mask_cost [NAME ...] [runs=5]`.

`generate` writes 16 pieces at once by untrained presets of 3 M parameters, on one thread, with the grammar of the
tokenizer and without, in turn; what leads to an end is made unlikely, so that all rows go on. Prints a Markdown table
of milliseconds a step around position 256: processor time, the median of the steps, the best of the runs. It is a
benchmark and no test: it takes minutes.
"""

import sys
import time
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from core.generation import generate
from core.grammar import Grammar
from core.model import LanguageModel
from core.sampling import Sampling
from core.tokenizer import Tokenizer
from hparams.base import HParams
from plugins.manager import load_manager

BACKBONES = ("mamba", "transformer", "lstm")
TOKENIZERS = ("remi", "tsd", "abc")
BATCH = 16
FIRST, LAST = 232, 280  # the steps that are timed
LENGTH = 1024  # of the pieces, to the grammar; they are cut off before


def built(name: str) -> tuple[LanguageModel, Tokenizer]:
    """The untrained model of a preset and its tokenizer."""
    manager = load_manager()
    hparams: HParams = manager.preset(name)
    entries = manager.backbones[hparams.backbone.name], manager.tokenizers[hparams.tokenizer.name]
    assert entries[0].build is not None and entries[1].build is not None
    tokenizer: Tokenizer = entries[1].build(hparams.tokenizer)
    torch.manual_seed(0)
    model = LanguageModel(entries[0].build(hparams.backbone), tokenizer.vocab_size)

    # An abc bar closed before it is full is the last one of its piece.
    unlikely = torch.tensor([-50.0 * (tokenizer.token(id) == "|") for id in range(tokenizer.vocab_size)])
    unlikely[tokenizer.eos_id] = -100.0

    def go_on(module: nn.Module, inputs: Any, result: tuple[Tensor, Any]) -> None:
        result[0].add_(unlikely)

    model.register_forward_hook(go_on)
    return model, tokenizer


def step_ms(model: LanguageModel, tokenizer: Tokenizer, grammar: Grammar | None, seed: int) -> float:
    """Milliseconds of processor time of a step around position 256."""
    times: list[float] = []

    def tick(drawn: int) -> None:
        assert drawn == BATCH, "a row ended"
        times.append(time.thread_time())

    generate(
        model,
        [[]] * BATCH,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        length=LAST,
        sampling=Sampling(seed=seed),
        grammar=grammar,
        progress=tick,
    )
    return median(later - earlier for earlier, later in zip(times[FIRST:], times[FIRST + 1 :])) * 1e3


def row(name: str, runs: int) -> str:
    """One line of the table."""
    model, tokenizer = built(name)
    grammar: Grammar = tokenizer.grammar(length=LENGTH)  # type: ignore[attr-defined]
    free, masked = (
        min(times)
        for times in zip(
            *([step_ms(model, tokenizer, which, run) for which in (None, grammar)] for run in range(runs)), strict=True
        )
    )
    return f"| {name} | {tokenizer.vocab_size} | {free:.2f} | {masked:.2f} | {(masked / free - 1) * 100:.0f} % |"


def main() -> None:
    """Prints the rows of the presets named, all nine by default."""
    settings = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    names = [word for word in sys.argv[1:] if "=" not in word]
    torch.set_num_threads(1)
    print("| preset | tokens | free, ms | grammar, ms | cost |\n|---|---|---|---|---|")
    for name in names or [f"{backbone}_{tokenizer}" for tokenizer in TOKENIZERS for backbone in BACKBONES]:
        print(row(name, int(settings.get("runs", 5))), flush=True)


if __name__ == "__main__":
    main()
