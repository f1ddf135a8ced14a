"""Folk-RNN-style tokens over ABC text (Sturm et al., arXiv 1604.08723).

A piece is its canonical ABC, word by word: `M:6/8 L:1/8 K:Ador`, then bars such as `e A A B 2 A |`. Repeats are written
out; a pitch and its accidental are one token, a length other than 1 another; the bars of several voices take turns
(`V:1` bar `V:2` bar). What is lost: title, tempo, velocities, instruments, and all that ABC writes without pitch or
time. `chord_symbols` keeps those, a token each and another for a bass note: `"Am7" "/G" e`. `lyrics` keeps what is sung
(a verse for each time that music is played), a token a letter, before its note: `w:l w:a w:- e w:_ f w:l w:a A`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.contracts.piece import Piece
from core.files import write_json
from core.log import logger
from core.words import counted
from datatools.abc.lexer import STEP
from datatools.abc.reader import score_of
from datatools.abc.repeats import read_tune
from datatools.abc.text import text_of, words
from hparams.tokenizers.abc import AbcHParams
from plugins import hookimpl
from plugins.tokenizers.abc_tokens.over.sung import spelled, sung_words
from plugins.tokenizers.abc_tokens.repair import MOST_WORDS, repaired
from plugins.tokenizers.abc_tokens.vocabulary import (
    SPECIALS,
    chord_words,
    fits_tuplet,
    parse_length,
    parse_pitch,
    vocabulary,
)

if TYPE_CHECKING:
    from plugins.tokenizers.abc_tokens.grammar import AbcGrammar
    from plugins.tokenizers.abc_tokens.over.grammar import OverGrammar

FORMAT = 1  # raised whenever the same text would give other words
FILE = "abc.json"


class AbcTokenizer:
    """The contract of core/contracts/tokenizer.py over a closed vocabulary; nothing is learnt."""

    streams = 1
    formats = ("abc",)  # its tokens tell more than notes do
    pad_id, bos_id, eos_id = 0, 1, 2

    def __init__(self, chord_symbols: bool = False, lyrics: bool = False) -> None:
        self.chord_symbols, self.lyrics = chord_symbols, lyrics
        self._words = vocabulary() + [word for _, group in self._over() for word in group]
        self._ids = {word: id for id, word in enumerate(self._words)}
        self.vocab_size = len(self._words)

    def _over(self) -> list[tuple[str, list[str]]]:
        """The words for what stands over notes, by kind."""
        chords = zip(("chord", "bass"), chord_words(), strict=True) if self.chord_symbols else ()
        sung = zip(("letter", "mark", "sign", "hyphen", "held"), sung_words(), strict=True) if self.lyrics else ()
        return [*chords, *sung]

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the piece; ValueError naming it and the first thing that has no token."""
        try:
            tune = read_tune(piece.abc, silent=True)
        except ValueError as error:
            raise _named(piece, str(error)) from error
        for event in (event for voice in tune.voices for bar in voice for event in bar.events):
            if event.tuplet and not fits_tuplet(event.length / tune.unit, tune.unit):
                raise _named(piece, f"a note of {event.length} in a tuplet has no note head")
        said, lacking = spelled(words(tune, self.chord_symbols, self.lyrics))
        if lacking:
            logger.info(f"left out {counted(len(lacking), 'syllable')} that its alphabet lacks, such as {lacking[0]!r}")
        if len(said) > MOST_WORDS:
            raise _named(piece, f"it has {len(said)} abc tokens; expected at most {MOST_WORDS}")
        try:
            return [self._ids[word] for word in said]
        except KeyError:
            missing = next(word for word in said if word not in self._ids)
            bar = said[: said.index(missing)].count("|") + 1
            raise _named(piece, f'"{missing}" in bar {bar} is outside the vocabulary of abc tokens') from None

    def decode(self, ids: Sequence[int]) -> Piece:
        """A piece from any ids; special ids and ids beyond the vocabulary are passed over."""
        said = (self._words[id] for id in map(int, ids) if len(SPECIALS) <= id < self.vocab_size)
        tune = read_tune(repaired(said), silent=True, propagate=STEP)
        return Piece("decoded abc tokens", "", "", lambda: score_of(tune), lambda: text_of(tune))

    def token(self, id: int) -> str:
        """The word of an id."""
        return self._words[id]

    def kind_of(self, id: int) -> str:
        """What a word tells; when a note begins follows from the lengths before it, but for rests, bars and chords."""
        word = self._words[id]
        if parse_pitch(word) is not None:
            return "pitch"
        if parse_length(word) is not None or word.startswith("(") or word == "-":
            return "duration"
        return "onset" if word in ("z", "|", "[", "]") else "other"

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        """Positions at which a bar of the first voice begins; position 0 stands for header and first bar."""
        starts = [0] if len(ids) else []
        voice = 0
        before = ""
        for position, id in enumerate(ids):
            word = self._words[id] if 0 <= id < self.vocab_size else ""
            here = int(word[2:]) if word.startswith("V:") else None
            if before == "|" and (here is None or here <= voice):
                starts.append(position)
            voice = here if here is not None else voice
            before = word
        return starts

    def opening(self, ids: Sequence[int]) -> list[int]:
        """A prompt's ids, to be continued: without the bar line after a last bar that is short of its meter."""
        import torch  # here: whoever only encodes, as the workers do, needs none

        grammar = self.grammar()
        state = grammar.begin(1)
        for id in ids:
            state = grammar.advance(state, torch.tensor([id]))
        short = bool(grammar.broken_off(state)[0])
        return list(ids[:-1]) if short and self._words[ids[-1]] == "|" else list(ids)

    def grammar(self, bars: int = 0, length: int = 0) -> "AbcGrammar | OverGrammar":
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens in
        all, prompt included and bos and eos not; HubError below 24 tokens, in which no clean end can be promised.
        """
        from plugins.tokenizers.abc_tokens.grammar import AbcGrammar
        from plugins.tokenizers.abc_tokens.over.grammar import OverGrammar
        from plugins.tokenizers.abc_tokens.tables import Tables

        grammar = AbcGrammar(Tables(), self.eos_id, bars, length)
        over = [kind for kind, group in self._over() for _ in group]
        return OverGrammar(grammar, over) if over else grammar

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps([FORMAT, self._words]).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Writes the vocabulary, by which a later build knows whether it is the same tokenizer."""
        write_json(Path(folder) / FILE, {"format": FORMAT, "words": self._words})


def _named(piece: Any, message: str) -> ValueError:
    source = str(getattr(piece, "source", ""))
    return ValueError(message if source and source in message else f"{source}: {message}")


def build(hparams: AbcHParams, folder: Path | None = None) -> AbcTokenizer:
    """The tokenizer; ValueError when `folder` holds another vocabulary than this version has."""
    tokenizer = AbcTokenizer(hparams.chord_symbols, hparams.lyrics)
    path = Path(folder) / FILE if folder is not None else None
    if path is not None and path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved != {"format": FORMAT, "words": tokenizer._words}:
            raise ValueError(
                f"{path} holds format {saved.get('format')} with {len(saved.get('words', []))} words; expected format "
                f"{FORMAT} with {tokenizer.vocab_size}: use the version that wrote it, or train anew"
            )
    return tokenizer


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    register("abc", AbcHParams, build, defaults={"dataset": "folk_tunes"})
