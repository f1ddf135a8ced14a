"""The grammar of abc tokens: a header, then bars that add up to the meter, every bracket closed and every tuplet full.

Only the first bar may be shorter than its meter (a pick-up) and the last; several voices have bars of equal lengths. A
tie leads to a note of the same pitch, grace notes to a note, a chord rises and has at least two notes. Within a tuplet
other than a triplet all lengths are equal; a triplet's lengths add up to whole 32nds of the unit length.

Shapes: b batch, v vocabulary, n lengths, p pitch words, w voices, m MIDI pitches (128), s diatonic steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from core.errors import HubError
from core.grammar import State
from plugins.tokenizers.abc_tables import PLAIN, Tables
from plugins.tokenizers.abc_vocabulary import VOICES

# What the next token may be, by the last one: `where` in the state.
HEAD_M, HEAD_L, HEAD_K = 0, 1, 2
BAR, METER, KEY, TUPLET, GRACED = 3, 4, 5, 6, 7  # before an event: at a bar's start, after M:, K:, a tuplet's mark, `}`
EVENT, SIZED, TIED = 8, 9, 10  # after an event: without a length yet, with one, with a tie
CHORD, GRACE, VOICE = 11, 12, 13  # inside [ ], inside { }, before a V:
SINGLE, MULTI = 1, 2  # `voicing`, once known
MOST_CHORD, MOST_GRACES = 12, 8
NO_SIGN = 9
FOREVER = 1 << 60
FILL = 18  # tokens that fill and close any bar, its V: included
SHORTEST = 24  # tokens for which a clean end can be promised


class _View(NamedTuple):
    """What both questions about a state need."""

    unit32: Tensor  # (b,) ticks of a 32nd of the unit length
    end: Tensor  # (b,) where the last event ends in its bar
    target: Tensor  # (b,) where the bar ends, FOREVER in free meter
    valid: Tensor  # (b, n + 1) lengths that the last event may have; the last column is the plain one
    pending: Tensor  # (b, m) pitches that the voice's next event must hold


class AbcGrammar:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens, bos and eos not counted."""

    def __init__(self, tables: Tables, eos_id: int, bars: int = 0, length: int = 0) -> None:
        if bars < 0 or length < 0 or 0 < length < SHORTEST:
            raise HubError(
                f"bars {bars}, length {length}: expected 0 or more bars, and 0 or at least {SHORTEST} tokens"
            )
        self.tables, self.eos_id, self.bars, self.length = tables, eos_id, bars, length
        self.only_lengths = self._only(tables.lengths)
        self.only_meters = self._only(tables.meters)
        self.only_end = self._only(slice(eos_id, eos_id + 1))

    def begin(self, batch: int) -> State:
        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(batch, *shape, dtype=dtype)

        scalars = ("where", "unit", "voicing", "voice", "voices", "pos", "dur", "barlen", "rounds", "tuplet_left")
        state = {name: zeros() for name in (*scalars, "tuplet_sum", "graces", "chord_count", "used")}
        state |= {name: zeros(dtype=torch.bool) for name in ("final", "notes", "sounds", "dash")}
        state |= {"meter": zeros(VOICES), "key": zeros(VOICES), "pending": zeros(VOICES, 128, dtype=torch.bool)}
        state |= {"held": zeros(128, dtype=torch.bool), "chord_ties": zeros(128, dtype=torch.bool)}
        state["signs"] = torch.full((batch, self.tables.steps), NO_SIGN)
        state["tuplet"] = torch.full((batch,), len(self.tables.tuplet_p) - 1)
        state["tuplet_length"] = torch.full((batch,), -1)
        state["chord_last"] = torch.full((batch,), -1)
        state["unit"] += 1
        return state

    # What may follow

    def allowed(self, state: State) -> Tensor:
        """(b v) bool."""
        tables, where = self.tables, state["where"]
        view = self._view(state)
        batch = len(where)
        mask = torch.zeros(batch, tables.size, dtype=torch.bool)
        spare = self._spare(state)  # b
        hurry = spare < 4
        pending = view.pending.any(1)
        over, ends, may_close = self._over(state), self._may_end(state), self._may_close(state, view)
        must_size = self._must_size(state, view, hurry, may_close)
        whole = state["tuplet_left"] == 0

        mask[:, tables.meters] |= (where == HEAD_M)[:, None]
        mask[:, tables.units] |= (where == HEAD_L)[:, None]
        mask[:, tables.keys] |= (where == HEAD_K)[:, None]

        settled = (where == SIZED) | (where == TIED) | ((where == EVENT) & view.valid[:, -1])
        before = (where >= BAR) & (where <= GRACED)
        room = view.end < view.target
        starts = (before | settled) & room & ~over  # b: an event may begin here
        starts = starts & ~(hurry & (ends | (settled & may_close & whole)))

        free = starts & (where != GRACED)
        mask[:, tables.id["z"]] = free & ~pending & (state["notes"] | ~hurry)
        mask[:, tables.id["{"]] = free & ~pending & (spare > 12)
        crowd = view.pending.sum(1)
        mask[:, tables.id["["]] = starts & ((spare > 24) | (crowd > 1))
        mask[:, tables.tuplets] = self._tuplets(state, view, free & (where != TUPLET), spare)
        mask[:, tables.keys] |= self._keys(state, free & (where != TUPLET) & (where != KEY) & (spare > 8))
        meters, follows = self._meters(state, spare, over)
        mask[:, tables.meters] |= meters
        mask[:, tables.pitches] = self._pitches(state, view, starts, spare)
        mask[:, tables.lengths] = self._lengths(state, view, hurry, must_size)
        mask[:, tables.id["-"]] = self._ties(state, view, settled, spare)
        mask[:, tables.id["]"]] = (where == CHORD) & (state["chord_count"] > 1) & ~self._uncovered(state, view).any(1)
        mask[:, tables.id["}"]] = (where == GRACE) & (state["graces"] > 0)
        mask[:, tables.id["|"]] = settled & ~must_size & whole & may_close
        mask &= ~follows[:, None] | self.only_meters
        mask &= ~must_size[:, None] | self.only_lengths
        mask[:, tables.voices] = self._voice_words(state, spare, over)
        mask[:, self.eos_id] = ends
        # One voice may also break off where its last bar might be closed short: bars can be longer than patience.
        mask[:, self.eos_id] |= mask[:, tables.id["|"]] & self._may_break_off(state, view)
        mask &= ~(ends & (hurry | over))[:, None] | self.only_end
        # Only a prompt that breaks the rules comes here: its bar is closed, and the piece ends.
        stuck = ~mask.any(1)
        mask[:, self.eos_id] |= stuck & (where == BAR)
        mask[:, tables.id["|"]] |= stuck & (where != BAR)
        return mask

    def _only(self, kept: slice) -> Tensor:
        """(v,) True within the slice."""
        mask = torch.zeros(self.tables.size, dtype=torch.bool)
        mask[kept] = True
        return mask

    def _view(self, state: State) -> _View:
        tables = self.tables
        voice = state["voice"][:, None]
        unit32 = state["unit"] // PLAIN
        end = state["pos"] + state["dur"]
        meter = tables.meter_ticks[state["meter"].gather(1, voice)[:, 0]]
        meter = torch.where(meter == 0, FOREVER, meter)
        target = torch.where(state["voice"] == 0, meter, state["barlen"])
        p, q, r = (table[state["tuplet"]][:, None] for table in (tables.tuplet_p, tables.tuplet_q, tables.tuplet_r))
        lengths = tables.length_32nds[None, :]  # 1 n
        span = lengths * unit32[:, None] * q // p
        pos, left, limit = state["pos"][:, None], state["tuplet_left"][:, None], target[:, None]
        grouped = state["tuplet"][:, None] < len(tables.tuplet_p) - 1
        plain = pos + span <= limit
        rest = (left + 2) * unit32[:, None] * 2 // 3
        triplet = torch.where(
            left > 0, pos + span + rest <= limit, plain & ((state["tuplet_sum"][:, None] + lengths) % 3 == 0)
        )
        chosen = state["tuplet_length"][:, None]
        first = (pos + r * span <= limit) & (r * span % unit32[:, None].clamp(min=1) == 0)
        even = torch.where(chosen < 0, first, chosen == lengths)
        valid = torch.where(grouped, torch.where((p == 3) & (q == 2), triplet, even) & tables.length_fits, plain)
        pending = state["pending"].gather(1, voice[:, :, None].expand(-1, 1, 128))[:, 0]
        return _View(unit32, end, target, valid, pending)

    def _over(self, state: State) -> Tensor:
        """(b,) whether all bars are written: nothing but the end may follow."""
        done = state["final"] & ((state["voicing"] != MULTI) | (state["voice"] + 1 >= state["voices"]))
        begun = (state["where"] == BAR) & (state["voicing"] == SINGLE) | (state["where"] == VOICE)
        if self.bars:
            done = done | (state["rounds"] >= self.bars)
        return begun & done

    def _may_end(self, state: State) -> Tensor:
        single = (state["voicing"] == SINGLE) & (state["where"] == BAR)
        complete = torch.where(state["voices"] > 0, state["voice"] + 1 == state["voices"], state["voice"] > 0)
        multi = (state["voicing"] == MULTI) & (state["where"] == VOICE) & complete
        ends = (single | multi) & (state["rounds"] > 0) & state["notes"] & ~state["pending"].flatten(1).any(1)
        return ends & (state["rounds"] >= self.bars) if self.bars else ends

    def _may_break_off(self, state: State, view: _View) -> Tensor:
        if self.bars:
            return torch.zeros_like(state["notes"])
        return (state["voicing"] == SINGLE) & state["notes"] & ~view.pending.any(1)

    def _last_round(self, state: State) -> Tensor:
        """(b,) whether no bar may follow the one that is being written."""
        return state["final"] | (state["rounds"] + 1 >= self.bars) if self.bars else state["final"]

    def _may_close(self, state: State, view: _View) -> Tensor:
        """(b,) whether a bar line may stand after the last event, were it settled."""
        lead = state["voice"] == 0
        full = (view.end == view.target) | (view.target == FOREVER)
        last = self._last_round(state)
        pending = view.pending.any(1)
        first = (state["rounds"] == 0) & lead
        short = lead & ~pending & state["notes"] & (last if self.bars else torch.ones_like(last))
        free = full | first | short
        return free & (view.end > 0) & (~last | (~pending & state["notes"]))

    def _tuplets(self, state: State, view: _View, free: Tensor, spare: Tensor) -> Tensor:
        tables = self.tables
        p, q, r = (table[None, :-1] for table in (tables.tuplet_p, tables.tuplet_q, tables.tuplet_r))
        triplet = (p == 3) & (q == 2)
        unit32 = view.unit32[:, None]
        least = torch.where(triplet, (r + 2) * unit32 * 2 // 3, r * 4 * unit32 * q // p)
        fits = view.end[:, None] + least <= view.target[:, None]
        return free[:, None] & (state["tuplet_left"] == 0)[:, None] & fits & (spare[:, None] > 2 * r + 8)

    def _keys(self, state: State, free: Tensor) -> Tensor:
        current = state["key"].gather(1, state["voice"][:, None])
        other = torch.arange(len(self.tables.key_alters))[None, :] != current
        return (free & (state["tuplet_left"] == 0))[:, None] & other

    def _meters(self, state: State, spare: Tensor, over: Tensor) -> tuple[Tensor, Tensor]:
        """Changes (b, meters) at the first voice's bar, and whether another voice must follow one now (b,)."""
        count = len(self.tables.meter_ticks)
        current = state["meter"].gather(1, state["voice"][:, None])
        names = torch.arange(count)[None, :]
        at = (state["where"] == BAR) & ~over
        lead = at & (state["voice"] == 0) & (state["rounds"] > 0) & (spare > 8)
        behind = at & (state["voice"] > 0)
        wanted = state["meter"][:, :1]
        follows = behind & (current != wanted)[:, 0]
        return (lead[:, None] & (names != current)) | (follows[:, None] & (names == wanted)), follows

    def _midi(self, state: State) -> Tensor:
        """(b p) the MIDI pitch that each pitch word would have here."""
        tables = self.tables
        key = state["key"].gather(1, state["voice"][:, None])[:, 0]
        plain = tables.key_alters[key][:, tables.pitch_letter]  # b p
        signs = state["signs"][:, tables.pitch_step]  # b p
        alter = torch.where(signs == NO_SIGN, plain, signs)
        return tables.pitch_base + torch.where(tables.pitch_signed, tables.pitch_alter, alter)

    def _uncovered(self, state: State, view: _View) -> Tensor:
        """(b m) tied pitches that an open chord does not hold yet."""
        return view.pending & ~state["held"]

    def _pitches(self, state: State, view: _View, starts: Tensor, spare: Tensor) -> Tensor:
        midi = self._midi(state)
        where = state["where"]
        crowd = view.pending.sum(1, keepdim=True)
        wanted = view.pending.gather(1, midi)
        single = starts[:, None] & ((crowd == 0) | ((crowd == 1) & wanted))
        uncovered = self._uncovered(state, view)
        left = uncovered.sum(1, keepdim=True)
        lowest = torch.where(uncovered, torch.arange(128)[None, :], 128).amin(1, keepdim=True)
        count = state["chord_count"][:, None]
        rising = (midi > state["chord_last"][:, None]) & (midi <= lowest) & ((count > 0) | (midi < 108))
        slots = (midi == lowest) | (count + left < MOST_CHORD)
        # When tokens run short a chord takes no more than it must.
        needed = (midi == lowest) | ((count + left < 2) & (lowest == 128)) if self.length else torch.ones_like(rising)
        enough = (spare > 8)[:, None] if self.length else torch.ones_like(rising)
        chord = (where == CHORD)[:, None] & rising & slots & (needed | enough)
        grace = ((where == GRACE) & (state["graces"] < MOST_GRACES))[:, None]
        if self.length:
            grace = grace & ((state["graces"][:, None] == 0) | enough)
        return single | chord | grace

    def _must_size(self, state: State, view: _View, hurry: Tensor, may_close: Tensor) -> Tensor:
        """(b,) whether a length word must follow: the plain length is none here, or fills the bar too slowly."""
        fill = hurry & ~may_close
        lengths = torch.where(view.valid, self.tables.length_32nds, -1)
        return (state["where"] == EVENT) & (~view.valid[:, -1] | (fill & (lengths.amax(1) > PLAIN)))

    def _lengths(self, state: State, view: _View, hurry: Tensor, must_size: Tensor) -> Tensor:
        lengths = torch.where(view.valid, self.tables.length_32nds, -1)
        longest = view.valid & (lengths == lengths.amax(1, keepdim=True))
        chosen = torch.where(hurry[:, None], longest, view.valid)[:, :-1]
        wanted = (state["where"] == EVENT) & (~hurry | must_size)
        return wanted[:, None] & chosen

    def _ties(self, state: State, view: _View, settled: Tensor, spare: Tensor) -> Tensor:
        last = self._last_round(state)
        outer = settled & (state["where"] != TIED) & state["sounds"] & ((view.end < view.target) | ~last)
        # In free meter a bar always has room; a last bar that is full has none.
        inner = (state["where"] == CHORD) & (state["chord_count"] > 0) & ~state["dash"] & ~last
        return (outer | inner) & (spare > 24)

    def _voice_words(self, state: State, spare: Tensor, over: Tensor) -> Tensor:
        names = torch.arange(VOICES)[None, :]
        start = ((state["where"] == BAR) & (state["voicing"] == 0) & (spare > 5 * FILL))[:, None] & (names == 0)
        at = (state["where"] == VOICE)[:, None]
        voice, voices = state["voice"][:, None], state["voices"][:, None]
        known = names == torch.where(voice + 1 >= voices, 0, voice + 1)
        more = (names == voice + 1) & ((spare > 3 * FILL * max(self.bars, 1))[:, None] | (voice == 0))
        unknown = more | ((names == 0) & (voice > 0))
        done = over[:, None] & ((voice + 1 >= voices) & (voices > 0) | ((voices == 0) & (voice > 0)))
        return start | (at & torch.where(voices > 0, known, unknown) & ~done)

    def _spare(self, state: State) -> Tensor:
        """(b,) tokens left beyond those that a clean end may still need."""
        if not self.length:
            return torch.full_like(state["used"], FOREVER)
        multi = state["voicing"] == MULTI
        voices = torch.where(multi, torch.maximum(state["voices"], state["voice"] + 1).clamp(min=2), 1)
        ties = state["pending"].sum(2)  # b w
        need = 8 + 2 * state["tuplet_left"] + ties.sum(1) + 4 * (ties > 0).sum(1)
        need = need + (3 - state["where"]).clamp(min=0)
        need = need + torch.where(state["where"] == CHORD, state["held"].sum(1).clamp(max=2) + 4, 0)
        need = need + torch.where(multi, FILL * (voices - state["voice"]), 0)
        if self.bars:
            more = (self.bars - state["rounds"]).clamp(min=0)
            need = need + more * voices * FILL
        return self.length - state["used"] - need

    # What a token changes

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row."""
        tables = self.tables
        new = dict(state)
        where = state["where"]
        new["used"] = state["used"] + 1

        def inside(kept: slice) -> Tensor:
            return (ids >= kept.start) & (ids < kept.stop)

        meter, key = inside(tables.meters), inside(tables.keys)
        unit, voice, length = inside(tables.units), inside(tables.voices), inside(tables.lengths)
        pitch, tuplet = inside(tables.pitches), inside(tables.tuplets)
        bar, opens, closes = (ids == tables.id[word] for word in ("|", "[", "]"))
        grace, ungrace, tie, rest = (ids == tables.id[word] for word in ("{", "}", "-", "z"))

        head = where < BAR
        self._fields(new, state, ids, head, meter, key, unit)
        in_chord, in_grace = where == CHORD, where == GRACE
        first = (state["voicing"] == 0) & ~head
        new["voicing"] = torch.where(first, torch.where(voice, MULTI, SINGLE), state["voicing"])

        at = (ids - tables.pitches.start).clamp(0, len(tables.pitch_step) - 1)[:, None]
        midi = self._midi(state).gather(1, at)  # b 1
        signed = pitch & tables.pitch_signed[at[:, 0]]
        step = tables.pitch_step[at[:, 0]][:, None]
        sign = torch.where(signed, tables.pitch_alter[at[:, 0]], state["signs"].gather(1, step)[:, 0])
        new["signs"] = state["signs"].scatter(1, step, sign[:, None])
        single = pitch & ~in_chord & ~in_grace & ~head
        event = single | (rest & ~head) | (closes & in_chord)
        self._event(new, state, event, opens, closes & in_chord, single, rest, pitch & in_chord, midi, tie & in_chord)
        self._group(new, state, ids, tuplet, event, length, bar)
        new["graces"] = torch.where(grace, 0, state["graces"] + (pitch & in_grace).long())
        outer = tie & ~in_chord
        self._pend(new, state, outer, event, closes & in_chord)
        self._bar(new, state, bar, voice, ids)

        pairs: tuple[tuple[Tensor, int], ...]
        pairs = ((meter & ~head, METER), (key & ~head, KEY), (tuplet, TUPLET), (ungrace, GRACED), (event, EVENT))
        pairs += ((length, SIZED), (outer, TIED), (opens, CHORD), (grace, GRACE), (voice, BAR))
        pairs += ((head & meter, HEAD_L), (head & unit, HEAD_K), (head & key, BAR))
        for condition, target in pairs:
            where = torch.where(condition, target, where)
        multi = new["voicing"] == MULTI
        new["where"] = torch.where(bar, torch.where(multi, VOICE, BAR), where)
        return new

    def _fields(
        self, new: State, state: State, ids: Tensor, head: Tensor, meter: Tensor, key: Tensor, unit: Tensor
    ) -> None:
        """Header fields hold for all voices, later ones for the current one."""
        tables = self.tables
        one = torch.arange(VOICES)[None, :] == state["voice"][:, None]  # b w
        mine = head[:, None] | one
        for name, said, start in (("meter", meter, tables.meters.start), ("key", key, tables.keys.start)):
            value = (ids - start)[:, None]
            new[name] = torch.where(said[:, None] & mine, value, state[name])
        index = (ids - tables.units.start).clamp(0, len(tables.unit_ticks) - 1)
        new["unit"] = torch.where(unit & head, tables.unit_ticks[index], state["unit"])
        fresh = key & ~head
        new["signs"] = torch.where(fresh[:, None], NO_SIGN, state["signs"])

    def _event(
        self,
        new: State,
        state: State,
        event: Tensor,
        opens: Tensor,
        closes: Tensor,
        single: Tensor,
        rest: Tensor,
        inner: Tensor,
        midi: Tensor,
        dash: Tensor,
    ) -> None:
        """Notes that sound, and the event's place in the bar at its plain length."""
        one = torch.nn.functional.one_hot(midi[:, 0].clamp(0, 127), 128).bool()  # b m
        held = torch.where((opens | event & ~closes)[:, None], False, state["held"])
        new["held"] = held | one & (single | inner)[:, None]
        last = torch.nn.functional.one_hot(state["chord_last"].clamp(0, 127), 128).bool()
        ties = torch.where((opens | event & ~closes)[:, None], False, state["chord_ties"])
        new["chord_ties"] = ties | last & dash[:, None]
        new["dash"] = torch.where(dash, True, torch.where(inner | opens, False, state["dash"]))
        new["chord_last"] = torch.where(opens, -1, torch.where(inner, midi[:, 0], state["chord_last"]))
        new["chord_count"] = torch.where(opens, 0, state["chord_count"] + inner.long())
        new["sounds"] = torch.where(event, ~rest, state["sounds"])
        new["notes"] = state["notes"] | single | closes
        new["pos"] = torch.where(event, state["pos"] + state["dur"], state["pos"])

    def _group(
        self, new: State, state: State, ids: Tensor, tuplet: Tensor, event: Tensor, length: Tensor, bar: Tensor
    ) -> None:
        """Tuplets, and the length of the last event."""
        tables = self.tables
        none = len(tables.tuplet_p) - 1
        over = event & (state["tuplet_left"] == 0)  # the event after a full group
        group = torch.where(over | bar, none, state["tuplet"])
        sums = torch.where(over | bar, 0, state["tuplet_sum"])
        same = torch.where(over | bar, -1, state["tuplet_length"])
        mark = (ids - tables.tuplets.start).clamp(0, none)
        new["tuplet"] = group = torch.where(tuplet, mark, group)
        left = torch.where(tuplet, tables.tuplet_r[mark], state["tuplet_left"] - (event & (group < none)).long())
        new["tuplet_left"] = torch.where(bar, 0, left.clamp(min=0))
        index = (ids - tables.lengths.start).clamp(0, len(tables.length_32nds) - 1)
        told = torch.where(length, tables.length_32nds[index], PLAIN)  # in 32nds
        factor_p, factor_q = tables.tuplet_p[group], tables.tuplet_q[group]
        changed = event | length
        ticks = told * (state["unit"] // PLAIN) * factor_q // factor_p
        new["dur"] = torch.where(changed, ticks, state["dur"])
        # The last event's length may still be told: the sum takes it in with the next event of the group.
        settled = event & (group < none) & ~over & (state["tuplet_left"] < tables.tuplet_r[state["tuplet"]])
        pending = state["dur"] * factor_p // (factor_q * (state["unit"] // PLAIN).clamp(min=1))
        new["tuplet_sum"] = torch.where(tuplet, 0, torch.where(settled, sums + pending, sums))
        new["tuplet_length"] = torch.where(tuplet, -1, torch.where(settled & (same < 0), pending, same))

    def _pend(self, new: State, state: State, outer: Tensor, event: Tensor, closes: Tensor) -> None:
        """Ties that the voice's next event must take up."""
        current = state["pending"].gather(1, state["voice"][:, None, None].expand(-1, 1, 128))[:, 0]
        current = torch.where(event[:, None], False, current)
        current = torch.where(closes[:, None], state["chord_ties"], current)
        current = torch.where(outer[:, None], state["held"], current)
        one = torch.arange(VOICES)[None, :, None] == state["voice"][:, None, None]
        new["pending"] = torch.where(one, current[:, None, :], state["pending"])

    def _bar(self, new: State, state: State, bar: Tensor, voice: Tensor, ids: Tensor) -> None:
        """Bar lines end a bar of one voice; the last voice's ends the round."""
        end = state["pos"] + state["dur"]
        lead = state["voice"] == 0
        meter = self.tables.meter_ticks[state["meter"].gather(1, state["voice"][:, None])[:, 0]]
        short = bar & lead & (meter > 0) & (end < meter) & (state["rounds"] > 0)
        new["final"] = state["final"] | short
        new["barlen"] = torch.where(bar & lead, end, state["barlen"])
        multi = state["voicing"] == MULTI
        known = state["voices"] > 0
        last = torch.where(known, state["voice"] + 1 >= state["voices"], state["voice"] > 0)
        rounds = state["rounds"] + (bar & (~multi | (known & last))).long()
        rounds = torch.where(bar & multi & ~known & last, 1, rounds)
        chosen = (ids - self.tables.voices.start).clamp(0, VOICES - 1)
        again = voice & ~known & (chosen == 0) & (state["where"] == VOICE)
        onward = voice & ~known & (chosen > 0)
        new["rounds"] = torch.where(onward, 0, rounds)
        new["voices"] = torch.where(again, state["voice"] + 1, state["voices"])
        new["voice"] = torch.where(voice, chosen, state["voice"])
        fresh = bar | voice
        new["pos"] = torch.where(fresh, 0, new["pos"])
        new["dur"] = torch.where(fresh, 0, new["dur"])
        new["signs"] = torch.where(bar[:, None], NO_SIGN, new["signs"])
