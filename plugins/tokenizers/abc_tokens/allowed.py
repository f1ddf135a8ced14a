"""Which words may follow in the abc grammar, of all rows at once in NumPy.

What most rows do not need is asked of the other rows only. native/abc.cpp says the same row by row.

Shapes: b batch, v vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens import words as abc_words
from plugins.tokenizers.abc_tokens.effects import (
    BAR,
    CHORD,
    EVENT,
    GRACE,
    GRACED,
    HEAD_K,
    HEAD_L,
    HEAD_M,
    KEY,
    METER,
    MULTI,
    SINGLE,
    SIZED,
    TIED,
    TUPLET,
    VOICE,
    Array,
)
from plugins.tokenizers.abc_tokens.rules import FILL, Rules
from plugins.tokenizers.abc_tokens.state import Fields, fields_of
from plugins.tokenizers.abc_tokens.view import (
    View,
    is_last_round,
    is_over,
    longest_of,
    may_close_bar,
    may_end,
    spare_tokens,
    view_of,
)


def allowed(rules: Rules, state: State) -> Tensor:
    """(b v) bool."""
    tables, fields = rules.tables, fields_of(state)
    batch = len(fields.where)
    mask = np.zeros((batch, tables.size), dtype=bool)
    rows = np.arange(batch)
    on = Fields(*(state["fields"].numpy() > 0).T)
    at_bar, before, events, sized, chord, unsigned, unmarked, unkeyed, untied, in_head = _PLACES.take(fields.where, 0).T
    multi = bool((fields.voicing == MULTI).any())
    view = view_of(rules, state, fields, on, multi)
    notes, whole = on.notes, ~on.tuplet_left
    spare = spare_tokens(rules, fields, multi)  # b; None: more than anything asks for
    hurry = spare < 4 if spare is not None else None
    if hurry is not None and not hurry.any():
        hurry = None
    calm = abc_words.PLENTY if spare is None else spare > 8
    idle = view.crowd == 0
    over, ends = is_over(rules, fields, at_bar, multi), may_end(rules, fields, on, at_bar, multi)
    last = is_last_round(rules, fields, on)
    may_close = may_close_bar(rules, fields, on, view, last, idle)
    roomy = view.room > 0

    settled = events | (sized & view.valid[:, -1])
    starts = (before | settled) & roomy & ~over  # b: an event may begin here
    if hurry is not None:
        starts &= ~(hurry & (ends | (settled & may_close & whole)))
    free = starts & unsigned
    unbound = free & idle
    marks = free & whole & unmarked
    mask[:, tables.id["z"]] = unbound & (notes | ~hurry) if hurry is not None else unbound
    mask[:, tables.id["{"]] = unbound if spare is None else unbound & (spare > 12)
    mask[:, tables.id["["]] = starts if spare is None else starts & ((spare > 24) | (view.crowd > 1))
    mask[:, tables.tuplets] = abc_words.tuplets(rules, fields, view, marks, spare)
    mask[:, tables.keys] = (marks & unkeyed & calm)[:, None]
    mask[rows, view.key + tables.keys.start] = False
    lead = at_bar & on.rounds & ~(over | on.voice) & calm
    if lead.any():
        mask[:, tables.meters] = lead[:, None]
        mask[rows, view.meter + tables.meters.start] = False
    if in_head.any():
        mask[:, tables.meters] |= (fields.where == HEAD_M)[:, None]
        mask[:, tables.units] = (fields.where == HEAD_L)[:, None]
        mask[:, tables.keys] |= (fields.where == HEAD_K)[:, None]
    graces = fields.where == GRACE
    abc_words.pitches(rules, mask, state, fields, view, starts & idle, starts, chord, graces, calm)
    abc_words.lengths(rules, mask, view, sized, hurry, may_close)
    # In free meter a bar always has room; a last bar that is full has none.
    ties = (settled & untied & on.sounds & (roomy | ~last)) | (chord & on.held & ~(on.dash | last))
    mask[:, tables.id["-"]] = ties if spare is None else ties & (spare > 24)
    mask[:, tables.id["}"]] = graces & on.graces
    closes = settled & whole & may_close
    mask[:, tables.id["|"]] = closes
    if hurry is not None:
        must = sized & hurry & ~may_close & (longest_of(rules, view) > 32)
        mask &= ~must[:, None] | rules.only_lengths
        closes = mask[:, tables.id["|"]].copy()
    if multi:
        closes &= ~_follows(rules, mask, state, fields, view, over)
    unvoiced = at_bar & ~on.voicing
    mask[:, tables.voices.start] = unvoiced if spare is None else unvoiced & (spare > 5 * FILL)
    if multi:
        abc_words.voice_words(rules, mask, fields, spare, over)
    # One voice may also break off where its last bar might be closed short: bars can be longer than patience.
    breaks = closes & (fields.voicing == SINGLE) & notes & idle if not rules.bars else False
    mask[:, rules.eos_id] = ends | breaks
    if hurry is not None:
        mask &= ~(ends & hurry)[:, None] | rules.only_end
    stuck = ~mask.any(1)
    if stuck.any():  # only a prompt that breaks the rules comes here: its bar is closed, and the piece ends
        mask[:, rules.eos_id] |= stuck & at_bar
        mask[:, tables.id["|"]] |= stuck & ~at_bar
    return torch.from_numpy(mask)


def _follows(rules: Rules, mask: Array, state: State, fields: Fields, view: View, over: Array) -> Array:
    """Has another voice take over the first one's meter before its bar; (b,) where it must."""
    wanted = state["voices"].numpy()[:, 0, 0]
    follows: Array = (fields.where == BAR) & ~over & (fields.voice > 0) & (view.meter != wanted)
    at = follows.nonzero()[0]
    mask[at] = False
    mask[at, wanted[at] + rules.tables.meters.start] = True
    return follows


_PLACES = np.stack(
    [
        np.isin(np.arange(VOICE + 1), places) != other
        for places, other in (
            ((BAR,), False),
            ((BAR, METER, KEY, TUPLET, GRACED), False),
            ((SIZED, TIED), False),
            ((EVENT,), False),
            ((CHORD,), False),
            ((GRACED,), True),
            ((TUPLET,), True),
            ((KEY,), True),
            ((TIED,), True),
            ((HEAD_M, HEAD_L, HEAD_K), False),
        )
    ],
    axis=1,
)
