"""Whether test music was trained on: near-duplicates across splits, under transposition and change of tempo.

The split itself keeps works together; what is left are near-duplicates that a published split has on two sides.
"""

from typing import Any

from core.contracts.dataset import Split
from core.words import counted
from datatools.preparing.store import TokenStore
from supervisors.evaluation.melodies import near
from supervisors.evaluation.results import WORDS, headline, splits_of

NAMED = 20


def leaks(store: TokenStore, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What the split did about near-duplicates, and which scored pieces of either split have a twin in training.

    `lines` are the records of the scored pieces: the loss is given without those pieces too.
    """
    manifest = store.manifest
    found: dict[str, Any] = {
        "near_duplicates": manifest["near_duplicates"],
        "left_out": manifest["left_out"],
        "across_splits": manifest["near_across_splits"],
    }
    for split in splits_of(store):
        twins = _twins(store, split)
        clean = [line for line in lines if line["split"] == split and line["source"] not in twins]
        notes = sum(line["notes"] for line in clean)
        found[split] = {
            "pieces": store.count(split),
            "with_twin": len(twins),
            "twins": [
                {"source": source, "training": name, "similarity": similarity}
                for source, (name, similarity) in sorted(twins.items(), key=lambda twin: -twin[1][1])[:NAMED]
            ],
            "nats_per_note_without": sum(line["nats"] for line in clean) / notes if notes else None,
        }
    return found


def in_short(result: dict[str, Any]) -> str:
    """How many of the headline's pieces have a twin in training."""
    split = headline(result)
    one = result["leakage"][split]
    told = f"{one['with_twin']:,} of {counted(one['pieces'], f'{WORDS[split]} piece')}"
    return f"{told} {'has' if one['with_twin'] == 1 else 'have'} a near twin in training"


def _twins(store: TokenStore, split: Split) -> dict[str, tuple[str, float]]:
    """The nearest training piece of each piece of a split that has one, from either one's record."""
    mine = {info.source for info in store.pieces(split)}
    training = {info.source for info in store.pieces("train")}
    found: dict[str, tuple[str, float]] = {}
    for row in near(store):
        for elder in row["elders"]:
            for source, other in ((row["source"], elder["name"]), (elder["name"], row["source"])):
                known = found.get(source, ("", 0.0))[1]
                if source in mine and other in training and elder["similarity"] > known:
                    found[source] = other, elder["similarity"]
    return found
