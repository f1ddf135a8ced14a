"""What tokenizers on a grid of sixteenths share: blocks of symbols, one token of each in turn a step."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.contracts.piece import Piece
from core.errors import HubError
from plugins.tokenizers.sixteenths import lines

if TYPE_CHECKING:
    from plugins.tokenizers.sixteenths.grammar import StepGrammar

FILE = "sixteenths.json"
SPECIALS = ("pad", "bos", "eos")


@dataclass(frozen=True)
class Block:
    """The symbols of one part: `size` of them; `silent` when none is struck; `pitched` when they can be transposed."""

    name: str
    size: int
    silent: tuple[int, ...]
    pitched: bool


LINE = Block("", lines.SYMBOLS, (lines.HOLD, lines.OFF), True)


class StepTokenizer:
    """A token of each block a step; subclasses encode and decode. `options` say what else decides the ids."""

    streams = 1
    blocks: tuple[Block, ...]

    def __init__(self, name: str, options: dict[str, str], folder: Path | None = None) -> None:
        self.name, self.options = name, options
        self.starts = [sum(block.size for block in self.blocks[:at]) for at in range(len(self.blocks))]
        self.symbols = sum(block.size for block in self.blocks)
        self.vocab_size = self.symbols + len(SPECIALS)
        self.pad_id, self.bos_id, self.eos_id = range(self.symbols, self.vocab_size)
        if folder is not None:
            path = Path(folder) / FILE
            try:
                saved = path.read_text(encoding="utf-8")
            except OSError as error:
                raise HubError(f"{path} cannot be read ({error.strerror}); expected a saved tokenizer") from error
            if saved != self._description:
                raise HubError(f"{path} tells of other tokens or options than this {name} tokenizer's")

    def decode(self, ids: Sequence[int]) -> Piece:
        """A Piece from any ids: what is no symbol, or of another part than is due, is left out."""
        score = self.score([int(id) for id in ids if 0 <= id < self.symbols])
        return Piece("", "", "", lambda: score, lambda: _abc(score))

    def score(self, ids: list[int]) -> "lines.symusic.Score":
        """The music of symbols."""
        raise NotImplementedError

    def block_of(self, id: int) -> tuple[Block, int]:
        """The block of a symbol, and its number there."""
        at = max(at for at, start in enumerate(self.starts) if id >= start)
        return self.blocks[at], id - self.starts[at]

    def token(self, id: int) -> str:
        """Such as pitch_60, hold, off, bass_pitch_40, drums_5, or a special."""
        if id >= self.symbols:
            return SPECIALS[id - self.symbols]
        block, number = self.block_of(id)
        prefix = f"{block.name}_" if block.name else ""
        if not block.pitched:
            return f"{prefix}{number}"
        return prefix + {lines.HOLD: "hold", lines.OFF: "off"}.get(number, f"pitch_{number}")

    @property
    def _description(self) -> str:
        blocks = [[block.name, block.size] for block in self.blocks]
        return json.dumps({"format": 1, "name": self.name, "blocks": blocks, **self.options}, indent=1) + "\n"

    def fingerprint(self) -> str:
        """sha256 of what the ids mean and of how music becomes them."""
        return hashlib.sha256(self._description.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Writes what the ids mean."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / FILE).write_text(self._description, encoding="utf-8")

    def transpose_table(self, semitones: int) -> list[int]:
        """id -> id of the same music `semitones` higher, drums as they are, -1 where there is no such pitch."""
        table = []
        for id in range(self.symbols):
            block, number = self.block_of(id)
            fixed = not block.pitched or number >= lines.HOLD
            inside = fixed or 0 <= number + semitones < lines.HOLD
            table.append((id if fixed else id + semitones) if inside else -1)
        return [*table, self.pad_id, self.bos_id, self.eos_id]

    @property
    def bar_tokens(self) -> int:
        """Tokens of a bar, of every one."""
        return lines.BAR * len(self.blocks)

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        """Every sixteenth step, counted from the beginning: the grid knows neither meter nor upbeat."""
        return list(range(0, len(ids), self.bar_tokens))

    def grammar(self, bars: int = 0, length: int = 0) -> "StepGrammar":
        """Whole steps with a note among them. `bars` > 0: exactly so many; `length` > 0: at most so many tokens."""
        from plugins.tokenizers.sixteenths.grammar import StepGrammar

        parts = [(start, block.size, block.silent) for start, block in zip(self.starts, self.blocks, strict=True)]
        return StepGrammar(parts, self.vocab_size, self.eos_id, bars * self.bar_tokens, length)


def _abc(score: "lines.symusic.Score") -> str:
    from datatools.abc import writer

    if not len(score.tracks):
        raise ValueError("the tokens tell no notes")
    return writer.write(score)
