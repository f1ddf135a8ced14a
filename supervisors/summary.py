"""The lines that a finished run prints: where it lies, how good it is, what it wrote."""

import shlex
from pathlib import Path
from typing import Any

from core.words import agree, counted
from datatools.preparing.losses import advice
from plugins.metrics.parts.intervals import FEWEST
from supervisors.evaluation import copies as evaluation_copies
from supervisors.evaluation import leaks as evaluation_leaks
from supervisors.evaluation.page.obedience import in_short
from supervisors.evaluation.results import headline, scored
from supervisors.evaluation.scoring import UNTOLD, charge
from supervisors.evaluation.tables import spread

ROWS = {"generated": "model", "real": "real music", "ngram": "n-gram"}


def summary(folder: Path, result: dict[str, Any], manifest: dict[str, Any], failures: Path, tokenizer: Any) -> str:
    """Validation and test loss beside the baselines of the same split; `tokenizer` are its hyper-parameters."""
    lines = [f"run          {folder}", f"model        {folder / 'model'} ({result['parameters']:,} parameters)"]
    best = f"best at step {result['best']['step']:.0f}"
    if "tokens_seen" in result:  # an artefact does not tell
        best = (
            f"{counted(result['steps'], 'step')}, {result['tokens_seen']:,} tokens, {result['minutes']:.1f} minutes "
            f"in {result['precision']}; {best}"
        )
    lines.append(f"trained      {best}")
    for split in scored(result):
        found = result[split]
        unigram, ngram = found["baselines"]["unigram"], found["baselines"]["ngram"]
        charged = charge(found)
        value = found["nats_per_note"] + charged
        better = min(unigram["nats_per_note"], ngram["nats_per_note"]) + charged
        side = "below" if value < better else "above"
        change = 100 * (value / better - 1)
        figure = found.get("headline", found)  # older evaluations have none
        low, high = (figure["low"], figure["high"]) if "low" in figure else found["nats_per_note_interval"]
        interval = f" [{low:.3f}, {high:.3f}]" if found["pieces"] >= FEWEST else ""
        share = found["notes_told"] / max(found["notes"], 1)
        told = f" ({share:.1%} told, the others charged; {found['nats_per_note']:.3f} without)" if charged else ""
        lines.append(
            f"{split:<13}{value:.3f}{interval} nats per note{told}, "
            f"{found['nats_per_token']:.4f} per token, {found['bits_per_second']:.2f} bits per second "
            f"(n = {counted(found['pieces'], 'piece')}, {counted(found['notes'], 'note')}); "
            f"unigram {unigram['nats_per_note'] + charged:.3f}, "
            f"{ngram['order']}-gram {ngram['nats_per_note'] + charged:.3f}: {abs(change):.1f} % {side} it"
        )
    if "test" not in result:
        lines.append(
            "test         none: the data has no test pieces; validation, which also chose the weights, stands in"
        )
    bad, out = manifest["failures"], manifest["left_out"]
    untold = {
        split: counts["notes"] - counts["notes_told"]
        for split, counts in manifest["counts"].items()
        if counts["notes"] > counts["notes_told"]
    }
    if untold:
        parts = ", ".join(
            f"{count:,} of {manifest['counts'][split]['notes']:,} in {split}" for split, count in untold.items()
        )
        lines.append(f"not told     notes that the tokenizer drops, at {UNTOLD:.2f} nats each above: {parts}")
    lines += advice(manifest, tokenizer)
    if bad or out:
        unread, near = counted(bad, "file"), counted(out, "near-duplicate")
        lines.append(f"not used     {unread} that could not be read or told, {near}: see {failures}")
    return "\n".join(lines)


def still_to_do(folder: Path, result: dict[str, Any]) -> list[str]:
    """The line that says how to measure what is generated, where that was not done."""
    if "metrics" in result:
        return []
    command = f"python -m supervisors.run evaluate --run {shlex.quote(str(folder))}"
    return [f"to do        music against real music, copies, leaks: {command}"]


def measures(result: dict[str, Any]) -> str:
    """What generating showed: how near to real music, how original, how clean the test is."""
    made = result["made"]["generated"]
    themselves = agree(made["ended"], "itself", "themselves")
    lines = [
        f"generated    {counted(made['n'], 'piece')}, {made['ended']} ended by {themselves}, "
        f"{made['undecodable']} undecodable, {made['empty']} empty; {counted(result['prompted']['n'], 'continuation')}"
    ]
    tested = result[headline(result)]["pieces"]
    if tested < FEWEST:
        few = f"{counted(tested, 'tested piece')} {agree(tested, 'is', 'are')} too few"
        lines.append(f"measures     {few} to compare music with (at least {FEWEST})")
    for name, metric in result["metrics"].items() if tested >= FEWEST else ():
        rows = metric["rows"] if metric["headline"] else {}
        told = [f"{words} {spread(rows[row])}" for row, words in ROWS.items() if row in rows]
        if told:
            lines.append(f"{'measure':<13}{name.replace('_', ' ')}: {', '.join(told)}")
    lines += [f"asked        {line}" for line in in_short(result.get("controls", {}))]
    lines.append(f"originality  {evaluation_copies.in_short(result['copying'])}")
    lines.append(f"leakage      {evaluation_leaks.in_short(result)}")
    for name, metric in sorted(result["metrics"].items()):
        errors = [row["error"] for row in metric["rows"].values() if "error" in row]
        lines += [f"failed       metric {name}: {errors[0]}"] if errors else []
    return "\n".join(lines)
