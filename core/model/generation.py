"""Generation in batches: prefill the prompts, then draw step by step from a cached state.

Shapes: b batch, l length, v vocabulary, k streams of a token, d model width; ids are (b l), of several streams (b l k).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State, select
from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids
from core.model.conditioning import Known
from core.model.drawing import Drawer
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, insist_drawn, uniform
from core.model.stepping import Stepper

AHEAD = 64  # steps whose random numbers are made at once
UNREAD = 16  # steps that a GPU takes before the host reads what was drawn, where no grammar has to know it


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
            step = 0
            while run.alive and step < length:
                for drawn in run.steps(step, min(run.unread, length - step), stop):
                    if progress is not None:
                        progress(drawn)
                    step += 1
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
        self.drawers = [Drawer(partial(self._logits, stream), sampling, 1 + self.twice) for stream in range(len(sizes))]
        self.unread = 1
        if self.stepper.recorded:
            numbers = torch.zeros(len(prompts), dtype=torch.float64, device=self.device)
            for drawer, seen in zip(self.drawers, self.seen, strict=True):
                drawer.record(self.hidden, numbers, torch.ones_like(seen), seen)
            self.unread = UNREAD if grammar is None and not model.chain else 1

    def steps(self, step: int, count: int, stop: Callable[[int, Ids], bool] | None) -> list[int]:
        """Draws up to `count` tokens a row and drops the rows that ended; how many tokens each step drew.

        The host reads them together, so that a row that has ended may have gone on unheard.
        """
        ahead = [self._draw(step)]  # (b) or (b k)
        for later in range(step + 1, step + count):
            ahead[-1] = ahead[-1].clone()  # the next draw may overwrite it
            self._read(ahead[-1].clamp(min=0))  # a row without an id is complained of below
            ahead.append(self._draw(later))
        read = torch.stack(ahead).cpu()  # once
        draws: list[int] = []
        going = list(range(len(self.alive)))
        for tokens in read.tolist():
            draws.append(len(going))
            insist_drawn([tokens[i][0] if self.model.chain else tokens[i] for i in going])
            going = [i for i in going if self._goes_on(i, tokens[i], stop)]
            if not going:
                break
        fewer = len(going) < len(self.alive)
        self._drop(going)
        if going:
            self._read(ahead[-1][torch.tensor(going, device=self.device)] if fewer else ahead[-1])
            if self.grammar is not None:  # after the model, so that a GPU computes meanwhile
                last, state = read[-1][going] if fewer else read[-1], self.grammar_state
                self.grammar_state = self.grammar.advance(state, near(last, state))
        return draws

    def _goes_on(self, i: int, token: Any, stop: Callable[[int, Ids], bool] | None) -> bool:
        """Whether a row has not ended with a token, which is kept unless it says so itself."""
        piece = self.alive[i]
        if (token[0] if self.model.chain else token) == self.eos_id:
            self.ended[piece] = int(self.offered[i].sum()) > 1
            return False
        self.ids[piece].append(token)
        return stop is None or not stop(self.numbers[piece], self.ids[piece])

    def _drop(self, going: list[int]) -> None:
        """Goes on with some rows alone."""
        count = len(self.alive)
        self.alive = [self.alive[i] for i in going]
        if not going or len(going) == count:
            return
        kept = torch.tensor(going, device=self.device)
        self.stepper.keep(torch.cat([kept, kept + count]) if self.twice else kept)
        self.rows, self.seen = self.rows[kept], [seen[kept] for seen in self.seen]
        self.numbers_ahead = self.numbers_ahead[:, kept]
        self.grammar_state = select(self.grammar_state, going)

    def _read(self, drawn: Tensor) -> None:
        """Feeds one token a row, (b) or (b k)."""
        for seen, ids in zip(self.seen, drawn.view(len(drawn), -1).unbind(1), strict=True):
            seen.scatter_(1, ids[:, None], True)
        self.hidden = self.stepper(self._doubled(drawn))

    def _draw(self, step: int) -> Tensor:
        """The next token of each row, (b) or (b k); behind an end the other streams say nothing."""
        streams = self.model.streams
        if step % AHEAD == 0:  # a hash of many small operations costs the same for many steps as for one
            draws = torch.arange(step * streams, (step + AHEAD) * streams, device=self.device)[:, None]
            self.numbers_ahead = uniform(self.sampling.seed, self.rows, draws)  # (n b)
        first = step % AHEAD * streams
        self.offered = self._allowed(step)
        id = self.drawers[0](self.hidden, self.numbers_ahead[first], self.offered, self.seen[0])
        if not self.model.chain:
            return id
        insist_drawn(id.tolist())
        hidden, known, end = self.hidden, id[:, None], (id == self.eos_id)[:, None]  # known (b j)
        for stream in range(1, streams):
            hidden = self.model.told(hidden, stream - 1, self._doubled(known[:, -1]))
            allowed = torch.ones_like(self.seen[stream])
            if self.grammar is not None:
                beside = near(known, self.grammar_state)
                allowed = self._sent(self.grammar.allowed(self.grammar_state, beside)) | end
            id = self.drawers[stream](hidden, self.numbers_ahead[first + stream], allowed, self.seen[stream])
            insist_drawn(id.tolist())
            known = torch.cat([known, id[:, None]], dim=1)
        return known

    def _doubled(self, drawn: Tensor) -> Tensor:
        """What the rows of the model read, the second half of which knows nothing where there is guidance."""
        return torch.cat([drawn, drawn]) if self.twice else drawn

    def _logits(self, stream: int, hidden: Tensor) -> Tensor:
        """The logits (b v) of one stream to draw from."""
        logits = self.model.logits(hidden, stream)
        if not self.twice:
            return logits
        knowing, without = logits.chunk(2)
        return without + self.guidance * (knowing - without)

    def _allowed(self, step: int) -> Tensor:
        """What the first id of the next token may be (b v)."""
        if self.grammar is not None:
            return self._sent(self.grammar.allowed(self.grammar_state)) & self.music
        allowed = self.music.repeat(len(self.alive), 1)
        if step == 0:
            allowed[:, self.eos_id] = False
        return allowed

    def _sent(self, mask: Tensor) -> Tensor:
        """A mask on the model's device; to a GPU it goes behind the step at work there, which nobody waits for."""
        if self.device.type == "cuda" and not mask.is_cuda:
            return mask.pin_memory().to(self.device, non_blocking=True)
        return mask.to(self.device)

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
