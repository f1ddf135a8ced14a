"""The lines that a finished run prints: where it lies, how good it is, what it wrote."""

import shlex
from pathlib import Path
from typing import Any

from supervisors.evaluation_tables import spread

ROWS = {"generated": "model", "real": "real music", "ngram": "n-gram"}


def summary(folder: Path, result: dict[str, Any], samples: list[Path], manifest: dict[str, Any], failures: Path) -> str:
    """Test and validation loss beside the baselines of the same split, and the generated files."""
    lines = [f"run          {folder}", f"model        {folder / 'model'} ({result['parameters']:,} parameters)"]
    best = f"best at step {result['best']['step']:.0f}"
    if "tokens_seen" in result:  # an artefact does not tell
        best = (
            f"{result['steps']} steps, {result['tokens_seen']:,} tokens, {result['minutes']:.1f} minutes "
            f"in {result['precision']}; {best}"
        )
    lines.append(f"trained      {best}")
    for split in ("valid", "test"):
        found = result[split]
        unigram, ngram = found["baselines"]["unigram"], found["baselines"]["ngram"]
        better = min(unigram["nats_per_note"], ngram["nats_per_note"])
        side = "below" if found["nats_per_note"] < better else "above"
        change = 100 * (found["nats_per_note"] / better - 1)
        low, high = found["nats_per_note_interval"]
        interval = f" [{low:.3f}, {high:.3f}]" if found["pieces"] > 1 else ""
        lines.append(
            f"{split:<13}{found['nats_per_note']:.3f}{interval} nats per note, "
            f"{found['nats_per_token']:.4f} per token, {found['bits_per_second']:.2f} bits per second "
            f"(n = {found['pieces']} pieces, {found['notes']:,} notes); unigram {unigram['nats_per_note']:.3f}, "
            f"{ngram['order']}-gram {ngram['nats_per_note']:.3f}: {abs(change):.1f} % {side} it"
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
        lines.append(f"not told     notes that the tokenizer drops, though they count above: {parts}")
    if bad or out:
        lines.append(f"not used     {bad} files that could not be read or told, {out} near-duplicates: see {failures}")
    lines += [f"samples      {path}" for path in samples]
    if "metrics" not in result:
        lines.append(
            "to do        music against real music, copies, leaks: "
            f"python -m supervisors.run evaluate --run {shlex.quote(str(folder))}"
        )
    return "\n".join(lines)


def measures(result: dict[str, Any]) -> str:
    """What generating showed: how near to real music, how original, how clean the test is."""
    made, copying = result["made"]["generated"], result["copying"]
    lines = [
        f"generated    {made['n']} pieces, {made['ended']} ended by themselves, {made['undecodable']} undecodable, "
        f"{made['empty']} empty; {result['prompted']['n']} continuations"
    ]
    for name in ("overlap_area", "frechet_distance", "pitch_class_entropy"):
        rows = result["metrics"].get(name, {}).get("rows", {})
        told = [f"{words} {spread(rows[row])}" for row, words in ROWS.items() if row in rows]
        if told:
            lines.append(f"{'measure':<13}{name.replace('_', ' ')}: {', '.join(told)}")
    one, human = copying["generated"]["flagged"], copying["human"]["flagged"]
    verdict = "the model copies" if copying["generated"]["copies"] else "no sign of copying"
    verdict = verdict if one["n"] else "no piece holds enough melody to tell"
    lines.append(
        f"originality  {verdict}: {one['count']} of {one['n']} pieces flagged "
        f"(of held-out human pieces {human['count']} of {human['n']})"
    )
    leaked = result["leakage"]["test"]
    lines.append(f"leakage      {leaked['with_twin']} of {leaked['pieces']} test pieces have a near twin in training")
    failed = sorted(
        name for name, one in result["metrics"].items() if any("error" in row for row in one["rows"].values())
    )
    return "\n".join([*lines, *([f"failed       metrics: {', '.join(failed)}"] if failed else [])])
