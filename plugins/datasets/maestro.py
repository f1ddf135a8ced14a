"""MAESTRO v3.0.0: 1276 piano performances, recorded as MIDI, with their published split (962, 137 and 177).

Hawthorne et al., arXiv 1810.12247. The split is that of the CSV, which keeps a work's performances on one side.
"""

import csv
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from core.contracts.dataset import Item, Split
from core.errors import HubError
from core.log import logger
from core.words import agree
from datatools.fetching import search, sources
from datatools.fetching.download import Remote
from datatools.preparing.survey import short
from hparams.datasets import MaestroHParams
from plugins import hookimpl

PUBLISHED = Remote(
    "https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/maestro-v3.0.0-midi.zip",
    "maestro-v3.0.0-midi.zip",
    58_416_533,
    "70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c",
)
TABLE = "maestro-v3.0.0*.csv"
MISSING = "the table lists it, and there is no such file"
EXPECTED = f"the folder maestro-v3.0.0 with its CSV, or an archive of it ({PUBLISHED.address})"
SIDES: dict[str, Split] = {"train": "train", "validation": "valid", "test": "test"}


class Maestro:
    """A performance is an item, and the performances of one work are a group."""

    license = "CC BY-NC-SA 4.0 (not for commercial use)"
    url = "https://magenta.tensorflow.org/datasets/maestro"

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity = f"maestro {Path(path).expanduser().resolve()}" if path else "maestro"

    def prepare(self, folder: Path) -> None:
        """Finds, or downloads and unpacks, the performances and their tables."""
        self.folder = folder
        self.root = sources.root(self.path, EXPECTED, PUBLISHED, folder)
        self.listed = listed(self.root)
        missing = self.skipped()
        if missing:
            named = f"{missing[0][0]} and {len(missing) - 1} more" if missing[1:] else missing[0][0]
            lacking = agree(len(missing), "is", "are")
            logger.warning("%d of %d performances %s not there: %s", len(missing), len(self.listed), lacking, named)
        unlisted = {str(path) for path in self.root.rglob("*.mid*")} - {item.path for item in self.listed}
        if unlisted:
            one = short(min(unlisted), self.root)
            logger.info("%s", search.passed_over("maestro", len(unlisted), f"in no table of it (such as {one})"))

    def fingerprint(self) -> str:
        items = list(self.items())
        found = search.Found(self.root, [Path(item.path) for item in items])
        sides = " ".join(f"{item.split} {item.group}" for item in items)
        content = search.fingerprint(found, self.folder / "checksums.json")
        return hashlib.sha256(f"maestro 1 {content} {sides}".encode()).hexdigest()

    def items(self) -> Iterable[Item]:
        return [item for item in self.listed if Path(item.path).is_file()]

    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of the performances that the tables list and that are not there."""
        return [(short(item.path, self.root), MISSING) for item in self.listed if not Path(item.path).is_file()]


def listed(root: Path) -> list[Item]:
    """What the tables below `root` list, sorted, whether it is there or not; HubError when there is no whole table."""
    tables = sorted(root.rglob(TABLE))
    if not tables:
        raise HubError(f"there is no {TABLE} in {root}; expected {EXPECTED}")
    found = set()
    for table in tables:
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                name, side = row.get("midi_filename") or "", SIDES.get(row.get("split") or "")
                if side is None or not name or name.startswith("/") or ".." in name.split("/"):
                    said = f"midi_filename {name!r} and split {row.get('split')!r}"
                    raise HubError(
                        f"{table}, line {number}, has {said}; expected a file beside it and one of {', '.join(SIDES)}"
                    )
                work = f"{row.get('canonical_composer')}: {row.get('canonical_title')}"
                found.add(Item(str(table.parent / name), 0, work, side))
    return sorted(found)


def build(hparams: MaestroHParams) -> Maestro:
    return Maestro(hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("maestro", MaestroHParams, build)
