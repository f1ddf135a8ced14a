"""The page that `evaluate` writes: every figure with its unit, its count, its interval and a sentence of meaning."""

from collections.abc import Iterable, Sequence
from typing import Any

from core.words import counted
from plugins.metrics.parts.intervals import FEWEST
from supervisors.evaluation import copies as evaluation_copies
from supervisors.evaluation import leaks as evaluation_leaks
from supervisors.evaluation.page.copies import leakage, originality
from supervisors.evaluation.page.loss import loss, tokenizer
from supervisors.evaluation.page.obedience import obedience
from supervisors.evaluation.results import WORDS, headline, measured_on
from supervisors.evaluation.scoring import UNTOLD, charge
from supervisors.evaluation.tables import spread, table

ROWS = {"generated": "model", "real": "real music", "tokenizer": "tokenizer alone", "ngram": "n-gram"}
CONTINUED = {"generated": "model", "others": "another piece's", "ngram": "n-gram"}

PICTURES = {"distances.png": "Measures that compare sets"}  # others are called as their files are


def page(name: str, result: dict[str, Any], pictures: Sequence[str]) -> str:
    """The whole page in Markdown; the pictures, files beside it, are those that could be drawn."""
    parts = [
        f"# {name}: evaluation",
        f"{result['parameters']:,} parameters; {_trained(result)}weights of step {result['best']['step']:.0f}, the "
        "best on validation. Brackets are 95 % intervals: bootstrap over pieces, or random halves of both sets where "
        f"a figure compares sets; under {FEWEST} pieces there are none. They tell how the choice of pieces moves a "
        "figure, not how another seed would.",
        _in_short(result),
        *loss(result),
        *tokenizer(result["tokenizer"], _tested(result)),
        *_music(result, pictures),
        *_continuations(result),
        *obedience(result.get("controls", {}), result["made"]),
        *originality(result["copying"]),
        *leakage(result["leakage"]),
        *_meanings(result),
    ]
    return "\n\n".join(parts) + "\n"


def _tested(result: dict[str, Any]) -> str:
    """`test`, or `validation` where there are no test pieces."""
    return WORDS[headline(result)]


def _in_short(result: dict[str, Any]) -> str:
    """What a person in a hurry should know."""
    split = headline(result)
    found = result[split]
    untold = charge(found)
    floor = min(found["baselines"][name]["nats_per_note"] for name in ("unigram", "ngram")) + untold
    value = found["nats_per_note"] + untold
    lines = [
        f"**{value:.3f} nats per note**, {abs(value / floor - 1):.0%} {'below' if value < floor else 'above'} the "
        f"better of unigram and n-gram, on {measured_on(result)}."
    ]
    if untold:
        lines.append(
            f"{found['notes_told'] / found['notes']:.1%} of the notes are told; each of the others costs {UNTOLD:.2f} "
            "nats here, a uniform choice of pitch, instrument, onset and duration, so that nothing is won by dropping "
            f"them. Below they go free: {found['nats_per_note']:.3f}."
        )
    few = found["pieces"] < FEWEST
    if few:
        lines.append(f"Fewer than {FEWEST} tested pieces: no measure of the music below can be trusted.")
    for name, metric in result["metrics"].items():
        rows = metric["rows"] if metric["headline"] and not few else {}
        if all(rows.get(row, {}).get("n") for row in ("generated", "real", "ngram")):
            mine, real, low = (spread(rows[row]) for row in ("generated", "real", "ngram"))
            lines.append(f"{name.replace('_', ' ').capitalize()} {mine}; the n-gram's is {low}, real music's {real}.")
    apart = [name.replace("_", " ") for name, metric in result["metrics"].items() if _apart(metric)]
    if apart:
        lines.append(
            f"Unlike real music, by intervals that meet neither its own nor the {_tested(result)} pieces', in: "
            f"{', '.join(apart)}."
        )
    copies = f"Originality: {evaluation_copies.in_short(result['copying'])}."
    lines.append(f"**{copies}**" if result["copying"]["generated"]["copies"] else copies)
    lines.append(f"{evaluation_leaks.in_short(result)}.")
    return "\n".join(f"- {line}" for line in lines)


def _apart(metric: dict[str, Any]) -> bool:
    """Whether the model's interval meets neither that of real music nor the tested pieces'; few pieces do not tell."""
    mine, real = metric["rows"].get("generated", {}), metric["rows"].get("real", {})
    tested = mine.get("reference")
    music = [real, tested] if isinstance(tested, dict) and tested.get("n") else [real]
    if any(one.get("low") is None or one["n"] < FEWEST for one in (mine, *music)):
        return False
    return all(mine["low"] > one["high"] for one in music) or all(mine["high"] < one["low"] for one in music)


def _trained(result: dict[str, Any]) -> str:
    if "tokens_seen" not in result:
        return ""
    return f"{counted(result['steps'], 'step')}, {result['tokens_seen']:,} tokens seen; "


def _music(result: dict[str, Any], pictures: Sequence[str]) -> list[str]:
    made, tested = result["made"], _tested(result)
    outputs = made["generated"]
    return [
        "## Music from nothing",
        f"{counted(outputs['n'], 'piece')} of at most {made['tokens']:,} tokens, drawn as `generate` draws "
        f"({_sampling(result['settings']['generate'])}); {outputs['ended']} came to an end by themselves, "
        f"{outputs['undecodable']} could not be decoded, {outputs['empty']} had no note. They lie in `generated/`. All "
        f"pieces, real ones too, are measured in their first {made['beats']:g} beats.",
        "Reference rows: *real music* is the ceiling "
        f"({made['real']} measured against the {tested} pieces), *tokenizer alone* the {tested} pieces to tokens and "
        "back, *n-gram* the floor: pieces of an interpolated Kneser-Ney model of the order that is best on validation.",
        *_measured(result["metrics"], ROWS, tested),
        "![Measures of single pieces](measures.png)",
        *(f"![{PICTURES.get(file, file)}]({file})" for file in pictures),
    ]


def _continuations(result: dict[str, Any]) -> list[str]:
    found, made, tested = result["prompted"], result["made"], _tested(result)
    parts = ["## Continuations"]
    if "metrics" not in found:
        few = f"Fewer than two {tested} pieces are long enough to be continued after {found['beats']:g} beats."
        return [*parts, few]
    return [
        *parts,
        f"{found['n']} {tested} pieces, continued from their first {found['beats']:g} beats up to beat "
        f"{made['beats']:g}, against how they do go on; the prompt's notes are on neither side. *another piece's*: "
        "real music that does not belong to the prompt: measures of whole sets take it for perfect, distances from the "
        "prompt do not. The pieces lie in `continued/`.",
        *_measured(found["metrics"], CONTINUED, tested),
    ]


def _measured(metrics: dict[str, Any], rows: dict[str, str], tested: str) -> list[str]:
    """Two tables: measures with a better end, and measures that describe."""
    compared = {name: metric for name, metric in metrics.items() if metric["higher_is_better"] is not None}
    described = {name: metric for name, metric in metrics.items() if metric["higher_is_better"] is None}
    parts = [
        table([f"compared with the {tested} pieces", "better", *rows.values(), "n"], _lines(compared, rows, _better)),
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


def _meanings(result: dict[str, Any]) -> list[str]:
    lines = [f"- **{name.replace('_', ' ')}** ({m['unit']}): {m['meaning']}" for name, m in result["metrics"].items()]
    return ["## What the measures say", "\n".join(lines)]


def _sampling(asked: dict[str, Any]) -> str:
    said = [f"temperature {asked['temperature']:g}", f"top-p {asked['top_p']:g}"]
    said += [f"top-k {asked['top_k']}"] * bool(asked["top_k"]) + [f"min-p {asked['min_p']:g}"] * bool(asked["min_p"])
    return ", ".join([*said, f"seed {asked['seed']}"])
