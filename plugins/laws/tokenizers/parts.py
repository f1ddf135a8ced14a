"""Laws of a tokenizer's optional parts: each is called just as the hub calls it, by the names of its arguments."""

from collections.abc import Iterator
from fractions import Fraction

from core.contracts.tokenizer import KINDS, vocab_sizes
from plugins.laws.law import Finding, Skipped, verdict
from plugins.laws.pieces import Specimen, bar_of, heard
from plugins.laws.tokenizers.grammars import STEPS, sample
from plugins.laws.tokenizers.subject import TokenizerSubject, law, same_music
from plugins.laws.tokenizers.tokens import ids_of

BARS = 3
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
