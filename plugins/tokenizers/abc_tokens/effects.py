"""What abc words do to the automaton of their grammar, and what lengths cost there, computed once for look-ups.

Shapes: k kinds of words, w places of the automaton, t tuplets, n lengths, u units.
"""

from enum import IntEnum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugins.tokenizers.abc_tokens.tables import Tables

Array = NDArray[Any]

# What the next token may be, by the last one: `where` in the state.
HEAD_M, HEAD_L, HEAD_K = 0, 1, 2
BAR, METER, KEY, TUPLET, GRACED = 3, 4, 5, 6, 7  # before an event: at a bar's start, after M:, K:, a tuplet's mark, `}`
EVENT, SIZED, TIED = 8, 9, 10  # after an event: without a length yet, with one, with a tie
CHORD, GRACE, VOICE = 11, 12, 13  # inside [ ], inside { }, before a V:
PLACES = 14
SINGLE, MULTI = 1, 2  # `voicing`, once known; 0 before
VOICINGS = 3
FOREVER = 1 << 60  # ticks of a bar in free meter
NEVER = 1 << 61


class Kind(IntEnum):
    """Kinds of words that do the same to the automaton."""

    NONE = 0
    METER = auto()
    UNIT = auto()
    KEY = auto()
    VOICE = auto()
    BAR = auto()
    REST = auto()
    OPEN = auto()
    CLOSE = auto()
    GRACE = auto()
    UNGRACE = auto()
    TIE = auto()
    TUPLET = auto()
    LENGTH = auto()
    PITCH = auto()


class Effects:
    """By id: kinds and values. By `code`, which is kind, place and voicing in one: where it leads and what happens."""

    def __init__(self, tables: Tables) -> None:
        kind = np.zeros(tables.size, dtype=np.int64)
        for name in ("meter", "unit", "key", "voice", "tuplet", "length"):
            kind[getattr(tables, name + "s")] = Kind[name.upper()]
        kind[tables.pitches] = Kind.PITCH
        symbols = (Kind.BAR, Kind.REST, Kind.OPEN, Kind.CLOSE, Kind.GRACE, Kind.UNGRACE, Kind.TIE)
        for word, symbol in zip("|z[]{}-", symbols, strict=True):
            kind[tables.id[word]] = symbol
        self.kind = kind
        self.code = kind * (PLACES * VOICINGS)
        self._happenings()
        self._pitches(tables)
        self._lengths(tables)

    def _happenings(self) -> None:
        """`leads` and `voicing` by code; `flags` (code, 15) in the order in which the grammar unpacks them."""
        kind, where, voicing = np.meshgrid(np.arange(len(Kind)), np.arange(PLACES), np.arange(VOICINGS), indexing="ij")
        head, in_chord, in_grace = where < BAR, where == CHORD, where == GRACE
        pitch, tie, rest, bar = (kind == k for k in (Kind.PITCH, Kind.TIE, Kind.REST, Kind.BAR))
        opens, voice = kind == Kind.OPEN, kind == Kind.VOICE
        closes = (kind == Kind.CLOSE) & in_chord
        single = pitch & ~in_chord & ~in_grace & ~head
        event = single | (rest & ~head) | closes
        outer = tie & ~in_chord
        leads = where.copy()
        for condition, target in (
            ((kind == Kind.METER) & ~head, METER),
            ((kind == Kind.KEY) & ~head, KEY),
            (kind == Kind.TUPLET, TUPLET),
            (kind == Kind.UNGRACE, GRACED),
            (event, EVENT),
            (kind == Kind.LENGTH, SIZED),
            (outer, TIED),
            (opens, CHORD),
            (kind == Kind.GRACE, GRACE),
            (voice, BAR),
            (head & (kind == Kind.METER), HEAD_L),
            (head & (kind == Kind.UNIT), HEAD_K),
            (head & (kind == Kind.KEY), BAR),
        ):
            leads[condition] = target
        known = np.where(voice, MULTI, np.where((voicing == 0) & ~head, SINGLE, voicing))
        leads = np.where(bar, np.where(known == MULTI, VOICE, BAR), leads)
        self.leads, self.voicing = leads.ravel(), known.ravel()
        flags: tuple[Array, ...]
        flags = (event, event & ~closes, single, pitch & in_chord, opens, closes, outer, tie & in_chord)
        flags += (bar, voice, pitch & in_grace, kind == Kind.GRACE, kind == Kind.TUPLET, event | (kind == Kind.LENGTH))
        flags += (np.isin(kind, (Kind.METER, Kind.UNIT, Kind.KEY)),)
        self.flags = np.stack([flag.ravel() for flag in flags], 1)  # code f

    def _pitches(self, tables: Tables) -> None:
        """The step, base and sign of each id, and what each key does to each step."""

        def by_id(values: Any, filler: int) -> Array:
            result = np.full(tables.size, filler, dtype=np.int64)
            result[tables.pitches] = values
            return result

        self.step, self.base = by_id(tables.pitch_step.numpy(), 0), by_id(tables.pitch_base.numpy(), 0)
        self.signed = by_id(tables.pitch_signed.numpy(), 0).astype(bool)
        self.alter = by_id(tables.pitch_alter.numpy(), 0)
        letter = np.zeros(tables.steps, dtype=np.int64)
        letter[tables.pitch_step.numpy()] = tables.pitch_letter.numpy()
        self.alters = tables.key_alters.numpy()[:, letter]  # key, step

    def _lengths(self, tables: Tables) -> None:
        """Ticks of each length, and the ticks that must be left in the bar for it.

        `needs` has a row for each situation, told by `need_row`: NEVER where the length may not stand.
        """
        lengths = tables.length_32nds.numpy()
        p, q, r = (table.numpy() for table in (tables.tuplet_p, tables.tuplet_q, tables.tuplet_r))
        self.none = len(p) - 1  # the tuplet that is none
        self.tuplet_r = r
        # A last unit without length stands before any is told.
        unit32 = np.append(tables.unit_ticks.numpy() // 32, 0)
        self.no_unit = len(unit32) - 1
        fits = tables.length_fits.numpy()[[*range(self.no_unit), -1]]  # u n
        self.lengths = lengths
        self.plain = len(lengths) - 1  # the column of the length that has no word
        self.mark = np.full(tables.size, self.none)
        self.mark[tables.tuplets] = np.arange(self.none)
        self.column = np.full(tables.size, self.plain)
        self.column[tables.lengths] = np.arange(self.plain)
        triplet = (p == 3) & (q == 2)
        spans = lengths * unit32[:, None, None] * q[:, None] // p[:, None]  # u t n
        self.spans = spans.ravel()
        left = np.arange(r.max() + 1)
        rests = (left + 2) * unit32[:, None] * 2 // 3  # u left
        # Ticks kept free for the other notes of a triplet.
        self.rests = np.where(triplet[:, None] & (left > 0), rests[:, None], 0).ravel()  # u t left
        self.rest_size = len(left)
        self.least = np.where(triplet, (r + 2) * unit32[:, None] * 2 // 3, r * 4 * unit32[:, None] * q // p)[
            :, :-1
        ]  # u t
        # Situations: none, triplet with notes to come, triplet's last by its sum so far mod 3, first of an even tuplet.
        rows = [spans[:, self.none], np.where(fits, spans[:, 0], NEVER)]
        rows += [np.where(fits & ((past + lengths) % 3 == 0), spans[:, 0], NEVER) for past in range(3)]
        whole = r[:, None] * spans  # u t n
        even = fits[:, None] & (whole % np.maximum(unit32, 1)[:, None, None] == 0)
        firsts = np.where(even, whole, NEVER)
        situations = np.concatenate((np.stack(rows, 1), firsts), 1)  # u s n
        self.situations = situations.shape[1]
        # The others of an even tuplet have the length of the first, whatever is left.
        same = np.where(np.eye(len(lengths), dtype=bool), -NEVER, NEVER)
        self.needs = np.concatenate((situations.reshape(-1, len(lengths)), same))
        self.same_row = len(self.needs) - len(lengths)
        number = np.arange(len(p))[:, None]
        last = 2 + np.arange(3)[None, :]
        ends = np.where(triplet[:, None], last, 5 + number)
        goes = np.where(triplet[:, None], 1, 5 + number).repeat(3, 1)
        table = np.stack((ends, goes), 1)  # t, whether notes are left, sum mod 3
        table[self.none] = 0
        self.need_row = table.ravel()
        self.even = ~triplet
        self.even[self.none] = False
