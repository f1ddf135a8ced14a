"""All laws over one tokenizer: what goes in must come out, and whatever comes out of a model must decode."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.contracts.tokenizer import Ids, token_names, vocab_sizes
from core.seeds import generator
from plugins.laws.law import Finding, Law, verdict
from plugins.laws.pieces import Specimen, heard, specimens
from plugins.laws.tokenizers import grammars as grammar_laws
from plugins.laws.tokenizers import parts as part_laws
from plugins.laws.tokenizers import tables as table_laws
from plugins.laws.tokenizers import telling as telling_laws
from plugins.laws.tokenizers import unusual as unusual_laws
from plugins.laws.tokenizers.subject import (
    MEASURES,
    Marked,
    TokenizerSubject,
    law,
    on_pieces,
    same_ids,
    same_music,
    same_notes,
)
from plugins.laws.tokenizers.tokens import ids_of, random_tokens, token_of

MODULES = [unusual_laws, telling_laws, table_laws, grammar_laws, part_laws]
ORDER = [__name__, *(module.__name__ for module in MODULES)]
PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))


def tokenizer_laws(build: Callable[..., Any], hparams: Any) -> list[Law]:
    """The laws, not yet judged. A tokenizer that learns is trained on the pieces of the examination."""
    subject = TokenizerSubject(build, hparams)
    ordered = sorted(MEASURES, key=lambda marked: ORDER.index(marked.measure.__module__))
    return [
        Law(
            name=marked.name,
            measure=partial(on_pieces, marked.measure, subject),
            cases=partial(_cases, marked, subject),
            smaller=lambda case: (),  # the pieces come smallest first
            tolerance=0.0,
        )
        for marked in ordered
    ]


def _cases(marked: Marked, subject: TokenizerSubject) -> Sequence[Specimen]:
    nameless = replace(subject.specimens[0], name="")  # a measure that is taken once sees to its pieces itself
    return [nameless] if marked.once else subject.specimens


@law("declares its vocabulary", once=True)
def declares(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    size = tokenizer.vocab_size
    yield verdict(f"vocab_size is {size!r}; expected an int of at least 4", isinstance(size, int) and size > 3)
    streams = tokenizer.streams
    yield verdict(f"streams is {streams!r}; expected an int of at least 1", isinstance(streams, int) and streams > 0)
    if streams > 1:
        sizes = list(tokenizer.vocab_sizes)
        good = len(sizes) == streams and all(isinstance(one, int) and one > 0 for one in sizes) and sizes[0] == size
        yield verdict(f"vocab_sizes is {sizes}; expected {streams} sizes, the first {size} as vocab_size says", good)
    specials = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)
    yield verdict(f"pad, bos, eos are {specials}; expected three different ids", len(set(specials)) == 3)
    yield verdict(f"pad, bos, eos are {specials}; expected 0 to {size - 1}", all(0 <= id < size for id in specials))


@law("takes music or names the piece", once=True)
def takes_music(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    refused = []
    for one in subject.specimens:
        try:
            subject.tokenizer.encode(one.piece)
        except ValueError as error:
            refused.append(one.name)
            named = one.piece.source in str(error)
            yield verdict(f"{one} is refused without its source {one.piece.source!r}: {error}", named)
            yield verdict(f"{one} is refused, a plain melody: {error}", not one.plain)
    few = 2 * len(refused) <= len(subject.specimens)
    yield verdict(f"refused: {', '.join(refused)}; expected to take at least half", few)


@law("piece left alone")
def piece_left_alone(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    subject.ids(specimen)
    piece = next(one.piece for one in specimens() if one.name == specimen.name)  # one that no law has encoded yet
    before = heard(piece)
    subject.tokenizer.encode(piece)
    yield same_notes("encode changed the piece", heard(piece), before)


@law("ids in range")
def ids_in_range(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokens, sizes = subject.ids(specimen), vocab_sizes(subject.tokenizer)
    yield verdict("no ids", len(tokens) > 0)
    if len(sizes) > 1:
        odd = [token for token in tokens if not isinstance(token, list) or len(token) != len(sizes)]
        yield verdict(f"token {odd[:1]!r}; expected lists of {len(sizes)} ids", not odd)
    for stream, size in enumerate(sizes):
        ids = [ids_of(token)[stream] for token in tokens]
        wrong = [id for id in ids if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < size]
        types = sorted({type(id).__name__ for id in wrong})
        where = f" in stream {stream}" if len(sizes) > 1 else ""
        yield verdict(f"{wrong[:3]!r} of type {' and '.join(types)}{where}; expected ints below {size}", not wrong)


@law("specials never emitted")
def specials_never_emitted(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer, ids = subject.tokenizer, [ids_of(token)[0] for token in subject.ids(specimen)]
    for name in ("pad_id", "bos_id", "eos_id"):
        yield verdict(f"{name} is among the ids; the hub adds it", getattr(tokenizer, name) not in ids)


@law("deterministic")
def deterministic(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer, other = subject.tokenizer, subject.again()
    ids = subject.ids(specimen)
    yield same_ids("encoding again", tokenizer, tokenizer.encode(specimen.piece), ids)
    yield same_ids("another one of the same hparams", tokenizer, other.encode(specimen.piece), ids)
    same = tokenizer.fingerprint() == other.fingerprint() == tokenizer.fingerprint()
    yield verdict("fingerprints of two of the same hparams differ", same)


@law("a plain melody comes through")
def melody_comes_through(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    """Pitches and the times between them, both of which every representation of music keeps.

    A tokenizer whose time is no grid of beats may declare by how many quarters it is out: `time_error`.
    """
    if specimen.plain:
        said, found = heard(specimen.piece), heard(subject.tokenizer.decode(subject.ids(specimen)))
        pitches = [note.pitch for note in said], [note.pitch for note in found]
        yield verdict(f"pitches {pitches[0]} became {pitches[1]}", pitches[0] == pitches[1])
        gaps = [[b.start - a.start for a, b in pairwise(notes)] for notes in (said, found)]
        error = getattr(subject.tokenizer, "time_error", 0)
        near = all(abs(a - b) <= error for a, b in zip(*gaps, strict=True))
        told = [list(map(str, each)) for each in gaps]
        yield verdict(f"times between notes {told[0]} became {told[1]}", near)


@law("music survives")
def music_survives(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    once = tokenizer.decode(subject.ids(specimen))
    yield verdict("decode gives no notes", len(heard(once)) > 0)
    yield same_music("decoded, encoded and decoded again", tokenizer.decode(tokenizer.encode(once)), once)


@law("it settles")
def it_settles(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    once = list(tokenizer.encode(tokenizer.decode(subject.ids(specimen))))
    again = list(tokenizer.encode(tokenizer.decode(once)))
    yield same_ids("after one round another round changes the ids", tokenizer, again, once)


@law("decode accepts anything", once=True)
def decode_accepts_anything(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer, sizes = subject.tokenizer, vocab_sizes(subject.tokenizer)
    specials = [token_of(tokenizer, id) for id in (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)]
    beyond = [token_of(tokenizer, *(size + more for size in sizes)) for more in (0, 1, 1000)]
    yield _decodes(tokenizer, "the empty list", [])
    for stream, size in enumerate(sizes):
        for id in range(min(size, 2000)):
            token = token_of(tokenizer, *[0] * stream, id)
            yield _decodes(tokenizer, f"[{token}] ({' '.join(token_names(tokenizer, token))})", [token])
    for token in beyond:
        yield _decodes(tokenizer, f"[{token}], from vocab_size on", [token])
    for one in subject.taken():
        ids = subject.ids(one)
        for cut in range(1, min(len(ids), 120)):
            yield _decodes(tokenizer, f"{one}, the first {cut} of {len(ids)} ids", ids[:cut])
            yield _decodes(tokenizer, f"{one}, without the first {cut} of {len(ids)} ids", ids[cut:])
        mixed = [specials[0], *ids[:7], *specials, *ids[7:], specials[2], beyond[1]]
        yield _decodes(tokenizer, f"{one} with specials strewn in", mixed)
    for length in (3, 10, 30, 100):
        for number in range(20):
            ids = random_tokens(tokenizer, generator("decode anything", length, number), length)
            yield _decodes(tokenizer, f"random ids {ids if length < 11 else f'({length} of them)'}", ids)


def _decodes(tokenizer: Any, what: str, ids: Ids) -> Finding:
    """Decodes, and writes a file from what comes out."""
    try:
        score = tokenizer.decode(ids).score
        sound = all(0 <= note.pitch < 128 and note.duration > 0 for track in score.tracks for note in track.notes)
        score.dumps_midi()
    except Exception as error:
        return verdict(f"{what}: raised {type(error).__name__}: {error}", False)
    return verdict(f"{what}: gives notes of no length or outside 0 to 127", sound)


@law("every id has a name", once=True)
def every_id_has_a_name(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    for stream, size in enumerate(vocab_sizes(tokenizer)):
        for id in range(size):
            name = token_names(tokenizer, token_of(tokenizer, *[0] * stream, id))[stream]
            yield verdict(f"token({id}) is {name!r}; expected a name", isinstance(name, str) and name != "")


@law("save and build give the same tokenizer", once=True)
def save_and_build(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer = subject.tokenizer
    with TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save(folder)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            yield verdict(f"{file.name} is a pickle", not file.read_bytes().startswith(PICKLES))
        other = subject.build(subject.hparams, folder)
        prints = tokenizer.fingerprint(), other.fingerprint()
        yield verdict(f"fingerprint {prints[0]} became {prints[1]}", prints[0] == prints[1])
        yield verdict(f"fingerprint is {prints[0]!r}; expected a word", isinstance(prints[0], str) and prints[0] != "")
        sizes = vocab_sizes(tokenizer), vocab_sizes(other)
        yield verdict(f"vocab_size {sizes[0]} became {sizes[1]}", sizes[0] == sizes[1])
        for one in subject.taken():
            ids = subject.ids(one)
            yield same_ids(f"{one}", tokenizer, list(other.encode(one.piece)), ids)
            yield same_music(f"{one}, decoded", other.decode(ids), tokenizer.decode(ids))
    if hasattr(tokenizer, "train"):
        other = subject.again(few=2)
        told = other.fingerprint() != tokenizer.fingerprint()
        for one in subject.taken():
            same = list(other.encode(one.piece)) == subject.ids(one)
            yield verdict(f"{one}: learned from 2 pieces it gives other ids under the same fingerprint", same or told)
