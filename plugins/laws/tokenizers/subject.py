"""A tokenizer under examination: built, trained where it learns, and fed with small pieces.

A law of tokenizers is a function of (subject, specimen) or of the subject alone; both yield findings.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

from core.contracts.tokenizer import Ids, token_names
from core.log import logger
from plugins.laws.law import Finding, LawBroken, Skipped, one_thread
from plugins.laws.pieces import Specimen, heard, specimens

Measure = Callable[["TokenizerSubject", Specimen], Iterable[Finding]]


class Marked(NamedTuple):
    """A measure with its law's name; `once`: it concerns no single piece."""

    name: str
    measure: Measure
    once: bool


MEASURES: list[Marked] = []
ALL = "all pieces"


def law(name: str, *, once: bool = False) -> Callable[[Measure], Measure]:
    """Marks a measure as a law."""

    def mark(measure: Measure) -> Measure:
        MEASURES.append(Marked(name, measure, once))
        return measure

    return mark


class TokenizerSubject:
    """Builds the tokenizer once and keeps what it made of each piece."""

    def __init__(self, build: Callable[..., Any], hparams: Any) -> None:
        self.build = build
        self.hparams = hparams
        self.kept: dict[str, Any] = {}  # what several laws look at and is costly to make
        self._ids: dict[str, Ids] = {}

    @cached_property
    def specimens(self) -> list[Specimen]:
        """The pieces, the smallest first."""
        return specimens()

    @cached_property
    def tokenizer(self) -> Any:
        """Built and, where it learns, trained on the pieces."""
        return self.again()

    def again(self, few: int | None = None) -> Any:
        """Another one, made in the same way; `few`: trained on the first few pieces alone."""
        tokenizer = self.build(self.hparams)
        if hasattr(tokenizer, "train"):
            tokenizer.train(specimen.piece for specimen in specimens()[:few])
        return tokenizer

    def ids(self, specimen: Specimen) -> Ids:
        """The ids of a piece; Skipped for one that the tokenizer refuses, which has a law of its own."""
        if specimen.name not in self._ids:
            try:
                self._ids[specimen.name] = list(self.tokenizer.encode(specimen.piece))
            except ValueError as error:
                raise Refused(str(error)) from error
        return self._ids[specimen.name]

    def taken(self) -> list[Specimen]:
        """The pieces that the tokenizer does not refuse."""
        found = []
        for specimen in self.specimens:
            try:
                self.ids(specimen)
            except Refused:
                continue
            found.append(specimen)
        return found

    def offered(self, method: str) -> Callable[..., Any]:
        """An optional method; Skipped when there is none."""
        found = getattr(self.tokenizer, method, None)
        if found is None:
            raise Skipped(f"offers no {method}")
        return found  # type: ignore[no-any-return]


class Refused(Exception):
    """The tokenizer does not take this piece."""


def same_music(what: str, found: Any, expected: Any) -> Finding:
    """Compares the notes of two pieces; the deviation is the share of notes that differ."""
    return same_notes(what, heard(found), heard(expected))


def same_notes(what: str, found: Sequence[Any], expected: Sequence[Any]) -> Finding:
    """Compares two sorted lists of notes and names the first difference."""
    for at, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            wrong = sum(a != b for a, b in zip_longest(found, expected)) / max(len(found), len(expected))
            return Finding(f"{what}: note {at} is {_shown(one)}; expected {_shown(other)}", wrong)
    return Finding(what, 0.0)


def same_ids(what: str, tokenizer: Any, found: Sequence[Any], expected: Sequence[Any]) -> Finding:
    """Compares two lists of ids and names the first difference."""
    for at, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            names = [" ".join(token_names(tokenizer, id)) if id is not None else "the end" for id in (one, other)]
            wrong = sum(a != b for a, b in zip_longest(found, expected)) / max(len(found), len(expected))
            return Finding(f"{what}: id {at} is {names[0]}; expected {names[1]}", wrong)
    return Finding(what, 0.0)


def _shown(note: Any) -> str:
    return " ".join(f"{key} {value}" for key, value in note._asdict().items()) if note is not None else "missing"


def on_pieces(measure: Measure, subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    """A measure on one piece; a piece that is refused breaks no law but the one about refusals.

    Warnings about the music are kept back meanwhile: nonsense is decoded here on purpose.
    """
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with one_thread():
            yield from measure(subject, specimen)
    except Refused:
        if not subject.taken():
            raise LawBroken("no piece is taken at all") from None
    finally:
        logger.setLevel(level)
