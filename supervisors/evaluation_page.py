"""The page that `evaluate` writes: every figure with its unit, its count, its interval and a sentence of meaning."""

from collections.abc import Iterable, Sequence
from typing import Any

from supervisors.evaluation_kinds import KINDS
from supervisors.evaluation_tables import Figure, number, spread, table

ROWS = {"generated": "model", "real": "real music", "tokenizer": "tokenizer alone", "ngram": "n-gram"}
FEW = 8  # pieces, below which an interval is not trusted with a verdict
CONTINUED = {"generated": "model", "others": "another piece's", "ngram": "n-gram"}


def page(name: str, result: dict[str, Any], rolls: Sequence[str]) -> str:
    """The whole page in Markdown; pictures lie beside it."""
    parts = [
        f"# {name}: evaluation",
        f"{result['parameters']:,} parameters; {_trained(result)}weights of step {result['best']['step']:.0f}, the "
        "best on validation. Brackets are 95 % intervals: bootstrap over pieces, or random halves of both sets where "
        "a figure compares sets. They tell how the choice of pieces moves a figure, not how another seed would.",
        _in_short(result),
        *_loss(result),
        *_tokenizer(result["tokenizer"]),
        *_music(result, rolls),
        *_continuations(result),
        *_copying(result["copying"]),
        *_leakage(result["leakage"]),
        *_meanings(result),
    ]
    return "\n\n".join(parts) + "\n"


def _in_short(result: dict[str, Any]) -> str:
    """What a person in a hurry should know."""
    test, copying, leaked = result["test"], result["copying"], result["leakage"]["test"]
    floor = min(test["baselines"][name]["nats_per_note"] for name in ("unigram", "ngram"))
    lines = [
        f"**{test['nats_per_note']:.3f} nats per note** on {test['pieces']:,} test pieces, "
        f"{abs(test['nats_per_note'] / floor - 1):.0%} {'below' if test['nats_per_note'] < floor else 'above'} the "
        "better of unigram and n-gram."
    ]
    overlap = result["metrics"].get("overlap_area", {}).get("rows", {})
    if all(overlap.get(row, {}).get("n") for row in ("generated", "real", "ngram")):
        mine, real, low = (spread(overlap[row]) for row in ("generated", "real", "ngram"))
        lines.append(f"Overlap area {mine}; the n-gram's is {low}, real music's {real}.")
    apart = [name.replace("_", " ") for name, metric in result["metrics"].items() if _apart(metric)]
    if apart:
        lines.append(f"Unlike real music, by intervals that do not meet, in: {', '.join(apart)}.")
    flagged, human = copying["generated"]["flagged"], copying["human"]["flagged"]
    told = (
        f"{flagged['count']} of {flagged['n']} pieces flagged, of held-out human ones {human['count']} of {human['n']}"
    )
    if not flagged["n"]:
        lines.append("Copying: no piece of the model holds enough melody to tell.")
    else:
        lines.append(f"{'**The model copies**' if copying['generated']['copies'] else 'No sign of copying'}: {told}.")
    lines.append(f"{leaked['with_twin']:,} of {leaked['pieces']:,} test pieces have a near twin in training.")
    return "\n".join(f"- {line}" for line in lines)


def _apart(metric: dict[str, Any]) -> bool:
    """Whether the intervals of model and real music have nothing in common; few pieces do not tell."""
    mine, real = metric["rows"].get("generated", {}), metric["rows"].get("real", {})
    if any(one.get("low") is None or one["n"] < FEW for one in (mine, real)):
        return False
    return bool(mine["low"] > real["high"] or mine["high"] < real["low"])


def _trained(result: dict[str, Any]) -> str:
    return f"{result['steps']:,} steps, {result['tokens_seen']:,} tokens seen; " if "tokens_seen" in result else ""


def _loss(result: dict[str, Any]) -> list[str]:
    rows = []
    for split in ("valid", "test"):
        found = result[split]
        floor = found["baselines"]["ngram"]
        interval = _brackets(found["nats_per_note_interval"]) if found["pieces"] > 1 else ""
        rows.append(
            [
                split,
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
    mine, floor = (found["kinds"] for found in (result["test"], result["test"]["baselines"]["ngram"]))
    kinds = [kind for kind in KINDS if kind in mine or kind in floor]
    return [
        "## Loss",
        table([*head, "pieces", "notes", "tokens"], rows),
        "Every token is scored once, the end of each piece too, given all of the piece before it. A note is one of the "
        "source file, also where the tokenizer drops it, and a second is one of the source at its own tempo, so that "
        "these two compare between tokenizers, as far as these tell the same things (next section). Nats per token do "
        "not.",
        table(
            ["test, nats per note", *kinds],
            [
                ["model", *(f"{mine.get(kind, 0.0):.3f}" for kind in kinds)],
                ["n-gram", *(f"{floor.get(kind, 0.0):.3f}" for kind in kinds)],
            ],
        ),
        "The loss shared out to what a token tells: a pitch, when a note begins, how long it sounds, or something else "
        "(headers, ends, instruments, velocities). The columns sum to the nats per note.",
        "![Loss by kind of token, and by what came before](loss.png)",
    ]


def _tokenizer(found: dict[str, Any]) -> list[str]:
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
        f"Test pieces to tokens and back. Also: {information} (constant: this music does not vary it). Losses of "
        "tokenizers that tell unlike things answer unlike questions; do not rank them against each other.",
    ]


def _music(result: dict[str, Any], rolls: Sequence[str]) -> list[str]:
    made = result["made"]
    outputs = made["generated"]
    return [
        "## Music from nothing",
        f"{outputs['n']} pieces of at most {made['tokens']:,} tokens, drawn as `generate` draws "
        f"({_sampling(result['settings']['generate'])}); {outputs['ended']} came to an end by themselves, "
        f"{outputs['undecodable']} could not be decoded, {outputs['empty']} had no note. They lie in `generated/`. All "
        f"pieces, real ones too, are measured in their first {made['beats']:g} beats.",
        "Reference rows: *real music* is the ceiling "
        f"({made['real']} measured against the test pieces), *tokenizer alone* the test pieces to tokens and back, "
        "*n-gram* the floor: pieces of an interpolated Kneser-Ney model of the order that is best on validation.",
        *_measured(result["metrics"], ROWS),
        "![Measures of single pieces](measures.png)",
        "![Measures that compare sets](distances.png)",
        *(f"![{file}]({file})" for file in rolls if file.startswith("generated")),
        *(f"![{file}]({file})" for file in rolls if file.startswith("continued")),
    ]


def _continuations(result: dict[str, Any]) -> list[str]:
    found, made = result["prompted"], result["made"]
    parts = ["## Continuations"]
    if "metrics" not in found:
        return [*parts, f"Fewer than two test pieces are long enough to be continued after {found['beats']:g} beats."]
    return [
        *parts,
        f"{found['n']} test pieces, continued from their first {found['beats']:g} beats up to beat {made['beats']:g}, "
        "against how they do go on; the prompt's notes are on neither side. *another piece's*: real music that does "
        "not belong to the prompt: measures of whole sets take it for perfect, distances from the prompt do not. The "
        "pieces lie in `continued/`.",
        *_measured(found["metrics"], CONTINUED),
    ]


def _measured(metrics: dict[str, Any], rows: dict[str, str]) -> list[str]:
    """Two tables: measures with a better end, and measures that describe."""
    compared = {name: metric for name, metric in metrics.items() if metric["higher_is_better"] is not None}
    described = {name: metric for name, metric in metrics.items() if metric["higher_is_better"] is None}
    parts = [
        table(["compared with the test pieces", "better", *rows.values(), "n"], _lines(compared, rows, _better)),
        table(["description", "reference", *rows.values(), "n"], _lines(described, rows, _reference)),
    ]
    parts.append(
        "n: pieces of the model that a figure rests on; failed: pieces of which the metric can say nothing. Another "
        "number behind a figure is that row's own n; distances grow or shrink with n, so do not compare such rows."
    )
    failed = [
        f"`{name}` ({rows[row]}): {metric['rows'][row]['error']}"
        for name, metric in metrics.items()
        for row in rows
        if "error" in metric["rows"].get(row, {})
    ]
    return [*parts, *(["Metrics that failed: " + "; ".join(failed) + "."] if failed else [])]


def _lines(metrics: dict[str, Any], rows: dict[str, str], second: Any) -> Iterable[list[str]]:
    for name, metric in metrics.items():
        figures = [metric["rows"].get(row, {}) for row in rows]
        mine = figures[0]
        count = f"{mine['n']}" + f" ({mine['failures']} failed)" * bool(mine.get("failures")) if "n" in mine else "-"
        told = [spread(figure, mine.get("n")) for figure in figures]
        yield [f"{name.replace('_', ' ')} ({metric['unit']})", second(metric), *told, count]


def _better(metric: dict[str, Any]) -> str:
    return "higher" if metric["higher_is_better"] else "lower"


def _reference(metric: dict[str, Any]) -> str:
    reference = metric["rows"].get("generated", {}).get("reference")
    return spread(reference) if isinstance(reference, dict) else "-"


def _copying(found: Figure) -> list[str]:
    rows = []
    for row, name in (
        ("human", "held-out human pieces"), ("generated", "model"),
        ("continued", "model, from prompts"), ("ngram", "n-gram"),
    ):  # fmt: skip
        one = found.get(row)
        if not one or not one["flagged"]["n"]:
            continue
        flagged = one["flagged"]
        rows.append(
            [
                name,
                f"{flagged['count']} of {flagged['n']} {_brackets([flagged['low'], flagged['high']])}",
                f"{one['expected_flagged']:.1f}",
                f"{one['p_value']:.3g}",
                "**copies**" if one["copies"] else "no sign of copying",
                spread(one),
                spread(one["longest_run"]),
            ]
        )
    head = ["pieces", "flagged", "by chance", "p", "verdict", "share outside the longest run", "longest run (steps)"]
    nearest = [
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
        for one in found["generated"]["nearest"]
        if one["training"] is not None
    ]
    titles = ["piece", "run", "of the piece", "training piece", "beats", "beats there", "of people below", ""]
    return [
        "## Originality",
        f"A copy is the longest run of melodic steps (interval, time to the next note) that a training piece holds "
        f"too, at any pitch. A piece is flagged for {found['rule']}; the rule is set by {found['humans']:,} human "
        "pieces, training pieces among other works and validation pieces, and tried on the test pieces, which had no "
        "part in it. One piece in a hundred is flagged by chance: p is the chance of as many flagged ones without "
        "copying, and the verdict is on all pieces together.",
        table(head, rows),
        "![The longest copied runs](originality.png)",
        "The model's pieces with the largest copied share (all of them in `originality.jsonl`):",
        table(titles, nearest),
    ]


def _leakage(found: dict[str, Any]) -> list[str]:
    rows = []
    twins = []
    for split in ("valid", "test"):
        one = found[split]
        clean = one["nats_per_note_without"]
        rows.append([split, f"{one['pieces']:,}", f"{one['with_twin']:,}", "-" if clean is None else f"{clean:.3f}"])
        twins += [f"{twin['source']} is near {twin['training']} ({twin['similarity']:.2f})" for twin in one["twins"]]
    return [
        "## Leakage",
        f"Near-duplicates, at any pitch and tempo, were kept on one side of the split: {found['near_duplicates']:,} "
        f"pieces joined an elder, {found['left_out']:,} that are near to pieces on two sides were left out. "
        "What is left:",
        table(["split", "pieces", "with a near twin in training", "nats per note without these"], rows),
        *([f"Twins: {'; '.join(twins)}."] if twins else []),
    ]


def _meanings(result: dict[str, Any]) -> list[str]:
    lines = [f"- **{name.replace('_', ' ')}** ({m['unit']}): {m['meaning']}" for name, m in result["metrics"].items()]
    return ["## What the measures say", "\n".join(lines)]


def _sampling(asked: dict[str, Any]) -> str:
    said = [f"temperature {asked['temperature']:g}", f"top-p {asked['top_p']:g}"]
    said += [f"top-k {asked['top_k']}"] * bool(asked["top_k"]) + [f"min-p {asked['min_p']:g}"] * bool(asked["min_p"])
    return ", ".join([*said, f"seed {asked['seed']}"])


def _brackets(bounds: Sequence[float]) -> str:
    return f"[{number(bounds[0])}, {number(bounds[1])}]"
