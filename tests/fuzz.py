"""How the readers, tokenizers and decoders bear damaged and odd input.

`python -m tests.fuzz readers [n=200000] [seed=0] [workers=2] [folder=FOLDER] [kind=NAME] [out=FILE]`
`python -m tests.fuzz tokenizers [n=20000] [kind=NAME,NAME] ...` (encode and decode, n of each for each tokenizer)
`python -m tests.fuzz show kind=NAME number=N [seed=0] [folder=FOLDER] [out=FILE]` (one input of `readers`)

Inputs are pure functions of (seed, number) and of the good files: those of the tests, and those below `folder`. They go
through the hub's worker processes in chunks, under its limits of time and memory; a chunk that ends its worker is gone
through input by input to name the one that did it. Chunks that `out` holds already are not done again. An input ends as
`read` or `refused` (one line of reason), or as a finding: `slow`, `memory`, `unhandled` (any other exception), `crash`
(the process died, or hung in native code). Exit code 1 when there is a finding. It is a benchmark and no test: it takes
minutes.
"""

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from datatools.workers.pool import Failure, map_pieces
from tests import fuzz_cases, fuzz_chunks
from tests.fuzz_chunks import FINDINGS, SECONDS, Tally

SHARES = {"midi": 0.35, "abc": 0.25, "musicxml": 0.15, "mxl": 0.1, "kern": 0.15}  # of the inputs to readers
CHUNK, SCORES = 250, 50  # inputs in a chunk of readers, and of tokenizers
MEGABYTES = 4096  # for one worker, as the hub's data.megabytes_per_worker


def run(
    function: Any, tasks: list[Any], settings: dict[str, str], warm: Any = fuzz_chunks.warm
) -> dict[str, list[dict[str, Any]]]:
    """The tallies of all chunks by what they are of, those of earlier runs included."""
    out = Path(settings["out"]) if "out" in settings else None
    done: dict[Any, dict[str, Any]] = {}
    if out is not None and out.is_file():
        done = {tuple(line["task"]): line["result"] for line in map(json.loads, out.read_text().splitlines())}
    folder = settings.get("folder", "")
    limits: dict[str, Any] = {"workers": int(settings.get("workers", 2)), "megabytes": MEGABYTES}
    limits["warm"] = partial(warm, folder)
    left = [task for task in tasks if task not in done]
    function = partial(function, folder)
    for task, result in map_pieces(function, left, seconds=SECONDS * 20, progress="fuzzing", **limits):
        if isinstance(result, Failure):
            result = singly(function, task, limits)
        done[task] = result
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps({"task": task, "result": result}) + "\n")
    by_name: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        for name, part in done[task].items():
            by_name.setdefault(name, []).append(part)
    return by_name


def singly(function: Any, task: tuple[Any, ...], limits: dict[str, Any]) -> dict[str, Any]:
    """A chunk that ended its worker, input by input; one that does it again stands under the task's first word."""
    *what, start, stop = task
    parts: dict[str, list[dict[str, Any]]] = {}
    each = [(*what, number, number + 1) for number in range(start, stop)]
    for (*_, number, _), result in map_pieces(function, each, seconds=SECONDS * 2, **limits):
        if isinstance(result, Failure):
            tally = Tally()
            tally.add(fuzz_cases.Outcome("crash", result.reason, 0.0), number)
            result = {what[0]: tally.finished()}
        for name, part in result.items():
            parts.setdefault(name, []).append(part)
    return {name: joined(some) for name, some in parts.items()}


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One result of many."""
    return {
        "ends": dict(sum((Counter(part["ends"]) for part in parts), Counter())),
        "reasons": dict(sum((Counter(part["reasons"]) for part in parts), Counter())),
        "findings": [finding for part in parts for finding in part["findings"]],
        "slowest": max((tuple(part["slowest"]) for part in parts), default=(0.0, -1)),
        "megabytes": max((part["megabytes"] for part in parts), default=0),
    }


def table(results: dict[str, list[dict[str, Any]]]) -> int:
    """Prints the Markdown table, the commonest reasons and every finding; returns the number of findings."""
    print("| input | n | read | refused | slow | memory | unhandled | crash | slowest, s | peak, MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    found = 0
    rows = {name: joined(parts) for name, parts in results.items()}
    for name, row in rows.items():
        ends = Counter(row["ends"])
        total = sum(ends.values())
        cells = [f"{ends['read']:,} ({100 * ends['read'] / max(total, 1):.0f} %)"]
        cells += [f"{ends[end]:,}" for end in ("refused", *FINDINGS)]
        print(f"| {name} | {total:,} | {' | '.join(cells)} | {row['slowest'][0]:.1f} | {row['megabytes']:.0f} |")
        found += len(row["findings"])
    for name, row in rows.items():
        print(f"\n{name}: refused because")
        for why, times in fuzz_cases.most(row["reasons"], 12):
            print(f"  {times:6d} {why}")
        for number, end, why in row["findings"]:
            print(f"  FINDING {name} number={number} {end}: {why}")
    return found


def show(settings: dict[str, str]) -> None:
    """Writes one input of `readers` to a file."""
    kind, number, seed = settings["kind"], int(settings["number"]), int(settings.get("seed", 0))
    path = Path(settings.get("out", f"fuzzed{fuzz_cases.KINDS[kind][0]}"))
    path.write_bytes(fuzz_cases.case(kind, seed, number, fuzz_cases.corpus(settings.get("folder", ""))))
    print(path)


def main() -> None:
    """Runs a verb; exit code 1 when something was found."""
    verb, *words = sys.argv[1:] or ["readers"]
    settings = dict(word.split("=", 1) for word in words)
    seed = int(settings.get("seed", 0))
    tasks: list[tuple[Any, ...]] = []
    if verb == "show":
        show(settings)
        return
    if verb == "readers":
        count = int(settings.get("n", 200_000))
        for kind in [settings["kind"]] if "kind" in settings else SHARES:
            n = count if "kind" in settings else round(count * SHARES[kind])
            tasks += [(kind, seed, start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
        function: Any = fuzz_chunks.readers
    elif verb == "tokenizers":
        n = int(settings.get("n", 20_000))
        names = settings.get("kind", "all")
        tasks = [(names, seed, start, min(start + SCORES, n)) for start in range(0, n, SCORES)]
        function = fuzz_chunks.tokenizers
    else:
        sys.exit(f'there is no "{verb}"; expected readers, tokenizers or show')
    sys.exit(1 if table(run(function, tasks, settings)) else 0)


if __name__ == "__main__":
    main()
