"""The laws of controls: what is known of a piece is a fixed, finite vector that a person can ask for, too.

They are examined with tokenizers that are registered, since a control may ask one where bars begin.

Shapes: n tokens, c width of the control.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cached_property, partial
from itertools import cycle
from typing import Any

import numpy as np
import torch

from core.contracts.control import describe_example
from core.errors import HubError
from core.model.conditioning import Conditioning, Known
from datatools.reading.scores import piece_from_score
from plugins.laws.law import Finding, Law, LawBroken, verdict
from plugins.laws.pieces import Specimen, heard, specimens

SEMITONES = (-2, 1, 5)
NONSENSE = ("", "no such thing", "-1e9", "???", "nan", "inf")
LABELS = ("quick", "slow", "slow", "quick")  # what a control that reads labels finds on the pieces, in turn
ENOUGH = 2  # tokenizers
ROUNDING = 1e-4  # of float32


class ControlSubject:
    """A control, tokenizers that suit it, and what it knows of each piece under each of them."""

    def __init__(self, build: Callable[[Any], Any], hparams: Any, tokenizers: Iterable[Callable[[], Any]]) -> None:
        self.build, self.hparams, self._tokenizers = build, deepcopy(hparams), tokenizers
        if hasattr(hparams, "learn"):
            self.hparams.learn(LABELS)

    @cached_property
    def control(self) -> Any:
        """Built once."""
        return self.build(self.hparams)

    @cached_property
    def tokenizers(self) -> list[Any]:
        """The first few that suit the control; LawBroken when none does."""
        suits = getattr(self.control, "suits", lambda tokenizer: None)
        found: list[Any] = []
        for make in self._tokenizers:
            try:
                tokenizer = make()
                suits(tokenizer)
            except ValueError:
                continue
            found.append(tokenizer)
            if len(found) == ENOUGH:
                break
        if not found:
            raise LawBroken("no registered tokenizer suits it")
        return found

    @cached_property
    def specimens(self) -> list[Specimen]:
        """The pieces, the smallest first."""
        found = specimens()
        for specimen, word in zip(found, cycle(LABELS), strict=False):
            specimen.piece.labels = {getattr(self.hparams, "column", ""): word}
        return found

    def known(self, control: Any, piece: Any, tokenizer: Any) -> tuple[Any, list[Any]] | None:
        """What `of` gives, and the ids; None where tokenizer or control knows nothing of the piece."""
        try:
            ids = list(tokenizer.encode(piece))
            return control.of(piece, ids, tokenizer), ids
        except ValueError:
            return None


Measure = Callable[[ControlSubject, Specimen], Iterator[Finding]]
MEASURES: list[tuple[str, Measure, bool]] = []


def law(name: str, *, once: bool = False) -> Callable[[Measure], Measure]:
    """Marks a measure as a law; `once`: it concerns no single piece."""

    def mark(measure: Measure) -> Measure:
        MEASURES.append((name, measure, once))
        return measure

    return mark


def control_laws(build: Callable[[Any], Any], hparams: Any, tokenizers: Iterable[Callable[[], Any]]) -> list[Law]:
    """The laws, not yet judged; `tokenizers` make some to examine the control with."""
    subject = ControlSubject(build, hparams, tokenizers)

    def cases(once: bool) -> Sequence[Specimen]:
        return [Specimen("", subject.specimens[0].piece)] if once else subject.specimens

    return [
        Law(name, partial(measure, subject), partial(cases, once), lambda case: (), 0.0)
        for name, measure, once in MEASURES
    ]


@law("declares its width", once=True)
def declares(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    dim = subject.control.dim
    yield verdict(f"dim is {dim!r}; expected an int of at least 1", isinstance(dim, int) and dim > 0)


@law("gives vectors of its width")
def width(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    dim = subject.control.dim
    for tokenizer in subject.tokenizers:
        found = subject.known(subject.control, specimen.piece, tokenizer)
        if found is not None:
            values, ids = found
            shape, dtype = getattr(values, "shape", None), getattr(values, "dtype", None)
            fits = shape in ((dim,), (len(ids), dim)) and dtype == np.float32
            yield verdict(f"{dtype} of shape {shape}; expected float32 ({dim},) or ({len(ids)}, {dim})", fits)
        yield verdict("a plain melody is unknown to it", found is not None or not specimen.plain)


@law("is finite")
def finite(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    for tokenizer in subject.tokenizers:
        found = subject.known(subject.control, specimen.piece, tokenizer)
        yield verdict("what is no finite number", found is None or bool(np.isfinite(found[0]).all()))


@law("deterministic")
def deterministic(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    for tokenizer in subject.tokenizers:
        one, again = (subject.known(subject.control, specimen.piece, tokenizer) for _ in range(2))
        other = subject.known(subject.build(subject.hparams), specimen.piece, tokenizer)
        yield _same("asked again", again, one)
        yield _same("another one of the same hparams", other, one)


@law("piece and ids left alone")
def left_alone(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    fresh = next(one.piece for one in specimens() if one.name == specimen.name)  # not asked about before
    fresh.labels = dict(specimen.piece.labels)
    for tokenizer in subject.tokenizers:
        before, labels = heard(fresh), dict(fresh.labels)
        found = subject.known(subject.control, fresh, tokenizer)
        yield verdict("of changed the piece", heard(fresh) == before and fresh.labels == labels)
        if found is not None:
            values, ids = found
            yield verdict("of changed the ids", ids == list(tokenizer.encode(fresh)))
            kept = np.array(values)
            subject.known(subject.control, subject.specimens[-1].piece, tokenizer)
            yield verdict("another piece changed the vectors of this one", np.array_equal(values, kept))


def _same(what: str, found: Any, expected: Any) -> Finding:
    if found is None or expected is None:
        return verdict(f"{what}: known once and unknown once", found is expected)
    return verdict(f"{what}: other vectors", np.array_equal(found[0], expected[0]))


@law("parses what it describes", once=True)
def parses(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    control = subject.control
    example = describe_example(control)
    yield verdict(f"describe is {control.describe()!r}; expected an example after 'e.g. ' at its end", example != "")
    vector = control.parse(example)
    shape, dtype = getattr(vector, "shape", None), getattr(vector, "dtype", None)
    fits = shape == (control.dim,) and dtype == np.float32 and bool(np.isfinite(vector).all())
    yield verdict(f"parse({example!r}) gives {dtype} of shape {shape}; expected float32 ({control.dim},)", fits)
    for text in NONSENSE:
        try:
            control.parse(text)
        except ValueError as error:
            lines = str(error).splitlines()
            yield verdict(f"parse({text!r}) says {lines}; expected one line with the valid range", len(lines) == 1)
        else:
            yield verdict(f"parse({text!r}) takes what means nothing", False)


@law("its numbers are those it parses", once=True)
def numbers(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    """Of a control whose value is a number: what `number` reads off the vector of each of `numbers` is that number."""
    control = subject.control
    asked = [float(number) for number in getattr(control, "numbers", ())]
    yield verdict(f"numbers are {asked}; expected two different ones, or none", len(set(asked)) != 1)
    if asked:
        vectors = np.stack([control.parse(f"{number:g}") for number in asked])
        told = np.asarray(control.number(vectors))
        fits = told.shape == (len(asked),) and np.allclose(told, asked, rtol=ROUNDING, atol=ROUNDING)
        yield verdict(f"number of the vectors of {asked} is {told.tolist()}", fits)


@law("commutes with transposition")
def commutes(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    """Where the tokens of the moved piece are as many; what is moved out of the keyboard proves nothing."""
    for tokenizer in subject.tokenizers:
        found = subject.known(subject.control, specimen.piece, tokenizer)
        if found is None:
            continue
        values, ids = found
        yield verdict("moved by 0 it changes", np.array_equal(subject.control.transposed(values, 0), values))
        for semitones in SEMITONES:
            pitches = [note.pitch + semitones for track in specimen.piece.score.tracks for note in track.notes]
            if min(pitches) < 21 or max(pitches) > 108:
                continue
            score = specimen.piece.score.shift_pitch(semitones)
            piece = piece_from_score(score, source=specimen.piece.source)
            piece.labels = specimen.piece.labels
            moved = subject.known(subject.control, piece, tokenizer)
            if moved is not None and len(moved[1]) == len(ids):
                expected = subject.control.transposed(values, semitones)
                near = moved[0].shape == expected.shape and np.allclose(moved[0], expected, rtol=0, atol=ROUNDING)
                yield verdict(f"{semitones} semitones: other vectors", near)
        pair, kept = np.stack([values, values]), np.array(values)
        moved = subject.control.transposed(pair, 1)
        each = subject.control.transposed(values, 1)
        fits = getattr(moved, "shape", None) == pair.shape and all(np.array_equal(row, each) for row in moved)
        yield verdict(f"transposed of shape {pair.shape}: other vectors than one by one", fits)
        yield verdict("transposed changed the vectors that it was given", np.array_equal(values, kept))


@law("absent it says nothing", once=True)
def absent(subject: ControlSubject, specimen: Specimen) -> Iterator[Finding]:
    """Left out, not a bit of the model's input hangs on the vector."""
    dim = subject.control.dim
    torch.manual_seed(0)
    conditioning = Conditioning(8, [dim], 0.02)
    torch.nn.init.normal_(conditioning.nulls[0])
    given = torch.zeros(1, 3, 1, dtype=torch.bool)
    values = [torch.zeros(1, 3, dim), torch.from_numpy(subject.control.parse(describe_example(subject.control)))]
    unknown = conditioning(None)
    for value in values:
        same = torch.equal(conditioning(Known(value.expand(1, 3, dim), given)), unknown.expand(1, 3, 8))
        yield verdict("left out, its vector is heard", same)


def registered(manager: Any) -> Iterator[Callable[[], Any]]:
    """Makers of the registered tokenizers with their default hyper-parameters, each tried only when asked for."""

    def made(entry: Any) -> Any:
        try:
            return entry.build(entry.hparams())
        except HubError as error:
            raise ValueError(str(error)) from error

    for name in sorted(manager.tokenizers):
        yield partial(made, manager.tokenizers[name])
