"""What all tokens of REMI and TSD do, as tensors that their grammar looks up.

Shapes: v vocabulary, m meters, n notes of all tokens, k notes of one token at most.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plugins.tokenizers.note_tokens.effects import AS_FOUND, NEVER, Effect, Phase, Vocabulary, effect


class Tables:
    """The effects of all tokens as tensors."""

    def __init__(self, vocabulary: Vocabulary, bases: Sequence[Sequence[int]]) -> None:
        self.vocabulary = vocabulary
        meters, size = vocabulary.meters, len(bases)
        effects: list[list[Effect]] = []
        for index in range(len(meters)):
            effects.append([effect(vocabulary, list(base), index) for base in bases])
        first = effects[0]
        special = [not all(_is_music(vocabulary.names[id]) for id in base) for base in bases]
        self.keys = 128 * len(vocabulary.ranks)
        self.bar = _ints([vocabulary.grid.bar(meter) for meter in meters])  # m
        ticks = [sorted(vocabulary.ticks[unit].values()) for _, unit in meters]
        self.step = _ints([vocabulary.grid.step(unit) for _, unit in meters])  # m
        self.longest = _ints([each[-1] for each in ticks])  # m
        self.phases = _ints(
            [[-1 if special[i] else _after(vocabulary, phase, bases[i]) for i in range(size)] for phase in Phase]
        )
        self.blank = torch.tensor([not base for base in bases])
        self.fits = torch.tensor([[e.fits for e in row] for row in effects])  # m v

        def per_meter(name: str, rows: list[list[Effect]] = effects) -> Tensor:
            return _ints([[getattr(e, name) or 0 for e in row] for row in rows])  # m v

        self.meter = torch.tensor([[e.meter for e in row] for row in effects])
        self.now, self.anchor, self.bars = per_meter("now"), per_meter("anchor"), per_meter("bars")
        self.head_end = per_meter("head_end")
        self.first_meter_at = per_meter("meter_at")
        self.tells = torch.tensor([e.meter_at is not None for e in first])
        self.told = self.tells.nonzero()[:, 0]
        self.meter_at = self.first_meter_at[:, self.told]  # m told
        self.anchored = torch.tensor([e.anchored for e in first])
        self.first_position = _ints([e.first_position for e in first])
        self.first_key = _ints([e.first_key for e in first])
        self.position = _ints([-2 if e.position is None else e.position for e in first])
        self.program = _ints([-1 if e.program is None else e.program for e in first])
        self.head_pitch_of = _ints([-1 if e.head_pitch is None else e.head_pitch for e in first])
        self.heads = (self.head_pitch_of >= 0).nonzero()[:, 0]
        self.head_pitch = self.head_pitch_of[self.heads]
        self.second_key = _ints([e.second_key for e in first])[self.heads]
        self.head_closes = torch.tensor([e.head_end is not None for e in first])
        self.last_key = _ints([_source(e.last_key) for e in first])
        self.open_key = _ints([_source(e.notes[-1].key) if e.open else AS_FOUND for e in first])
        self.plays = torch.tensor([e.head_end is not None or any(n.end is not None for n in e.notes) for e in first])
        self._own_notes(effects)
        self._note_lists(effects)
        self._announcements(bases)

    def _own_notes(self, effects: list[list[Effect]]) -> None:
        """Whole notes with keys of their own, by token: (v k), ends (m v k); the key beyond all is nobody's."""
        kept = [[[n for n in e.notes if n.key >= 0 and n.end is not None] for e in row] for row in effects]
        most = max(1, max(len(notes) for notes in kept[0]))

        def padded(values: list[int], filler: int) -> list[int]:
            return values + [filler] * (most - len(values))

        self.own_key = torch.tensor([padded([n.key for n in notes], self.keys) for notes in kept[0]])
        self.own_anchored = torch.tensor([padded([int(n.anchored) for n in notes], 0) for notes in kept[0]])
        self.own_end = _ints([[padded([n.end or 0 for n in notes], 0) for notes in row] for row in kept])

    def _announcements(self, bases: Sequence[Sequence[int]]) -> None:
        """Tokens behind which a note must follow at the present onset, above the keys told there; the highest key that
        may (-1: none), and whether they tell it themselves."""
        names, ranks = self.vocabulary.names, self.vocabulary.ranks
        there = self.vocabulary.keys
        self.silent = torch.full((self.keys + 1,), NEVER, dtype=torch.int64)  # until when each key sounds at first
        self.silent[[*there, self.keys]] = 0
        highest = {key // 128: key for key in there}
        found = []
        for id, base in enumerate(bases):
            kind, _, value = names[base[-1]].partition("_") if base else ("", "", "")
            if kind == "Program":
                found.append((id, highest.get(ranks[int(value)], -1)))
            elif kind == "TimeShift" and self.vocabulary.shift_each and self.last_key[id] != -1:
                found.append((id, there[-1]))
        self.announce = torch.tensor([id for id, _ in found], dtype=torch.long)
        self.announce_top = torch.tensor([top for _, top in found], dtype=torch.long)
        self.announce_own = (self.own_key[self.announce] == self.announce_top[:, None]).any(1)

    def _note_lists(self, effects: list[list[Effect]]) -> None:
        """The lists of what must not clash: notes with what sounds, notes of a token with one another."""
        notes: list[tuple[int, int]] = []  # token, index of the note
        mixed: list[tuple[int, int, int]] = []  # token, earlier note counted from now, later one from the anchor
        after: list[tuple[int, int]] = []  # token with a head that ends in it, index of a later note
        for id, played in enumerate(effects[0]):
            for index, note in enumerate(played.notes):
                if note.key < 0:
                    continue
                notes.append((id, index))
                if played.head_end is not None:
                    after.append((id, index))
                mixed += [
                    (id, index, later)
                    for later, other in enumerate(played.notes)
                    if later > index and other.key == note.key and other.anchored and not note.anchored
                    if note.end is not None
                ]
        self.note_owner = torch.tensor([id for id, _ in notes], dtype=torch.long)
        self.note_key = torch.tensor([effects[0][id].notes[i].key for id, i in notes], dtype=torch.long)
        self.note_anchored = torch.tensor([int(effects[0][id].notes[i].anchored) for id, i in notes], dtype=torch.long)
        self.note_onset = _ints([[row[id].notes[i].onset for id, i in notes] for row in effects])  # m n
        self.mixed_owner = torch.tensor([id for id, _, _ in mixed], dtype=torch.long)
        self.mixed_end = _ints([[row[id].notes[i].end for id, i, _ in mixed] for row in effects])
        self.mixed_onset = _ints([[row[id].notes[j].onset for id, _, j in mixed] for row in effects])
        self.after_owner = torch.tensor([id for id, _ in after], dtype=torch.long)
        self.after_key = torch.tensor([effects[0][id].notes[i].key for id, i in after], dtype=torch.long)
        self.after_anchored = torch.tensor([int(effects[0][id].notes[i].anchored) for id, i in after], dtype=torch.long)
        self.after_onset = _ints([[row[id].notes[i].onset for id, i in after] for row in effects])
        self.after_end = _ints([[row[id].head_end for id, _ in after] for row in effects])
        self.after_head = self.head_pitch_of[self.after_owner]


def _ints(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def _is_music(name: str) -> bool:
    return name.partition("_")[0] not in ("PAD", "BOS", "EOS")


def _source(key: int | None) -> int:
    """A key, -1 or HEAD as the tables have it."""
    return AS_FOUND if key is None else key


def _after(vocabulary: Vocabulary, phase: Phase, base: Sequence[int]) -> int:
    here: Phase | None = phase
    for id in base:
        if here is None:
            return -1
        here = vocabulary.follow(here, vocabulary.names[id])
    return -1 if here is None else int(here)
