"""Four voices on a grid of sixteenths: soprano, alto, tenor, bass of one step, then of the next.

47 symbols, silence and the pitches 36 to 81, and no token for bars, steps or repeated notes, so that nats per token
compare with those published for the JSB chorales.

Source: Huang et al., Music Transformer, arXiv 1809.04281, section 4.1.
Shapes: s steps.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import symusic

from core.contracts.piece import Piece
from core.errors import HubError
from datatools.reading.four_voices import SILENCE, STEPS, VOICES, score_of, steps_of
from hparams.tokenizers.grid import GridHParams
from plugins import hookimpl

if TYPE_CHECKING:
    from plugins.tokenizers.grid_grammar import GridGrammar

LOWEST, HIGHEST = 36, 81
SYMBOLS = HIGHEST - LOWEST + 2  # id 0 is silence, id 1 the lowest pitch
BAR = 16 * len(VOICES)  # tokens of a bar of 4/4, the only one that a grid without meters can count
FILE = "grid.json"
DESCRIPTION = (
    json.dumps({"format": 1, "voices": VOICES, "steps_per_quarter": STEPS, "pitches": [LOWEST, HIGHEST]}, indent=1)
    + "\n"
)


class GridTokenizer:
    """A token is what one voice sings in one sixteenth; four tokens are a step."""

    vocab_size = SYMBOLS + 3
    pad_id, bos_id, eos_id = range(SYMBOLS, SYMBOLS + 3)
    streams = 1

    def encode(self, piece: Piece) -> list[int]:
        """Four ids a step up to the last note; ValueError naming the piece unless it is four voices on the grid."""
        try:
            steps = steps_of(piece.score)
            beyond = steps[(steps != SILENCE) & ((steps < LOWEST) | (steps > HIGHEST))]
            if len(beyond):
                raise ValueError(f"it has pitch {beyond[0]}; expected {LOWEST} to {HIGHEST}, all that chorales need")
        except ValueError as error:
            raise ValueError(f"{piece.source or 'a piece'}: {error}") from error
        ids: list[int] = np.where(steps == SILENCE, 0, steps - LOWEST + 1).ravel().tolist()
        return ids

    def decode(self, ids: Sequence[int]) -> Piece:
        """A Piece from any ids: what is no symbol is left out, a step cut short is filled with silence."""
        symbols = [int(id) for id in ids if 0 <= id < SYMBOLS]
        symbols += [0] * (-len(symbols) % len(VOICES))
        steps = np.array(symbols, dtype=np.int64).reshape(-1, len(VOICES))  # (s 4)
        score = score_of(np.where(steps == 0, SILENCE, steps + LOWEST - 1))
        return Piece("", "", "", lambda: score, lambda: _abc(score))

    def token(self, id: int) -> str:
        """silence, a pitch such as pitch_60, or one of the specials."""
        if id < SYMBOLS:
            return f"pitch_{id + LOWEST - 1}" if id else "silence"
        return ("pad", "bos", "eos")[id - SYMBOLS]

    def fingerprint(self) -> str:
        """sha256 of what the ids mean."""
        return hashlib.sha256(DESCRIPTION.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Writes what the ids mean."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / FILE).write_text(DESCRIPTION, encoding="utf-8")

    def transpose_table(self, semitones: int) -> list[int]:
        """id -> id of the same music `semitones` higher, -1 where a pitch leaves the vocabulary."""
        moved = range(1 + semitones, SYMBOLS + semitones)
        return [0, *(id if 0 < id < SYMBOLS else -1 for id in moved), self.pad_id, self.bos_id, self.eos_id]

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        """Every sixteenth step, counted from the beginning: the grid knows neither meter nor upbeat."""
        return list(range(0, len(ids), BAR))

    def grammar(self, bars: int = 0, length: int = 0) -> "GridGrammar":
        """Whole steps with a note among them. `bars` > 0: exactly so many bars of 16 steps; `length` > 0: at most so
        many tokens in all, prompt included and bos and eos not.
        """
        from plugins.tokenizers.grid_grammar import GridGrammar

        return GridGrammar(self.vocab_size, (self.pad_id, self.bos_id, self.eos_id), bars * BAR, length)


def _abc(score: symusic.Score) -> str:
    from datatools.abc import writer as abc_writer

    if not len(score.tracks):
        raise ValueError("the tokens tell no notes")
    return abc_writer.write(score)


def build(hparams: GridHParams, folder: Path | None = None) -> GridTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    if folder is not None:
        path = Path(folder) / FILE
        try:
            saved = path.read_text(encoding="utf-8")
        except OSError as error:
            raise HubError(f"{path} cannot be read ({error.strerror}); expected a saved grid tokenizer") from error
        if saved != DESCRIPTION:
            raise HubError(f"{path} tells of another grid than this version's, whose pitches are {LOWEST} to {HIGHEST}")
    return GridTokenizer()


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `grid`."""
    register("grid", GridHParams, build, defaults={"dataset": "jsb_chorales", "data.augment.transpose": 5})
