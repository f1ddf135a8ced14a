"""What the size of a corpus suggests: a vocabulary, a model, a number of steps, each with the rule and its source.

A rule of thumb from text, where music has none of its own; nothing is set by it.

Shapes: n tokens of a piece, k streams.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datatools.preparing.store import TokenStore

OFTEN = 100  # examples of a type that training should hold (Gowda and May, Findings of EMNLP 2020)
MOST = 20_000_000  # tokens whose types are counted
TOKENS_A_PARAMETER = 20  # Hoffmann et al., arXiv 2203.15556
EPOCHS = (4, 16)  # as good as new tokens, and no gain beyond (Muennighoff et al., arXiv 2305.16264)
RULES = {
    "vocabulary": "95 % of a vocabulary should have 100 examples: Gowda and May 2020",
    "model": "20 tokens a parameter, Hoffmann et al. 2022; the same ones 4 times, Muennighoff et al. 2023",
    "steps": "4 epochs are as good as new music, 16 bring the last gain: Muennighoff et al. 2023",
}


def suggestions(store: TokenStore, step_tokens: int) -> list[str]:
    """Lines about a store, where an optimizer step takes `step_tokens`; all is counted on its training pieces."""
    pieces = [store.ids("train", k) for k in range(store.count("train"))]
    tokens = sum(map(len, pieces))
    lines = [_vocabulary(pieces)] if store.manifest["tokenizer"]["streams"] == 1 else []
    parameters = tokens * EPOCHS[0] / TOKENS_A_PARAMETER
    lines.append(f"advised size  about {_short(parameters)} parameters ({RULES['model']})")
    few, many = (max(1, round(epochs * tokens / step_tokens)) for epochs in EPOCHS)
    return [*lines, f"advised steps {few:,} to {many:,} of {step_tokens:,} tokens ({RULES['steps']})"]


def _vocabulary(pieces: list[NDArray[Any]]) -> str:
    """How many types are frequent, and how many a learned vocabulary could have: those and the pairs that are."""
    ends = np.cumsum([len(one) for one in pieces])
    looked = pieces[: int(np.searchsorted(ends, MOST)) + 1]  # of a large corpus the beginning
    counts = np.bincount(np.concatenate(looked))
    used, often = int((counts > 0).sum()), int((counts >= OFTEN).sum())
    neighbours = np.concatenate([one[:-1].astype(np.int64) * len(counts) + one[1:] for one in looked])
    if len(counts) ** 2 <= MOST:  # a number for each pair that there may be; sorting takes ten times as long
        pairs = int((np.bincount(neighbours) >= OFTEN).sum())
    else:
        pairs = int((np.unique(neighbours, return_counts=True)[1] >= OFTEN).sum())
    where = "in training" if len(looked) == len(pieces) else f"in the first {len(looked):,} training pieces"
    told = f"{often:,} of {used:,} types {where} ({often / used:.0%}) have {OFTEN} examples or more"
    return f"vocabulary    {told}; advised with pairs learned: at most {often + pairs:,} ({RULES['vocabulary']})"


def _short(number: float) -> str:
    """Two digits, e.g. 0.67 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size / 2:
            return f"{float(f'{number / size:.2g}'):g}{letter}"
    return f"{number:.0f}"
