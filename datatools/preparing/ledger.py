"""What earlier preparations of a dataset decided, kept for ever: a piece that once trained must never test later.

One entry per distinct music: exact key, side, sketch and the name under which it was first seen.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from core.contracts.dataset import SPLITS
from core.errors import HubError
from core.files import atomic
from datatools.preparing.duplicates import HASHES, Sketch

Side = Literal["train", "valid", "test", "out"]
SIDES: tuple[Side, ...] = (*SPLITS, "out")
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of music that has its side; `group` is the work whose variants stay with it, empty for none."""

    key: str
    side: Side
    sketch: Sketch = field(compare=False)
    name: str
    group: str = ""


@dataclass
class Ledger:
    """All entries in the order in which they were decided."""

    entries: list[Entry] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Writes the ledger whole or not at all."""
        count = len(self.entries)
        text = json.dumps([[entry.name, entry.group] for entry in self.entries]).encode()
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                format=np.array(FORMAT),
                keys=np.frombuffer(b"".join(bytes.fromhex(entry.key) for entry in self.entries), dtype=np.uint8),
                sides=np.array([SIDES.index(entry.side) for entry in self.entries], dtype=np.uint8),
                sketches=np.array([entry.sketch for entry in self.entries], dtype=np.uint32).reshape(count, HASHES),
                names=np.frombuffer(text, dtype=np.uint8),
            )


def load(path: Path) -> Ledger:
    """The ledger at `path`, an empty one where there is none; HubError when it is damaged."""
    if not path.exists():
        return Ledger()
    try:
        with np.load(path, allow_pickle=False) as data:
            if int(data["format"]) != FORMAT:
                raise ValueError(f"format {data['format']}")
            keys = data["keys"].reshape(-1, 32)
            names = json.loads(data["names"].tobytes())
            rows = zip(keys, data["sides"].tolist(), data["sketches"], names, strict=True)
            return Ledger([Entry(key.tobytes().hex(), SIDES[side], sk, *name) for key, side, sk, name in rows])
    except Exception as error:  # zip, numpy and JSON each have their own for a damaged file
        raise HubError(
            f"{path} says on which side of the split each piece is and cannot be read ({error}); restore it, or delete"
            " it and every run made from this dataset, since pieces may then change sides"
        ) from error
