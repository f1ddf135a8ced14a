"""Laws of a tokenizer's optional maps: transposition, velocity, tempo, and the places where bars begin."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import symusic

from core.contracts.tokenizer import Ids, token_names, vocab_sizes
from core.seeds import generator
from datatools.reading.scores import piece_from_score
from plugins.laws.law import Finding, Skipped, verdict
from plugins.laws.pieces import Specimen, bar_of, heard
from plugins.laws.tokenizers.subject import TokenizerSubject, law, same_notes
from plugins.laws.tokenizers.tokens import ids_of, random_tokens, token_of

SEMITONES = (-12, -5, -1, 1, 7)


Tables = list[list[int]]  # one a stream


def table_of(subject: TokenizerSubject, method: str, amount: float) -> Tables:
    """A map as it was asked for; Skipped for none, AssertionError for one of other sizes or images."""
    try:
        made = list(subject.offered(method)(amount))
    except ValueError as error:  # these hyper-parameters leave nothing to map, and say so
        raise Skipped(f"{method}: {error}") from error
    sizes = vocab_sizes(subject.tokenizer)
    tables = [made] if len(sizes) == 1 else [list(table) for table in made]
    if len(tables) != len(sizes):
        raise AssertionError(f"{method}({amount}) has {len(tables)} tables; expected one for each of {len(sizes)}")
    for table, size in zip(tables, sizes, strict=True):
        if len(table) != size or not all(-1 <= image < size for image in table):
            raise AssertionError(f"{method}({amount}) has {len(table)} entries; expected {size}, each -1 or an id")
    return tables


def images_of(tables: Tables, tokens: Ids) -> Ids | None:
    """The tokens under the map; None when an id of them has no image."""
    images = [[table[id] for table, id in zip(tables, ids_of(token), strict=True)] for token in tokens]
    if any(-1 in image for image in images):
        return None
    return [image[0] for image in images] if len(tables) == 1 else images


@law("transposition commutes")
def transposition_commutes(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    ids, tokenizer = subject.ids(specimen), subject.tokenizer
    nought = images_of(table_of(subject, "transpose_table", 0), ids)
    yield verdict("transposition by 0 changes ids", nought == ids)
    plain = heard(tokenizer.decode(ids))
    for semitones in SEMITONES:
        images = images_of(table_of(subject, "transpose_table", semitones), ids)
        if images is None:
            yield verdict(f"a plain melody has no image {semitones} semitones away", not specimen.plain)
            continue
        expected = sorted(note._replace(pitch=note.pitch + semitones * (not note.drum)) for note in plain)
        yield same_notes(f"{semitones} semitones", heard(tokenizer.decode(images)), expected)


@law("transposition can be undone", once=True)
def transposition_undone(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    for semitones in SEMITONES:
        pair = (table_of(subject, "transpose_table", sign * semitones) for sign in (1, -1))
        for stream, (there, back) in enumerate(zip(*pair, strict=True)):
            for id, image in enumerate(there):
                if image != -1:
                    name = token_names(subject.tokenizer, token_of(subject.tokenizer, *[0] * stream, id))[stream]
                    yield verdict(f"{name}: {semitones} semitones and back gives id {back[image]}", back[image] == id)


@law("velocity and tempo maps keep the notes")
def other_maps(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    ids, tokenizer = subject.ids(specimen), subject.tokenizer
    piece = tokenizer.decode(ids)
    plain = [note._replace(velocity=0) for note in heard(piece)]
    reasons = []
    for method, nothing, amounts in (("velocity_table", 0, (-2, 1)), ("tempo_table", 1.0, (0.5, 0.9, 1.1, 2.0))):
        try:
            nought = table_of(subject, method, nothing)
        except Skipped as reason:
            reasons.append(str(reason))
            continue
        yield verdict(f"{method}({nothing}) changes ids", images_of(nought, ids) == ids)
        told, moved = _told(subject, specimen, method), []
        for amount in amounts:
            images = images_of(table_of(subject, method, amount), ids)
            if images is not None:
                mapped = tokenizer.decode(images)
                found = [note._replace(velocity=0) for note in heard(mapped)]
                yield same_notes(f"{method}({amount})", sorted(found), sorted(plain))
                if told:
                    yield (_louder if method == "velocity_table" else _faster)(amount, piece, mapped)
                    moved.append(images != ids)
        yield verdict(f"{method}({' and '.join(map(str, amounts))}): the piece stays as it is", not moved or any(moved))
    if len(reasons) == 2:
        raise Skipped("; ".join(reasons))


def _told(subject: TokenizerSubject, specimen: Specimen, method: str) -> bool:
    """Whether the same piece has other ids when it is loud or fast; where not, a map has no work."""
    apart = []
    for velocity, qpm in ((20, 60.0), (120, 200.0)):
        score = specimen.piece.score.copy()
        if method == "velocity_table":
            for track in score.tracks:
                for note in track.notes:
                    note.velocity = velocity
        else:
            score.tempos.clear()
            score.tempos.append(symusic.Tempo(0, qpm))
        apart.append(list(subject.tokenizer.encode(piece_from_score(score))))
    return apart[0] != apart[1]


def _louder(steps: float, piece: Any, mapped: Any) -> Finding:
    """Notes are louder, or for steps below 0 softer, unless they stay at an end of the scale."""
    rows = [sorted((note._replace(velocity=0), note.velocity) for note in heard(each)) for each in (piece, mapped)]
    moved = [((after - before) * steps, before, after) for (_, before), (_, after) in zip(*rows, strict=True)]
    least, before, after = min(moved)
    return verdict(f"velocity_table({steps}): a note of {before} became one of {after}", least >= 0)


def _faster(factor: float, piece: Any, mapped: Any) -> Finding:
    """Half and twice the tempo are another step of any tempos; for less the nearest step may be the same."""
    before, after = ([mark.qpm for mark in each.score.tempos][:1] for each in (piece, mapped))
    if not before or not after:
        return verdict(f"tempo_table({factor}): the tempo is lost", bool(after) or not before)
    risen = (after[0] - before[0]) * (1 if factor > 1 else -1)
    right = risen > 0 if factor in (0.5, 2.0) else risen >= 0
    return verdict(f"tempo_table({factor}): {before[0]:g} a minute became {after[0]:g}", right)


@law("bar starts in order")
def bar_starts_in_order(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    bar_starts, ids = subject.offered("bar_starts"), subject.ids(specimen)
    yield _in_order("the piece", ids, bar_starts(ids))
    found = len(bar_starts(ids))
    yield verdict("no bar in a whole piece", found > 0)
    if specimen.plain:  # a note in every bar; who tells no meters takes all for 4/4
        last = max(note.start for note in heard(specimen.piece))
        bars = {bar_of(specimen.piece.score, last), math.floor(last / 4) + 1}
        yield verdict(f"{found} bars; expected {' or '.join(map(str, sorted(bars)))}", found in bars)
    for number in range(5):
        drawn = random_tokens(subject.tokenizer, generator("bars", specimen.name, number), 40)
        yield _in_order(f"random ids {number}", drawn, bar_starts(drawn))
    yield _in_order("the empty list", [], bar_starts([]))


def _in_order(what: str, ids: Ids, starts: Any) -> Finding:
    starts = [int(start) for start in starts]
    rising = all(a < b for a, b in pairwise(starts))
    inside = all(0 <= start < len(ids) for start in starts)
    return verdict(f"{what}: bars at {starts[:8]} of {len(ids)} ids; expected rising positions", rising and inside)
