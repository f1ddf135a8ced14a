"""What a token store says about itself: manifest, pieces, failures, what was left out and what is near to what."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.contracts.dataset import SPLITS, Dataset, Split
from core.contracts.tokenizer import Tokenizer, vocab_sizes
from core.files import atomic, write_json
from datatools.preparing import survey
from datatools.preparing.encoding import token_type
from datatools.preparing.intact import inventory, sealed
from datatools.preparing.splits import Verdict
from datatools.preparing.store import FORMAT


@dataclass(frozen=True, slots=True)
class Outcome:
    """A piece in the store; `told` counts the notes that its tokens decode to, `lost` what they do not, by cause."""

    row: survey.Row
    split: Split
    tokens: int
    told: int
    remarks: str
    lost: dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """What was prepared with what."""

    dataset: Dataset
    name: str
    fingerprint: str
    tokenizer: Tokenizer
    tokenizer_key: str
    versions: dict[str, str]
    limits: dict[str, float]


def write(
    folder: Path,
    prepared: Prepared,
    outcomes: Sequence[Outcome],
    verdicts: Sequence[tuple[survey.Row, Verdict]],
    unread: Sequence[tuple[str, str]],
    refused: Sequence[tuple[str, str]],
    limited: int,
) -> None:
    """Writes all of a store but its tokens; the manifest last, since a folder without it is no store."""
    root = getattr(prepared.dataset, "root", None)
    with atomic(folder / "offsets.npy") as temporary, temporary.open("wb") as file:
        offsets = np.cumsum([0, *(outcome.tokens for outcome in outcomes)], dtype=np.int64)
        np.save(file, offsets, allow_pickle=False)
    _lines(folder / "pieces.jsonl", (_piece(outcome, root) for outcome in outcomes))
    left_out = [_elders(row, verdict) for row, verdict in verdicts if verdict.side == "out"]
    near = [_elders(row, verdict) for row, verdict in verdicts if verdict.side != "out" and verdict.elders]
    _lines(folder / "left_out.jsonl", left_out)
    _lines(folder / "near.jsonl", near)
    failure_list(folder / "failures.txt", [*unread, *refused])
    remarks = [(outcome.row.source, outcome.remarks) for outcome in outcomes if outcome.remarks]
    failure_list(folder / "remarks.txt", remarks)
    (folder / "progress.jsonl").unlink(missing_ok=True)
    tokenizer = prepared.tokenizer
    manifest = {
        "format": FORMAT,
        "dtype": str(token_type(vocab_sizes(tokenizer))),
        "counts": {split: _counts([outcome for outcome in outcomes if outcome.split == split]) for split in SPLITS},
        "failures": len(unread) + len(refused),
        "unread": len(unread),
        "refused": len(refused),
        "limited": limited,
        "limits": prepared.limits,
        "remarks": len(remarks),
        "lost": _lost(outcomes),
        "left_out": len(left_out),
        "near_duplicates": len(near),
        "near_across_splits": sum(any(elder["side"] != one["side"] for elder in one["elders"]) for one in near),
        "dataset": {
            "name": prepared.name,
            "fingerprint": prepared.fingerprint,
            "root": str(root or "."),
            "license": prepared.dataset.license,
            "url": prepared.dataset.url,
        },
        "tokenizer": {
            "key": prepared.tokenizer_key,
            "fingerprint": tokenizer.fingerprint(),
            "vocab_size": tokenizer.vocab_size,
            "streams": tokenizer.streams,
        },
        "versions": prepared.versions,
        "files": inventory(folder),
    }
    write_json(folder / "manifest.json", sealed(manifest))


def failure_list(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """Writes `file: reason` a line."""
    with atomic(path) as temporary:
        text = "".join(f"{survey.printable(name)}: {survey.printable(reason)}\n" for name, reason in failures)
        temporary.write_text(text, encoding="utf-8")


def _counts(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {
        "pieces": len(outcomes),
        "notes": sum(outcome.row.notes for outcome in outcomes),
        "notes_told": sum(outcome.told for outcome in outcomes),
        "seconds": round(sum(outcome.row.seconds for outcome in outcomes), 3),
        "tokens": sum(outcome.tokens for outcome in outcomes),
    }


def _lost(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """What all pieces lose, by cause."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.lost)
    return dict(sorted(total.items()))


def _piece(outcome: Outcome, root: str | Path | None) -> dict[str, Any]:
    row = outcome.row
    return {
        "source": row.source,
        "title": row.title,
        "notes": row.notes,
        "told": outcome.told,
        "seconds": round(row.seconds, 3),
        "tokens": outcome.tokens,
        "split": outcome.split,
        "sha256": row.sha256,
        "path": survey.short(row.item.path, root),
        "index": row.item.index,
    }


def _elders(row: survey.Row, verdict: Verdict) -> dict[str, Any]:
    return {"source": row.source, "side": verdict.side, "elders": [asdict(elder) for elder in verdict.elders]}


def _lines(path: Path, things: Iterable[dict[str, Any]]) -> None:
    with atomic(path) as temporary, temporary.open("w") as file:
        file.writelines(json.dumps(thing) + "\n" for thing in things)
