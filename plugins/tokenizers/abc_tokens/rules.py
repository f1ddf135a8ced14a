"""What the abc grammar knows beside the words' effects: its limits, and how many tokens things take.

Shapes: v vocabulary, p pitch words, t tuplets.
"""

import numpy as np

from core.errors import HubError
from plugins.tokenizers.abc_tokens.effects import CHORD, FOREVER, VOICE, Array, Effects
from plugins.tokenizers.abc_tokens.tables import Tables
from plugins.tokenizers.abc_tokens.vocabulary import TUPLETS

MOST_CHORD, MOST_GRACES = 12, 8
FILL = 18  # tokens that fill and close any bar, its V: included
SHORTEST = 24  # tokens for which a clean end can be promised
# Tokens that a clean end takes from each place of the automaton.
NEED = 8 + np.maximum(3 - np.arange(VOICE + 1), 0) + 4 * (np.arange(VOICE + 1) == CHORD)
MOST_NEED = int(NEED.max()) + 2 * max(r for _, _, r in TUPLETS) + 2


class Rules:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens, bos and eos not counted."""

    def __init__(self, tables: Tables, eos_id: int, bars: int, length: int) -> None:
        if bars < 0 or length < 0 or 0 < length < SHORTEST:
            raise HubError(
                f"bars {bars}, length {length}: expected 0 or more bars, and 0 or at least {SHORTEST} tokens"
            )
        self.tables, self.eos_id, self.bars, self.length = tables, eos_id, bars, length
        self.effects = Effects(tables)
        self.only_lengths = self._only(tables.lengths)
        self.only_end = self._only(slice(eos_id, eos_id + 1))
        self.meter_ticks = tables.meter_ticks.numpy()  # 0 in free meter
        self.limits = np.where(self.meter_ticks == 0, FOREVER, self.meter_ticks)
        self.pitch_step = tables.pitch_step.numpy()
        self.pitch_signed, self.pitch_base = tables.pitch_signed.numpy(), tables.pitch_base.numpy()
        self.pitch_alter = tables.pitch_alter.numpy()
        self.tuplet_tokens = 2 * self.effects.tuplet_r[:-1]

    def _only(self, kept: slice) -> Array:
        """(v,) True within the slice."""
        mask = np.zeros(self.tables.size, dtype=bool)
        mask[kept] = True
        return mask
