"""Two sections of the page that `evaluate` writes: how well the model tells music, and what its tokens tell of it."""

from typing import Any

from plugins.metrics.parts.intervals import FEWEST
from supervisors.evaluation.kinds import KINDS
from supervisors.evaluation.results import WORDS, headline, scored
from supervisors.evaluation.tables import brackets, table

NO_TEST = (
    "There is no test split. What is said of validation stands for it on this page; it also chose the weights and the "
    "n-gram's order, which flatters both."
)


def loss(result: dict[str, Any]) -> list[str]:
    """What every split costs, and what the tested one is made of."""
    rows = []
    for name in scored(result):
        found = result[name]
        floor = found["baselines"]["ngram"]
        interval = brackets(found["nats_per_note_interval"]) if found["pieces"] >= FEWEST else ""
        rows.append(
            [
                name,
                f"**{found['nats_per_note']:.3f}** {interval}",
                f"{found['nats_per_token']:.4f}",
                f"{found['bits_per_second']:.2f}",
                f"{floor['nats_per_note']:.3f} (order {floor['order']})",
                f"{found['baselines']['unigram']['nats_per_note']:.3f}",
                f"{found['pieces']:,}",
                f"{found['notes']:,}",
                f"{found['tokens']:,}",
            ]
        )
    head = ["split", "nats per note", "nats per token", "bits per second", "n-gram, per note", "unigram, per note"]
    split = headline(result)
    mine, floor = result[split]["kinds"], result[split]["baselines"]["ngram"]["kinds"]
    kinds = [kind for kind in KINDS if kind in mine or kind in floor]
    stepwise = "pitch" in kinds and not {"onset", "duration", "several"} & set(kinds)
    return [
        "## Loss",
        table([*head, "pieces", "notes", "tokens"], rows),
        "Every token is scored once, the end of each piece too, given all of the piece before it. A note is one of the "
        "source file, also where the tokenizer drops it, and a second is one of the source at its own tempo, so that "
        "these two compare between tokenizers, as far as these tell the same things (next section). Nats per token do "
        "not.",
        *([] if "test" in result else [NO_TEST]),
        table(
            [f"{WORDS[split]}, nats per note", *kinds],
            [
                ["model", *(f"{mine.get(kind, 0.0):.3f}" for kind in kinds)],
                ["n-gram", *(f"{floor.get(kind, 0.0):.3f}" for kind in kinds)],
            ],
        ),
        "The loss shared out to what a token tells: a pitch, when a note begins, how long it sounds, or something else "
        "(headers, ends, instruments, velocities). The columns sum to the nats per note."
        + " Here a pitch is told step by step, and its column holds when it begins and how long it sounds."
        * stepwise,
        "![Loss by kind of token, and by what came before](loss.png)",
    ]


def tokenizer(found: dict[str, Any], tested: str) -> list[str]:
    """How much of the tested pieces comes back from tokens."""
    notes = max(found["notes"], 1)
    information = ", ".join(f"{kind} {verdict}" for kind, verdict in found["information"].items())
    return [
        "## What the tokenizer tells",
        table(
            ["notes", "not told", "added", "onset shift", "duration shift", "velocity shift", "pieces", "failures"],
            [
                [
                    f"{found['notes']:,}",
                    f"{found['notes_not_told']:,} ({found['notes_not_told'] / notes:.2%})",
                    f"{found['notes_added']:,}",
                    f"{found['onset_shift_quarters']:.4f} quarters",
                    f"{found['duration_shift_quarters']:.4f} quarters",
                    "-" if found["information"]["velocity"] == "constant" else f"{found['velocity_shift']:.1f} steps",
                    str(found["pieces"]),
                    str(found["failures"]),
                ]
            ],
        ),
        f"{tested.capitalize()} pieces to tokens and back. Also: {information} (constant: this music does not vary "
        "it). Losses of tokenizers that tell unlike things answer unlike questions; do not rank them against each "
        "other.",
    ]
