"""What tokens of several streams share: MidiTok's vocabularies in an order of their own, saved, named and mapped.

Shapes: n notes, l tokens, k streams.
"""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from core.contracts.piece import Piece
from core.errors import HubError
from hparams.tokenizers.note_tokens import MidiTokHParams
from plugins.tokenizers.note_tokens import maps
from plugins.tokenizers.note_tokens.grid import DRUMS, Array, Grid
from plugins.tokenizers.note_tokens.options import SPECIALS, config, grid_of, library
from plugins.tokenizers.note_tokens.quantise import Music, Raw, raw, score_of, settle

FILE = "compound.json"


class CompoundTokenizer(ABC):
    """A tokenizer of MidiTok whose tokens have an id in each of several streams; `folder` holds what `save` wrote.

    `order` names what the streams tell, the first of them beside pad, bos and eos; those that the hyper-parameters do
    not ask for are left out. `opened` are those that MidiTok leaves open in some tokens and has no word for.
    """

    pad_id, bos_id, eos_id = range(len(SPECIALS))

    def __init__(
        self,
        kind: str,
        order: Sequence[str],
        hparams: MidiTokHParams,
        folder: Path | None = None,
        opened: Sequence[str] = (),
    ) -> None:
        self.kind, self.hparams = kind, hparams
        tok = getattr(library(), kind)(config(hparams, kind))
        self.options: Any = tok.config
        self.grid: Grid = grid_of(tok)
        self.kinds = tuple(name for name in order if name in tok.vocab_types_idx)
        # By what they hold: MidiTok's own number of MuMIDI's tempos is another's where velocities are not told.
        found = [next(ids for ids in tok.vocab if _tells(ids, name)) for name in self.kinds]
        special = {f"{name}_None": None for name in SPECIALS}
        music = [[name for name in sorted(ids, key=ids.__getitem__) if name not in special] for ids in found]
        music = [["Ignore_None"] * (name in opened) + names for name, names in zip(self.kinds, music, strict=True)]
        self.names: list[list[str]] = [[*special, *music[0]], *music[1:]]
        self.streams = len(self.names)
        self.vocab_sizes = tuple(map(len, self.names))
        self.vocab_size = self.vocab_sizes[0]
        self.ids = [{name: id for id, name in enumerate(names)} for names in self.names]
        self.ticks: dict[str, int] = tok._tpb_tokens_to_ticks[tok._tpb_per_ts[4]]  # of each duration's name
        if folder is not None:
            self._check(Path(folder) / FILE)

    @abstractmethod
    def written(self, music: Music) -> Array:
        """Ids (l k) of music on the grid."""

    @abstractmethod
    def read(self, ids: Array) -> Raw:
        """The music that ids (l k) tell, each of them in its vocabulary and none in the first stream a special."""

    def stream(self, kind: str) -> int:
        """The number of the stream that tells something."""
        return self.kinds.index(kind)

    def encode(self, piece: Piece) -> list[list[int]]:
        """Ids of the piece; ValueError naming it when the vocabulary can tell none of its notes."""
        source = piece.source or "a piece"
        music = settle(raw(piece.score), self.grid, source if piece.source else "")
        ids: list[list[int]] = self.written(music).tolist() if len(music.time) else []
        if not ids:
            low, high = self.grid.pitches
            drums = "" if self.grid.programs is not None else " (drums need tokenizer.use_programs)"
            raise ValueError(
                f"{source}: the vocabulary can tell none of its notes; expected pitches {low} to {high}{drums}"
            )
        return ids

    def decode(self, ids: Sequence[Any]) -> Piece:
        """A Piece from any ids; tokens that are none are left out."""
        sizes = self.vocab_sizes
        whole = [
            token
            for token in ids
            if len(token) == self.streams
            and token[0] >= len(SPECIALS)
            and all(0 <= id < size for id, size in zip(token, sizes, strict=True))
        ]
        score = score_of(settle(self.read(np.array(whole, dtype=np.int64).reshape(-1, self.streams)), self.grid))
        return Piece("", "", "", lambda: score, lambda: _abc(score))

    def table(self, kind: str, values: Sequence[Any], otherwise: int = -1) -> Array:
        """The id (n,) of each value in the stream that tells a kind, such as pitch 60."""
        ids = self.ids[self.stream(kind)]
        return np.array([ids.get(f"{kind}_{value}", otherwise) for value in values], dtype=np.int64)

    @cached_property
    def pitches(self) -> Array:
        """(2, 128): the id of each pitch, and of each as a drum, -1 where there is none."""
        ids = self.ids[self.stream("Pitch")]
        drums = "PitchDrum" if self.options.use_pitchdrum_tokens else "Pitch"
        found = np.array([[ids.get(f"{kind}_{pitch}", -1) for pitch in range(128)] for kind in ("Pitch", drums)])
        for row, (low, high) in zip(found, (self.grid.pitches, self.grid.drum_pitches), strict=True):
            row[:low] = row[high + 1 :] = -1
        return found

    @cached_property
    def programs(self) -> Array:
        """(129,): the id of each rank's program, -1 where it cannot be told."""
        return self.table("Program", [*range(DRUMS), -1])

    @cached_property
    def durations(self) -> Array:
        """The id of each length in ticks, -1 where there is none."""
        found = np.full(max(self.ticks.values()) + 1, -1)
        for name, ticks in reversed(self.ticks.items()):
            found[ticks] = self.ids[self.stream("Duration")].get(f"Duration_{name}", -1)
        return found

    def values(self, kind: str, of: Callable[[str], float] = int) -> Array:
        """What each id of the stream that tells a kind stands for, 0 where it is nothing of the kind."""
        parts = [name.partition("_") for name in self.names[self.stream(kind)]]
        return np.array([of(value) if told.startswith(kind) else 0 for told, _, value in parts])

    @cached_property
    def lengths(self) -> Array:
        """Ticks of each id of the durations."""
        return self.values("Duration", self.ticks.__getitem__)

    @cached_property
    def ranks(self) -> Array:
        """The rank of each id of the programs."""
        programs = self.values("Program")
        return np.where(programs < 0, DRUMS, programs)

    @cached_property
    def tempos(self) -> Array:
        """Microseconds a quarter of each id of the tempos."""
        return self.values("Tempo", lambda value: int(symusic.Tempo(0, float(value)).mspq))

    def token(self, id: int, stream: int) -> str:
        """The name of an id of a stream."""
        return self.names[stream][id]

    def fingerprint(self) -> str:
        """sha256 of library version, options and vocabularies."""
        return hashlib.sha256(self.description.encode()).hexdigest()

    @cached_property
    def description(self) -> str:
        """What the ids mean, as JSON."""
        fields = {key: value for key, value in vars(self.hparams).items() if key not in ("bpe", "vocabulary")}
        told = {"format": 1, "kind": self.kind, "miditok": version("miditok"), "options": fields}
        return json.dumps({**told, "vocabularies": self.names}, indent=1, sort_keys=True) + "\n"

    def save(self, folder: Path) -> None:
        """Writes what the ids mean."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / FILE).write_text(self.description, encoding="utf-8")

    def _check(self, path: Path) -> None:
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HubError(f"{path} does not exist; expected a folder that a tokenizer was saved to") from None
        except (OSError, ValueError, RecursionError) as error:
            raise HubError(f"{path} cannot be read as a saved tokenizer ({str(error).splitlines()[0]})") from error
        if not isinstance(saved, dict) or saved.get("kind") != self.kind:
            raise HubError(f"{path} holds no saved {self.kind} tokenizer")
        if saved.get("vocabularies") != self.names:
            raise HubError(
                f"{path} was written by miditok {saved.get('miditok')} and holds other vocabularies than miditok "
                f"{version('miditok')} makes of these options; install that version or restore the options"
            )

    def transpose_table(self, semitones: int) -> list[list[int]]:
        """For each stream id -> id of the same music `semitones` higher, -1 where the vocabulary has none."""
        return [maps.transposed(names, semitones, self.options) for names in self.names]

    def velocity_table(self, steps: int) -> list[list[int]]:
        """For each stream id -> id of the same music `steps` steps of loudness up, -1 where there is none."""
        return self._mapped("Velocity", "velocities", lambda names: maps.louder(names, steps))

    def tempo_table(self, factor: float) -> list[list[int]]:
        """For each stream id -> id with tempos times `factor`, to the nearest step; -1 where there is none."""
        if not math.isfinite(factor) or factor <= 0:
            raise ValueError(f"factor is {factor}; expected a number above 0")
        return self._mapped("Tempo", "tempos", lambda names: maps.faster(names, factor))

    def _mapped(self, kind: str, what: str, moved: Callable[[list[str]], list[int]]) -> list[list[int]]:
        if kind not in self.kinds:
            raise ValueError(f"the vocabulary has no {what}; set tokenizer.use_{what}")
        return [
            moved(names) if told == kind else list(range(len(names)))
            for told, names in zip(self.kinds, self.names, strict=True)
        ]


def _tells(ids: Iterable[str], kind: str) -> bool:
    return any(name.startswith(f"{kind}_") for name in ids)


def _abc(score: symusic.Score) -> str:
    from datatools.abc import writer as abc_writer

    if not len(score.tracks):
        raise ValueError("the tokens tell no notes")
    return abc_writer.write(score)
