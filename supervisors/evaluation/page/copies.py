"""Two sections of the page that `evaluate` writes: whether the model copies, and whether its test was trained on."""

from typing import Any

from core.words import counted
from supervisors.evaluation.copies import verdict
from supervisors.evaluation.results import scored
from supervisors.evaluation.tables import Figure, brackets, spread, table

ROWS = {"human": "held-out human pieces", "generated": "model", "continued": "model, from prompts", "ngram": "n-gram"}


def originality(found: Figure) -> list[str]:
    """Figures of every row, and the model's pieces that are nearest to a training piece."""
    tried = "tried on the test pieces, which had no part in it"
    if "human" not in found:
        tried = "tried on nobody, as there are no test pieces"
    told = {row: name for row, name in ROWS.items() if found.get(row, {}).get("n")}
    head = ["pieces", "flagged", "by chance", "p", "verdict", "share outside the longest run", "longest run (steps)"]
    parts = [
        "## Originality",
        "A copy is the longest run of melodic steps (interval, time to the next note) that a training piece holds too, "
        f"at any pitch. A piece is flagged for {found['rule']}; the rule is set by "
        f"{counted(found['humans'], 'human piece')}, training pieces among other works and validation pieces, and "
        f"{tried}. One piece in a hundred is flagged by chance: p is the chance of as many flagged ones without "
        "copying, and the verdict is on all pieces together.",
    ]
    if not told:
        return [*parts, "No piece holds enough melody to tell."]
    rows = [_row(name, found[row]) for row, name in told.items()]
    return [*parts, table(head, rows), "![The longest copied runs](originality.png)", *_nearest(found["generated"])]


def _row(name: str, one: Figure) -> list[str]:
    flagged = one["flagged"]
    said = verdict(one)
    return [
        name,
        f"{flagged['count']} of {flagged['n']} {brackets([flagged['low'], flagged['high']])}",
        f"{one['expected_flagged']:.1f}",
        f"{one['p_value']:.3g}",
        f"**{said}**" if one["copies"] else said,
        spread(one),
        spread(one["longest_run"]),
    ]


def _nearest(found: Figure) -> list[str]:
    rows = [
        [
            str(one["piece"]),
            str(one["run"]),
            f"{one['run'] / one['steps']:.0%}",
            f"{one['title']} ({one['training']})" if one.get("title") not in ("", None) else str(one["training"]),
            f"{one['from']:.4g} to {one['to']:.4g}",
            f"{one['training_from']:.4g} to {one['training_to']:.4g}",
            "-" if one["percentile"] is None else f"{one['percentile']:.1%}",
            "flagged" if one["flagged"] else "",
        ]
        for one in found["nearest"]
        if one["training"] is not None
    ]
    if not rows:
        return ["No piece of the model shares a run with a training piece."]
    head = ["piece", "run", "of the piece", "training piece", "beats", "beats there", "of people below", ""]
    words = "The model's pieces with the largest copied share (all of them in `originality.jsonl`):"
    return [words, table(head, rows)]


def leakage(found: dict[str, Any]) -> list[str]:
    """Pieces with a near twin in training, split by split."""
    rows = []
    twins = []
    for split in scored(found):
        one = found[split]
        clean = one["nats_per_note_without"]
        rows.append([split, f"{one['pieces']:,}", f"{one['with_twin']:,}", "-" if clean is None else f"{clean:.3f}"])
        twins += [f"{twin['source']} is near {twin['training']} ({twin['similarity']:.2f})" for twin in one["twins"]]
    return [
        "## Leakage",
        "Near-duplicates, at any pitch and tempo, were kept on one side of the split: "
        f"{counted(found['near_duplicates'], 'piece')} joined an elder, {found['left_out']:,} that "
        f"{'is' if found['left_out'] == 1 else 'are'} near to pieces on two sides "
        f"{'was' if found['left_out'] == 1 else 'were'} left out. What is left:",
        table(["split", "pieces", "with a near twin in training", "nats per note without these"], rows),
        *([f"Twins: {'; '.join(twins)}."] if twins else []),
    ]
