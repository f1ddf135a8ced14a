"""The pieces that are measured: real ones, what the model made, and what an n-gram made, all of one length in beats.

Real pieces are the music of the dataset, not what the tokenizer keeps of it: what a tokenizer drops counts against
everything told with it. What that is, the row `tokenizer` shows: the tested pieces, to tokens and back. Tested are the
test pieces, or those of validation where a dataset keeps its test pieces back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import symusic

from core.contracts.dataset import Split
from core.contracts.tokenizer import Ids, Tokenizer
from core.log import logger
from core.seeds import generator
from core.words import counted
from datatools.preparing.store import TokenStore
from datatools.reading import scores
from hparams.base import EvaluateHParams
from plugins.metrics.parts.notes import excerpt, notes_of
from supervisors.evaluation.makers import Maker

LARGEST = 500  # real pieces of a kind that are measured
LEAST_CONTINUED = 8.0  # beats that must be left of a piece for its beginning to serve as a prompt
Score: TypeAlias = symusic.Score
Output: TypeAlias = "symusic.Score | None"  # None: it could not be decoded
Source = Callable[[Split, int], Output]


@dataclass(frozen=True)
class Real:
    """The music of a dataset: a store of its tokens, the split that is tested, and a reader of the source itself."""

    store: TokenStore
    tested: Split
    tokenizer: Tokenizer
    source: Source


@dataclass
class Setting:
    """Rows of pieces that are measured against one reference; None stands for an output that could not be decoded.

    With prompts, entry i of every row and of the reference continues prompt i. `ids` are the row `generated` as drawn.
    """

    reference: list[Score]
    rows: dict[str, list[Output]]
    prompts: list[Score] = field(default_factory=list)
    ids: list[Ids] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def drawn(count: int, most: int, purpose: str) -> list[int]:
    """At most `most` of the numbers below `count`, drawn but always the same, ascending."""
    return sorted(generator("evaluate", purpose).permutation(count)[:most].tolist())


def beats_of(score: Score) -> float:
    """Quarters up to the last end of a note."""
    return float(score.end()) / int(score.ticks_per_quarter)


def tokens_for(tokens: Sequence[int], lengths: Sequence[float], beats: float) -> int:
    """Tokens that suffice for so many beats in nine of ten pieces of so many tokens and beats."""
    rates = [count / length for count, length in zip(tokens, lengths, strict=True) if length > 0]
    return max(int(np.ceil(np.quantile(rates, 0.9) * beats)), 16) if rates else 1024


def decoded(tokenizer: Tokenizer, ids: Ids, begin: float, end: float) -> Output:
    """The excerpt of what ids decode to, None where decoding fails."""
    try:
        return excerpt(tokenizer.decode(list(ids)).score, begin, end)
    except Exception as error:  # a plugin's decoder may raise anything; the page says how many did
        logger.debug("an output cannot be decoded: %s", error)
        return None


def training_of(real: Real, beats: float) -> list[Score]:
    """Training pieces for metrics that ask for some."""
    return _excerpts(real.source, [("train", k) for k in drawn(real.store.count("train"), LARGEST, "training")], beats)


def unprompted(real: Real, maker: Maker, asked: EvaluateHParams, length: int) -> Setting:
    """Pieces made from nothing, of at most `length` tokens, against the tested pieces."""
    store, tested, tokenizer, source = real.store, real.tested, real.tokenizer, real.source
    read = {k: source(tested, k) for k in drawn(store.count(tested), LARGEST, tested)}
    numbers = [k for k, score in read.items() if score is not None]  # the row `tokenizer` is of these, one by one
    human: list[tuple[Split, int]] = []
    told: list[str] = []
    others: tuple[Split, ...] = ("valid", "train")
    for split, word in zip(others, ("validation", "training"), strict=True):
        more = drawn(store.count(split), asked.count - len(human), "real") if split != tested else []
        human += [(split, k) for k in more]
        told += [counted(len(more), f"{word} piece")] * bool(more)
    nothing: list[Ids] = [[] for _ in range(asked.count)]
    ids, ended = maker.by_model(nothing, length, "generate")
    rows: dict[str, list[Output]] = {
        "generated": [decoded(tokenizer, piece, 0, asked.beats) for piece in ids],
        "tokenizer": [decoded(tokenizer, store.ids(tested, k).tolist(), 0, asked.beats) for k in numbers],
        "real": list(_excerpts(source, human, asked.beats)),
        "ngram": [decoded(tokenizer, piece, 0, asked.beats) for piece in maker.by_ngram(nothing, length)],
    }
    reference = _excerpts(source, [(tested, k) for k in numbers], asked.beats)
    return Setting(reference, rows, [], ids, {"ended": ended, "tokens": length, "real": " and ".join(told)})


def prompted(real: Real, maker: Maker, asked: EvaluateHParams, length: int) -> Setting:
    """Beginnings of tested pieces continued, against how they do go on; the prompt's notes are on neither side.

    The row `others` has real music that does not belong to the prompt: each gets another piece's continuation.
    """
    store, tested, tokenizer, source = real.store, real.tested, real.tokenizer, real.source
    begin, end = asked.prompt_beats, asked.beats
    opening = getattr(tokenizer, "opening", list)
    setting = Setting([], {"generated": [], "others": [], "ngram": []}, facts={"pieces": [], "beats": begin})
    prompts: list[Ids] = []
    for number in generator("evaluate", "prompts").permutation(store.count(tested)).tolist():
        score = source(tested, number) if len(prompts) < asked.count else None
        if score is None or beats_of(score) < begin + LEAST_CONTINUED:
            continue
        prompt, original = excerpt(score, 0, begin), excerpt(score, begin, end)
        if not len(notes_of(original, drums=None)):
            continue
        try:
            prompts.append(list(opening(tokenizer.encode(scores.piece_from_score(prompt, source="a prompt")))))
        except ValueError as error:
            logger.debug("the beginning of %s piece %d cannot be a prompt: %s", tested, number, error)
            continue
        setting.prompts.append(prompt)
        setting.reference.append(original)
        setting.facts["pieces"].append(number)
    if len(prompts) < 2:
        return setting
    most = max(round(length * (end - begin) / end), 16)
    setting.ids, setting.facts["ended"] = maker.by_model(prompts, most, "continue")
    setting.facts["tokens"] = most
    setting.rows["generated"] = [decoded(tokenizer, piece, begin, end) for piece in setting.ids]
    setting.rows["ngram"] = [decoded(tokenizer, piece, begin, end) for piece in maker.by_ngram(prompts, most)]
    setting.rows["others"] = [*setting.reference[1:], *setting.reference[:1]]
    return setting


def _excerpts(source: Source, pieces: Sequence[tuple[Split, int]], beats: float) -> list[Score]:
    found = (source(split, number) for split, number in pieces)
    return [excerpt(score, 0, beats) for score in found if score is not None]
