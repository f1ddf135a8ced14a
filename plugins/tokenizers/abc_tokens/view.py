"""Questions about rows of the abc grammar: what room a bar has, whether it may close, whether the piece may end.

Shapes: b batch, n lengths.
"""

from typing import NamedTuple

import numpy as np

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens.effects import CHORD, FOREVER, MULTI, SINGLE, VOICE, Array
from plugins.tokenizers.abc_tokens.rules import FILL, MOST_NEED, NEED, Rules
from plugins.tokenizers.abc_tokens.state import Fields
from plugins.tokenizers.abc_tokens.vocabulary import VOICES


class View(NamedTuple):
    """What the questions about a state need."""

    room: Array  # (b,) ticks left in the bar after the last event
    free: Array  # (b,) whether the meter is
    valid: Array  # (b n) lengths that the last event may have; the last column is the plain one
    crowd: Array  # (b,) how many tied pitches the voice's next event must hold
    meter: Array  # (b,) and key, of the current voice
    key: Array


def view_of(rules: Rules, state: State, fields: Fields, on: Fields, multi: bool) -> View:
    """The view of each row; `multi` says whether any row has several voices."""
    effects = rules.effects
    voices = state["voices"].numpy()
    flat = np.arange(0, len(voices) * 3 * VOICES, 3 * VOICES) + fields.voice
    meter, key, crowd = voices.take(flat + _PLANES)
    target = rules.limits.take(meter)
    if multi:
        target = np.where(on.voice, fields.barlen, target)
    left = target - fields.pos
    tuplet, tuplet_left, chosen = fields.tuplet, fields.tuplet_left, fields.tuplet_length
    row = effects.need_row.take((tuplet * 2 + on.tuplet_left) * 3 + fields.tuplet_sum)
    row += fields.unit * effects.situations
    budget = left
    if int(tuplet.min()) < effects.none:
        row = np.where((chosen >= 0) & effects.even.take(tuplet), effects.same_row + chosen, row)
        rests = (fields.unit * (effects.none + 1) + tuplet) * effects.rest_size + tuplet_left
        budget = left - effects.rests.take(rests)
    valid = effects.needs.take(row, 0) <= budget[:, None]
    return View(left - fields.dur, target == FOREVER, valid, crowd, meter, key)


def is_over(rules: Rules, fields: Fields, at_bar: Array, multi: bool) -> Array:
    """(b,) whether all bars are written: nothing but the end may follow."""
    done: Array = fields.final == 1
    begun: Array = at_bar & (fields.voicing == SINGLE)
    if multi:
        done &= (fields.voicing != MULTI) | (fields.voice + 1 >= fields.voices)
        begun |= fields.where == VOICE
    if rules.bars:
        done |= fields.rounds >= rules.bars
    return begun & done


def may_end(rules: Rules, fields: Fields, on: Fields, at_bar: Array, multi: bool) -> Array:
    ends: Array = at_bar & (fields.voicing == SINGLE)
    if multi:
        complete = np.where(on.voices, fields.voice + 1 == fields.voices, on.voice)
        ends |= (fields.voicing == MULTI) & (fields.where == VOICE) & complete
    ends &= on.rounds & on.notes & ~on.owed
    return ends & (fields.rounds >= rules.bars) if rules.bars else ends


def is_last_round(rules: Rules, fields: Fields, on: Fields) -> Array:
    """(b,) whether no bar may follow the one that is being written."""
    last: Array = on.final
    return last | (fields.rounds + 1 >= rules.bars) if rules.bars else last


def may_close_bar(rules: Rules, fields: Fields, on: Fields, view: View, last: Array, idle: Array) -> Array:
    """(b,) whether a bar line may stand after the last event, were it settled."""
    sound = on.notes & idle
    short = sound & last if rules.bars else sound
    free: Array = (view.room == 0) | view.free | ((short | ~on.rounds) & ~on.voice)
    return free & (on.pos | on.dur) & (~last | sound)


def longest_of(rules: Rules, view: View) -> Array:
    """(b,) the longest length that the last event may have."""
    longest: Array = np.where(view.valid, rules.effects.lengths, -1).max(1)
    return longest


def spare_tokens(rules: Rules, fields: Fields, multi: bool) -> Array | None:
    """(b,) tokens left beyond those that a clean end may still need; None where all that is asked for is there."""
    if not rules.length:
        return None
    spent = fields.used + fields.owed
    if not multi and not rules.bars and int(spent.max()) + MOST_NEED + 5 * FILL < rules.length:
        return None
    need = NEED.take(fields.where) + 2 * fields.tuplet_left
    need += (fields.where == CHORD) * np.minimum(fields.held, 2)
    severals = fields.voicing == MULTI
    voices = np.where(severals, np.maximum(np.maximum(fields.voices, fields.voice + 1), 2), 1)
    need += np.where(severals, FILL * (voices - fields.voice), 0)
    if rules.bars:
        need += np.maximum(rules.bars - fields.rounds, 0) * voices * FILL
    return rules.length - spent - need


_PLANES = np.arange(0, 3 * VOICES, VOICES)[:, None]
