"""What is known about a run's best model, on disk: evaluation.json, and a line for each piece it was scored on."""

import json
from collections.abc import Mapping
from typing import Any

from core.contracts.dataset import Split
from core.contracts.tokenizer import Tokenizer
from core.files import write_json, write_text
from core.words import counted
from datatools import ngram
from datatools.preparing.store import TokenStore
from supervisors.evaluation.scoring import charge
from supervisors.training.runfolder import RunFolder

SPLITS: tuple[Split, ...] = ("valid", "test")
WORDS: dict[Split, str] = {"valid": "validation", "test": "test"}


def splits_of(store: TokenStore) -> list[Split]:
    """The splits to score: a published dataset may keep its test pieces back."""
    return [split for split in SPLITS if store.count(split)]


def scored(found: Mapping[str, Any]) -> list[Split]:
    """The splits of which something is told."""
    return [split for split in SPLITS if split in found]


def headline(result: dict[str, Any]) -> Split:
    """The split that stands for the model: test, or validation where there are no test pieces."""
    return "test" if "test" in result else "valid"


def measured_on(result: dict[str, Any]) -> str:
    """How many pieces of the headline's split there are, and what is to be known where these are not test pieces."""
    split = headline(result)
    told = counted(result[split]["pieces"], f"{WORDS[split]} piece")
    return told if split == "test" else f"{told}, which also chose the weights: no test split"


def write(folder: RunFolder, losses: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes the losses and what was measured of the same weights before; returns all of it.

    The losses at the top level, `headline` (untold notes charged) and `nats_per_note` (they go free), are those of the
    headline's split, which they name.
    """
    split = headline(losses)
    told = losses[split]
    low, high = told["nats_per_note_interval"]
    ngram = told["baselines"]["ngram"]["nats_per_note"]
    facts = {"n": told["pieces"], "unit": "nats per note, untold ones charged", "split": split}
    losses["headline"] = {**told["headline"], **facts, "reference": ngram + charge(told)}
    losses["nats_per_note"] = {
        "value": told["nats_per_note"],
        "low": low,
        "high": high,
        "n": told["pieces"],
        "unit": "nats per note",
        "split": split,
        "reference": ngram,
    }
    old = read(folder)
    kept = {key: value for key, value in old.items() if key not in SPLITS}
    kept = kept if old.get("weights") == losses["weights"] else {}
    result = {**kept, **losses}
    write_json(folder.evaluation, result)
    write_text(folder.report / "pieces.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return result


def baselines(store: TokenStore, tokenizer: Tokenizer, keep: bool) -> dict[str, Any]:
    """What n-grams cost by split, measured once: it depends on the store alone, so it is kept beside it."""
    path = store.folder / "baselines.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = ngram.baselines(store, tokenizer)
        if keep:
            write_json(path, found)
    return found


def read(folder: RunFolder) -> dict[str, Any]:
    """What evaluation.json holds; nothing where it is not there or is damaged."""
    try:
        found: dict[str, Any] = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def lines(folder: RunFolder) -> list[dict[str, Any]]:
    """A record for each piece that was scored."""
    return [json.loads(line) for line in (folder.report / "pieces.jsonl").read_bytes().splitlines()]
