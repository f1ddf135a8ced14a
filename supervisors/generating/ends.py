"""How a generated piece came to its end, in words."""

from collections import Counter
from collections.abc import Iterable

from core.contracts.tokenizer import Tokenizer
from core.log import logger
from core.model.generation import Generated, grammar_after
from core.words import counted
from datatools.bar_lines import bar_lines
from hparams.base import GenerateHParams
from supervisors.generating.drawing import bar_starts, grammar_of

_VERBS = {"ended": ("", ""), "broke": ("", ""), "cut": ("was ", "were ")}  # before an end's first word, one and several


def end_of(tokenizer: Tokenizer, asked: GenerateHParams, piece: Generated) -> str:
    """By itself, with the bars or at the length asked for; else nothing could follow, which is said as an error."""
    if piece.ended:
        return "ended by itself"
    bars = 0
    if asked.bars and hasattr(tokenizer, "bar_starts"):
        bars = asked.bars + len(bar_starts(tokenizer)(piece.ids[: piece.prompt_length]))
        score = tokenizer.decode(piece.ids).score
        last = max((note.time for track in score.tracks for note in track.notes), default=0)
        if len(bar_lines(score, (last + 1) / score.ticks_per_quarter)) >= bars:
            return f"{counted(asked.bars, 'bar')}, as asked"
    drawn = len(piece.ids) - piece.prompt_length
    # A grammar ends a piece while tokens are left where they are too few for what would have to follow.
    grammar = grammar_of(tokenizer, bars, 0) if drawn < asked.length else None
    if grammar is not None and int(grammar.allowed(grammar_after(grammar, [piece.ids])).sum()) == 1:
        logger.error(f"a piece broke off after {counted(drawn, 'token')}: its grammar leaves nothing that may follow")
        return f"broke off after {counted(drawn, 'token')}: nothing could follow"
    return f"cut off at its length of {counted(asked.length, 'token')}"


def ended(ends: Iterable[str]) -> str:
    """A sentence: `3 pieces ended by themselves, 1 was cut off at its length of ...`, the most common end first."""
    said: list[str] = []
    for end, count in Counter(ends).most_common():
        several = count > 1
        verb = _VERBS.get(end.partition(" ")[0], ("has ", "have "))[several]
        text = end.replace("itself", "themselves").replace(" its ", " their ") if several else end
        setting = " (generate.length)" if end.startswith("cut") else ""
        said.append(f"{f'{count:,}' if said else counted(count, 'piece')} {verb}{text}{setting}")
    return ", ".join(said)
