"""What finished runs say of themselves, gathered into groups within which they may be compared.

Like is compared with like: the same test pieces, told in the same tokens. Another tokenizer tells other things (bars,
meters, keys, spelling), and each costs nats that no better model could save. Validation pieces, where a dataset has no
test pieces, make groups of their own: they chose the weights.
"""

import json
import math
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.contracts.dataset import Split
from core.errors import HubError
from hparams.loading import from_file, plain
from plugins.manager import load_manager
from supervisors.comparison.intervals import Difference, Estimate, Row, differences, interval
from supervisors.evaluation.results import headline


@dataclass(frozen=True)
class Entry:
    """A model of the comparison, over its seeds."""

    row: Row
    estimate: Estimate
    parameters: int
    seeds: list[int]
    tokens: float
    minutes: float
    ngram: float
    order: int
    data: list[str]  # fingerprints of the token stores, one where all seeds saw the same
    folders: list[str]


@dataclass(frozen=True)
class Group:
    """Models on the same pieces of the same split in the same tokens."""

    dataset: str
    split: Split
    tokenizer: str
    pieces: int
    notes: int
    entries: list[Entry]
    differences: list[Difference]
    told: int  # of the notes
    settings: dict[str, Any]  # dotted keys of dataset and tokenizer
    apart: list[str] = field(default_factory=list)  # keys that set it apart from tables of the same data and tokens

    def plain(self) -> dict[str, Any]:
        """The group as JSON."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "tokenizer": self.tokenizer,
            "pieces": self.pieces,
            "notes": self.notes,
            "notes_told": self.told,
            "settings": {key: self.settings.get(key) for key in self.apart},
            "models": [
                {
                    "name": entry.row.name,
                    "nats_per_note": asdict(entry.estimate),
                    "by_seed": dict(zip(entry.seeds, entry.row.by_seed)),
                    "parameters": entry.parameters,
                    "tokens": entry.tokens,
                    "minutes": entry.minutes,
                    "ngram": {"order": entry.order, "nats_per_note": entry.ngram},
                    "data": entry.data,
                    "runs": entry.folders,
                }
                for entry in self.entries
            ],
            "differences": [asdict(difference) for difference in self.differences],
        }


def collect(runs: dict[str, list[Path]]) -> list[Group]:
    """Groups of models, best first in each; `runs` holds the folders of each model, one a seed."""
    found: dict[tuple[Any, ...], list[Entry]] = {}
    about: dict[tuple[Any, ...], tuple[dict[str, Any], int]] = {}  # settings, and how many notes are told
    for name, folders in runs.items():
        scored = [_scored(folder) for folder in folders]
        splits = {headline(result) for _, result, _ in scored}
        kinds = {pieces for pieces, _, _ in scored}
        if len(kinds) > 1 or len(splits) > 1:
            raise HubError(f"the runs of {name} were not tested on the same pieces; compare them under other names")
        results = [result for _, result, _ in scored]
        split = splits.pop()
        notes = np.array([count for _, _, count in scored[0][0]], dtype=np.float64)
        row = Row(name, np.array([nats for _, _, nats in scored]), notes)
        trees, configs = [_settings(folder) for folder in folders], [_config(folder) for folder in folders]
        baseline = results[0][split]["baselines"]["ngram"]
        entry = Entry(
            row=row,
            estimate=interval(row),
            parameters=results[0]["parameters"],
            seeds=[tree["seed"] for tree in trees],
            tokens=float(np.mean([result["tokens_seen"] for result in results])),
            minutes=float(np.mean([result["minutes"] for result in results])),
            ngram=baseline["nats_per_note"],
            order=baseline["order"],
            data=sorted({config["data_fingerprint"] for config in configs}),
            folders=[str(folder) for folder in folders],
        )
        prints = {config["tokenizer_fingerprint"] for config in configs}
        if len(prints) > 1:
            raise HubError(f"the runs of {name} have other tokens each; compare them under other names")
        names = [trees[0][slot]["name"] for slot in ("dataset", "tokenizer", "supervisor")]
        key = names[0], split, names[1], names[2], prints.pop(), scored[0][0]
        found.setdefault(key, []).append(entry)
        settings = {
            f"{slot}.{own}": value for slot in ("dataset", "tokenizer") for own, value in trees[0][slot].items()
        }
        about.setdefault(key, (settings, results[0][split].get("notes_told", int(notes.sum()))))
    groups = []
    for key, entries in found.items():
        dataset, split, tokenizer, *_ = key
        entries.sort(key=lambda entry: entry.estimate.value)
        rows = [entry.row for entry in entries]
        notes = rows[0].notes
        size = len(notes), int(notes.sum())
        settings, told = about[key]
        groups.append(Group(dataset, split, tokenizer, *size, entries, differences(rows), told, settings))
    return [replace(group, apart=_apart(group, groups)) for group in groups]


def _apart(group: Group, groups: list[Group]) -> list[str]:
    """The settings in which a group differs from others that would have the same heading."""
    alike = [other for other in groups if (other.dataset, other.tokenizer) == (group.dataset, group.tokenizer)]
    return [key for key in group.settings if any(other.settings.get(key) != group.settings[key] for other in alike)]


def _scored(folder: Path) -> tuple[tuple[tuple[str, int, int], ...], dict[str, Any], list[float]]:
    """The tested pieces of a run (source, index, notes), its evaluation, and the nats of each piece."""
    try:
        result = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        lines = [json.loads(line) for line in (folder / "evaluation/pieces.jsonl").read_bytes().splitlines()]
        split = headline(result)
        missing = sorted({split, "parameters", "tokens_seen", "minutes"} - result.keys())
        if missing:
            raise ValueError(f"evaluation.json tells no {', '.join(missing)}")
        tested = sorted(
            ((line["source"], line["index"], line["notes"]), line["nats"]) for line in lines if line["split"] == split
        )
        if len(tested) != result[split]["pieces"] or not all(math.isfinite(nats) for _, nats in tested):
            raise ValueError("evaluation/pieces.jsonl is not whole")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HubError(
            f"{folder} has no readable evaluation ({type(error).__name__}: {error}); "
            f"evaluate --run {shlex.quote(str(folder))}"
        ) from error
    return tuple(key for key, _ in tested), result, [nats for _, nats in tested]


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "model/config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HubError(f"{folder} has no readable model ({error}); train it again") from error
    return config


def _settings(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = plain(from_file(folder / "hparams.yaml", load_manager().section))
    return tree
