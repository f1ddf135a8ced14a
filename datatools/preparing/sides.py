"""The sides that the pieces of a dataset were given, kept so that near-duplicates are looked for once.

They hold for the same pieces and the same ledger: an interrupted preparation that goes on, and other tokenizers.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from core.files import atomic, checksum
from datatools.preparing.splits import Candidate, Elder, Verdict

FORMAT = 1


class Given:
    """What `path` keeps of the verdicts on `pieces` under the ledger at `ledger`."""

    def __init__(self, path: Path, pieces: Sequence[Candidate], ledger: Path) -> None:
        self.path, self.ledger = path, ledger
        digest = hashlib.sha256()
        for piece in pieces:
            told = json.dumps([piece.name, piece.key, piece.group, piece.split, piece.bound])
            digest.update(told.encode() + piece.sketch.tobytes())
        self._pieces = digest.hexdigest()

    def load(self) -> list[Verdict] | None:
        """A verdict for each piece; None where none are kept, or those of other pieces or of another ledger."""
        try:
            of, _, told = self.path.read_text(encoding="ascii").partition("\n")
        except (OSError, ValueError):  # nothing is lost: they are looked for again
            return None
        if of != self._of(told):
            return None
        return [Verdict(side, tuple(Elder(*elder) for elder in elders)) for side, elders in json.loads(told)]

    def save(self, verdicts: Sequence[Verdict]) -> None:
        """Keeps the verdicts, once the ledger is as they leave it."""
        told = [[one.side, [[elder.name, elder.side, elder.similarity] for elder in one.elders]] for one in verdicts]
        text = json.dumps(told)
        with atomic(self.path) as temporary:
            temporary.write_text(f"{self._of(text)}\n{text}", encoding="ascii")

    def _of(self, told: str) -> str:
        """A sha256 of what is told, and of what it is told of."""
        of = [str(FORMAT), self._pieces, checksum(self.ledger) if self.ledger.exists() else "", told]
        return hashlib.sha256("\n".join(of).encode()).hexdigest()
