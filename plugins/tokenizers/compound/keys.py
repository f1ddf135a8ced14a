"""The keys that tokens of several streams can strike: pairs of instrument and pitch, in the order of their notes."""

import numpy as np
import torch
from torch import Tensor

from plugins.tokenizers.compound.tokenizer import CompoundTokenizer
from plugins.tokenizers.note_tokens.grid import DRUMS


def keys_of(tokenizer: CompoundTokenizer) -> tuple[Tensor, Tensor, Tensor]:
    """Program id and pitch id (n,) of each key, 0 for the program where none is told, and (programs, pitches) the key
    of each pair, n where there is none."""
    programs = "Program" in tokenizer.kinds
    ranks = np.flatnonzero(tokenizer.grid.told).tolist() if programs else [0]
    pairs = [
        (int(tokenizer.programs[rank]) if programs else 0, id)
        for rank in ranks
        for id in tokenizer.pitches[int(rank == DRUMS)].tolist()
        if id >= 0
    ]
    program, pitch = torch.tensor(pairs).T
    sizes = dict(zip(tokenizer.kinds, tokenizer.vocab_sizes, strict=True))
    keys = torch.full((sizes.get("Program", 1), sizes["Pitch"]), len(pairs))
    keys[program, pitch] = torch.arange(len(pairs))
    return program, pitch, keys
