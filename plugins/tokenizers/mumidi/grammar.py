"""The grammar of MuMIDI: places rise in a bar, instruments at a place, pitches of an instrument; none is struck twice.

A piece may end behind any note. Where a token stands is told once more in streams that leave no choice.
Shapes: b batch, v vocabulary of a stream, k streams, j streams that are known, n keys (128 an instrument, in turn).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.note_tokens.grid import DRUMS

if TYPE_CHECKING:
    from plugins.tokenizers.mumidi import MuMidiTokenizer

PHASE, BARS, NOW, TURN, PITCH, TEMPO, TOKENS = range(7)
START, IN_BAR, AT_PLACE, IN_TRACK, IN_NOTES = range(5)
TRACK, NEVER = 3, 2**31 - 1  # tokens of a note with its place and instrument; the end of what is no key


class TracksInTurnGrammar:
    """`bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens."""

    def __init__(self, tokenizer: "MuMidiTokenizer", bars: int, length: int) -> None:
        if bars < 0 or length < 0 or 0 < length <= TRACK:
            raise ValueError(f"bars is {bars} and length {length}; expected 0 (open), or {TRACK + 1} tokens for a note")
        if bars > tokenizer.bars:
            raise ValueError(f"bars is {bars}; expected at most {tokenizer.bars} (tokenizer.max_bar_embedding)")
        self.kinds, self.sizes, self.eos_id = tokenizer.kinds, tokenizer.vocab_sizes, tokenizer.eos_id
        self.bars, self.length, self.most = bars, length, bars or tokenizer.bars
        self.bar, self.step = tokenizer.bar, tokenizer.step
        self.bar_id, self.first_place = tokenizer.bar_id, tokenizer.first_place
        self.places = torch.arange(self.bar // self.step) * self.step
        self.lengths = torch.from_numpy(tokenizer.lengths)
        ranks = [DRUMS, *range(DRUMS)]
        ids = [(turn, int(tokenizer.program_ids[rank])) for turn, rank in enumerate(ranks)]
        ids = [(turn, id) for turn, id in ids if id >= 0]
        self.program_ids = torch.tensor([id for _, id in ids])
        self.turn = torch.full((self.sizes[0],), -1)  # of an id that names an instrument
        self.turn[self.program_ids] = torch.tensor([turn for turn, _ in ids])
        self.pitch = torch.full((2, self.sizes[0]), -1)  # of an id of drums, and of one of others
        for kind, known in enumerate(reversed(tokenizer.pitches.tolist())):
            for pitch, id in enumerate(known):
                if id >= 0:
                    self.pitch[kind, id] = pitch
        self.silent = torch.full((len(ranks), 128), NEVER, dtype=torch.int32)  # 0 for the keys that there are
        for turn, _ in ids:
            row = self.pitch[int(turn > 0)]
            self.silent[turn, row[row >= 0]] = 0

    def begin(self, batch: int) -> State:
        """`fields` (b 7): phase, bars, now, turn and pitch of the last note at this place, tempo, tokens; `busy` (b n):
        until when each key sounds."""
        fields = torch.tensor([[START, 0, 0, -1, -1, 0, 0]]).repeat(batch, 1)
        return {"fields": fields, "busy": self.silent.reshape(1, -1).repeat(batch, 1)}

    def allowed(self, state: State, known: Tensor | None = None) -> Tensor:
        """(b v) bool: what may come next in the stream behind those `known` (b j)."""
        if known is None:
            return self._first(state)
        known = known.to("cpu", torch.int64)
        kind, size = self.kinds[known.shape[1]], self.sizes[known.shape[1]]
        _, bars, now, _, _, tempo, _ = state["fields"].T
        bar, place, tick = self._told(known[:, 0])
        ids = torch.arange(size)
        if kind == "BarPosEnc":
            return ids == (bars - 1 + bar.long()).clamp(min=0)[:, None]
        if kind == "PositionPosEnc":
            here = torch.where(place, tick, now % self.bar) // self.step + 1
            return ids == torch.where(bar, 0, here)[:, None]
        if kind == "Tempo":
            return (bar | (place & (tick > 0)))[:, None] | (ids == tempo[:, None])
        note = (self.pitch[:, known[:, 0]] >= 0).any(0)
        return note[:, None] ^ (ids == 0)

    def _told(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether ids (b,) are bars, whether places, and the ticks of places in the bar."""
        number = ids - self.first_place
        place = (number >= 0) & (number < len(self.places))
        return ids == self.bar_id, place, torch.where(place, number * self.step, 0)

    def _first(self, state: State) -> Tensor:
        """(b v): a bar, a place, an instrument, a note or the end."""
        phase, bars, now, turn, pitch, _, tokens = state["fields"].T
        left = self.length - tokens if self.length else torch.full_like(tokens, NEVER)
        busy = state["busy"].view(len(phase), -1, 128)
        free = busy.flatten(1).min(1).values.long()  # b: when the first key is
        moves = (phase <= IN_BAR) | (phase == IN_NOTES)
        result = torch.zeros(len(phase), self.sizes[0], dtype=torch.bool)
        more = (free // self.bar - bars).clamp(min=0)  # bars behind the next one until a key is free
        result[:, self.bar_id] = moves & (bars + more < self.most) & (left > TRACK + more)
        start = (bars - 1).clamp(min=0) * self.bar
        ticks = start[:, None] + self.places  # b places
        later = (ticks > now[:, None]) | (phase == IN_BAR)[:, None]
        later &= (moves & (phase != START) & (left >= TRACK))[:, None] & (ticks >= free[:, None])
        result[:, self.first_place : self.first_place + len(self.places)] = later
        open = busy <= now[:, None, None]  # b turns 128
        ready = open.any(2) & (torch.arange(open.shape[1]) > turn[:, None])
        ready &= (((phase == AT_PLACE) | (phase == IN_NOTES)) & (left >= 2))[:, None]
        result[:, self.program_ids] = ready[:, self.turn[self.program_ids]]
        mine = open[torch.arange(len(phase)), turn.clamp(min=0)] & (torch.arange(128) > pitch[:, None])
        mine &= ((phase >= IN_TRACK) & (left >= 1))[:, None]
        pitches = self.pitch[(turn > 0).long()]  # b v
        result |= (pitches >= 0) & mine.gather(1, pitches.clamp(min=0))
        result[:, self.eos_id] = ((phase == IN_NOTES) & (bars >= self.bars)) | ~result.any(1)
        return result

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b k) a row; ValueError for an id outside its vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if bool(((ids < 0) | (ids >= torch.tensor(self.sizes))).any()):
            raise ValueError("a row goes on with an id that the vocabulary does not have")
        phase, bars, now, turn, pitch, tempo, tokens = state["fields"].T
        bar, place, tick = self._told(ids[:, 0])
        named, rows = self.turn[ids[:, 0]], torch.arange(len(ids))
        struck = self.pitch[(turn > 0).long(), ids[:, 0]]
        track, note = named >= 0, struck >= 0
        bars = bars + bar.long()
        now = torch.where(bar | place, (bars - 1).clamp(min=0) * self.bar + tick, now)
        turn = torch.where(bar | place, -1, torch.where(track, named, turn))
        pitch = torch.where(bar | place | track, -1, torch.where(note, struck, pitch))
        for said, after in ((bar, IN_BAR), (place, AT_PLACE), (track, IN_TRACK), (note, IN_NOTES)):
            phase = torch.where(said, after, phase)
        if "Tempo" in self.kinds:
            tempo = torch.where(bar | place, ids[:, self.kinds.index("Tempo")], tempo)
        busy = state["busy"].clone()
        key = turn.clamp(min=0) * 128 + struck.clamp(min=0)
        until = torch.where(note, now + self.lengths[ids[:, -1]], 0).to(torch.int32)
        busy[rows, key] = torch.maximum(busy[rows, key], until)
        return {"fields": torch.stack((phase, bars, now, turn, pitch, tempo, tokens + 1), 1), "busy": busy}
