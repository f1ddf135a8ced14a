"""Whether the grammar masks a true next token: `python -m tests.exactness PRESET ... [key=value ...]`.

Walks all pieces of each preset's validation split, prepared first if need be, eos included, and prints a Markdown row.
An abc tune whose inner bars do not add up to their meter is expected to be masked, and counted apart. It is a benchmark
and no test: it takes minutes.
"""

import sys
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from core.contracts.backbone import select
from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids, Tokenizer
from datatools.abc.repeats import read_tune
from hparams.loading import load
from plugins.manager import load_manager
from supervisors.asking import runs_folder
from supervisors.language_model import LanguageModelSupervisor

ROWS = 64


def masked(grammar: Grammar, pieces: list[Ids], eos_id: int) -> list[int]:
    """The number of true next ids that are masked, of every stream, in each piece."""
    result = [0] * len(pieces)
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    for first in range(0, len(order), ROWS):
        numbers = order[first : first + ROWS]
        state = grammar.begin(len(numbers))
        for step in range(len(pieces[numbers[-1]]) + 1):
            going = [at for at, number in enumerate(numbers) if len(pieces[number]) >= step]
            if len(going) < len(numbers):
                state, numbers = select(state, going), [numbers[at] for at in going]
            streams = np.ndim(pieces[numbers[-1]][0]) and len(pieces[numbers[-1]][0])  # 0 where a token is one id
            end = [eos_id, *[0] * (streams - 1)] if streams else eos_id
            ids = torch.tensor([(*pieces[number], end)[step] for number in numbers])
            said = ids.view(len(ids), -1)  # b k
            wrong = torch.zeros(len(ids), dtype=torch.long)
            for stream in range(said.shape[1]):
                allowed = grammar.allowed(state, said[:, :stream]) if stream else grammar.allowed(state)
                missed = ~allowed[torch.arange(len(ids)), said[:, stream]]
                wrong += missed & ((said[:, 0] != eos_id) | (stream == 0))
            for at in wrong.nonzero()[:, 0].tolist():
                result[numbers[at]] += int(wrong[at])
            state = grammar.advance(state, ids)
    return result


def adds_up(tokenizer: Tokenizer, ids: list[int]) -> bool:
    """Whether all bars of an abc tune, the first and the last of each voice excepted, are as long as their meter."""
    voices = read_tune(tokenizer.decode(ids).abc, silent=True).voices
    bars = [bar for voice in voices for bar in voice[1:-1]]
    return all(bar.meter is None or bar.duration == Fraction(*bar.meter) for bar in bars)


def main() -> None:
    """Prints the rows."""
    words = [word for word in sys.argv[1:] if "=" in word]
    print("| tokens | BPE | dataset | pieces | with whole bars | tokens | masked |\n|---|---|---|---|---|---|---|")
    for preset in [word for word in sys.argv[1:] if "=" not in word]:
        row(preset, words)


def row(preset: str, words: list[str]) -> None:
    """Prints the row of one preset."""
    manager = load_manager()
    hparams = load(preset, words, preset=manager.preset, section=manager.section)
    supervisor = LanguageModelSupervisor(hparams, manager, runs_folder() / hparams.name)
    supervisor.load_data()
    tokenizer: Any = supervisor.tokenizer
    store = supervisor.store
    pieces = [store.ids("valid", k).tolist() for k in range(store.count("valid"))]
    found = masked(tokenizer.grammar(), pieces, tokenizer.eos_id)
    whole = [hparams.tokenizer.name != "abc" or adds_up(tokenizer, ids) for ids in pieces]
    wrong = [number for number, ok in zip(found, whole, strict=True) if ok]
    tokens = sum(len(ids) + 1 for ids, ok in zip(pieces, whole, strict=True) if ok)
    bpe = getattr(hparams.tokenizer, "bpe", 0)
    cells = [hparams.tokenizer.name, bpe, hparams.dataset.name, len(pieces), len(wrong), f"{tokens:,}", sum(wrong)]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    if len(wrong) < len(pieces):
        others = len(pieces) - len(wrong), sum(map(bool, found)) - sum(map(bool, wrong))
        print(f"of the other {others[0]} pieces, {others[1]} are masked")


if __name__ == "__main__":
    main()
