"""Laws of a tokenizer's optional parts: each is called just as the hub calls it, by the names of its arguments."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from core.contracts.tokenizer import KINDS, vocab_sizes
from plugins.laws.law import Finding, Skipped, verdict
from plugins.laws.pieces import Specimen, bar_of, heard
from plugins.laws.tokenizers.grammars import STEPS, sample
from plugins.laws.tokenizers.subject import TokenizerSubject, law, same_ids, same_music
from plugins.laws.tokenizers.tables import table_of
from plugins.laws.tokenizers.tokens import ids_of
from plugins.laws.tokenizers.unusual import line

BARS, CUT = 3, 4
SLACK = 0.25  # seconds
MOMENT = Fraction(1, 1000)  # of a quarter


@law("grammar keeps to the bars asked for", once=True)
def keeps_to_the_bars(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    try:
        grammar = subject.offered("grammar")(bars=BARS, length=STEPS)
    except ValueError as error:
        raise Skipped(f"grammar(bars={BARS}, length={STEPS}): {error}") from error
    counted = getattr(subject.tokenizer, "bar_starts", None)
    samples, begun = list(sample(subject, grammar)), 0 if counted is not None else BARS
    for number, (ids, end, wrong) in enumerate(samples):
        yield verdict(f"sample {number}, {wrong[0] if wrong else 'all is well'}", not wrong)
        if counted is not None and end >= 0:
            bars = reached = len(counted(ids[:end]))
            if 0 < bars < BARS:  # a bar in which nothing begins may have no token, but something sounds in the last
                piece = subject.tokenizer.decode(ids[:end])
                notes = heard(piece)
                reached = bar_of(piece.score, max(note.start for note in notes))
                bars = min(BARS, bar_of(piece.score, max(note.start + note.length for note in notes) - MOMENT))
            begun = max(begun, reached)
            yield verdict(f"sample {number} may end with {bars} bars; asked for {BARS}", bars == BARS)
    if any(end >= 0 for _, end, _ in samples):  # by chance none may come so far
        yield verdict(f"in {len(samples)} samples of {BARS} bars nothing begins behind bar {begun}", begun >= BARS)


@law("optional parts answer as they are asked")
def optional_parts(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer, ids = subject.tokenizer, subject.ids(specimen)
    offered = [name for name in ("opening", "kind_of", "formats") if getattr(tokenizer, name, None) is not None]
    if not offered:
        raise Skipped("offers no opening, kind_of or formats")
    if "opening" in offered:
        opened = list(tokenizer.opening(ids))
        yield verdict(f"opening gave {opened[:6]}..., no beginning of {ids[:6]}...", opened == ids[: len(opened)])
        yield same_music("opening, decoded", tokenizer.decode(opened), tokenizer.decode(ids))
    if "kind_of" in offered:
        for id, stream in {(id, stream) for token in ids for stream, id in enumerate(ids_of(token))}:
            asked = (id, stream) if len(vocab_sizes(tokenizer)) > 1 else (id,)
            kind = tokenizer.kind_of(*asked)
            what = f"kind_of({', '.join(map(str, asked))})"
            yield verdict(f"{what} is {kind!r}; expected one of {', '.join(KINDS)}", kind in KINDS)
    if "formats" in offered:
        plain = all(isinstance(ending, str) and ending.isalnum() for ending in tokenizer.formats)
        yield verdict(f"formats is {tokenizer.formats!r}; expected endings of files such as abc", plain)


@law("kinds fit the maps", once=True)
def kinds_fit_the_maps(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    """Of what moves with the pitch some tells one, and none an onset."""
    kind_of, sizes, kinds = subject.offered("kind_of"), vocab_sizes(subject.tokenizer), set()
    for stream, images in enumerate(table_of(subject, "transpose_table", 1)):
        for id, image in enumerate(images):
            if image not in (-1, id):
                kinds.add(kind_of(id, stream) if len(sizes) > 1 else kind_of(id))
                yield verdict(
                    f"kind_of({id}) of stream {stream} is onset; it moves with the pitch", "onset" not in kinds
                )
    what = f"what moves with the pitch is of the kinds {sorted(kinds)}; expected pitch or several among them"
    yield verdict(what, not kinds or not kinds.isdisjoint({"pitch", "several"}))


@law("bars are cut where they begin", once=True)
def bars_are_cut(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    """Before the start of a bar lie the bars before it, all their notes, and nothing of its own; behind it all others.

    Who cannot do without the beginning of a piece decodes the end of one to nothing."""
    bar_starts, decode = subject.offered("bar_starts"), subject.tokenizer.decode
    ids = subject.ids(line("detached quarters", [(at, 0.5, 60 + at % 5) for at in range(4 * CUT)]))
    starts = list(bar_starts(ids))
    for bar, start in enumerate(starts):
        found = list(bar_starts(ids[:start]))
        yield verdict(f"of {starts} those of the first {start} ids are {found}", found == starts[:bar])
        if len(starts) == CUT and bar:
            notes = len(heard(decode(ids[:start])))
            yield verdict(f"{notes} notes before bar {bar + 1}; expected {4 * bar}, 4 a bar", notes == 4 * bar)
            behind, expected = len(heard(decode(ids[start:]))), 4 * (CUT - bar)
            yield verdict(f"{behind} notes from bar {bar + 1} on; expected {expected}", behind in (0, expected))


@law("seconds and tokens of bars are as declared")
def declared_times(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer, ids = subject.tokenizer, subject.ids(specimen)
    times, bar_tokens = getattr(tokenizer, "times", None), getattr(tokenizer, "bar_tokens", None)
    if times is None and bar_tokens is None:
        raise Skipped("offers no times or bar_tokens")
    if times is not None:
        told = [float(time) for time in times(ids)]
        yield verdict(f"times gave {len(told)} seconds for {len(ids)} tokens", len(told) == len(ids))
        rising = all(0 <= a <= b for a, b in pairwise([0.0, *told]))
        yield verdict(f"times are {told[:6]}...; expected rising seconds", rising)
        notes = heard(tokenizer.decode(ids))  # which tells seconds, so that a quarter is half of one
        first = float(max(note.start for note in notes)) / 2
        end = float(max(note.start + note.length for note in notes)) / 2
        near = first - SLACK <= told[-1] <= end + SLACK
        yield verdict(f"{told[-1]:.4g} s at the last token; expected {first:.4g} to {end:.4g}", near)
    if bar_tokens is not None:
        starts = list(tokenizer.bar_starts(ids))
        wrong = [b - a for a, b in pairwise(starts) if b - a != bar_tokens]
        yield verdict(f"a bar has {wrong[:1]} tokens; bar_tokens is {bar_tokens!r}", not wrong and bar_tokens > 0)


@law("what does not learn stays as it is", once=True)
def learns_nothing(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    subject.offered("train")
    if getattr(subject.tokenizer, "learns", True):
        raise Skipped("it learns")
    fresh = subject.build(subject.hparams)
    same = fresh.fingerprint() == subject.tokenizer.fingerprint()
    yield verdict("learns is False, and train changes the fingerprint", same)
    for one in subject.taken()[:3]:
        yield same_ids(f"learns is False; {one} untrained", fresh, list(fresh.encode(one.piece)), subject.ids(one))
