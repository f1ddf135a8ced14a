"""Generation in batches: prefill the prompts, then draw step by step from a cached state.

Shapes: b batch, l length, v vocabulary, k streams of a token, d model width; ids are (b l), of several streams (b l k).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State, select
from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids
from core.model.conditioning import Known
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, draw, uniform
from core.model.stepping import Stepper

AHEAD = 64  # steps whose random numbers are made at once


@dataclass(frozen=True)
class Generated:
    """One piece: `ids` with the prompt and without bos and eos.

    `ended` where the model chose eos: not where `length` or `stop` cut the piece off, nor where the grammar left
    nothing but eos, as it does when its bars or tokens are used up.
    """

    ids: Ids
    prompt_length: int
    ended: bool


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[Any]],
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    length: int,
    sampling: Sampling,
    grammar: Grammar | None = None,
    first_row: int = 0,
    max_batch: int = 16,
    known: Known | None = None,
    guidance: float = 1.0,
    progress: Callable[[int], object] | None = None,
    stop: Callable[[int, Ids], bool] | None = None,
) -> list[Generated]:
    """Continues each prompt (ids without bos; may be empty) by at most `length` tokens, in the order given.

    The ids of a token of several streams are drawn one after the other, in the order of the streams.

    Prompt i is row `first_row + i`, which with `sampling.seed` fixes its draws: any slice of the prompts gives the
    same pieces. `known` is what is asked of every piece (1 1 c), or of each (b 1 c); with `guidance` g other than 1 a
    piece takes a second row that knows nothing, and draws from u + g (k - u), k and u being the logits of the two. pad
    and bos are never drawn. Without a grammar, eos is not drawn first, so that nothing is empty; with one, the grammar
    says where a piece may end. `stop(row, ids)` is asked after each new token whether the piece ends there (the token
    stays); `progress(n)` hears how many tokens each step drew. ValueError for a prompt that holds ids outside the
    vocabulary, or pad, bos or eos.
    """
    for row, prompt in enumerate(prompts):
        for token in prompt:
            insist_music(row, token, model.vocab_sizes, (bos_id, eos_id, pad_id))
    pieces: list[Generated] = []
    with torch.inference_mode(), _evaluating(model):
        for first in range(0, len(prompts), max_batch):
            batch = [list(prompt) for prompt in prompts[first : first + max_batch]]
            rows = range(first_row + first, first_row + first + len(batch))
            told = known and Known(*(each[first : first + len(batch)] if len(each) > 1 else each for each in known))
            run = _Run(model, batch, rows, bos_id, eos_id, pad_id, length, sampling, grammar, told, guidance)
            for step in range(length):
                drawn = run.step(step, stop)
                if progress is not None:
                    progress(drawn)
                if not run.alive:
                    break
            pieces.extend(run.pieces())
    return pieces


def insist_music(row: int, token: Any, vocab_sizes: Sequence[int], specials: Sequence[int]) -> None:
    """ValueError unless a prompt's token is one of music."""
    ids = [token] if isinstance(token, int) else token
    if len(ids) != len(vocab_sizes):
        raise ValueError(f"prompt {row} holds token {token}; expected {len(vocab_sizes)} ids a token")
    for id, size in zip(ids, vocab_sizes, strict=True):
        if not 0 <= id < size:
            raise ValueError(f"prompt {row} holds id {id}; expected ids of music below {size}")
    if ids[0] in specials:
        raise ValueError(f"prompt {row} holds id {ids[0]}; expected ids of music, without begin, end and padding")


class _Run:
    """One batch in the making. The i-th entry of every batch dimension belongs to piece `alive[i]`."""

    def __init__(
        self,
        model: LanguageModel,
        prompts: list[Ids],
        rows: Sequence[int],
        bos_id: int,
        eos_id: int,
        pad_id: int,
        length: int,
        sampling: Sampling,
        grammar: Grammar | None,
        known: Known | None,
        guidance: float,
    ) -> None:
        self.model, self.sampling, self.grammar, self.eos_id = model, sampling, grammar, eos_id
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self.ids = [list(prompt) for prompt in prompts]
        self.prompt_lengths = [len(prompt) for prompt in prompts]
        self.ended = [False] * len(prompts)
        self.alive = list(range(len(prompts)))
        self.numbers = list(rows)
        self.rows = torch.tensor(self.numbers, device=self.device)  # of those alive
        self.numbers_ahead = torch.empty(0)
        self.offered = torch.empty(0)  # (b v) bool: what the last draw chose from
        self.music = torch.ones(model.vocab_size, dtype=torch.bool, device=self.device)
        self.music[[pad_id, bos_id]] = False
        sizes = model.vocab_sizes
        self.seen = [torch.zeros(len(prompts), size, dtype=torch.bool, device=self.device) for size in sizes]
        for row, prompt in enumerate(prompts):
            told = torch.tensor(prompt, dtype=torch.long, device=self.device).view(len(prompt), len(sizes))
            for seen, ids in zip(self.seen, told.unbind(1), strict=True):
                seen[row, ids] = True
        self.grammar_state = grammar_after(grammar, prompts) if grammar is not None else {}
        bos, pad = alone(bos_id, len(sizes)), alone(pad_id, len(sizes))
        inputs = [[bos, *prompt] for prompt in prompts]
        capacity = max(map(len, inputs)) + length
        self.twice = known is not None and guidance != 1  # the second half of all rows knows nothing
        self.guidance = guidance
        if known is not None:
            values, given = (each.expand(len(inputs), 1, -1).to(self.device) for each in known)
            if self.twice:
                values, given = torch.cat([values, values]), torch.cat([given, torch.zeros_like(given)])
            known = Known(values, given)
        if self.twice:
            inputs = inputs + inputs
        self.hidden, state = prefill(model, inputs, pad, capacity, self.device, known)  # (b d)
        self.stepper = Stepper(model, state, length, known)

    def step(self, step: int, stop: Callable[[int, Ids], bool] | None) -> int:
        """Draws one token a row, drops the rows that ended and reads the tokens of the others; returns the draws."""
        drawn = self._draw(step)  # (b) or (b k)
        read = drawn.cpu()  # once a step
        going: list[int] = []
        for i, (piece, token) in enumerate(zip(self.alive, read.tolist(), strict=True)):
            if (token[0] if self.model.chain else token) == self.eos_id:
                self.ended[piece] = int(self.offered[i].sum()) > 1
                continue
            self.ids[piece].append(token)
            if stop is None or not stop(self.numbers[piece], self.ids[piece]):
                going.append(i)
        count = len(self.alive)
        self.alive = [self.alive[i] for i in going]
        if not going:
            return count
        if len(going) < count:
            kept = torch.tensor(going, device=self.device)
            self.stepper.keep(torch.cat([kept, kept + count]) if self.twice else kept)
            drawn, read = drawn[kept], read[going]
            self.rows, self.seen = self.rows[kept], [seen[kept] for seen in self.seen]
            self.numbers_ahead = self.numbers_ahead[:, kept]
            self.grammar_state = select(self.grammar_state, going)
        for seen, ids in zip(self.seen, drawn.view(len(drawn), -1).unbind(1), strict=True):
            seen.scatter_(1, ids[:, None], True)
        self.hidden = self.stepper(self._doubled(drawn))
        if self.grammar is not None:  # after the model, so that a GPU computes meanwhile
            self.grammar_state = self.grammar.advance(self.grammar_state, near(read, self.grammar_state))
        return count

    def _draw(self, step: int) -> Tensor:
        """The next token of each row, (b) or (b k); behind an end the other streams say nothing."""
        streams = self.model.streams
        if step % AHEAD == 0:  # a hash of many small operations costs the same for many steps as for one
            draws = torch.arange(step * streams, (step + AHEAD) * streams, device=self.device)[:, None]
            self.numbers_ahead = uniform(self.sampling.seed, self.rows, draws)  # (n b)
        first = step % AHEAD * streams
        logits = self._guided(self.model.logits(self.hidden))
        numbers = self.numbers_ahead[first]
        self.offered = self._allowed(step)
        id = draw(logits, self.sampling, self.rows, step, self.offered, self.seen[0], numbers)
        if not self.model.chain:
            return id
        hidden, known, end = self.hidden, id[:, None], (id == self.eos_id)[:, None]  # known (b j)
        for stream in range(1, streams):
            hidden = self.model.told(hidden, stream - 1, self._doubled(known[:, -1]))
            allowed = None
            if self.grammar is not None:
                beside = near(known, self.grammar_state)
                allowed = self.grammar.allowed(self.grammar_state, beside).to(self.device) | end
            logits, numbers = self._guided(self.model.logits(hidden, stream)), self.numbers_ahead[first + stream]
            id = draw(logits, self.sampling, self.rows, step, allowed, self.seen[stream], numbers)
            known = torch.cat([known, id[:, None]], dim=1)
        return known

    def _doubled(self, drawn: Tensor) -> Tensor:
        """What the rows of the model read, the second half of which knows nothing where there is guidance."""
        return torch.cat([drawn, drawn]) if self.twice else drawn

    def _guided(self, logits: Tensor) -> Tensor:
        """The logits (b v) to draw from."""
        if not self.twice:
            return logits
        knowing, without = logits.chunk(2)
        return without + self.guidance * (knowing - without)

    def _allowed(self, step: int) -> Tensor:
        """What the first id of the next token may be (b v)."""
        if self.grammar is not None:
            return self.grammar.allowed(self.grammar_state).to(self.device) & self.music
        allowed = self.music.repeat(len(self.alive), 1)
        if step == 0:
            allowed[:, self.eos_id] = False
        return allowed

    def pieces(self) -> list[Generated]:
        """What was made, in the order of the prompts."""
        return [Generated(*piece) for piece in zip(self.ids, self.prompt_lengths, self.ended, strict=True)]


def alone(id: int, streams: int) -> Any:
    """The token of an id beside which the other streams say nothing."""
    return id if streams == 1 else [id, *[0] * (streams - 1)]


def prefill(
    model: LanguageModel, inputs: list[Ids], pad: Any, capacity: int, device: torch.device, known: Known | None
) -> tuple[Tensor, State]:
    """The hidden state (b d) after each input and the backbone's state there.

    A backbone that packs reads unequal inputs at once, padded on the left, each starting at its first real token.
    For another, inputs of one length are read together and the states joined.
    """
    longest = max(map(len, inputs))
    if model.backbone.packs or all(len(ids) == longest for ids in inputs):
        padded = torch.tensor([[pad] * (longest - len(ids)) + ids for ids in inputs], device=device)
        starts = None
        if any(len(ids) < longest for ids in inputs):
            first = torch.tensor([[longest - len(ids)] for ids in inputs], device=device)
            starts = torch.arange(longest, device=device) == first  # (b l)
        hidden, state = model.read(padded, model.init_state(len(inputs), capacity), starts, known)
        assert state is not None, "a backbone that is given a state returns one"
        return hidden[:, -1], state
    parts: list[tuple[Tensor, State]] = []
    order: list[int] = []
    for size in sorted({len(ids) for ids in inputs}):
        members = [row for row, ids in enumerate(inputs) if len(ids) == size]
        some = None if known is None else Known(known.values[members], known.given[members])
        parts.append(prefill(model, [inputs[row] for row in members], pad, capacity, device, some))
        order.extend(members)
    back = torch.tensor(order, device=device).argsort()
    joined = {key: torch.cat([state[key] for _, state in parts]) for key in parts[0][1]}
    return torch.cat([hidden for hidden, _ in parts])[back], select(joined, back)


def grammar_after(grammar: Grammar, prompts: list[Ids]) -> State:
    """The grammar's state after each prompt, read token by token and equal prompts once; shorter ones stand still."""
    names = [repr(prompt) for prompt in prompts]
    one_each = dict(zip(names, prompts, strict=True))
    different, places = list(one_each.values()), list(one_each)
    state = grammar.begin(len(different))
    for position in range(max(map(len, different))):
        rows = [row for row, prompt in enumerate(different) if position < len(prompt)]
        ids = torch.tensor([different[row][position] for row in rows])
        part = select(state, rows)
        moved = grammar.advance(part, near(ids, part))
        at = {key: torch.tensor(rows, device=value.device) for key, value in state.items()}
        state = {key: value.index_copy(0, at[key], moved[key]) for key, value in state.items()}
    return select(state, [places.index(name) for name in names])


def near(ids: Tensor, state: State) -> Tensor:
    """Brings ids to where a grammar keeps its state."""
    return next((ids.to(value.device) for value in state.values()), ids)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switches dropout off; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
