"""The state of the abc grammar: where a piece stands, in numbers, and the pitches that sound or are tied.

Shapes: b batch, f fields, w voices, s diatonic steps.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens.effects import Array, Effects
from plugins.tokenizers.abc_tokens.vocabulary import VOICES

HELD, CHORD_TIES = VOICES, VOICES + 1  # rows of `pitches` after those of the voices' ties


class Fields(NamedTuple):
    """The numbers (b,) of a state; flags are 0 and 1."""

    where: Array
    voicing: Array
    unit: Array  # its index
    voice: Array
    voices: Array
    pos: Array  # where the last event begins in its bar, in ticks
    dur: Array
    told: Array  # column of the last event's length
    barlen: Array
    rounds: Array
    tuplet: Array
    tuplet_left: Array
    tuplet_sum: Array  # of lengths, mod 3
    tuplet_length: Array  # column of its first length, -1 for none yet
    graces: Array
    chord_last: Array
    held: Array  # how many pitches the last event or the open chord has
    tied: Array  # how many of an open chord's are tied
    owed: Array  # tokens that ties still need, of all voices
    used: Array
    final: Array
    notes: Array
    sounds: Array
    dash: Array


def begin(effects: Effects, batch: int) -> State:
    """The state of `batch` pieces without tokens."""
    fields = dict.fromkeys(Fields._fields, 0)
    fields |= {"unit": effects.no_unit, "told": effects.plain, "tuplet": effects.none}
    fields |= {"tuplet_length": -1, "chord_last": -1}
    return {
        "fields": torch.tensor([list(fields.values())]).repeat(batch, 1),
        "voices": torch.zeros(batch, 3, VOICES, dtype=torch.int64),  # meter, key and number of ties of each
        "alters": torch.from_numpy(effects.alters[0]).repeat(batch, 1),  # b s: sharps and flats in force
        "pitches": torch.zeros(batch, VOICES + 2, 128, dtype=torch.bool),  # ties by voice, HELD, CHORD_TIES
    }


def fields_of(state: State) -> Fields:
    return Fields(*state["fields"].numpy().T)


def packed(fields: Fields) -> Tensor:
    """(b f), on the memory of (f b), in which each field lies together."""
    return torch.from_numpy(np.concatenate(fields).reshape(len(fields), -1).T)
