"""What is known about a run's best model, on disk: evaluation.json, and a line for each piece it was scored on."""

import json
from typing import Any

from core.dataset import Split
from core.files import write_json, write_text
from supervisors.runfolder import RunFolder

SPLITS: tuple[Split, ...] = ("valid", "test")


def write(folder: RunFolder, losses: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes the losses and what was measured of the same weights before; returns all of it.

    The loss at the top level, `nats_per_note`, is that of the test pieces.
    """
    test = losses["test"]
    low, high = test["nats_per_note_interval"]
    losses["nats_per_note"] = {
        "value": test["nats_per_note"],
        "low": low,
        "high": high,
        "n": test["pieces"],
        "unit": "nats per note",
        "reference": test["baselines"]["ngram"]["nats_per_note"],
    }
    old = read(folder)
    kept = old if old.get("weights") == losses["weights"] else {}
    result = {**kept, **losses}
    write_json(folder.evaluation, result)
    write_text(folder.report / "pieces.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return result


def read(folder: RunFolder) -> dict[str, Any]:
    """What evaluation.json holds; nothing where it is not there or is damaged."""
    try:
        found: dict[str, Any] = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def lines(folder: RunFolder) -> list[dict[str, Any]]:
    """A record for each piece that was scored."""
    return [json.loads(line) for line in (folder.report / "pieces.jsonl").read_text(encoding="utf-8").splitlines()]
