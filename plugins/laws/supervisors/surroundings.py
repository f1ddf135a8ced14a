"""What a supervisor under examination trains on: a small data set and a small backbone, lent to it for the laws alone.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import symusic
from torch import Tensor, nn

from core.contracts.backbone import State
from core.contracts.dataset import Item, Split
from core.contracts.piece import Piece
from core.registry import Entry, Registry
from core.seeds import generator
from datatools.reading.scores import piece_from_score
from plugins.manager import Manager

PIECES: dict[Split, int] = {"train": 8, "valid": 3, "test": 2}
NOTES = 40


@dataclass(kw_only=True)
class WalksHParams:
    """Random walks over a scale, made on the spot."""

    name: Literal["walks_of_the_laws"] = "walks_of_the_laws"


class Walks:
    """The contract of core/contracts/dataset.py; there is nothing to fetch."""

    license, url = "none", "made on the spot"

    def __init__(self, hparams: WalksHParams) -> None:
        pass

    def prepare(self, folder: Path) -> None:
        """Does nothing."""

    def fingerprint(self) -> str:
        return f"walks of {NOTES} notes"

    def items(self) -> Iterator[Item]:
        for split, count in PIECES.items():
            for number in range(count):
                yield Item(f"{split}_{number}", split=split)

    def read(self, item: Item) -> Piece:
        """Quarters and eighths up and down the white keys."""
        drawn = generator("walks of the laws", item.path)
        score, track, time, degree = symusic.Score(480), symusic.Track(), 0, 7
        for _ in range(NOTES):
            degree = min(14, max(0, degree + int(drawn.integers(-2, 3))))
            length = int(drawn.choice([240, 480]))
            octave, step = divmod(degree, 7)
            track.notes.append(symusic.Note(time, length, 60 + 12 * octave + (0, 2, 4, 5, 7, 9, 11)[step], 80))
            time += length
        score.tracks.append(track)
        return piece_from_score(score, source=item.path)


@dataclass(kw_only=True)
class GruHParams:
    """One recurrent layer."""

    name: Literal["gru_of_the_laws"] = "gru_of_the_laws"
    dim: int = 16
    layers: int = 1
    dropout: float = 0.1


class Gru(nn.Module):
    """The contract of core/contracts/backbone.py, one piece a row."""

    packs = False

    def __init__(self, hparams: GruHParams) -> None:
        super().__init__()
        self.dim = hparams.dim
        self.layer = nn.GRU(self.dim, self.dim, batch_first=True)
        self.dropout = nn.Dropout(hparams.dropout)

    def init_state(self, batch: int, max_length: int) -> State:
        return {"h": next(self.parameters()).new_zeros(batch, self.dim)}

    def forward(self, x: Tensor, state: State | None = None, starts: Tensor | None = None) -> tuple[Any, Any]:
        y, h = self.layer(x, None if state is None else state["h"][None])
        return self.dropout(y), None if state is None else {"h": h[0]}  # (b l d), (b d)


def lent(manager: Manager, build: Callable[..., Any], section: type) -> Manager:
    """A manager like the given one, with the supervisor under examination, and with what it trains on."""
    found = copy(manager)
    name = str(section().name)
    for kind, thing, hparams, make in (
        ("dataset", "walks_of_the_laws", WalksHParams, Walks),
        ("backbone", "gru_of_the_laws", GruHParams, Gru),
        ("supervisor", name, section, build),
    ):
        registry = Registry(kind, manager.broken)
        for entry in manager.registry(kind).values():
            if entry.name != thing:
                registry.add(entry)
        registry.add(Entry(thing, kind, thing, "", "", __file__, 1, hparams=hparams, build=make))
        setattr(found, f"{kind}s", registry)
    return found
