"""Which words may follow in the abc grammar, of all rows at once in NumPy.

What most rows do not need is asked of the other rows only. native/abc.cpp says the same row by row.

Shapes: b batch, v vocabulary, n lengths, p pitch words, m MIDI pitches (128).
"""

import numpy as np
import torch
from torch import Tensor

from core.grammar import State
from plugins.tokenizers.abc_effects import (
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
from plugins.tokenizers.abc_rules import FILL, MOST_CHORD, MOST_GRACES, Rules
from plugins.tokenizers.abc_state import HELD, Fields, fields_of
from plugins.tokenizers.abc_view import (
    View,
    is_last_round,
    is_over,
    longest_of,
    may_close_bar,
    may_end,
    spare_tokens,
    view_of,
)
from plugins.tokenizers.abc_vocabulary import VOICES


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
    calm = _PLENTY if spare is None else spare > 8
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
    mask[:, tables.tuplets] = _tuplets(rules, fields, view, marks, spare)
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
    _pitches(rules, mask, state, fields, view, starts & idle, starts, chord, graces, calm)
    _lengths(rules, mask, view, sized, hurry, may_close)
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
        _voice_words(rules, mask, fields, spare, over)
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


def _tuplets(rules: Rules, fields: Fields, view: View, marks: Array, spare: Array | None) -> Array:
    fits: Array = rules.effects.least.take(fields.unit, 0) <= view.room[:, None]
    fits &= marks[:, None]
    if spare is not None:
        fits &= (spare - 8)[:, None] > rules.tuplet_tokens
    return fits


def _follows(rules: Rules, mask: Array, state: State, fields: Fields, view: View, over: Array) -> Array:
    """Has another voice take over the first one's meter before its bar; (b,) where it must."""
    wanted = state["voices"].numpy()[:, 0, 0]
    follows: Array = (fields.where == BAR) & ~over & (fields.voice > 0) & (view.meter != wanted)
    at = follows.nonzero()[0]
    mask[at] = False
    mask[at, wanted[at] + rules.tables.meters.start] = True
    return follows


def _pitches(
    rules: Rules,
    mask: Array,
    state: State,
    fields: Fields,
    view: View,
    plain: Array,
    starts: Array,
    chord: Array,
    graces: Array,
    calm: Array,
) -> None:
    crowd = view.crowd
    grace = graces & (fields.graces < MOST_GRACES)
    if rules.length:
        grace &= (fields.graces == 0) | calm
    mask[:, rules.tables.pitches] = (plain | grace)[:, None]
    at = (chord | (starts & (crowd == 1))).nonzero()[0]
    if not len(at):
        return
    # Of the other rows only: a chord is open, or one note is tied to the next.
    signs = state["alters"].numpy()[at].take(rules.pitch_step, 1)
    midi = np.where(rules.pitch_signed, rules.pitch_alter, signs)
    midi += rules.pitch_base
    pitches = state["pitches"].numpy()
    lowest, left = np.full((len(at), 1), 128), np.zeros((len(at), 1), dtype=np.int64)
    chord = chord[at, None]
    single = False
    if crowd[at].any():
        ties = pitches[at, fields.voice[at]]
        uncovered = ties & ~pitches[at, HELD]
        left = uncovered.sum(1, keepdims=True)
        lowest = np.where(left > 0, uncovered.argmax(1)[:, None], 128)
        single = (
            starts[at, None]
            & (crowd[at, None] == 1)
            & ties.reshape(-1).take(midi + np.arange(0, ties.size, 128)[:, None])
        )
    count = fields.held[at, None]
    low = midi == lowest
    rising = (midi > fields.chord_last[at, None]) & (midi <= lowest) & ((count > 0) | (midi < 108))
    rising &= low | (count + left < MOST_CHORD)
    if calm is not _PLENTY:
        # When tokens run short a chord takes no more than it must.
        rising &= low | ((count + left < 2) & (lowest == 128)) | calm[at, None]
    rising &= chord
    mask[at, rules.tables.pitches] = rising | single
    mask[at, rules.tables.id["]"]] = (chord & (count > 1) & (left == 0))[:, 0]


def _lengths(rules: Rules, mask: Array, view: View, sized: Array, hurry: Array | None, may_close: Array) -> None:
    """Length words; in a hurry only the longest, where the plain length is none or fills the bar too slowly."""
    chosen, wanted = view.valid, sized
    if hurry is not None:
        longest = longest_of(rules, view)
        must = ~view.valid[:, -1] | (hurry & ~may_close & (longest > 32))
        wanted = sized & (~hurry | must)
        chosen = chosen & (~hurry[:, None] | (rules.effects.lengths == longest[:, None]))
    mask[:, rules.tables.lengths] = chosen[:, :-1] & wanted[:, None]


def _voice_words(rules: Rules, mask: Array, fields: Fields, spare: Array | None, over: Array) -> None:
    names = np.arange(VOICES)
    at = fields.where == VOICE
    voice, voices = fields.voice[:, None], fields.voices[:, None]
    known = names == np.where(voice + 1 >= voices, 0, voice + 1)
    more = names == voice + 1
    if spare is not None:
        more &= (spare > 3 * FILL * max(rules.bars, 1))[:, None] | (voice == 0)
    unknown = more | ((names == 0) & (voice > 0))
    done = over[:, None] & (((voice + 1 >= voices) & (voices > 0)) | ((voices == 0) & (voice > 0)))
    mask[:, rules.tables.voices] |= at[:, None] & np.where(voices > 0, known, unknown) & ~done


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
_PLENTY = np.ones(1, dtype=bool)
