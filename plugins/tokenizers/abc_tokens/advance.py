"""What a word changes in the state of the abc grammar, of all rows at once in NumPy.

native/abc.cpp says the same row by row.

Shapes: b batch, w voices, m MIDI pitches (128), s diatonic steps.
"""

import numpy as np
import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens.effects import BAR, MULTI, VOICE, VOICINGS, Array, Kind
from plugins.tokenizers.abc_tokens.rules import Rules
from plugins.tokenizers.abc_tokens.state import CHORD_TIES, HELD, Fields, fields_of, packed
from plugins.tokenizers.abc_tokens.vocabulary import VOICES


def advance(rules: Rules, state: State, ids: Tensor) -> State:
    """The state after one more token (b,) a row."""
    effects, old, id = rules.effects, fields_of(state), ids.numpy()
    batch = len(id)
    rows = np.arange(batch)
    voices, alters = state["voices"].numpy().copy(), state["alters"].numpy().copy()
    pitches = state["pitches"].numpy().copy()
    flat = rows * (3 * VOICES) + old.voice
    code = effects.code.take(id) + old.where * VOICINGS + old.voicing
    event, struck, single, inner, opens, closes, outer, dash, bar, voice, graced, grace, tuplet, sized, fields = (
        effects.flags.take(code, 0).T
    )
    # The pitch that sounds, by the signs in force; other words leave step 0 as it is.
    step = effects.step.take(id)
    step += rows * alters.shape[1]
    sign = np.where(effects.signed.take(id), effects.alter.take(id), alters.take(step))
    alters.reshape(-1)[step] = sign
    midi = effects.base.take(id) + sign

    held, tied, crowd = _sound(
        rules,
        pitches,
        voices.reshape(-1)[flat + 2 * VOICES],
        old,
        midi,
        (event, struck, single, inner, opens, closes, outer, dash),
    )
    voices.reshape(-1)[flat + 2 * VOICES], owed = crowd
    group, left, total, same = _group(rules, old, id, event, bar, tuplet)
    told = np.where(sized, effects.column.take(id), old.told)
    span = (old.unit * (effects.none + 1) + group) * (effects.plain + 1) + told
    stays = ~(bar | voice)
    end = old.pos + old.dur
    pos = np.where(event, end, old.pos) * stays
    dur = np.where(sized, effects.spans.take(span), old.dur) * stays
    short = bar & (old.voice == 0) & (end < rules.meter_ticks.take(voices.take(flat))) & (old.rounds > 0)
    barlen = np.where(bar & (old.voice == 0), end, old.barlen)
    voicing = effects.voicing.take(code)
    if (voicing == MULTI).any():
        number, count, rounds = _voices(rules, old, id, bar, voice)
    else:
        number, count, rounds = old.voice, old.voices, old.rounds + bar

    unit = old.unit
    if fields.any():
        unit = _told_fields(rules, voices, old, id, effects.kind.take(id))
    anew = (~stays | fields).nonzero()[0]
    if len(anew):
        alters[anew] = effects.alters[voices[anew, 1, number[anew]]]
    new = Fields(
        where=effects.leads.take(code),
        voicing=voicing,
        unit=unit,
        voice=number,
        voices=count,
        pos=pos,
        dur=dur,
        told=told,
        barlen=barlen,
        rounds=rounds,
        tuplet=group,
        tuplet_left=left,
        tuplet_sum=total,
        tuplet_length=same,
        graces=(old.graces + graced) * ~grace,
        chord_last=np.where(opens, -1, np.where(inner, midi, old.chord_last)),
        held=held,
        tied=tied,
        owed=owed,
        used=old.used + 1,
        final=old.final | short,
        notes=old.notes | single | closes,
        sounds=np.where(event, single | closes, old.sounds),
        dash=(old.dash & ~(inner | opens)) | dash,
    )
    return {
        "fields": packed(new),
        "voices": torch.from_numpy(voices),
        "alters": torch.from_numpy(alters),
        "pitches": torch.from_numpy(pitches),
    }


def _sound(
    rules: Rules, pitches: Array, crowd: Array, old: Fields, midi: Array, flags: tuple[Array, ...]
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Notes that sound and ties that the voice's next event must take up, into `pitches`; how many of each."""
    event, struck, single, inner, opens, closes, outer, dash = flags
    first = np.arange(0, len(midi) * (VOICES + 2), VOICES + 2)
    sets = pitches.reshape(-1, 128)
    bits = pitches.reshape(-1)
    # An event takes up what was tied; mostly nothing was.
    ends = (outer | closes | (event & (crowd > 0))).nonzero()[0]
    if len(ends):
        source = np.where(outer, HELD, np.where(closes, CHORD_TIES, old.voice))[ends]
        taken = sets.take(first[ends] + source, 0)
        taken &= ~struck[ends, None]
        sets[first[ends] + old.voice[ends]] = taken
    cleared = opens | struck
    clears = cleared.nonzero()[0]
    if len(clears):
        pitches[clears, HELD:] = False
    sounds = single | inner
    place = (first + HELD) * 128 + midi
    bits[place[sounds]] = True
    if dash.any():
        place = (first + CHORD_TIES) * 128 + np.maximum(old.chord_last, 0)
        bits[place[dash]] = True
    held = old.held * ~cleared + sounds
    tied = old.tied * ~cleared + dash
    now = np.where(outer, old.held, np.where(closes, old.tied, crowd * ~event))
    owed = old.owed + now - crowd + 4 * (now > 0) - 4 * (crowd > 0)
    return held, tied, (now, owed)


def _group(
    rules: Rules, old: Fields, id: Array, event: Array, bar: Array, tuplet: Array
) -> tuple[Array, Array, Array, Array]:
    """The tuplet, its notes to come, its sum of lengths, and its first length."""
    effects = rules.effects
    over = event & (old.tuplet_left == 0)  # the event after a full group
    fresh = over | bar
    group = np.where(fresh, effects.none, old.tuplet)
    inside = event & (group < effects.none)
    left = np.maximum(old.tuplet_left - inside, 0) * ~bar
    total = old.tuplet_sum * ~fresh
    same = np.where(fresh, -1, old.tuplet_length)
    # The last event's length may still be told: the sum takes it in with the next event of the group.
    if inside.any():
        settled = inside & (old.tuplet_left < effects.tuplet_r.take(old.tuplet))
        total = np.where(settled, (total + effects.lengths.take(old.told)) % 3, total)
        same = np.where(settled & (same < 0), old.told, same)
    if tuplet.any():
        mark = effects.mark.take(id)
        group = np.where(tuplet, mark, group)
        left = np.where(tuplet, effects.tuplet_r.take(mark), left)
        total = total * ~tuplet
        same = np.where(tuplet, -1, same)
    return group, left, total, same


def _voices(rules: Rules, old: Fields, id: Array, bar: Array, voice: Array) -> tuple[Array, Array, Array]:
    """The current voice, how many there are once known, and the rounds: the last voice's bar line ends one."""
    multi = old.voicing == MULTI
    known = old.voices > 0
    last = np.where(known, old.voice + 1 >= old.voices, old.voice > 0)
    rounds = old.rounds + (bar & (~multi | (known & last)))
    rounds = np.where(bar & multi & ~known & last, 1, rounds)
    chosen = np.clip(id - rules.tables.voices.start, 0, VOICES - 1)
    again = voice & ~known & (chosen == 0) & (old.where == VOICE)
    onward = voice & ~known & (chosen > 0)
    count = np.where(again, old.voice + 1, old.voices)
    return np.where(voice, chosen, old.voice), count, np.where(onward, 0, rounds)


def _told_fields(rules: Rules, voices: Array, old: Fields, id: Array, kind: Array) -> Array:
    """Header fields hold for all voices, later ones for the current one; the units after them."""
    tables = rules.tables
    for at, told, start in ((0, Kind.METER, tables.meters.start), (1, Kind.KEY, tables.keys.start)):
        rows = (kind == told).nonzero()[0]
        head = (old.where[rows] < BAR)[:, None]
        mine = head | (np.arange(VOICES) == old.voice[rows, None])
        voices[rows, at] = np.where(mine, (id[rows] - start)[:, None], voices[rows, at])
    unit = (kind == Kind.UNIT) & (old.where < BAR)
    return np.where(unit, id - tables.units.start, old.unit)
