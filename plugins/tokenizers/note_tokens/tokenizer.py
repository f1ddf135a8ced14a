"""MidiTok's REMI and TSD behind the hub's contract: nothing that encode says is lost, and decode takes anything.

MidiTok writes and reads the tokens, and learns byte pairs; the score is put on its grid first (quantise.py), and what
comes back is put on it again, so that `decode(encode(decode(x)))` is `decode(x)` for any x. Without `use_programs` all
pitched tracks become one stream, and drums are left out.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import symusic

from core.contracts.piece import Piece
from core.errors import HubError
from core.log import logger
from hparams.tokenizers.note_tokens import MidiTokHParams
from plugins.tokenizers.learnt.word_pieces import quiet
from plugins.tokenizers.note_tokens import bars as bar_positions
from plugins.tokenizers.note_tokens import maps as token_maps
from plugins.tokenizers.note_tokens.decoder import BarDecoder, Decoder, OnOffDecoder, ShiftDecoder
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.encoder import BarEncoder, EachShiftEncoder, Encoder, OnOffEncoder, ShiftEncoder
from plugins.tokenizers.note_tokens.grid import Array, Grid, Sections
from plugins.tokenizers.note_tokens.options import NO_SHIFT, SPECIALS, config, grid_of, library, without_grammar
from plugins.tokenizers.note_tokens.quantise import quantise, raw, same, score_of, settle

if TYPE_CHECKING:
    from plugins.tokenizers.note_tokens.grammar.notes import NoteGrammar
    from plugins.tokenizers.note_tokens.grammar.on_off import OnOffGrammar
    from plugins.tokenizers.note_tokens.grammar.tables import Tables

FILE = "miditok.json"
MODELS = {"bpe": "BPE", "unigram": "Unigram", "wordpiece": "WordPiece"}  # as MidiTok calls them
FAST: dict[str, tuple[type[Encoder], type[Decoder]]] = {
    "REMI": (BarEncoder, BarDecoder),
    "TSD": (ShiftEncoder, ShiftDecoder),
    "Structured": (EachShiftEncoder, ShiftDecoder),
    "MIDILike": (OnOffEncoder, OnOffDecoder),
}


class MidiTokTokenizer:
    """REMI or TSD of MidiTok; `folder` holds what `save` wrote."""

    streams = 1

    def __init__(self, kind: str, hparams: MidiTokHParams, folder: Path | None = None) -> None:
        self.hparams = hparams
        self.kind = kind
        self._tokenizer: Any = getattr(library(), kind)(config(hparams, kind))
        # Names of the base vocabulary by base id; MidiTok renames some when it learns.
        self.base_tokens = [name for name, _ in sorted(self._tokenizer.vocab.items(), key=lambda item: item[1])]
        if folder is not None:
            self._load(Path(folder))
        self._adopt()

    def _adopt(self) -> None:
        """Reads off MidiTok's tokenizer what encode and decode need; called again when it has learnt byte pairs."""
        from miditok.constants import CHR_ID_START

        tok, base = self._tokenizer, self.base_tokens
        if tok.vocab_model is None:
            self.bases: list[list[int]] = [[id] for id in range(len(base))]  # id -> the base ids it stands for
        else:
            self.bases = [[] for _ in range(max(tok.vocab_model.values()) + 1)]
            for text, id in tok.vocab_model.items():
                # MidiTok writes base id i as the character i + 33; the mark of a word's beginning says nothing.
                self.bases[id] = [ord(char) - CHR_ID_START for char in text.removeprefix("\u2581")]
        self._characters = [chr(id + CHR_ID_START) for id in range(len(base))]
        self.vocab_size = len(self.bases)
        self.pad_id, self.bos_id, self.eos_id = (base.index(f"{name}_None") for name in SPECIALS)
        self._special = np.isin(np.arange(len(base)), (self.pad_id, self.bos_id, self.eos_id))
        self._blanks = {id for id, parts in enumerate(self.bases) if not parts}
        for kept in ("_fingerprint", "_grammar_tables", "_flat"):
            self.__dict__.pop(kept, None)

    @cached_property
    def grid(self) -> Grid:
        """What the vocabulary can tell."""
        return grid_of(self._tokenizer)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        per_beat, ticks = self._tokenizer._tpb_per_ts, self._tokenizer._tpb_tokens_to_ticks
        return Vocabulary(
            names=tuple(self.base_tokens),
            grid=self.grid,
            bars="Bar_None" in self.base_tokens,
            velocities=bool(self._tokenizer.config.use_velocities),
            drum_tokens=bool(self._tokenizer.config.use_pitchdrum_tokens),
            ticks={unit: {NO_SHIFT: 0, **ticks[per_beat[unit]]} for unit in self.grid.durations},
            shift_each=self.grid.shifts is not None,
        )

    @cached_property
    def _fast(self) -> tuple[Encoder, Decoder] | None:
        """The NumPy path; None where options ask for tokens that MidiTok alone can write and read."""
        if without_grammar(self._tokenizer.config):
            return None
        encoder, decoder = FAST[self.kind]
        return encoder(self._vocabulary), decoder(self._vocabulary)

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the piece; ValueError naming it when the vocabulary can tell none of its notes."""
        try:
            if self._fast is None:
                return self._compressed(quantise(piece.score, self.grid, piece.source))
            music = settle(raw(piece.score), self.grid, piece.source)
            if not len(music.time):
                raise ValueError(self._nothing())
            base, ticks = self._fast[0](music)
            if not self._tokenizer.is_trained:
                plain: list[int] = base.tolist()
                return plain
            return self._joined(self._written(base, ticks, music.sections))
        except ValueError as error:
            if piece.source and piece.source in str(error):
                raise
            raise ValueError(f"{piece.source or 'a piece'}: {error}") from error

    def _compressed(self, score: symusic.Score) -> list[int]:
        if not len(score.tracks):
            raise ValueError(self._nothing())
        sequence = self._settled(score)
        if not self._tokenizer.is_trained:
            return list(sequence.ids)
        base = list(sequence.ids)
        self._tokenizer.encode_token_ids(sequence)
        ids = list(sequence.ids)
        assert self.base_ids(ids) == base, "byte pairs must stand for what they replace"
        return ids

    def _nothing(self) -> str:
        low, high = self.grid.pitches
        drums = "" if self.grid.programs is not None else " (drums need tokenizer.use_programs)"
        return f"the vocabulary can tell none of its notes; expected pitches {low} to {high}{drums}"

    def _settled(self, score: symusic.Score) -> Any:
        """The base tokens of a quantised score, which decode to it; a few more rounds for options that change it."""
        sequence = self._sequence(score)
        for _ in range(6):
            again = self._score(sequence.ids)
            if same(again, score):
                return sequence
            if not len(again.tracks):
                break
            score, before = again, list(sequence.ids)
            sequence = self._sequence(score)
            if list(sequence.ids) == before:
                return sequence
        raise ValueError("MidiTok's tokens do not decode to the music they were made from with these options")

    def _sequence(self, score: symusic.Score) -> Any:
        sequence = self._tokenizer.encode(score, encode_ids=False, no_preprocess_score=not self.grid.extras)
        return sequence[0] if isinstance(sequence, list) else sequence

    def _written(self, base: Array, ticks: Array, sections: Sections) -> list[str]:
        """Base ids told at `ticks` as words of characters, cut where bars or beats begin, as MidiTok cuts them."""
        split = self._tokenizer.config.encode_ids_split
        text = "".join(map(self._characters.__getitem__, base.tolist()))
        cuts = [0, len(text)]
        if split != "no":
            at = sections.bars(int(ticks[-1]))[0] if split == "bar" else sections.beats(int(ticks[-1]))
            cuts = [0, *np.searchsorted(ticks, at[1:]).tolist(), len(text)]
        return [text[start:end] for start, end in pairwise(cuts)]

    def _joined(self, words: list[str]) -> list[int]:
        ids: list[int] = self._tokenizer._model.encode(words, is_pretokenized=True).ids
        return ids

    def base_ids(self, ids: Iterable[int]) -> list[int]:
        """Base ids, byte pairs taken apart; what is no music (specials, unknown ids) is left out."""
        base: list[int] = self._base(np.fromiter(ids, dtype=np.int64)).tolist()
        return base

    def _base(self, ids: Array) -> Array:
        known = ids[(ids >= 0) & (ids < self.vocab_size)]
        if self._tokenizer.is_trained:
            flat, starts = self._flat
            counts = (starts[1:] - starts[:-1])[known]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            known = flat[np.repeat(starts[known], counts) + within]
        return known[~self._special[known]]

    @cached_property
    def _flat(self) -> tuple[Array, Array]:
        """The base ids of all ids in one row, and where each id's begin (vocabulary + 1,)."""
        counts = np.array([0, *map(len, self.bases)])
        return np.array([base for bases in self.bases for base in bases], dtype=np.int64), np.cumsum(counts)

    def decode(self, ids: Sequence[int]) -> Piece:
        """A Piece from any ids; one without notes when they tell none."""
        base = self._base(np.fromiter(ids, dtype=np.int64))
        if self._fast is None or not len(base):
            score = self._score(base.tolist())
        else:
            score = score_of(settle(self._fast[1](base), self.grid))
        return Piece("", "", "", lambda: score, lambda: _abc(score))

    def _score(self, base: Sequence[int]) -> symusic.Score:
        from miditok import TokSequence

        if not base:
            return quantise(symusic.Score(self.grid.ticks), self.grid)
        names = self.base_tokens
        sequence = TokSequence(ids=list(base), tokens=[names[id] for id in base])
        one_stream = self._tokenizer.one_token_stream
        score = self._tokenizer.decode(sequence if one_stream else [sequence])
        return quantise(score, self.grid)

    @property
    def learns(self) -> bool:
        """Whether `train` has something to learn."""
        return bool(self.hparams.bpe)

    def train(self, pieces: Iterable[Piece]) -> None:
        """Learns byte pairs from the pieces, up to `bpe` tokens in all; does nothing when `bpe` is 0."""
        if not self.hparams.bpe:
            return
        if self.hparams.bpe <= len(self.base_tokens):
            raise HubError(
                f"tokenizer.bpe is {self.hparams.bpe}; expected more than the {len(self.base_tokens)} base tokens, or 0"
            )
        words = []
        for piece in pieces:
            try:
                words.append(self._words(piece))
            except ValueError:
                continue  # whoever encodes the piece will hear why
        if not any(words):
            raise HubError("there is no music to learn byte pairs from")
        with quiet() if self.hparams.vocabulary == "wordpiece" else nullcontext():
            self._tokenizer.train(vocab_size=self.hparams.bpe, model=MODELS[self.hparams.vocabulary], iterator=words)
        if self.hparams.vocabulary == "unigram":
            self._settle_unigram()
        self._adopt()
        if self.vocab_size < self.hparams.bpe:
            logger.warning(
                "tokenizer.bpe is %d; the music gives no more than %d tokens", self.hparams.bpe, self.vocab_size
            )

    def _settle_unigram(self) -> None:
        from tokenizers import Tokenizer

        from plugins.tokenizers.learnt.unigram import settled

        learnt = json.loads(self._tokenizer._model.to_str())
        self._tokenizer._model = Tokenizer.from_str(json.dumps(learnt | {"model": settled(learnt["model"])}))
        logger.info("the library promises no unigram vocabulary twice: share the run's own, which tokenizer/ holds")

    def _words(self, piece: Piece) -> list[str]:
        """What a vocabulary is learnt from."""
        if self._fast is not None:
            music = settle(raw(piece.score), self.grid, piece.source)
            if not len(music.time):
                raise ValueError(self._nothing())
            return [word for word in self._written(*self._fast[0](music), music.sections) if word]
        sequence = self._settled(quantise(piece.score, self.grid, piece.source))
        split = self._tokenizer.config.encode_ids_split
        parts = [sequence]
        if split != "no":
            self._tokenizer.complete_sequence(sequence)
            parts = sequence.split_per_bars() if split == "bar" else sequence.split_per_beats()
        return [self._tokenizer._ids_to_bytes(list(part.ids), as_one_str=True) for part in parts if len(part.ids)]

    def token(self, id: int) -> str:
        """The token's name; of byte pairs, the names of their parts."""
        return " ".join(self.base_tokens[base] for base in self.bases[id]) or "(nothing)"

    def fingerprint(self) -> str:
        """sha256 of library version, options, vocabulary and byte pairs."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self._described(), sort_keys=True).encode()).hexdigest()

    def _described(self) -> dict[str, Any]:
        model = self._tokenizer._model
        options = self._tokenizer.config.to_dict(serialize=True)
        return {
            "kind": self.kind,
            "miditok": version("miditok"),
            "options": {k: sorted(v) if isinstance(v, list) and k in _SETS else v for k, v in options.items()},
            "vocabulary": self.base_tokens,
            "model": None if model is None else json.loads(model.to_str()),
        }

    def save(self, folder: Path) -> None:
        """Writes MidiTok's own file of the tokenizer."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        described = self._described()
        text = json.dumps(described, indent=1, sort_keys=True, ensure_ascii=True)
        (Path(folder) / FILE).write_text(text + "\n", encoding="utf-8")

    def _load(self, folder: Path) -> None:
        path = folder / FILE
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HubError(f"{path} does not exist; expected a folder that a tokenizer was saved to") from None
        except (OSError, ValueError, RecursionError) as error:
            raise HubError(f"{path} cannot be read as a saved tokenizer ({str(error).splitlines()[0]})") from error
        tokens = self.base_tokens
        if not isinstance(saved, dict) or saved.get("kind") != self.kind:
            raise HubError(f"{path} holds no saved {self.kind} tokenizer")
        if saved.get("vocabulary") != tokens:
            raise HubError(
                f"{path} was written by miditok {saved.get('miditok')} and holds another vocabulary than miditok "
                f"{version('miditok')} makes of these options; install that version or restore the options"
            )
        if saved.get("model") is not None:
            from tokenizers import Tokenizer

            self._tokenizer._model = Tokenizer.from_str(json.dumps(saved["model"]))

    def transpose_table(self, semitones: int) -> list[int]:
        """id -> id of the same music `semitones` higher, -1 where the vocabulary has none."""
        return self._lifted(token_maps.transposed(self.base_tokens, semitones, self._tokenizer.config))

    def velocity_table(self, steps: int) -> list[int]:
        """id -> id of the same music `steps` steps of loudness up, -1 where there is none."""
        return self._lifted(token_maps.louder(self.base_tokens, steps))

    def tempo_table(self, factor: float) -> list[int]:
        """id -> id of the same music with tempos times `factor`, to the nearest step; -1 where there is none."""
        if not math.isfinite(factor) or factor <= 0:
            raise ValueError(f"factor is {factor}; expected a number above 0")
        return self._lifted(token_maps.faster(self.base_tokens, factor))

    def _lifted(self, table: Sequence[int]) -> list[int]:
        """A map of base ids as one of ids: the image of a byte pair is the one that stands for the mapped parts."""
        if not self._tokenizer.is_trained:
            return list(table)
        marked = self._marked
        byte_pairs = {(marked[id], tuple(parts)): id for id, parts in enumerate(self.bases)}
        result = []
        for id, parts in enumerate(self.bases):
            image = tuple(table[base] for base in parts)
            result.append(-1 if -1 in image else byte_pairs.get((marked[id], image), -1))
        return result

    @property
    def _marked(self) -> list[bool]:
        """Whether an id begins a word, for byte pairs."""
        model = self._tokenizer.vocab_model or {}
        result = [False] * self.vocab_size
        for text, id in model.items():
            result[id] = text.startswith("\u2581")
        return result

    def grammar(self, bars: int = 0, length: int = 0) -> "NoteGrammar | OnOffGrammar":
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens in
        all, prompt included and bos and eos not, ended in time. ValueError where the options have no grammar.
        """
        from plugins.tokenizers.note_tokens.grammar.notes import NoteGrammar
        from plugins.tokenizers.note_tokens.grammar.on_off import OnOffGrammar

        on = without_grammar(self._tokenizer.config)
        if self.grid.free and self._tokenizer.is_trained:
            on.append("a learnt vocabulary")
        if on:
            raise ValueError(f"there is no grammar for {self.kind} with {', '.join(on)}; leave them off to use one")
        if self.grid.free:
            return OnOffGrammar(self._vocabulary, self.eos_id, bars, length)
        return NoteGrammar(self._grammar_tables, self.eos_id, bars, length)

    @cached_property
    def _grammar_tables(self) -> "Tables":
        from plugins.tokenizers.note_tokens.grammar.tables import Tables

        return Tables(self._vocabulary, self.bases)

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        """Positions at which a bar begins; where tokens tell time only, those of the first event in each bar.

        A byte pair that tells the end of one bar and the beginning of the next counts as neither.
        """
        known = [self.bases[id] if 0 <= id < self.vocab_size else [] for id in ids]
        if "Bar_None" in self.base_tokens:
            starts = bar_positions.told(known, self.base_tokens.index("Bar_None"))
        else:
            count = bar_positions.stepped if self._vocabulary.shift_each else bar_positions.counted
            starts = count(known, self.base_tokens, self.grid, self._vocabulary.ticks)
        # the mark of a word's beginning, a byte pair of nothing, belongs to what follows it
        return [start - 1 if start and ids[start - 1] in self._blanks else start for start in starts]


_SETS = frozenset({"programs", "use_note_duration_programs", "control_change_numbers"})


def _abc(score: symusic.Score) -> str:
    from datatools.abc import writer as abc_writer

    if not len(score.tracks):
        raise ValueError("the tokens tell no notes")
    return abc_writer.write(score)
