"""MidiTok's REMI and TSD behind the hub's contract: nothing that encode says is lost, and decode takes anything.

MidiTok writes and reads the tokens, and learns byte pairs; the score is put on its grid first (quantise.py), and what
comes back is put on it again, so that `decode(encode(decode(x)))` is `decode(x)` for any x. Without `use_programs` all
pitched tracks become one stream, and drums are left out.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import symusic

from core.contracts.piece import Piece
from core.errors import HubError
from hparams.tokenizers.note_tokens import MidiTokHParams
from plugins.tokenizers.note_tokens import bars as bar_positions
from plugins.tokenizers.note_tokens import maps as token_maps
from plugins.tokenizers.note_tokens.options import SPECIALS, config, grid_of, without_grammar
from plugins.tokenizers.note_tokens.quantise import Grid, quantise, same

if TYPE_CHECKING:
    from plugins.tokenizers.note_tokens.grammar import NoteGrammar
    from plugins.tokenizers.note_tokens.tables import Tables

FILE = "miditok.json"


class MidiTokTokenizer:
    """REMI or TSD of MidiTok; `folder` holds what `save` wrote."""

    streams = 1

    def __init__(self, kind: str, hparams: MidiTokHParams, folder: Path | None = None) -> None:
        import miditok

        self.hparams = hparams
        self.kind = kind
        self._tokenizer: Any = getattr(miditok, kind)(config(hparams, kind))
        if folder is not None:
            self._load(Path(folder))
        self._adopt()

    def _adopt(self) -> None:
        """Reads off MidiTok's tokenizer what encode and decode need; called again when it has learnt byte pairs."""
        from miditok.constants import CHR_ID_START

        tok = self._tokenizer
        base: list[str] = [""] * len(tok.vocab)
        for name, id in tok.vocab.items():
            base[id] = name
        self.base_tokens = base  # names of the base vocabulary by base id
        if tok.vocab_model is None:
            self.bases: list[list[int]] = [[id] for id in range(len(base))]  # id -> the base ids it stands for
        else:
            self.bases = [[] for _ in range(max(tok.vocab_model.values()) + 1)]
            for text, id in tok.vocab_model.items():
                # MidiTok writes base id i as the character i + 33; the mark of a word's beginning says nothing.
                self.bases[id] = [ord(char) - CHR_ID_START for char in text.removeprefix("\u2581")]
        self.vocab_size = len(self.bases)
        self.pad_id, self.bos_id, self.eos_id = (base.index(f"{name}_None") for name in SPECIALS)
        self._special = {base.index(f"{name}_None") for name in SPECIALS}
        self._blanks = {id for id, parts in enumerate(self.bases) if not parts}
        self.__dict__.pop("_fingerprint", None)
        self.__dict__.pop("_grammar_tables", None)

    @cached_property
    def grid(self) -> Grid:
        """What the vocabulary can tell."""
        return grid_of(self._tokenizer)

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the piece; ValueError naming it when the vocabulary can tell none of its notes."""
        try:
            return self._compressed(quantise(piece.score, self.grid, piece.source))
        except ValueError as error:
            if piece.source and piece.source in str(error):
                raise
            raise ValueError(f"{piece.source or 'a piece'}: {error}") from error

    def _compressed(self, score: symusic.Score) -> list[int]:
        if not len(score.tracks):
            low, high = self.grid.pitches
            drums = "" if self.grid.programs is not None else " (drums need tokenizer.use_programs)"
            raise ValueError(f"the vocabulary can tell none of its notes; expected pitches {low} to {high}{drums}")
        sequence = self._settled(score)
        if not self._tokenizer.is_trained:
            return list(sequence.ids)
        base = list(sequence.ids)
        self._tokenizer.encode_token_ids(sequence)
        ids = list(sequence.ids)
        assert self.base_ids(ids) == base, "byte pairs must stand for what they replace"
        return ids

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

    def base_ids(self, ids: Iterable[int]) -> list[int]:
        """Base ids, byte pairs taken apart; what is no music (specials, unknown ids) is left out."""
        bases, special = self.bases, self._special
        return [base for id in ids if 0 <= id < len(bases) for base in bases[id] if base not in special]

    def decode(self, ids: Sequence[int]) -> Piece:
        """A Piece from any ids; one without notes when they tell none."""
        score = self._score(self.base_ids(int(id) for id in ids))
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
                sequence = self._settled(quantise(piece.score, self.grid, piece.source))
            except ValueError:
                continue  # whoever encodes the piece will hear why
            words.append(self._words(sequence))
        if not any(words):
            raise HubError("there is no music to learn byte pairs from")
        self._tokenizer.train(vocab_size=self.hparams.bpe, model="BPE", iterator=words)
        self._adopt()

    def _words(self, sequence: Any) -> list[str]:
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
        tokens = [name for name, _ in sorted(self._tokenizer.vocab.items(), key=lambda item: item[1])]
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

    def grammar(self, bars: int = 0, length: int = 0) -> "NoteGrammar":
        """What may follow what. `bars` > 0: pieces of exactly so many bars; `length` > 0: of at most so many tokens in
        all, prompt included and bos and eos not, ended in time. ValueError where the options have no grammar.
        """
        from plugins.tokenizers.note_tokens.grammar import NoteGrammar

        return NoteGrammar(self._grammar_tables, self.eos_id, bars, length)

    @cached_property
    def _grammar_tables(self) -> "Tables":
        from plugins.tokenizers.note_tokens.effects import Vocabulary
        from plugins.tokenizers.note_tokens.tables import Tables

        options = self._tokenizer.config
        on = without_grammar(options)
        if on:
            raise ValueError(f"there is no grammar for {self.kind} with {', '.join(on)}; leave them off to use one")
        per_beat = self._tokenizer._tpb_per_ts
        vocabulary = Vocabulary(
            names=tuple(self.base_tokens),
            grid=self.grid,
            bars="Bar_None" in self.base_tokens,
            velocities=bool(options.use_velocities),
            drum_tokens=bool(options.use_pitchdrum_tokens),
            ticks={unit: self._tokenizer._tpb_tokens_to_ticks[per_beat[unit]] for unit in self.grid.durations},
        )
        return Tables(vocabulary, self.bases)

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        """Positions at which a bar begins; where tokens tell time only, those of the first event in each bar.

        A byte pair that tells the end of one bar and the beginning of the next counts as neither.
        """
        known = [self.bases[id] if 0 <= id < self.vocab_size else [] for id in ids]
        if "Bar_None" in self.base_tokens:
            starts = bar_positions.told(known, self.base_tokens.index("Bar_None"))
        else:
            per_beat, ticks = self._tokenizer._tpb_per_ts, self._tokenizer._tpb_tokens_to_ticks
            shifts = {unit: ticks[per_beat[unit]] for unit in self.grid.durations}
            starts = bar_positions.counted(known, self.base_tokens, self.grid, shifts)
        # the mark of a word's beginning, a byte pair of nothing, belongs to what follows it
        return [start - 1 if start and ids[start - 1] in self._blanks else start for start in starts]


_SETS = frozenset({"programs", "use_note_duration_programs", "control_change_numbers"})


def _abc(score: symusic.Score) -> str:
    from datatools.abc import writer as abc_writer

    if not len(score.tracks):
        raise ValueError("the tokens tell no notes")
    return abc_writer.write(score)
