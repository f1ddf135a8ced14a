"""Laws of a tokenizer's optional parts: each is called just as the hub calls it, by the names of its arguments."""

from collections.abc import Iterator

from core.contracts.tokenizer import KINDS, vocab_sizes
from plugins.laws.law import Finding, Skipped, verdict
from plugins.laws.pieces import Specimen
from plugins.laws.tokenizers.grammars import STEPS, sample
from plugins.laws.tokenizers.subject import TokenizerSubject, law
from plugins.laws.tokenizers.tokens import ids_of

BARS = 3


@law("grammar keeps to the bars asked for", once=True)
def keeps_to_the_bars(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    try:
        grammar = subject.offered("grammar")(bars=BARS, length=STEPS)
    except ValueError as error:
        raise Skipped(f"grammar(bars={BARS}, length={STEPS}): {error}") from error
    counted = getattr(subject.tokenizer, "bar_starts", None)
    for number, (ids, end, wrong) in enumerate(sample(subject, grammar)):
        yield verdict(f"sample {number}, {wrong[0] if wrong else 'all is well'}", not wrong)
        if counted is not None and end >= 0:
            bars = len(counted(ids[:end]))
            yield verdict(f"sample {number} may end with {bars} bars; asked for {BARS}", 0 < bars <= BARS)


@law("optional parts answer as they are asked")
def optional_parts(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    tokenizer, ids = subject.tokenizer, subject.ids(specimen)
    offered = [name for name in ("opening", "kind_of", "formats") if getattr(tokenizer, name, None) is not None]
    if not offered:
        raise Skipped("offers no opening, kind_of or formats")
    if "opening" in offered:
        opened = list(tokenizer.opening(ids))
        yield verdict(f"opening gave {opened[:6]}..., no beginning of {ids[:6]}...", opened == ids[: len(opened)])
    if "kind_of" in offered:
        for id in {id for token in ids for id in ids_of(token)[:1]}:
            kind = tokenizer.kind_of(id, 0) if len(vocab_sizes(tokenizer)) > 1 else tokenizer.kind_of(id)
            yield verdict(f"kind_of({id}) is {kind!r}; expected one of {', '.join(KINDS)}", kind in KINDS)
    if "formats" in offered:
        plain = all(isinstance(ending, str) and ending.isalnum() for ending in tokenizer.formats)
        yield verdict(f"formats is {tokenizer.formats!r}; expected endings of files such as abc", plain)
