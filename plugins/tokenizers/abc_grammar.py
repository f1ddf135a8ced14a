"""The grammar of abc tokens: a header, then bars that add up to the meter, every bracket closed and every tuplet full.

Only the first bar may be shorter than its meter (a pick-up) and the last; several voices have bars of equal lengths. A
tie leads to a note of the same pitch, grace notes to a note, a chord rises and has at least two notes. Within a tuplet
other than a triplet all lengths are equal; a triplet's lengths add up to whole 32nds of the unit length.

A step is many operations on few numbers, so they are NumPy's on the memory of the tensors, a third of the cost; what
most rows do not need is asked of the other rows only.

Shapes: b batch, v vocabulary, n lengths, p pitch words, w voices, m MIDI pitches (128), s diatonic steps, f fields.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import HubError
from core.grammar import State
from plugins.tokenizers.abc_effects import (
    BAR,
    CHORD,
    EVENT,
    FOREVER,
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
    VOICINGS,
    Array,
    Effects,
    Kind,
)
from plugins.tokenizers.abc_tables import Tables
from plugins.tokenizers.abc_vocabulary import TUPLETS, VOICES

MOST_CHORD, MOST_GRACES = 12, 8
FILL = 18  # tokens that fill and close any bar, its V: included
SHORTEST = 24  # tokens for which a clean end can be promised
HELD, CHORD_TIES = VOICES, VOICES + 1  # rows of `pitches` after those of the voices' ties


class _Fields(NamedTuple):
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


class _View(NamedTuple):
    """What the questions about a state need."""

    room: Array  # (b,) ticks left in the bar after the last event
    free: Array  # (b,) whether the meter is
    valid: Array  # (b n) lengths that the last event may have; the last column is the plain one
    crowd: Array  # (b,) how many tied pitches the voice's next event must hold
    meter: Array  # (b,) and key, of the current voice
    key: Array


class AbcGrammar:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens, bos and eos not counted."""

    def __init__(self, tables: Tables, eos_id: int, bars: int = 0, length: int = 0) -> None:
        if bars < 0 or length < 0 or 0 < length < SHORTEST:
            raise HubError(
                f"bars {bars}, length {length}: expected 0 or more bars, and 0 or at least {SHORTEST} tokens"
            )
        self.tables, self.eos_id, self.bars, self.length = tables, eos_id, bars, length
        self.effects = Effects(tables)
        self.only_lengths = self._only(tables.lengths)
        self.only_meters = self._only(tables.meters)
        self.only_end = self._only(slice(eos_id, eos_id + 1))
        self.meter_ticks = tables.meter_ticks.numpy()  # 0 in free meter
        self.limits = np.where(self.meter_ticks == 0, FOREVER, self.meter_ticks)
        self.pitch_step = tables.pitch_step.numpy()
        self.pitch_signed, self.pitch_base = tables.pitch_signed.numpy(), tables.pitch_base.numpy()
        self.pitch_alter = tables.pitch_alter.numpy()
        self.tuplet_tokens = 2 * self.effects.tuplet_r[:-1]

    def begin(self, batch: int) -> State:
        effects = self.effects
        fields = dict.fromkeys(_Fields._fields, 0)
        fields |= {"unit": effects.no_unit, "told": effects.plain, "tuplet": effects.none}
        fields |= {"tuplet_length": -1, "chord_last": -1}
        return {
            "fields": torch.tensor([list(fields.values())]).repeat(batch, 1),
            "voices": torch.zeros(batch, 3, VOICES, dtype=torch.int64),  # meter, key and number of ties of each
            "alters": torch.from_numpy(effects.alters[0]).repeat(batch, 1),  # b s: sharps and flats in force
            "pitches": torch.zeros(batch, VOICES + 2, 128, dtype=torch.bool),  # ties by voice, HELD, CHORD_TIES
        }

    def broken_off(self, state: State) -> Tensor:
        """(b,) whether the only voice has closed a bar short of its meter, after which nothing but the end may come."""
        fields = _fields(state)
        return torch.from_numpy((fields.final == 1) & (fields.voicing == SINGLE))

    # What may follow

    def allowed(self, state: State) -> Tensor:
        """(b v) bool."""
        tables, fields = self.tables, _fields(state)
        batch = len(fields.where)
        mask = np.zeros((batch, tables.size), dtype=bool)
        rows = np.arange(batch)
        on = _Fields(*(state["fields"].numpy() > 0).T)
        at_bar, before, events, sized, chord, unsigned, unmarked, unkeyed, untied, in_head = _PLACES.take(
            fields.where, 0
        ).T
        multi = bool((fields.voicing == MULTI).any())
        view = self._view(state, fields, on, multi)
        notes, whole = on.notes, ~on.tuplet_left
        spare = self._spare(fields, multi)  # b; None: more than anything asks for
        hurry = spare < 4 if spare is not None else None
        if hurry is not None and not hurry.any():
            hurry = None
        calm = _PLENTY if spare is None else spare > 8
        idle = view.crowd == 0
        over, ends = self._over(fields, at_bar, multi), self._may_end(fields, on, at_bar, multi)
        last = self._last_round(fields, on)
        may_close = self._may_close(fields, on, view, last, idle)
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
        mask[:, tables.tuplets] = self._tuplets(fields, view, marks, spare)
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
        self._pitches(mask, state, fields, view, starts & idle, starts, chord, graces, calm)
        self._lengths(mask, view, sized, hurry, may_close)
        # In free meter a bar always has room; a last bar that is full has none.
        ties = (settled & untied & on.sounds & (roomy | ~last)) | (chord & on.held & ~(on.dash | last))
        mask[:, tables.id["-"]] = ties if spare is None else ties & (spare > 24)
        mask[:, tables.id["}"]] = graces & on.graces
        closes = settled & whole & may_close
        mask[:, tables.id["|"]] = closes
        if hurry is not None:
            must = sized & hurry & ~may_close & (self._longest(view) > 32)
            mask &= ~must[:, None] | self.only_lengths
            closes = mask[:, tables.id["|"]].copy()
        if multi:
            closes &= ~self._follows(mask, state, fields, view, over)
        unvoiced = at_bar & ~on.voicing
        mask[:, tables.voices.start] = unvoiced if spare is None else unvoiced & (spare > 5 * FILL)
        if multi:
            self._voice_words(mask, fields, spare, over)
        # One voice may also break off where its last bar might be closed short: bars can be longer than patience.
        breaks = closes & (fields.voicing == SINGLE) & notes & idle if not self.bars else False
        mask[:, self.eos_id] = ends | breaks
        if hurry is not None:
            mask &= ~(ends & hurry)[:, None] | self.only_end
        stuck = ~mask.any(1)
        if stuck.any():  # only a prompt that breaks the rules comes here: its bar is closed, and the piece ends
            mask[:, self.eos_id] |= stuck & at_bar
            mask[:, tables.id["|"]] |= stuck & ~at_bar
        return torch.from_numpy(mask)

    def _only(self, kept: slice) -> Array:
        """(v,) True within the slice."""
        mask = np.zeros(self.tables.size, dtype=bool)
        mask[kept] = True
        return mask

    def _view(self, state: State, fields: _Fields, on: _Fields, multi: bool) -> _View:
        effects = self.effects
        voices = state["voices"].numpy()
        flat = np.arange(0, len(voices) * 3 * VOICES, 3 * VOICES) + fields.voice
        meter, key, crowd = voices.take(flat + _PLANES)
        target = self.limits.take(meter)
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
        return _View(left - fields.dur, target == FOREVER, valid, crowd, meter, key)

    def _over(self, fields: _Fields, at_bar: Array, multi: bool) -> Array:
        """(b,) whether all bars are written: nothing but the end may follow."""
        done: Array = fields.final == 1
        begun: Array = at_bar & (fields.voicing == SINGLE)
        if multi:
            done &= (fields.voicing != MULTI) | (fields.voice + 1 >= fields.voices)
            begun |= fields.where == VOICE
        if self.bars:
            done |= fields.rounds >= self.bars
        return begun & done

    def _may_end(self, fields: _Fields, on: _Fields, at_bar: Array, multi: bool) -> Array:
        ends: Array = at_bar & (fields.voicing == SINGLE)
        if multi:
            complete = np.where(on.voices, fields.voice + 1 == fields.voices, on.voice)
            ends |= (fields.voicing == MULTI) & (fields.where == VOICE) & complete
        ends &= on.rounds & on.notes & ~on.owed
        return ends & (fields.rounds >= self.bars) if self.bars else ends

    def _last_round(self, fields: _Fields, on: _Fields) -> Array:
        """(b,) whether no bar may follow the one that is being written."""
        last: Array = on.final
        return last | (fields.rounds + 1 >= self.bars) if self.bars else last

    def _may_close(self, fields: _Fields, on: _Fields, view: _View, last: Array, idle: Array) -> Array:
        """(b,) whether a bar line may stand after the last event, were it settled."""
        sound = on.notes & idle
        short = sound & last if self.bars else sound
        free: Array = (view.room == 0) | view.free | ((short | ~on.rounds) & ~on.voice)
        return free & (on.pos | on.dur) & (~last | sound)

    def _tuplets(self, fields: _Fields, view: _View, marks: Array, spare: Array | None) -> Array:
        fits: Array = self.effects.least.take(fields.unit, 0) <= view.room[:, None]
        fits &= marks[:, None]
        if spare is not None:
            fits &= (spare - 8)[:, None] > self.tuplet_tokens
        return fits

    def _follows(self, mask: Array, state: State, fields: _Fields, view: _View, over: Array) -> Array:
        """Has another voice take over the first one's meter before its bar; (b,) where it must."""
        wanted = state["voices"].numpy()[:, 0, 0]
        follows: Array = (fields.where == BAR) & ~over & (fields.voice > 0) & (view.meter != wanted)
        at = follows.nonzero()[0]
        mask[at] = False
        mask[at, wanted[at] + self.tables.meters.start] = True
        return follows

    def _pitches(
        self,
        mask: Array,
        state: State,
        fields: _Fields,
        view: _View,
        plain: Array,
        starts: Array,
        chord: Array,
        graces: Array,
        calm: Array,
    ) -> None:
        crowd = view.crowd
        grace = graces & (fields.graces < MOST_GRACES)
        if self.length:
            grace &= (fields.graces == 0) | calm
        mask[:, self.tables.pitches] = (plain | grace)[:, None]
        at = (chord | (starts & (crowd == 1))).nonzero()[0]
        if not len(at):
            return
        # Of the other rows only: a chord is open, or one note is tied to the next.
        signs = state["alters"].numpy()[at].take(self.pitch_step, 1)
        midi = np.where(self.pitch_signed, self.pitch_alter, signs)
        midi += self.pitch_base
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
        mask[at, self.tables.pitches] = rising | single
        mask[at, self.tables.id["]"]] = (chord & (count > 1) & (left == 0))[:, 0]

    def _longest(self, view: _View) -> Array:
        """(b,) the longest length that the last event may have."""
        longest: Array = np.where(view.valid, self.effects.lengths, -1).max(1)
        return longest

    def _lengths(self, mask: Array, view: _View, sized: Array, hurry: Array | None, may_close: Array) -> None:
        """Length words; in a hurry only the longest, where the plain length is none or fills the bar too slowly."""
        chosen, wanted = view.valid, sized
        if hurry is not None:
            longest = self._longest(view)
            must = ~view.valid[:, -1] | (hurry & ~may_close & (longest > 32))
            wanted = sized & (~hurry | must)
            chosen = chosen & (~hurry[:, None] | (self.effects.lengths == longest[:, None]))
        mask[:, self.tables.lengths] = chosen[:, :-1] & wanted[:, None]

    def _voice_words(self, mask: Array, fields: _Fields, spare: Array | None, over: Array) -> None:
        names = np.arange(VOICES)
        at = fields.where == VOICE
        voice, voices = fields.voice[:, None], fields.voices[:, None]
        known = names == np.where(voice + 1 >= voices, 0, voice + 1)
        more = names == voice + 1
        if spare is not None:
            more &= (spare > 3 * FILL * max(self.bars, 1))[:, None] | (voice == 0)
        unknown = more | ((names == 0) & (voice > 0))
        done = over[:, None] & (((voice + 1 >= voices) & (voices > 0)) | ((voices == 0) & (voice > 0)))
        mask[:, self.tables.voices] |= at[:, None] & np.where(voices > 0, known, unknown) & ~done

    def _spare(self, fields: _Fields, multi: bool) -> Array | None:
        """(b,) tokens left beyond those that a clean end may still need; None where all that is asked for is there."""
        if not self.length:
            return None
        spent = fields.used + fields.owed
        if not multi and not self.bars and int(spent.max()) + _MOST_NEED + 5 * FILL < self.length:
            return None
        need = _NEED.take(fields.where) + 2 * fields.tuplet_left
        need += (fields.where == CHORD) * np.minimum(fields.held, 2)
        severals = fields.voicing == MULTI
        voices = np.where(severals, np.maximum(np.maximum(fields.voices, fields.voice + 1), 2), 1)
        need += np.where(severals, FILL * (voices - fields.voice), 0)
        if self.bars:
            need += np.maximum(self.bars - fields.rounds, 0) * voices * FILL
        return self.length - spent - need

    # What a token changes

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        effects, old, id = self.effects, _fields(state), ids.numpy()
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

        held, tied, crowd = self._sound(
            pitches,
            voices.reshape(-1)[flat + 2 * VOICES],
            old,
            midi,
            (event, struck, single, inner, opens, closes, outer, dash),
        )
        voices.reshape(-1)[flat + 2 * VOICES], owed = crowd
        group, left, total, same = self._group(old, id, event, bar, tuplet)
        told = np.where(sized, effects.column.take(id), old.told)
        span = (old.unit * (effects.none + 1) + group) * (effects.plain + 1) + told
        stays = ~(bar | voice)
        end = old.pos + old.dur
        pos = np.where(event, end, old.pos) * stays
        dur = np.where(sized, effects.spans.take(span), old.dur) * stays
        short = bar & (old.voice == 0) & (end < self.meter_ticks.take(voices.take(flat))) & (old.rounds > 0)
        barlen = np.where(bar & (old.voice == 0), end, old.barlen)
        voicing = effects.voicing.take(code)
        if (voicing == MULTI).any():
            number, count, rounds = self._voices(old, id, bar, voice)
        else:
            number, count, rounds = old.voice, old.voices, old.rounds + bar

        unit = old.unit
        if fields.any():
            unit = self._told_fields(voices, old, id, effects.kind.take(id))
        anew = (~stays | fields).nonzero()[0]
        if len(anew):
            alters[anew] = effects.alters[voices[anew, 1, number[anew]]]
        new = _Fields(
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
            "fields": _packed(new),
            "voices": torch.from_numpy(voices),
            "alters": torch.from_numpy(alters),
            "pitches": torch.from_numpy(pitches),
        }

    def _sound(
        self, pitches: Array, crowd: Array, old: _Fields, midi: Array, flags: tuple[Array, ...]
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
        self, old: _Fields, id: Array, event: Array, bar: Array, tuplet: Array
    ) -> tuple[Array, Array, Array, Array]:
        """The tuplet, its notes to come, its sum of lengths, and its first length."""
        effects = self.effects
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

    def _voices(self, old: _Fields, id: Array, bar: Array, voice: Array) -> tuple[Array, Array, Array]:
        """The current voice, how many there are once known, and the rounds: the last voice's bar line ends one."""
        multi = old.voicing == MULTI
        known = old.voices > 0
        last = np.where(known, old.voice + 1 >= old.voices, old.voice > 0)
        rounds = old.rounds + (bar & (~multi | (known & last)))
        rounds = np.where(bar & multi & ~known & last, 1, rounds)
        chosen = np.clip(id - self.tables.voices.start, 0, VOICES - 1)
        again = voice & ~known & (chosen == 0) & (old.where == VOICE)
        onward = voice & ~known & (chosen > 0)
        count = np.where(again, old.voice + 1, old.voices)
        return np.where(voice, chosen, old.voice), count, np.where(onward, 0, rounds)

    def _told_fields(self, voices: Array, old: _Fields, id: Array, kind: Array) -> Array:
        """Header fields hold for all voices, later ones for the current one; the units after them."""
        tables = self.tables
        for at, told, start in ((0, Kind.METER, tables.meters.start), (1, Kind.KEY, tables.keys.start)):
            rows = (kind == told).nonzero()[0]
            head = (old.where[rows] < BAR)[:, None]
            mine = head | (np.arange(VOICES) == old.voice[rows, None])
            voices[rows, at] = np.where(mine, (id[rows] - start)[:, None], voices[rows, at])
        unit = (kind == Kind.UNIT) & (old.where < BAR)
        return np.where(unit, id - tables.units.start, old.unit)


def _fields(state: State) -> _Fields:
    return _Fields(*state["fields"].numpy().T)


def _packed(fields: _Fields) -> Tensor:
    """(b f), on the memory of (f b), in which each field lies together."""
    return torch.from_numpy(np.concatenate(fields).reshape(len(fields), -1).T)


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
_PLANES = np.arange(0, 3 * VOICES, VOICES)[:, None]
_PLENTY = np.ones(1, dtype=bool)
_NEED = 8 + np.maximum(3 - np.arange(VOICE + 1), 0) + 4 * (np.arange(VOICE + 1) == CHORD)
_MOST_NEED = int(_NEED.max()) + 2 * max(r for _, _, r in TUPLETS) + 2
