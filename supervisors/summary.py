"""The lines that a finished run prints: where it lies, how good it is, what it wrote."""

from pathlib import Path
from typing import Any


def summary(folder: Path, result: dict[str, Any], samples: list[Path], manifest: dict[str, Any], failures: Path) -> str:
    """Test and validation loss beside the baselines of the same split, and the generated files."""
    lines = [f"run          {folder}", f"model        {folder / 'model'} ({result['parameters']:,} parameters)"]
    best = result["best"]["step"]
    lines.append(
        f"trained      {result['steps']} steps, {result['tokens_seen']:,} tokens, {result['minutes']:.1f} minutes "
        f"in {result['precision']}; best at step {best:.0f}"
    )
    for split in ("valid", "test"):
        found = result[split]
        unigram, ngram = found["baselines"]["unigram"], found["baselines"]["ngram"]
        better = min(unigram["nats_per_note"], ngram["nats_per_note"])
        side = "below" if found["nats_per_note"] < better else "above"
        change = 100 * (found["nats_per_note"] / better - 1)
        lines.append(
            f"{split:<13}{found['nats_per_note']:.3f} nats per note, {found['nats_per_token']:.4f} per token "
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
    return "\n".join(lines)
