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
            told = json.dumps([piece.name, piece.key, piece.group, piece.split])
            digest.update(told.encode() + piece.sketch.tobytes())
        self._pieces, self._count = digest.hexdigest(), len(pieces)

    def load(self) -> list[Verdict] | None:
        """A verdict for each piece; None where none are kept, or those of other pieces or of another ledger."""
        try:
            kept = json.loads(self.path.read_bytes())
            verdicts = [Verdict(side, tuple(Elder(*elder) for elder in elders)) for side, elders in kept["verdicts"]]
        except (OSError, ValueError, TypeError, KeyError):  # nothing is lost: they are looked for again
            return None
        return verdicts if kept.get("of") == self._of() and len(verdicts) == self._count else None

    def save(self, verdicts: Sequence[Verdict]) -> None:
        """Keeps the verdicts, once the ledger is as they leave it."""
        told = [[one.side, [[elder.name, elder.side, elder.similarity] for elder in one.elders]] for one in verdicts]
        with atomic(self.path) as temporary:
            temporary.write_text(json.dumps({"of": self._of(), "verdicts": told}))

    def _of(self) -> list[object]:
        return [FORMAT, self._pieces, checksum(self.ledger) if self.ledger.exists() else ""]
