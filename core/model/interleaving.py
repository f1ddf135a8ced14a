"""Decoding pieces that begin, pause and end when they like: each draws in its own way, all share the steps of a model.

A piece draws the tokens that `generate` draws for the same prompt, row and settings.

Draws are made on the CPU, wherever the model lies.

Shapes: b pieces, r rows of the model (two for a piece under guidance), d model width, v vocabulary, k streams.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from core.contracts.backbone import State, fork, select
from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids
from core.model.conditioning import Known
from core.model.generation import AHEAD, alone, grammar_after, insist_music, near, prefill
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, chosen, insist_drawn, uniform


@dataclass(frozen=True)
class Wish:
    """How one piece is to be drawn; `row` and the seed of `sampling` fix its draws."""

    sampling: Sampling
    row: int = 0
    grammar: Grammar | None = None
    known: Known | None = None  # (1 1 c)
    guidance: float = 1.0
    endless: bool = False  # never ends while anything else may follow

    @property
    def rows(self) -> int:
        """Rows of the model that the piece takes."""
        return 2 if self.known is not None and self.guidance != 1 else 1


@dataclass
class Kept:
    """Where a piece stood after some tokens: enough to go on from, however often."""

    hidden: Tensor  # (r d)
    state: State


class Line:
    """One piece in the making; its tensors lie here while it is paused, and with its company while it plays."""

    def __init__(self, model: LanguageModel, wish: Wish, prompt: Ids, specials: tuple[int, int, int]) -> None:
        """`specials` are bos, eos and pad. ValueError for a prompt that is no music."""
        for token in prompt:
            insist_music(0, token, model.vocab_sizes, specials)
        self.wish, self.drawn, self.model = wish, 0, model
        self.bos_id, self.eos_id, self.pad_id = specials
        self.seen = [torch.zeros(1, size, dtype=torch.bool) for size in model.vocab_sizes]
        told = torch.tensor(prompt, dtype=torch.long).view(len(prompt), len(model.vocab_sizes))
        for seen, ids in zip(self.seen, told.unbind(1), strict=True):
            seen[0, ids] = True
        self.grammar_state: State = grammar_after(wish.grammar, [prompt]) if wish.grammar is not None else {}
        self.hidden, self.state = torch.empty(0), State()
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self._numbers = torch.empty(0)

    @torch.inference_mode()
    def begin(self, tokens: Ids, capacity: int) -> None:
        """Reads bos and the first tokens, with room for `capacity` in all."""
        bos, pad = (alone(id, self.model.streams) for id in (self.bos_id, self.pad_id))
        inputs = [[bos, *tokens]] * self.wish.rows
        self.hidden, self.state = prefill(self.model, inputs, pad, capacity, self.device, self.known)

    def resume(self, kept: Kept) -> None:
        """Stands where another line stood, instead of `begin`."""
        self.hidden, self.state = kept.hidden.clone(), fork(kept.state)

    @torch.inference_mode()
    def read(self, tokens: Ids) -> None:
        """Reads more tokens of the prompt."""
        part = torch.tensor([tokens] * self.wish.rows, device=self.device)
        hidden, state = self.model.read(part, self.state, known=self.known)
        assert state is not None, "a backbone that is given a state returns one"
        self.hidden, self.state = hidden[:, -1], state

    @property
    def known(self) -> Known | None:
        """What each row of the piece knows (r 1 c); the second knows nothing."""
        if self.wish.known is None:
            return None
        values, given = self.wish.known
        if self.wish.rows == 2:
            values, given = values.expand(2, 1, -1), torch.cat([given, torch.zeros_like(given)])
        return Known(values.to(self.device), given.to(self.device))

    def numbers(self) -> Tensor:
        """(k) uniform numbers of the next token."""
        streams = self.model.streams
        if self.drawn % AHEAD == 0:
            draws = torch.arange(self.drawn * streams, (self.drawn + AHEAD) * streams)[:, None]
            self._numbers = uniform(self.wish.sampling.seed, torch.tensor([self.wish.row]), draws)[:, 0]
        first = self.drawn % AHEAD * streams
        return self._numbers[first : first + streams]


@dataclass
class Drawn:
    """The next token of a line; None where the piece ended, `ended` where the model chose so."""

    line: Line
    token: Any
    ended: bool = False


class Company:
    """Lines that share the steps of one model; their states must have one shape but for the rows."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.device = model, torch.device("cpu")
        self.lines: list[Line] = []
        self._hidden, self._state = torch.empty(0), State()
        self._known: Known | None = None
        self._rows: list[list[int]] = []  # of each line
        self._owner = torch.empty(0, dtype=torch.int64)  # of each row
        self._grammars: list[tuple[Grammar, Tensor, State]] = []  # with the lines under each, and where these stand
        self._samplings: list[tuple[Sampling, Tensor]] = []  # with the lines that draw so

    def join(self, line: Line) -> None:
        """Takes a line in, with its state."""
        self._settle([*self.lines, line])

    def leave(self, line: Line) -> None:
        """Lets a line go; it takes its state along."""
        self._settle([other for other in self.lines if other is not line])

    def kept(self, line: Line) -> Kept:
        """A copy of where a line stands."""
        rows = self._rows[self.lines.index(line)]
        return Kept(self._hidden[rows].clone(), select(self._state, rows))

    @torch.inference_mode()
    def step(self) -> list[Drawn]:
        """Draws a token for every line; those that ended have left when it returns."""
        tokens, offered = self._draw()  # (b k), (b v)
        found, going = [], []
        for i, (line, token) in enumerate(zip(self.lines, tokens.tolist(), strict=True)):
            line.drawn += 1
            if token[0] == line.eos_id:
                found.append(Drawn(line, None, ended=int(offered[i].sum()) > 1))
            else:
                found.append(Drawn(line, token if self.model.chain else token[0]))
                going.append(i)
        if len(going) < len(self.lines):
            tokens = tokens[going]
            self._settle([self.lines[i] for i in going])
        if going:
            self._advance(tokens)
        return found

    def _draw(self) -> tuple[Tensor, Tensor]:
        """The next tokens (b k) and what their first ids were drawn from (b v)."""
        numbers = torch.stack([line.numbers() for line in self.lines])  # (b k)
        offered = self._offered()
        known = self._chosen(self._guided(self.model.logits(self._hidden)), offered, numbers[:, 0], 0)[:, None]
        hidden, end = self._hidden, torch.tensor([[line.eos_id] for line in self.lines]) == known
        for stream in range(1, self.model.streams):
            hidden = self.model.told(hidden, stream - 1, self._spread(known[:, -1]))
            allowed = torch.ones(len(self.lines), self.model.vocab_sizes[stream], dtype=torch.bool)
            for grammar, members, state in self._grammars:
                allowed[members] = grammar.allowed(state, near(known[members], state)).cpu()
            logits = self._guided(self.model.logits(hidden, stream))
            known = torch.cat([known, self._chosen(logits, allowed | end, numbers[:, stream], stream)[:, None]], 1)
        return known, offered

    def _offered(self) -> Tensor:
        """(b v): what the first id of each next token may be."""
        offered = torch.ones(len(self.lines), self.model.vocab_size, dtype=torch.bool)
        for grammar, members, state in self._grammars:
            offered[members] = grammar.allowed(state).cpu()
        for i, line in enumerate(self.lines):
            offered[i, [line.pad_id, line.bos_id]] = False
            nothing_yet = line.wish.grammar is None and line.drawn == 0
            if nothing_yet or (line.wish.endless and int(offered[i].sum()) > 1):
                offered[i, line.eos_id] = False
        return offered

    def _chosen(self, logits: Tensor, allowed: Tensor, numbers: Tensor, stream: int) -> Tensor:
        """One id a line (b), those that draw alike at once."""
        ids = torch.empty(len(self.lines), dtype=torch.int64)
        for sampling, members in self._samplings:
            seen = torch.cat([self.lines[i].seen[stream] for i in members.tolist()])
            ids[members] = chosen(logits[members], sampling, numbers[members], allowed[members], seen)
        insist_drawn(ids.tolist())
        return ids

    def _guided(self, logits: Tensor) -> Tensor:
        """(b v) from the logits (r v) of the model's rows."""
        logits = logits.cpu()
        if len(logits) == len(self.lines):
            return logits
        mixed = [
            logits[rows[0]]
            if len(rows) == 1
            else logits[rows[1]] + line.wish.guidance * (logits[rows[0]] - logits[rows[1]])
            for line, rows in zip(self.lines, self._rows, strict=True)
        ]
        return torch.stack(mixed)

    def _spread(self, ids: Tensor) -> Tensor:
        """From a line's ids (b ...) to those of the model's rows (r ...)."""
        return (ids if len(self._owner) == len(self.lines) else ids[self._owner]).to(self.device)

    def _advance(self, tokens: Tensor) -> None:
        """Reads one more token (b k) a line."""
        for line, token in zip(self.lines, tokens, strict=True):
            for seen, id in zip(line.seen, token.tolist(), strict=True):
                seen[0, id] = True
        ids = tokens if self.model.chain else tokens[:, 0]
        hidden, state = self.model.read(self._spread(ids)[:, None], self._state, known=self._known)
        assert state is not None, "a backbone that is given a state returns one"
        self._hidden, self._state = hidden[:, -1], state
        self._grammars = [
            (grammar, members, grammar.advance(kept, near(ids[members], kept)))
            for grammar, members, kept in self._grammars
        ]

    def _settle(self, lines: Sequence[Line]) -> None:
        """Goes on with these lines: gives back what those held that were here, and lays all together anew."""
        for i, line in enumerate(self.lines):
            rows = self._rows[i]
            line.hidden, line.state = self._hidden[rows], select(self._state, rows)
        for _, members, state in self._grammars:
            for place, i in enumerate(members.tolist()):
                self.lines[i].grammar_state = select(state, [place])
        self.lines = list(lines)
        if not self.lines:
            self._hidden, self._state, self._grammars = torch.empty(0), State(), []
            return
        self.device = self.lines[0].device
        counts = [line.wish.rows for line in self.lines]
        self._owner = torch.tensor([i for i, count in enumerate(counts) for _ in range(count)])
        ends = torch.tensor(counts).cumsum(0).tolist()
        self._rows = [list(range(end - count, end)) for end, count in zip(ends, counts, strict=True)]
        self._hidden = torch.cat([line.hidden for line in self.lines])
        self._state = {key: torch.cat([line.state[key] for line in self.lines]) for key in self.lines[0].state}
        self._known = self._known_of_all()
        self._grammars = []
        for grammar in {id(line.wish.grammar): line.wish.grammar for line in self.lines}.values():
            if grammar is not None:
                under = [i for i, line in enumerate(self.lines) if line.wish.grammar is grammar]
                parts = [self.lines[i].grammar_state for i in under]
                joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
                self._grammars.append((grammar, torch.tensor(under), joined))
        alike: dict[Sampling, list[int]] = {}
        for i, line in enumerate(self.lines):
            alike.setdefault(replace(line.wish.sampling, seed=0), []).append(i)
        self._samplings = [(sampling, torch.tensor(members)) for sampling, members in alike.items()]

    def _known_of_all(self) -> Known | None:
        """What all rows know (r 1 c); None where no line knows anything."""
        told = [line.known for line in self.lines]
        like = next((known for known in told if known is not None), None)
        if like is None:
            return None
        values, given = like.values[:1], like.given[:1]
        nothing = Known(torch.zeros_like(values), torch.zeros_like(given))
        parts = [nothing if known is None else known for known in told]
        return Known(torch.cat([part.values for part in parts]), torch.cat([part.given for part in parts]))
