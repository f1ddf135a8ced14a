"""The tables of the notes' grammar as a NumPy step asks for them: by phase and meter, by meter and token, by token.

Shapes: b batch, v vocabulary, m meters, n notes of all tokens, k notes of one token at most.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plugins.tokenizers.note_tokens.grammar.tables import Tables

Array = NDArray[Any]


class Owners:
    """The tokens that entries of a list belong to, in rising order."""

    def __init__(self, owners: Tensor) -> None:
        self.tokens, self.starts = np.unique(owners.numpy(), return_index=True)

    def __bool__(self) -> bool:
        return len(self.tokens) > 0

    def strike(self, result: Array, bad: Array) -> None:
        """Clears `result` (b v) at the tokens of what is bad (b n)."""
        result[:, self.tokens] &= ~np.logical_or.reduceat(bad, self.starts, axis=1)


class LookUp:
    """The tables as a step asks for them: rows by phase and meter, by meter and token, and by token."""

    def __init__(self, tables: Tables, needs: Sequence[int]) -> None:
        def plain(*names: str) -> list[Array]:
            return [getattr(tables, name).numpy().astype(np.int64) for name in names]

        phases = tables.phases.numpy()
        self.size = phases.shape[1]
        self.keys = tables.keys
        opens = (phases >= 0)[:, None] & tables.fits.numpy()  # phase m v
        self.opens = opens.reshape(-1, self.size)
        self.phases = phases.astype(np.int64).ravel()
        self.needs = np.array(needs)[np.maximum(phases, 0)]  # phase v
        self.blank, self.told = tables.blank.numpy(), tables.told.numpy()
        self.blanks = bool(self.blank.any())
        self.first_position, self.first_key = tables.first_position.numpy(), tables.first_key.numpy()
        self.heads = tables.heads.numpy()
        self.head_pitch, self.second_key, self.bar = plain("head_pitch", "second_key", "bar")
        self.meter, self.now, self.anchor, self.bars = plain("meter", "now", "anchor", "bars")
        (self.meter_at,) = plain("meter_at")
        under = plain("meter", "now", "anchor", "bars", "head_end", "first_meter_at")
        self.under = np.stack(under, -1).reshape(-1, len(under))  # (m v) 6
        names = ("anchored", "position", "program", "head_pitch_of", "head_closes", "last_key", "open_key", "plays")
        self.alone = np.stack(plain(*names, "blank", "tells"), -1)  # v 10
        self.own_key, self.own_end = plain("own_key", "own_end")
        self.own_anchored = tables.own_anchored.numpy() == 1
        self.own = bool((self.own_key < self.keys).any())
        self.own_end = self.own_end.reshape(-1, self.own_end.shape[-1])  # (m v) k
        self.notes, self.mixed, self.after = map(Owners, (tables.note_owner, tables.mixed_owner, tables.after_owner))
        self.note_key, self.note_onset = plain("note_key", "note_onset")
        self.note_anchored, self.after_anchored = tables.note_anchored.numpy() == 1, tables.after_anchored.numpy() == 1
        self.mixed_end, self.mixed_onset = plain("mixed_end", "mixed_onset")
        self.after_key, self.after_onset, self.after_end, self.after_head = plain(
            "after_key", "after_onset", "after_end", "after_head"
        )
        self.announce, self.announce_top = plain("announce", "announce_top")
        self.announce_own = tables.announce_own.numpy()
        self.last, self.head_of = plain("last_key", "head_pitch_of")
        self.step, self.longest = plain("step", "longest")
        # Without byte pairs each pitch is a token: one note that begins now, in the order of the keys.
        owners, keys = tables.note_owner.numpy(), self.note_key
        self.one_note = bool(
            len(owners)
            and (np.diff(owners) == 1).all()
            and (np.diff(keys) == 1).all()
            and not self.note_anchored.any()
            and not self.note_onset.any()
        )
        if self.one_note:
            self.note_tokens = slice(int(owners[0]), int(owners[-1]) + 1)
            self.note_keys = slice(int(keys[0]), int(keys[-1]) + 1)
