"""The grammar of abc tokens with what stands over notes: a chord symbol, perhaps its bass, and letters that are sung.

They come right before what sounds or, chords only, rests. A syllable is letters, each with at most one mark, and signs;
it may close with a hyphen. A note may hold the syllable of the note before it.

Shapes: b batch, v vocabulary of the grammar beneath, e words that this one has more, w voices.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.contracts.grammar import State
from plugins.tokenizers.abc_tokens.grammar import AbcGrammar
from plugins.tokenizers.abc_tokens.state import Fields
from plugins.tokenizers.abc_tokens.vocabulary import VOICES

_USED, _VOICE = Fields._fields.index("used"), Fields._fields.index("voice")
_BEGINS = ("letter", "sign", "held")
# The kinds of words and what may follow each; "": words of the grammar beneath.
FOLLOWS: dict[str, tuple[str, ...]] = {
    "": ("chord", *_BEGINS),
    "chord": ("bass", *_BEGINS),
    "bass": _BEGINS,
    "letter": ("letter", "mark", "sign", "hyphen"),
    "mark": ("letter", "sign", "hyphen"),
    "sign": ("letter", "sign", "hyphen"),
    "hyphen": (),
    "held": (),
}
KINDS = tuple(FOLLOWS)
_SUNG = KINDS.index("letter")  # from it on
# b: the kind of the last token, and whether brackets or braces are open; b w: whether the last note is sung.
OVER, INSIDE, SUNG = "over", "inside", "sung"


class OverGrammar:
    """The grammar beneath sees only the other words; its count of tokens takes these in.

    `kinds`: the kind of each word that this vocabulary has more, in the order of `KINDS`.
    """

    def __init__(self, beneath: AbcGrammar, kinds: Sequence[str]) -> None:
        self.beneath = beneath
        tables = beneath.rules.tables
        self.size = tables.size
        self.kinds = torch.tensor([0] * self.size + [KINDS.index(kind) for kind in kinds])
        self.sounds = torch.zeros(self.size, dtype=torch.bool)  # v: words that a syllable may stand over
        self.sounds[tables.pitches] = True
        self.sounds[tables.id["["]] = True
        self.begins = self.sounds.clone()  # v: and those that a chord may
        self.begins[tables.id["z"]] = True
        self.opens = torch.tensor([tables.id["["], tables.id["{"]])
        self.closes = torch.tensor([tables.id["]"], tables.id["}"]])
        more = self.kinds[self.size :]
        self.follows = torch.tensor([[kind in follows for kind in kinds] for follows in FOLLOWS.values()])  # kinds e
        self.sings, self.holds = more >= _SUNG, more == KINDS.index("held")  # e

    def begin(self, batch: int) -> State:
        """The state of `batch` pieces without tokens."""
        none = torch.zeros(batch, dtype=torch.int64)
        sung = torch.zeros(batch, VOICES, dtype=torch.bool)
        return self.beneath.begin(batch) | {OVER: none, INSIDE: none.bool(), SUNG: sung}

    def broken_off(self, state: State) -> Tensor:
        """As the grammar beneath says it."""
        return self.beneath.broken_off(state)

    def allowed(self, state: State) -> Tensor:
        """(b v+e) bool: what may come next."""
        plain, last = self.beneath.allowed(state), state[OVER]
        chorded, sung = ((plain & kind).any(1) & ~state[INSIDE] for kind in (self.begins, self.sounds))
        if self.beneath.rules.length:  # what stands over something must leave room for it
            later = self.beneath.allowed(_longer(state, 1))
            chorded, sung = chorded & (later & self.begins).any(1), sung & (later & self.sounds).any(1)
        more = self.follows[last] & torch.where(self.sings, sung[:, None], chorded[:, None])
        more &= ~self.holds | state[SUNG].gather(1, state["fields"][:, _VOICE, None])
        under = torch.where((last < _SUNG)[:, None], self.begins, self.sounds)
        return torch.cat([plain & (under | (last == 0)[:, None]), more], 1)

    def advance(self, state: State, ids: Tensor) -> State:
        """The state after one more token (b,) a row; ValueError for an id outside the vocabulary."""
        ids = ids.to("cpu", torch.int64)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.kinds):
            raise ValueError(f"ids from {int(ids.min())} to {int(ids.max())}; expected some of this vocabulary")
        over = self.kinds[ids]
        told = over != 0
        # Where such a word is told the grammar beneath stays, which a word that any place takes stands in for.
        after = self.beneath.advance(state, torch.where(told, 0, ids))
        stayed = _longer(state, told.long())
        kept = {name: _chosen(told, stayed[name], after[name]) for name in after}
        opened, closed = torch.isin(ids, self.opens), torch.isin(ids, self.closes)
        note = (self.sounds[torch.where(told, 0, ids)] & ~state[INSIDE]).nonzero()[:, 0]
        sung = state[SUNG].clone()
        sung[note, state["fields"][note, _VOICE]] = state[OVER][note] >= _SUNG
        return kept | {OVER: over, INSIDE: (state[INSIDE] | opened) & ~closed, SUNG: sung}


def _longer(state: State, tokens: Tensor | int) -> State:
    """The state with so many more tokens, (b,) or one number, counted."""
    fields = state["fields"].clone()
    fields[:, _USED] += tokens
    return state | {"fields": fields}


def _chosen(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(which.reshape(-1, *[1] * (one.dim() - 1)), one, other)
