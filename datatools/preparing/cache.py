"""From a dataset and a tokenizer to a token store, once: survey, split, vocabulary, tokens.

Everything lies below the cache folder: datasets/ (downloads), fingerprints/, ledgers/, locks/, readings/, sides/,
stores/ and surveys/.
"""

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts.dataset import SPLITS, Dataset, Item, Split
from core.contracts.piece import Piece
from core.contracts.tokenizer import Tokenizer, vocab_sizes
from core.errors import HubError
from core.locks import locked
from core.log import logger
from core.words import counted
from datatools.preparing import ledger, sides, splits, survey
from datatools.preparing.asking import identity, prepared
from datatools.preparing.early import Early
from datatools.preparing.encoding import Build, encode_all
from datatools.preparing.intact import Damaged
from datatools.preparing.manifest import Outcome, Prepared, failure_list, write
from datatools.preparing.store import FORMAT, TokenStore
from datatools.reading import kept as readings
from datatools.reading.libraries import versions
from datatools.storage import cache_folder, storage
from datatools.workers import executors
from hparams.base import DataHParams

__all__ = ["TokenStore", "cache_folder", "prepare", "surveyed"]


def prepare(
    dataset: Dataset,
    build_tokenizer: Build,
    tokenizer_key: str,
    data: DataHParams,
    progress: bool = True,
    executor: Executor | None = None,
) -> TokenStore:
    """The token store of a dataset under a tokenizer; made when it is not there yet, else opened at once.

    A store that is damaged is named in a warning and made again: sizes are verified always, checksums where its files
    are 64 MB or less in all. `build_tokenizer(folder)` must be picklable; `tokenizer_key` changes whenever its
    hyper-parameters do. `executor` reads and tokenizes instead of workers on this machine; without one,
    SWAPTUNES_EXECUTOR may name one. HubError when nothing can be read or split, or the disk refuses.
    """
    home = cache_folder()
    with storage(home):
        name, slug, fingerprint = _fetched(dataset, home)
        folder = home / "stores" / f"{slug}-{_digest(fingerprint, tokenizer_key, FORMAT, versions())}"
        root = Path(getattr(dataset, "root", None) or ".")
        store = _standing(folder, root, data)
        if store is None:
            with locked(home / "locks" / slug, f"another process prepares {name}; waiting for it"):
                store = _standing(folder, root, data, warn=True)
                if store is None:
                    with _machines(root, executor) as machines:
                        job = _Job(dataset, name, slug, fingerprint, build_tokenizer, data, progress, home, machines)
                        job.run(folder, tokenizer_key)
                    store = TokenStore(folder, root)
        return store


def surveyed(dataset: Dataset, data: DataHParams, progress: bool = True) -> list[survey.Row]:
    """What is in a dataset, a row for each piece; `prepare` then begins from it. HubError when the disk refuses."""
    home = cache_folder()
    with storage(home):
        name, slug, fingerprint = _fetched(dataset, home)
        root = Path(getattr(dataset, "root", None) or ".")
        with (
            locked(home / "locks" / slug, f"another process prepares {name}; waiting for it"),
            _machines(root) as machines,
        ):
            return survey.survey(dataset, _survey(home, fingerprint), data, fingerprint, progress, machines)


def labels(dataset: Dataset) -> Mapping[str, Sequence[str]]:
    """Column -> the words of a dataset's pieces in it; nothing where it has none. HubError when the disk refuses."""
    home = cache_folder()
    with storage(home):
        _fetched(dataset, home)
        tell: Callable[[], Mapping[str, Sequence[str]]] = getattr(dataset, "labels", dict)
        return tell()


def _fetched(dataset: Dataset, home: Path) -> tuple[str, str, str]:
    """Name, slug and fingerprint of a dataset, which is fetched where it is not there yet."""
    name = identity(dataset)
    slug = f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:40]}-{_digest(name)}"
    fingerprint = prepared(dataset, home / "datasets" / slug)
    return name, slug, _digest(name, fingerprint, survey.FORMAT, readings.version())


@contextmanager
def _machines(root: Path, executor: Executor | None = None) -> Iterator[executors.Machines | None]:
    """The machines of the executor given or named, which must see the files below `root`; None: this one."""
    with nullcontext(executor) if executor is not None else executors.chosen() as engine:
        yield executors.Machines(engine).seeing(root) if engine is not None else None


def _survey(home: Path, fingerprint: str) -> Path:
    return home / "surveys" / f"{fingerprint}.jsonl"


def _limits(data: DataHParams) -> dict[str, float]:
    return {"seconds": data.seconds_per_file, "megabytes": data.megabytes_per_worker}


def _standing(folder: Path, root: Path, data: DataHParams, warn: bool = False) -> TokenStore | None:
    """The store if it is there, whole, and larger limits of time and memory could not bring more into it."""
    if not folder.exists():
        return None
    try:
        store = TokenStore(folder, root)
    except Damaged as damaged:
        if warn:  # under the lock: no other process is replacing it just now
            logger.warning("%s; the token store is made again", damaged.fault)
        return None
    limited, limits = store.manifest["limited"], store.manifest["limits"]
    return store if not limited or all(limits[key] >= limit for key, limit in _limits(data).items()) else None


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class TrainingPieces:
    """The training pieces, read again each time they are walked through, one in memory at a time."""

    def __init__(self, read: Callable[[Item], Piece], items: Sequence[Item]) -> None:
        self._read, self._items = read, items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Piece]:
        return map(self._read, self._items)


def _learns(tokenizer: Any) -> bool:
    """Whether its vocabulary hangs on the training pieces."""
    return bool(getattr(tokenizer, "learns", hasattr(tokenizer, "train")))


@dataclass(frozen=True)
class _Job:
    """One preparation, under the dataset's lock."""

    dataset: Dataset
    name: str
    slug: str
    fingerprint: str
    build: Build
    data: DataHParams
    progress: bool
    home: Path
    machines: executors.Machines | None

    def run(self, folder: Path, tokenizer_key: str) -> None:
        """Makes the store beside `folder` and renames it when it is whole."""
        part = folder.with_name(f"{folder.name}.part")
        with self._early(part) as early:
            self._make(folder, part, tokenizer_key, early)
        os.replace(part, folder)

    def _make(self, folder: Path, part: Path, tokenizer_key: str, early: Early | None) -> None:
        """All of the store in `part`, in whose place `folder` will be."""
        path = _survey(self.home, self.fingerprint)
        rows = survey.survey(self.dataset, path, self.data, self.fingerprint, self.progress, self.machines, early)
        failures = [(row.source, row.failure) for row in rows if row.failure] + survey.skipped(self.dataset)
        good = [row for row in rows if not row.failure]
        if not good:
            raise self._nothing(f"none of {counted(len(rows), 'piece')} of {self.name} can be read", failures)
        verdicts = self._split(good)
        chosen: list[tuple[survey.Row, Split]] = [
            (row, split)
            for split in SPLITS
            for row, verdict in zip(good, verdicts, strict=True)
            if verdict.side == split
        ]
        tokenizer = self._tokenizer(part, [row.item for row, split in chosen if split == "train"])
        reader = survey.reader(self.dataset)
        told = [row for row, _ in chosen]
        encoded = encode_all(
            part, self.build, vocab_sizes(tokenizer), reader, told, self.data, self.progress, self.machines, early
        )
        refused = [(piece.source, piece.failure) for piece in encoded if piece.failure]
        for wanted in ("train", "valid"):
            wants = [piece for piece, (_, split) in zip(encoded, chosen, strict=True) if split == wanted]
            if not wants:
                sides = Counter(split for _, split in chosen)
                found = ", ".join(f"{sides[split]} for {split}" for split in SPLITS)
                raise HubError(f"{self.name} gives no piece for {wanted}, which training needs; found {found}")
            if all(piece.failure for piece in wants):
                first = {piece.source: piece.failure for piece in wants}
                reasons = list((first | dict(refused)).items())
                raise self._nothing(
                    f"the tokenizer can tell no {wanted} piece of {self.name}, another tokenizer= may", reasons
                )
        outcomes = [
            Outcome(row, split, piece.tokens, piece.told, piece.remarks, piece.lost)
            for (row, split), piece in zip(chosen, encoded, strict=True)
            if not piece.failure
        ]
        pairs = list(zip(good, verdicts, strict=True))
        described = Prepared(
            self.dataset, self.name, self.fingerprint, tokenizer, tokenizer_key, versions(), _limits(self.data)
        )
        limited = sum(row.limited for row in rows) + sum(piece.limited for piece in encoded)
        write(part, described, outcomes, pairs, failures, refused, limited)
        shutil.rmtree(folder, ignore_errors=True)  # one that larger limits replace

    def _early(self, part: Path) -> AbstractContextManager[Early | None]:
        """What tokenizes pieces as they are read; None where a vocabulary is learned from the training pieces first."""
        if _learns(self.build(None)):
            return nullcontext()
        tokenizer = self._tokenizer(part, [])
        return Early(self.build, part / "tokenizer", vocab_sizes(tokenizer), survey.reader(self.dataset))

    def _nothing(self, what: str, failures: list[tuple[str, str]]) -> HubError:
        if not failures:
            return HubError(f"{self.name} holds no tune or row to read; fill its files or choose others")
        path = self.home / "surveys" / f"{self.fingerprint}.failures.txt"
        failure_list(path, failures)
        first = "; ".join(f"{survey.printable(name)}: {reason}" for name, reason in failures[:3])
        return HubError(f"{what}: {first}; mend the files or choose otherwise; all reasons are in {path}")

    def _split(self, good: Sequence[survey.Row]) -> list[splits.Verdict]:
        """A side for each piece; the ledger remembers them before anything is made of them."""
        bound = getattr(self.dataset, "split_binds", True)
        pieces = [
            splits.Candidate(row.source, row.key, row.minhash, row.item.group, row.item.split, bound) for row in good
        ]
        path = self.home / "ledgers" / f"{self.slug}.npz"
        given = sides.Given(self.home / "sides" / f"{self.fingerprint}.json", pieces, path)
        verdicts = given.load()
        if verdicts is None:
            old = ledger.load(path)
            verdicts, new = splits.assign(pieces, old)
            if new.entries != old.entries:
                new.save(path)
            given.save(verdicts)
        return verdicts

    def _tokenizer(self, part: Path, training: Sequence[Item]) -> Tokenizer:
        """The tokenizer as the store will hold it: trained on training pieces only, saved, and built from there."""
        folder = part / "tokenizer"
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            draft = part / "tokenizer.part"
            draft.mkdir(parents=True)
            tokenizer: Any = self.build(None)
            if _learns(tokenizer):
                tokenizer.train(TrainingPieces(survey.reader(self.dataset), training))
            tokenizer.save(draft)
            os.replace(draft, folder)
        return self.build(folder)
