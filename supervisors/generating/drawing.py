"""Draws token ids as `generate.*` asks."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from core.log import warn_once
from core.model.conditioning import Known
from core.model.generation import Generated, generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from hparams.base import GenerateHParams


def sampling_of(asked: Any) -> Sampling:
    """How to draw, of whatever has the fields of a Sampling under their names: hyper-parameters or a request."""
    return Sampling(**{field.name: getattr(asked, field.name) for field in fields(Sampling)})


def draw(
    model: LanguageModel,
    tokenizer: Tokenizer,
    asked: GenerateHParams,
    prompt: Ids,
    row: int | None,
    attempt: int,
    progress: Any,
    known: Known | None = None,
) -> list[tuple[int, Generated]]:
    positions = list(range(asked.count)) if row is None else [row]
    grammar = _grammar(tokenizer, prompt, asked)
    bars = bar_counter(tokenizer, prompt, asked.bars) if asked.bars and grammar is None else None
    pieces = generate(
        model,
        [prompt] * len(positions),
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        length=asked.length,
        sampling=sampling_of(asked),
        grammar=grammar,
        first_row=positions[0] + attempt * asked.count,
        progress=progress,
        stop=bars,
        known=known,
        guidance=asked.guidance,
    )
    return list(zip(positions, pieces, strict=True))


def room(model: LanguageModel, prompt: Ids, length: int) -> int:
    """`length` tokens, or as many as a model with learned places can add to a prompt; HubError where there are none."""
    if model.positions is None or length + len(prompt) < model.positions:
        return length
    left = model.positions - 1 - len(prompt)  # one is the beginning's
    if left < 1:
        raise HubError(
            f"generate.prompt has {len(prompt):,} tokens and the model reads {model.positions - 1:,} at most; "
            "cut it with generate.prompt_bars"
        )
    warn_once(f"the model has learned places for {model.positions:,} tokens: no piece will have more")
    return left


def _grammar(tokenizer: Tokenizer, prompt: Ids, asked: GenerateHParams) -> Grammar | None:
    """What may follow what, for the bars and tokens asked for."""
    told = len(bar_starts(tokenizer)(prompt)) if asked.bars and prompt and hasattr(tokenizer, "grammar") else 0
    return grammar_of(tokenizer, asked.bars and asked.bars + told, asked.length + len(prompt))


def grammar_of(tokenizer: Tokenizer, bars: int, length: int) -> Grammar | None:
    """What the tokenizer says may follow what, for pieces of so many bars and tokens; None where it cannot tell."""
    make = getattr(tokenizer, "grammar", None)
    if make is None:
        return None
    try:
        grammar: Grammar = make(bars=bars, length=length)
    except ValueError as error:
        warn_once(f"generating without a grammar: {error}")
        return None
    return grammar


def bar_starts(tokenizer: Tokenizer) -> Callable[[Ids], Sequence[int]]:
    """Where bars begin in ids; HubError of a tokenizer that does not know."""
    starts: Callable[[Ids], Sequence[int]] | None = getattr(tokenizer, "bar_starts", None)
    if starts is None:
        raise HubError("generate.bars: this tokenizer does not know its bars; give generate.length (tokens) instead")
    return starts


def bar_counter(tokenizer: Tokenizer, prompt: Ids, bars: int) -> Callable[[int, Ids], bool]:
    """Whether ids hold more than `bars` bars behind the prompt, asked as `generate` asks `stop`."""
    starts = bar_starts(tokenizer)
    most = bars + len(starts(prompt))
    return lambda row, ids: len(starts(ids)) > most
