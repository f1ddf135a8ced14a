"""From a dataset and a tokenizer to a token store, once: survey, split, vocabulary, tokens.

Everything lies below the cache folder: datasets/ (downloads), surveys/, ledgers/, stores/, locks/.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.dataset import SPLITS, Dataset, Item
from core.errors import HubError
from core.log import logger
from core.piece import Piece
from core.tokenizer import Tokenizer
from datatools import ledger, readings, splits, survey
from datatools.storage import atomic, cache_folder, locked, storage, write_json
from datatools.store import FORMAT, TokenStore
from datatools.workers import Failure, map_pieces
from hparams.base import DataHParams

Build = Callable[[Path | None], Tokenizer]
LIBRARIES = ("miditok", "music21", "symusic", "tokenizers")  # other versions may give other notes and other tokens

__all__ = ["cache_folder", "prepare", "TokenStore"]


def identity(dataset: Dataset) -> str:
    """What a dataset is called, whatever is in it today; its ledger is kept under this name."""
    return str(getattr(dataset, "identity", None) or f"{type(dataset).__name__} {dataset.url}")


def prepare(
    dataset: Dataset, build_tokenizer: Build, tokenizer_key: str, data: DataHParams, progress: bool = True
) -> TokenStore:
    """The token store of a dataset under a tokenizer; made when it is not there yet, else opened at once.

    `build_tokenizer(folder)` must be picklable; `tokenizer_key` changes whenever its hyper-parameters do. HubError when
    nothing can be read or split, or the disk refuses.
    """
    home = cache_folder()
    with storage(home):
        name = identity(dataset)
        slug = f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:40]}-{_digest(name)}"
        dataset.prepare(home / "datasets" / slug)
        fingerprint = _digest(name, dataset.fingerprint(), survey.FORMAT, readings.version())
        key = _digest(fingerprint, tokenizer_key, FORMAT, *_versions(LIBRARIES).items())
        folder = home / "stores" / f"{slug}-{key}"
        root = _root(dataset)
        if (folder / "manifest.json").exists():
            return TokenStore(folder, root)
        with locked(home / "locks" / slug, f"another process prepares {name}; waiting for it"):
            if not (folder / "manifest.json").exists():
                job = _Job(dataset, name, fingerprint, build_tokenizer, data, progress, home, slug, folder)
                job.run(tokenizer_key)
        return TokenStore(folder, root)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _root(dataset: Dataset) -> Path:
    return Path(getattr(dataset, "root", None) or ".")


@dataclass(frozen=True)
class _Chosen:
    """A piece that has its split."""

    row: survey.Row
    split: str


class TrainingPieces:
    """The training pieces, read again each time they are walked through, one in memory at a time."""

    def __init__(self, read: Callable[[Item], Piece], items: Sequence[Item]) -> None:
        self._read, self._items = read, items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Piece]:
        return map(self._read, self._items)


@dataclass(frozen=True)
class _Job:
    """One preparation."""

    dataset: Dataset
    name: str
    fingerprint: str
    build: Build
    data: DataHParams
    progress: bool
    home: Path
    slug: str
    folder: Path

    def run(self, tokenizer_key: str) -> None:
        rows = survey.survey(
            self.dataset, self.home / "surveys" / f"{self.fingerprint}.jsonl", self.data, self.fingerprint, self.progress
        )
        failures = [(row.source, row.failure) for row in rows if row.failure] + survey.skipped(self.dataset)
        good = [row for row in rows if not row.failure]
        self._insist(good, rows, failures)
        verdicts = self._split(good)
        chosen = [
            _Chosen(row, split)
            for split in SPLITS
            for row, verdict in zip(good, verdicts, strict=True)
            if verdict.side == split
        ]
        part = self.folder.with_name(self.folder.name + ".part")
        tokenizer = self._tokenizer(part, chosen)
        kept, refused = self._encode(part, tokenizer, chosen)
        self._write(part, tokenizer, tokenizer_key, good, verdicts, kept, failures + refused)
        os.replace(part, self.folder)

    def _insist(self, good: Sequence[survey.Row], rows: Sequence[survey.Row], failures: list[tuple[str, str]]) -> None:
        if good:
            return
        if not rows:
            raise HubError(f"{self.name} holds no pieces; expected some music")
        path = self.home / "surveys" / f"{self.fingerprint}.failures.txt"
        _write_failures(path, failures)
        first = "; ".join(f"{survey.printable(name)}: {reason}" for name, reason in failures[:3])
        raise HubError(f"none of {len(rows)} pieces of {self.name} can be read: {first}; all reasons: {path}")

    def _split(self, good: Sequence[survey.Row]) -> list[splits.Verdict]:
        path = self.home / "ledgers" / f"{self.slug}.npz"
        candidates = [
            splits.Candidate(row.source, row.key, survey.sketch_of(row), row.item.group, row.item.split) for row in good
        ]
        old = ledger.load(path)
        verdicts, new = splits.assign(candidates, old)
        if new != old:
            new.save(path)
        return verdicts

    def _tokenizer(self, part: Path, chosen: Sequence[_Chosen]) -> Tokenizer:
        """The tokenizer as the store will hold it: trained on training pieces only, saved, and built from there."""
        folder = part / "tokenizer"
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            draft = part / "tokenizer.part"
            draft.mkdir(parents=True)
            tokenizer = self.build(None)
            train = getattr(tokenizer, "train", None)
            if train is not None:
                items = [choice.row.item for choice in chosen if choice.split == "train"]
                train(TrainingPieces(survey.reader(self.dataset), items))
            tokenizer.save(draft)
            os.replace(draft, folder)
        return self.build(folder)

    def _encode(
        self, part: Path, tokenizer: Tokenizer, chosen: Sequence[_Chosen]
    ) -> tuple[list[_Chosen], list[tuple[str, str]]]:
        """Writes tokens.bin and offsets.npy; goes on behind what an interrupted preparation wrote."""
        dtype = token_type(tokenizer.vocab_size)
        done = _done(part, dtype)
        by_source = {choice.row.source: choice for choice in chosen}
        todo = {choice.row.item: choice for choice in chosen[len(done) :]}
        with (part / "tokens.bin").open("ab") as tokens, (part / "progress.jsonl").open("a") as log:
            for item, result in map_pieces(
                partial(encode, self.build, part / "tokenizer", survey.reader(self.dataset)),
                list(todo),
                workers=self.data.workers,
                seconds=self.data.seconds_per_file,
                megabytes=self.data.megabytes_per_worker,
                progress="tokenizing" if self.progress else "",
                warm=partial(warm_tokenizer, self.build, part / "tokenizer"),
            ):
                failure = result.reason if isinstance(result, Failure) else ""
                if not isinstance(result, Failure):
                    tokens.write(result.astype(dtype).tobytes())
                    tokens.flush()
                done.append((todo[item].row.source, 0 if failure else len(result), failure))
                log.write(json.dumps(done[-1]) + "\n")
                log.flush()
        lengths = [length for _, length, failure in done if not failure]
        with atomic(part / "offsets.npy") as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), allow_pickle=False)
        kept = [by_source[source] for source, _, failure in done if not failure]
        return kept, [(source, failure) for source, _, failure in done if failure]

    def _write(
        self,
        part: Path,
        tokenizer: Tokenizer,
        tokenizer_key: str,
        good: Sequence[survey.Row],
        verdicts: Sequence[splits.Verdict],
        kept: Sequence[_Chosen],
        failures: list[tuple[str, str]],
    ) -> None:
        lengths = np.diff(np.load(part / "offsets.npy")).tolist()
        root = getattr(self.dataset, "root", None)
        counts: dict[str, dict[str, float]] = {
            split: dict.fromkeys(("pieces", "notes", "seconds", "tokens"), 0) for split in SPLITS
        }
        with (part / "pieces.jsonl").open("w") as file:
            for choice, length in zip(kept, lengths, strict=True):
                row = choice.row
                line = {
                    "source": row.source,
                    "title": row.title,
                    "notes": row.notes,
                    "seconds": round(row.seconds, 3),
                    "tokens": length,
                    "split": choice.split,
                    "sha256": row.sha256,
                    "path": survey.short(row.item.path, root),
                    "index": row.item.index,
                }
                file.write(json.dumps(line) + "\n")
                count = counts[choice.split]
                for name, value in (("pieces", 1), ("notes", row.notes), ("seconds", row.seconds), ("tokens", length)):
                    count[name] = round(count[name] + value, 3)
        pairs = list(zip(good, verdicts, strict=True))
        left_out = [_elders(row, verdict) for row, verdict in pairs if verdict.side == "out"]
        joined = [_elders(row, verdict) for row, verdict in pairs if verdict.side != "out" and verdict.elders]
        for name, things in (("left_out.jsonl", left_out), ("duplicates.jsonl", joined)):
            (part / name).write_text("".join(json.dumps(thing) + "\n" for thing in things))
        _write_failures(part / "failures.txt", failures)
        (part / "progress.jsonl").unlink()
        across = [thing for thing in joined if any(elder["side"] != thing["side"] for elder in thing["elders"])]
        manifest = {
            "format": FORMAT,
            "dtype": str(token_type(tokenizer.vocab_size)),
            "counts": counts,
            "failures": len(failures),
            "left_out": len(left_out),
            "near_duplicates": len(joined),
            "near_across_published_splits": len(across),
            "dataset": {
                "name": self.name,
                "fingerprint": self.fingerprint,
                "root": str(_root(self.dataset)),
                "license": self.dataset.license,
                "url": self.dataset.url,
            },
            "tokenizer": {
                "key": tokenizer_key,
                "fingerprint": tokenizer.fingerprint(),
                "vocab_size": tokenizer.vocab_size,
                "streams": tokenizer.streams,
            },
            "versions": _versions(LIBRARIES),
        }
        for split in ("train", "valid"):
            if not counts[split]["pieces"]:
                path = self.home / "surveys" / f"{self.fingerprint}.failures.txt"
                _write_failures(path, failures)
                raise HubError(f"the tokenizer can tell no piece of the {split} split of {self.name}; reasons: {path}")
        write_json(part / "manifest.json", manifest)


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


_built: dict[Path, Tokenizer] = {}


def warm_tokenizer(build: Build, folder: Path) -> Tokenizer:
    """Builds the tokenizer, once in a worker."""
    survey.warm()
    if folder not in _built:
        _built[folder] = build(folder)
    return _built[folder]


def encode(build: Build, folder: Path, read: Callable[[Item], Piece], item: Item) -> NDArray[np.uint32]:
    """The ids of one item: (n,); ValueError when the tokenizer cannot tell it, or tells what it must not."""
    tokenizer = warm_tokenizer(build, folder)
    ids = np.asarray(tokenizer.encode(read(item)), dtype=np.int64)
    if ids.ndim != 1:
        raise ValueError(f"the tokenizer gives ids of shape {ids.shape}; expected one stream")
    if not len(ids):
        raise ValueError("the tokenizer gives no token")
    if ids.min() < 0 or ids.max() >= tokenizer.vocab_size:
        raise ValueError(f"the tokenizer gives ids {ids.min()} to {ids.max()}; expected 0 to {tokenizer.vocab_size - 1}")
    if np.isin(ids, (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)).any():
        raise ValueError("the tokenizer gives its own pad, begin or end; the hub adds them")
    return ids.astype(np.uint32)


def _done(part: Path, dtype: np.dtype[Any]) -> list[tuple[str, int, str]]:
    """(source, tokens, failure) of the pieces that are safely in tokens.bin, which is cut behind the last of them."""
    done: list[tuple[str, int, str]] = []
    log, tokens = part / "progress.jsonl", part / "tokens.bin"
    size = tokens.stat().st_size if tokens.exists() else 0
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    total = 0
    for line in lines:
        if not line.endswith("\n"):
            break
        source, length, failure = json.loads(line)
        if total + length * dtype.itemsize > size:
            break
        total += length * dtype.itemsize
        done.append((source, length, failure))
    log.write_text("".join(lines[: len(done)]))
    with tokens.open("ab") as file:
        file.truncate(total)
    if done:
        logger.info("going on behind %d pieces that are tokenized already", len(done))
    return done


def _elders(row: survey.Row, verdict: splits.Verdict) -> dict[str, Any]:
    elders = [{"source": elder.name, "side": elder.side, "similarity": elder.similarity} for elder in verdict.elders[:8]]
    return {"source": row.source, "side": verdict.side, "elders": elders}


def _write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    with atomic(path) as temporary:
        temporary.write_text(
            "".join(f"{survey.printable(name)}: {survey.printable(reason)}\n" for name, reason in failures), "utf-8"
        )
