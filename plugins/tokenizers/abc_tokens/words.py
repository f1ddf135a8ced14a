"""The words that need more than a look at the row: pitches, lengths, tuplets and voices, for all rows in NumPy.

Shapes: b batch, v vocabulary, n lengths, p pitch words, m MIDI pitches (128).
"""

import numpy as np

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens.effects import VOICE, Array
from plugins.tokenizers.abc_tokens.rules import FILL, MOST_CHORD, MOST_GRACES, Rules
from plugins.tokenizers.abc_tokens.state import HELD, Fields
from plugins.tokenizers.abc_tokens.view import View, longest_of
from plugins.tokenizers.abc_tokens.vocabulary import VOICES

PLENTY = np.ones(1, dtype=bool)  # tokens enough: stands for a flag of each row


def tuplets(rules: Rules, fields: Fields, view: View, marks: Array, spare: Array | None) -> Array:
    """(b t) the tuplets that fit into the bar and into the tokens left."""
    fits: Array = rules.effects.least.take(fields.unit, 0) <= view.room[:, None]
    fits &= marks[:, None]
    if spare is not None:
        fits &= (spare - 8)[:, None] > rules.tuplet_tokens
    return fits


def pitches(
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
    """Pitch words and `]`: any pitch, but in a chord rising ones, and where a tie leads the tied one."""
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
    if calm is not PLENTY:
        # When tokens run short a chord takes no more than it must.
        rising &= low | ((count + left < 2) & (lowest == 128)) | calm[at, None]
    rising &= chord
    mask[at, rules.tables.pitches] = rising | single
    mask[at, rules.tables.id["]"]] = (chord & (count > 1) & (left == 0))[:, 0]


def lengths(rules: Rules, mask: Array, view: View, sized: Array, hurry: Array | None, may_close: Array) -> None:
    """Length words; in a hurry only the longest, where the plain length is none or fills the bar too slowly."""
    chosen, wanted = view.valid, sized
    if hurry is not None:
        longest = longest_of(rules, view)
        must = ~view.valid[:, -1] | (hurry & ~may_close & (longest > 32))
        wanted = sized & (~hurry | must)
        chosen = chosen & (~hurry[:, None] | (rules.effects.lengths == longest[:, None]))
    mask[:, rules.tables.lengths] = chosen[:, :-1] & wanted[:, None]


def voice_words(rules: Rules, mask: Array, fields: Fields, spare: Array | None, over: Array) -> None:
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
