"""Generation in batches: prefill the prompts, then draw step by step from a cached state.

Shapes: b batch, l length, v vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.contracts.backbone import State, select
from core.contracts.grammar import Grammar
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, draw, uniform
from core.model.stepping import Stepper

AHEAD = 64  # steps whose random numbers are made at once


@dataclass(frozen=True)
class Generated:
    """One piece: `ids` with the prompt and without bos and eos; `ended` unless `length` cut it off."""

    ids: list[int]
    prompt_length: int
    ended: bool


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    length: int,
    sampling: Sampling,
    grammar: Grammar | None = None,
    first_row: int = 0,
    max_batch: int = 16,
    progress: Callable[[int], object] | None = None,
    stop: Callable[[int, list[int]], bool] | None = None,
) -> list[Generated]:
    """Continues each prompt (ids without bos; may be empty) by at most `length` tokens, in the order given.

    Prompt i is row `first_row + i`, which with `sampling.seed` fixes its draws: any slice of the prompts gives the
    same pieces. pad and bos are never drawn. Without a grammar, eos is not drawn first, so that nothing is empty; with
    one, the grammar says where a piece may end. `stop(row, ids)` is asked after each new token whether the piece ends
    there (the token stays); `progress(n)` hears how many tokens each step drew. ValueError for a prompt that holds
    ids outside the vocabulary, or pad, bos or eos.
    """
    for row, prompt in enumerate(prompts):
        for id in prompt:
            if not 0 <= id < model.vocab_size or id in (bos_id, eos_id, pad_id):
                raise ValueError(f"prompt {row} holds id {id}; expected ids of music below {model.vocab_size}")
    pieces: list[Generated] = []
    with torch.inference_mode(), _evaluating(model):
        for first in range(0, len(prompts), max_batch):
            batch = [list(prompt) for prompt in prompts[first : first + max_batch]]
            rows = range(first_row + first, first_row + first + len(batch))
            run = _Run(model, batch, rows, bos_id, eos_id, pad_id, length, sampling, grammar)
            for step in range(length):
                drawn = run.step(step, stop)
                if progress is not None:
                    progress(drawn)
                if not run.alive:
                    break
            pieces.extend(run.pieces())
    return pieces


class _Run:
    """One batch in the making. The i-th entry of every batch dimension belongs to piece `alive[i]`."""

    def __init__(
        self,
        model: LanguageModel,
        prompts: list[list[int]],
        rows: Sequence[int],
        bos_id: int,
        eos_id: int,
        pad_id: int,
        length: int,
        sampling: Sampling,
        grammar: Grammar | None,
    ) -> None:
        self.model, self.sampling, self.grammar, self.eos_id = model, sampling, grammar, eos_id
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self.ids = [list(prompt) for prompt in prompts]
        self.prompt_lengths = [len(prompt) for prompt in prompts]
        self.ended = [False] * len(prompts)
        self.alive = list(range(len(prompts)))
        self.numbers = list(rows)
        self.rows = torch.tensor(self.numbers, device=self.device)  # of those alive
        self.music = torch.ones(model.vocab_size, dtype=torch.bool, device=self.device)
        self.music[[pad_id, bos_id]] = False
        self.seen = torch.zeros(len(prompts), model.vocab_size, dtype=torch.bool, device=self.device)
        for seen, prompt in zip(self.seen, prompts, strict=True):
            seen[prompt] = True
        self.grammar_state = _advance(grammar, prompts) if grammar is not None else {}
        inputs = [[bos_id, *prompt] for prompt in prompts]
        capacity = max(map(len, inputs)) + length
        self.logits, state = _prefill(model, inputs, pad_id, capacity, self.device)  # (b v)
        self.stepper = Stepper(model, state, length)

    def step(self, step: int, stop: Callable[[int, list[int]], bool] | None) -> int:
        """Draws one token a row, drops the rows that ended and reads the tokens of the others; returns the draws."""
        if step % AHEAD == 0:  # a hash of many small operations costs the same for many steps as for one
            steps = torch.arange(step, step + AHEAD, device=self.device)[:, None]
            self.numbers_ahead = uniform(self.sampling.seed, self.rows, steps)  # (n b)
        numbers = self.numbers_ahead[step % AHEAD]
        drawn = draw(self.logits, self.sampling, self.rows, step, self._allowed(step), self.seen, numbers)  # (b,)
        read = drawn.cpu()  # once a step
        going: list[int] = []
        for i, (piece, id) in enumerate(zip(self.alive, read.tolist(), strict=True)):
            if id != self.eos_id:
                self.ids[piece].append(id)
            self.ended[piece] = id == self.eos_id or (stop is not None and stop(self.numbers[piece], self.ids[piece]))
            if not self.ended[piece]:
                going.append(i)
        count = len(self.alive)
        self.alive = [self.alive[i] for i in going]
        if not going:
            return count
        if len(going) < count:
            kept = torch.tensor(going, device=self.device)
            self.stepper.keep(kept)
            drawn, read = drawn[kept], read[going]
            self.rows, self.seen = self.rows[kept], self.seen[kept]
            self.numbers_ahead = self.numbers_ahead[:, kept]
            self.grammar_state = select(self.grammar_state, going)
        self.seen.scatter_(1, drawn[:, None], True)
        self.logits = self.stepper(drawn)
        if self.grammar is not None:  # after the model, so that a GPU computes meanwhile
            self.grammar_state = self.grammar.advance(self.grammar_state, _beside(read, self.grammar_state))
        return count

    def _allowed(self, step: int) -> Tensor:
        """What the next token may be (b v)."""
        if self.grammar is not None:
            return self.grammar.allowed(self.grammar_state).to(self.device) & self.music
        allowed = self.music.repeat(len(self.alive), 1)
        if step == 0:
            allowed[:, self.eos_id] = False
        return allowed

    def pieces(self) -> list[Generated]:
        """What was made, in the order of the prompts."""
        return [Generated(*piece) for piece in zip(self.ids, self.prompt_lengths, self.ended, strict=True)]


def _prefill(
    model: LanguageModel, inputs: list[list[int]], pad_id: int, capacity: int, device: torch.device
) -> tuple[Tensor, State]:
    """The logits (b v) after each input and the state there.

    A backbone that packs reads unequal inputs at once, padded on the left, each starting at its first real token.
    For another, inputs of one length are read together and the states joined.
    """
    longest = max(map(len, inputs))
    if model.backbone.packs or all(len(ids) == longest for ids in inputs):
        padded = torch.tensor([[pad_id] * (longest - len(ids)) + ids for ids in inputs], device=device)  # (b l)
        starts = None
        if any(len(ids) < longest for ids in inputs):
            first = torch.tensor([[longest - len(ids)] for ids in inputs], device=device)
            starts = torch.arange(longest, device=device) == first  # (b l)
        logits, state = model(padded, model.init_state(len(inputs), capacity), starts)
        assert state is not None, "a backbone that is given a state returns one"
        return logits[:, -1], state
    parts: list[tuple[Tensor, State]] = []
    order: list[int] = []
    for size in sorted({len(ids) for ids in inputs}):
        members = [row for row, ids in enumerate(inputs) if len(ids) == size]
        parts.append(_prefill(model, [inputs[row] for row in members], pad_id, capacity, device))
        order.extend(members)
    back = torch.tensor(order, device=device).argsort()
    joined = {key: torch.cat([state[key] for _, state in parts]) for key in parts[0][1]}
    return torch.cat([logits for logits, _ in parts])[back], select(joined, back)


def _advance(grammar: Grammar, prompts: list[list[int]]) -> State:
    """The grammar's state after each prompt, read token by token and equal prompts once; shorter ones stand still."""
    different = list(dict.fromkeys(map(tuple, prompts)))
    state = grammar.begin(len(different))
    for position in range(max(map(len, different))):
        rows = [row for row, prompt in enumerate(different) if position < len(prompt)]
        ids = torch.tensor([different[row][position] for row in rows])
        part = select(state, rows)
        moved = grammar.advance(part, _beside(ids, part))
        at = {key: torch.tensor(rows, device=value.device) for key, value in state.items()}
        state = {key: value.index_copy(0, at[key], moved[key]) for key, value in state.items()}
    return select(state, [different.index(tuple(prompt)) for prompt in prompts])


def _beside(ids: Tensor, state: State) -> Tensor:
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
