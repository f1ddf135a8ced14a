"""Laws of one and the same answer: decode remembers nothing, and a fingerprint tells every option."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from core.contracts.tokenizer import Ids
from core.seeds import generator
from plugins.laws.law import Finding, Skipped, verdict
from plugins.laws.pieces import Specimen, heard
from plugins.laws.tokenizers.subject import TokenizerSubject, law, same_notes
from plugins.laws.tokenizers.tokens import random_tokens, token_of


@law("decode leaves its ids alone and remembers nothing", once=True)
def decode_remembers_nothing(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    whole = subject.ids(subject.taken()[-1])
    end = token_of(tokenizer, tokenizer.eos_id)
    for name, ids in (
        ("a piece and its end", [*whole, end, end]),
        ("ids with an end between", [*whole[:9], end, *whole]),
    ):
        given = [list(token) if isinstance(token, list) else token for token in ids]
        tokenizer.decode(given)
        yield verdict(f"decode changed the list that it was given, {name}", given == ids)
    odd = {
        f"random ids {number}": random_tokens(tokenizer, generator("decode again", number), 40) for number in range(8)
    }
    odd |= {f"a piece without id {at}": [*whole[:at], *whole[at + 1 : 40]] for at in range(6)}
    for name, ids in odd.items():
        answers = []
        for one in (*subject.taken()[:2], subject.taken()[-1]):
            tokenizer.decode(subject.ids(one))
            answers.append(_told(tokenizer, ids))
        for notes, tempos in answers[1:]:
            yield same_notes(f"{name}, decoded after another piece", notes, answers[0][0])
            yield verdict(f"{name}: other tempos when decoded after another piece", tempos == answers[0][1])


def _told(tokenizer: Any, ids: Ids) -> tuple[Any, Any]:
    piece = tokenizer.decode(ids)
    return heard(piece), [(mark.time, mark.mspq) for mark in piece.score.tempos]


@law("fingerprint tells the options", once=True)
def fingerprint_tells_options(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    """With a hyper-parameter changed a little, where the same music has other ids or the same ids are other music, the
    fingerprint is another."""
    if not is_dataclass(subject.hparams):
        raise Skipped("its hyper-parameters are no dataclass")
    own = subject.tokenizer.fingerprint()
    for option, changed in _variants(subject.hparams):
        try:
            other = TokenizerSubject(subject.build, changed)
            if other.tokenizer.fingerprint() != own:
                continue
        except Exception:  # a combination that is not to be had
            continue
        for one in subject.taken()[:4]:
            ids = subject.ids(one)
            try:
                same = list(other.tokenizer.encode(one.piece)) == ids
            except ValueError:
                same = False
            yield verdict(f"{option}: {one} has other ids under the same fingerprint", same)
            mine, theirs = (_told(each, ids) for each in (subject.tokenizer, other.tokenizer))
            yield verdict(f"{option}: {one} is decoded to other music under the same fingerprint", mine == theirs)


def _variants(hparams: Any) -> Iterator[tuple[str, Any]]:
    """A name and the hyper-parameters with one field changed by a little, for each that is a number or a choice."""
    hints = get_type_hints(type(hparams))
    for field in fields(hparams):
        value, hint = getattr(hparams, field.name), hints[field.name]
        others: list[Any] = []
        if get_origin(hint) is Literal:
            others = [choice for choice in get_args(hint) if choice != value]
        elif isinstance(value, bool):
            others = [not value]
        elif isinstance(value, int):
            others = [value + 1, value - 1]
        elif isinstance(value, float):
            others = [value * 1.5]
        for other in others:
            try:
                yield f"{field.name} {value!r} became {other!r}", replace(hparams, **{field.name: other})
            except Exception:
                continue
            break
