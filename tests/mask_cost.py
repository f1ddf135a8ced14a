"""What the grammar costs a decoding step of the presets: `python -m tests.mask_cost [NAME ...] [runs=5] [bpe=0]
[batch=16]`.

`generate` writes pieces at once by untrained presets of 3 M parameters, on one thread, with the grammar of the
tokenizer and without, in turn; what leads to an end is made unlikely, so that all rows go on. Prints a Markdown table
of a step around position 256: processor time, the median of the steps, the best of the runs; and of the grammar's own
`allowed` and `advance` in it. It is a benchmark and no test: it takes minutes.
"""

import sys
import time
from statistics import median

import torch
from torch import Tensor

from core.contracts.grammar import Grammar, State
from core.contracts.tokenizer import Tokenizer
from core.model.generation import generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from hparams.base import HParams
from plugins.manager import load_manager
from tests import validity

BACKBONES = ("mamba", "transformer", "lstm")
TOKENIZERS = ("remi", "tsd", "abc")
FIRST, LAST = 232, 280  # the steps that are timed
LENGTH = 1024  # of the pieces, to the grammar; they are cut off before


class Timed:
    """A grammar that adds up the processor time of its steps, in `seconds`."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.seconds = grammar, 0.0

    def begin(self, batch: int) -> State:
        return self.grammar.begin(batch)

    def allowed(self, state: State, known: Tensor | None = None) -> Tensor:
        began = time.thread_time()
        result = self.grammar.allowed(state) if known is None else self.grammar.allowed(state, known)
        self.seconds += time.thread_time() - began
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        began = time.thread_time()
        result = self.grammar.advance(state, ids)
        self.seconds += time.thread_time() - began
        return result


def built(name: str, bpe: int) -> tuple[LanguageModel, Tokenizer]:
    """The untrained model of a preset and its tokenizer."""
    manager = load_manager()
    hparams: HParams = manager.preset(name)
    entry = manager.backbones[hparams.backbone.name]
    assert entry.build is not None
    tokenizer: Tokenizer = validity.built(hparams.tokenizer.name, bpe)
    torch.manual_seed(0)
    model = LanguageModel(entry.build(hparams.backbone), tokenizer.vocab_size)

    # An abc bar closed before it is full is the last one of its piece.
    unlikely = torch.tensor([-50.0 * (tokenizer.token(id) == "|") for id in range(tokenizer.vocab_size)])  # type: ignore[attr-defined]
    unlikely[tokenizer.eos_id] = -100.0

    plain = model.logits

    def going_on(hidden: Tensor, stream: int = 0) -> Tensor:
        return plain(hidden, stream) + unlikely

    model.logits = going_on  # type: ignore[method-assign]
    return model, tokenizer


def step_ms(
    model: LanguageModel, tokenizer: Tokenizer, grammar: Timed, masked: bool, batch: int, seed: int
) -> list[float]:
    """Milliseconds of processor time of a step around position 256, and of the grammar in it."""
    times: list[tuple[float, float]] = []

    def tick(drawn: int) -> None:
        assert drawn == batch, "a row ended"
        times.append((time.thread_time(), grammar.seconds))

    generate(
        model,
        [[]] * batch,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        length=LAST,
        sampling=Sampling(seed=seed),
        grammar=grammar if masked else None,
        progress=tick,
    )
    steps = list(zip(times[FIRST:], times[FIRST + 1 :]))
    return [median(later[i] - earlier[i] for earlier, later in steps) * 1e3 for i in range(2)]


def row(name: str, bpe: int, batch: int, runs: int) -> str:
    """One line of the table."""
    model, tokenizer = built(name, bpe)
    grammar = Timed(tokenizer.grammar(length=LENGTH))  # type: ignore[attr-defined]
    free, masked = [], []
    for run in range(runs):
        free.append(step_ms(model, tokenizer, grammar, False, batch, run)[0])
        masked.append(step_ms(model, tokenizer, grammar, True, batch, run))
    own = min(mine for _, mine in masked)
    whole = min(step for step, _ in masked)
    cells = [name, bpe, batch, f"{min(free):.3f}", f"{whole:.3f}", f"{(whole / min(free) - 1) * 100:.0f} %"]
    return "| " + " | ".join(map(str, [*cells, f"{own * 1e3:.0f}", f"{own / min(free) * 100:.1f} %"])) + " |"


def main() -> None:
    """Prints the rows of the presets named, all nine by default."""
    settings = {"runs": 5, "bpe": 0, "batch": 16}
    settings |= {key: int(value) for key, value in (word.split("=") for word in sys.argv[1:] if "=" in word)}
    names = [word for word in sys.argv[1:] if "=" not in word]
    torch.set_num_threads(1)
    print("| preset | BPE | rows | step without, ms | step with, ms | more | allowed and advance, us | of the step |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names or [f"{backbone}_{tokenizer}" for tokenizer in TOKENIZERS for backbone in BACKBONES]:
        print(row(name, settings["bpe"], settings["batch"], settings["runs"]), flush=True)


if __name__ == "__main__":
    main()
