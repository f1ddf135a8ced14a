"""Whether a model copies: its pieces' longest runs from training, beside what people share with each other.

The threshold is set by human music that is not tested with it: excerpts of training pieces among other works, and of
validation pieces. It is measured on the test pieces, which are as new to the training pieces as the model's should be;
without any, nobody is left to measure it on.
"""

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

from core.contracts.tokenizer import Tokenizer
from core.words import counted
from datatools.preparing.store import TokenStore
from plugins.metrics.parts.copies import FEWEST_HUMANS, FLAGGED, LARGE_SHARE, Corpus, melody_of, report
from plugins.metrics.parts.intervals import FEWEST, share, summary
from plugins.metrics.parts.notes import Floats
from supervisors.evaluation import melodies
from supervisors.evaluation.sets import Output

CHANCE = 0.05  # of so many flagged pieces, below which a model is said to copy
NAMED = 10


def copies(
    store: TokenStore, tokenizer: Tokenizer, rows: Mapping[str, Sequence[Output]], beats: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of every row and of the test pieces (`human`, where there are any), and a record of each piece."""
    held = melodies.lines(store, tokenizer)
    asked = {name: [melody_of(score) for score in scores] for name, scores in rows.items()}
    if held["test"]:
        asked["human"] = [melodies.beginning(line, beats) for line in held["test"]]
    corpus = Corpus(
        [piece for pieces in asked.values() for piece in pieces],
        [melodies.whole(line) for line in held["valid"]],
        [melodies.whole(line) for line in held["train"]],
        melodies.works(store, "train"),
    )
    training, tested = store.pieces("train"), store.pieces("test")
    records: list[dict[str, Any]] = []
    first = 0
    for name, pieces in asked.items():
        for place in range(len(pieces)):
            found = report(corpus, first + place)
            record: dict[str, Any] = {"row": name, "piece": place}
            if name == "human":
                record["source"] = tested[place].source
            if found is not None:
                source = found["training"]
                named = {} if source is None else {"training": training[source].source, "title": training[source].title}
                record |= found | named | {"p": chance(found["run"], corpus.baseline(found["steps"]))}
            records.append(record)
        first += len(pieces)
    figures = {name: _figure([record for record in records if record["row"] == name]) for name in asked}
    few = len(corpus.humans) < FEWEST_HUMANS
    rate = max(1 - FLAGGED, figures["human"]["flagged"]["value"] if "human" in figures else 0.0)
    for figure in figures.values():
        flagged = figure["flagged"]
        figure["expected_flagged"] = (1 - FLAGGED) * flagged["n"]
        figure["p_value"] = tail(flagged["count"], flagged["n"], rate)
        figure["copies"] = figure["p_value"] < CHANCE and flagged["count"] > 0
    return {"humans": len(corpus.humans), "few_humans": few, "rule": _rule(few), **figures}, records


def verdict(figure: dict[str, Any]) -> str:
    """What a row's figures say of copying; that a few pieces have no flag says nothing."""
    if figure["copies"]:
        return "copies"
    if not figure["flagged"]["n"]:
        return "no piece holds enough melody to tell"
    return "no sign of copying" if figure["flagged"]["n"] >= FEWEST else "too few pieces to tell"


def in_short(copying: dict[str, Any]) -> str:
    """The verdict on the model's pieces and what it rests on."""
    one, human = copying["generated"], copying.get("human")
    said = f"{'the model ' * one['copies']}{verdict(one)}"
    told = f"{one['flagged']['count']} of {counted(one['flagged']['n'], 'piece')} flagged"
    beside = f", of held-out human ones {human['flagged']['count']} of {human['flagged']['n']}" if human else ""
    return f"{said} ({told}{beside})"


def chance(run: int, baseline: Floats) -> float:
    """The share of human excerpts with a run at least as long, the piece itself counted as one."""
    return (1 + int((baseline >= run).sum())) / (1 + len(baseline))


def tail(count: int, total: int, rate: float) -> float:
    """The chance of at least `count` among `total` when each has the chance `rate`."""
    if not count:
        return 1.0
    return sum(comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in range(count, total + 1))


def _figure(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    told = [record for record in records if "run" in record]
    nearest = sorted(told, key=lambda record: (-record["run"] / record["steps"], record["piece"]))[:NAMED]
    return {
        **summary(None if "run" not in record else 1.0 - record["run"] / record["steps"] for record in records),
        "flagged": share(sum(record["flagged"] for record in told), len(told)),
        "longest_run": summary(float(record["run"]) for record in told),
        "percentile": summary(record["percentile"] for record in told),
        "nearest": [{key: value for key, value in record.items() if key != "row"} for record in nearest],
    }


def _rule(few: bool) -> str:
    if few:
        return f"a run of {LARGE_SHARE:.0%} of the piece or more (too few human pieces to tell what is rare)"
    return f"a run longer than in {FLAGGED:.0%} of human excerpts of the same number of steps"
