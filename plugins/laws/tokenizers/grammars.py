"""Laws of a tokenizer's optional grammar: it never forbids real music, and never lets nonsense through.

Shapes: b batch, v vocabulary, j streams of a token that are known.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.contracts.backbone import fork, select
from core.contracts.tokenizer import Ids, token_names, vocab_sizes
from core.seeds import derive
from plugins.laws.law import Finding, LawBroken, verdict
from plugins.laws.pieces import Specimen, heard
from plugins.laws.tokenizers.subject import TokenizerSubject, law, same_music
from plugins.laws.tokenizers.tokens import ids_of, token_of

ROWS, STEPS, FEW = 16, 300, 40


class Sample(NamedTuple):
    """A row that was drawn, after how many ids it last might end (-1: never), and what was wrong with its masks.

    A row that does not end by itself may be ended wherever the grammar allows it, as a limit of length does.
    """

    ids: Ids
    end: int
    wrong: list[str]


def _allowed(subject: TokenizerSubject, grammar: Any, state: Any, batch: int, known: Tensor | None = None) -> Tensor:
    """The mask (b v) of what may come next, `known` (b j) telling the token's first streams; LawBroken for no mask."""
    allowed = grammar.allowed(state) if known is None else grammar.allowed(state, known)
    shape = (batch, vocab_sizes(subject.tokenizer)[0 if known is None else known.shape[1]])
    if not isinstance(allowed, Tensor) or allowed.dtype != torch.bool or tuple(allowed.shape) != shape:
        raise LawBroken(f"allowed gave {getattr(allowed, 'shape', type(allowed).__name__)}; expected bool {shape}")
    return allowed


@law("grammar allows real music")
def allows_real_music(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    yield from _allows(subject, subject.offered("grammar")(), subject.ids(specimen))
    counted = getattr(subject.tokenizer, "bar_starts", None)
    if specimen.plain and counted is not None:
        bars = len(counted(subject.ids(specimen)))
        try:
            grammar = subject.offered("grammar")(bars=bars)
        except ValueError:  # it counts no bars
            return
        for finding in _allows(subject, grammar, subject.ids(specimen)):
            yield finding._replace(what=f"grammar(bars={bars}), {finding.what}")


def _allows(subject: TokenizerSubject, grammar: Any, ids: Ids) -> Iterator[Finding]:
    tokenizer, state = subject.tokenizer, grammar.begin(1)
    for at, token in enumerate([*ids, token_of(tokenizer, tokenizer.eos_id)]):
        said, names = ids_of(token), token_names(tokenizer, token)
        for stream in range(len(said) if at < len(ids) else 1):
            known = torch.tensor([said[:stream]]) if stream else None
            mask = _allowed(subject, grammar, state, 1, known)
            yield verdict(f"id {at} ({names[stream]}) is masked", bool(mask[0, said[stream]]))
        if at < len(ids):
            state = grammar.advance(state, torch.tensor([token]))


@law("grammar keeps rows apart", once=True)
def keeps_rows_apart(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    grammar = subject.offered("grammar")()
    rows = [subject.ids(one) for one in subject.taken()]
    length = min(min(map(len, rows)), 40)
    together, alone = grammar.begin(len(rows)), [grammar.begin(1) for _ in rows]
    for at in range(length):
        said = torch.tensor([ids_of(ids[at]) for ids in rows])  # b k
        for stream in range(said.shape[1]):
            known = said[:, :stream] if stream else None
            mask = _allowed(subject, grammar, together, len(rows), known)
            for row in range(len(rows)):
                lone = _allowed(subject, grammar, alone[row], 1, None if known is None else known[row : row + 1])
                same = bool((mask[row] == lone[0]).all())
                yield verdict(f"row {row} of {len(rows)}, id {at}: another mask than alone", same)
        for row, ids in enumerate(rows):
            alone[row] = grammar.advance(alone[row], torch.tensor([ids[at]]))
        kept = fork(together)
        after = grammar.advance(together, torch.tensor([ids[at] for ids in rows]))
        changed = [key for key, value in kept.items() if not torch.equal(together[key], value)]
        yield verdict(f"id {at}: advance changed {', '.join(changed)} of the state that it was given", not changed)
        together = after


def _samples(subject: TokenizerSubject) -> list[Sample]:
    """The samples of this tokenizer, drawn once."""
    if "samples" not in subject.kept:
        subject.kept["samples"] = list(sample(subject, subject.offered("grammar")()))
    found: list[Sample] = subject.kept["samples"]
    return found


def sample(subject: TokenizerSubject, grammar: Any, steps: int = STEPS, count: int = ROWS) -> Iterator[Sample]:
    """Draws `count` rows of at most `steps` tokens from random logits under the mask."""
    tokenizer = subject.tokenizer
    drawn = torch.Generator().manual_seed(derive("grammar laws"))
    ids: list[Ids] = [[] for _ in range(count)]
    wrong: list[list[str]] = [[] for _ in range(count)]
    rows, state, ends = list(range(count)), grammar.begin(count), [-1] * count
    for step in range(steps):
        mask = _allowed(subject, grammar, state, len(rows))
        logits = torch.randn(mask.shape, generator=drawn).masked_fill(~mask, -torch.inf)  # b v
        for at, row in enumerate(rows):
            if mask[at, tokenizer.eos_id]:
                ends[row] = len(ids[row])
            if not mask[at].any():
                wrong[row].append(f"step {step}: nothing is allowed")
            if mask[at, [tokenizer.pad_id, tokenizer.bos_id]].any():
                wrong[row].append(f"step {step}: pad or bos is allowed")
        alive = mask.any(1)
        chosen = torch.where(alive, logits.nan_to_num(neginf=-1e9).argmax(1), tokenizer.eos_id)  # b
        going = [at for at in range(len(rows)) if alive[at] and int(chosen[at]) != tokenizer.eos_id]
        if not going:
            break
        state, rows, known = select(state, going), [rows[at] for at in going], chosen[going][:, None]  # b j
        for stream in range(1, tokenizer.streams):
            mask = _allowed(subject, grammar, state, len(rows), known)
            for row in [row for row, some in zip(rows, mask.any(1).tolist(), strict=True) if not some]:
                wrong[row].append(f"step {step}: nothing is allowed in stream {stream}")
            logits = torch.randn(mask.shape, generator=drawn).masked_fill(~mask, -1e9)
            known = torch.cat([known, logits.argmax(1, keepdim=True)], dim=1)
        tokens = known if tokenizer.streams > 1 else known[:, 0]
        state = grammar.advance(state, tokens)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            ids[row].append(token)
    for row in range(count):
        yield Sample(ids[row], ends[row], wrong[row])


@law("grammar always leaves a token", once=True)
def always_leaves_a_token(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    for ids, _, wrong in _samples(subject):
        yield verdict(f"after {len(ids)} random tokens, {wrong[0] if wrong else 'all is well'}", not wrong)
    try:
        grammar = subject.offered("grammar")(length=FEW)
    except ValueError:
        return
    for ids, _, wrong in sample(subject, grammar, FEW + 1, 4):
        yield verdict(f"length {FEW}, {len(ids)} random tokens, {wrong[0] if wrong else 'all is well'}", not wrong)


@law("grammar samples are music that survives", once=True)
def samples_survive(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    for number, (ids, end, _) in enumerate(_samples(subject)):
        yield verdict(f"sample {number} may not end within {len(ids)} tokens", end >= 0)
        piece = tokenizer.decode(ids[:end])
        yield verdict(f"sample {number}, ended after {end} tokens, has no notes", len(heard(piece)) > 0)
        what = f"sample {number}, ended after {end} tokens, encoded and decoded"
        yield same_music(what, tokenizer.decode(tokenizer.encode(piece)), piece)
