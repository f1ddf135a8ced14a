"""Plants small faults in the files of a change and tells which of them no test notices.

    python -m tests.mutants core/model/sampling.py            # all faults of a file
    python -m tests.mutants --sample 6 --seed 1 core datatools  # six of each file

Exit code 1 where one survives that `equivalent.toml` does not argue away.
"""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

from tests.mutants import reach, results, tree
from tests.mutants.planting import BUDGET, Outcome, planted
from tests.mutants.source import Mutant, mutants


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", help="files or folders, from the root of the tree; none: all")
    parser.add_argument("--sample", type=int, help="so many faults of each file, drawn by content; without: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; as many as processors")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of tests for one fault")
    parser.add_argument("--tests", nargs="*", help="record and ask only these files of tests")
    parser.add_argument("--fresh", action="store_true", help="plants again what was noticed, and asks that test first")
    parser.add_argument("--list", action="store_true", help="plants nothing, and lists what is remembered")
    parser.add_argument("--write", action="store_true", help="puts the report into the page of the tests")
    return parser.parse_args()


def _chosen(paths: list[str], sample: int | None, seed: int) -> list[Mutant]:
    """The faults to plant. A draw goes by what a fault is: it stays when other definitions change."""
    within = [Path(path).as_posix().rstrip("/") for path in paths]
    files = [n for n in tree.sources() if not within or any(n == w or n.startswith(f"{w}/") for w in within)]
    if within and not files:
        sys.exit(f"no modules in {' '.join(paths)}; expected files or folders of {tree.ROOT}")
    taken: list[Mutant] = []
    for name in files:
        drawn = sorted(mutants(tree.ROOT, name), key=lambda m: _lot(seed, m))
        taken += islice((m for m in drawn if m.text(tree.ROOT) is not None), sample)
    return sorted(taken, key=lambda m: (m.path, m.lines.start))


_Known = dict[str, Outcome]  # by the names of faults
_Told = tuple[int, Outcome] | None  # the number of a fault and what came of it; None: a process has ended


def _lot(seed: int, mutant: Mutant) -> bytes:
    return hashlib.sha256(f"{seed} {mutant.key} {mutant.number}".encode()).digest()


def _share(
    todo: list[tuple[int, Mutant]], known: _Known, map_of: reach.Reach, budget: float, queue: "Queue[_Told]"
) -> None:
    """One process: plants its share."""
    try:
        with tempfile.TemporaryDirectory(prefix="mutants-") as work:
            outcomes = planted([mutant for _, mutant in todo], known, map_of, Path(work), budget)
            for (number, _), outcome in zip(todo, outcomes):
                queue.put((number, outcome))
    finally:
        queue.put(None)


def _outcomes(
    todo: list[Mutant], known: _Known, map_of: reach.Reach, jobs: int, budget: float
) -> Iterator[tuple[Mutant, Outcome]]:
    context = get_context("fork")
    queue: Queue[_Told] = context.Queue()
    shares = [share for k in range(jobs) if (share := list(enumerate(todo))[k::jobs])]
    processes = [context.Process(target=_share, args=(share, known, map_of, budget, queue)) for share in shares]
    for process in processes:
        process.start()
    running = len(processes)
    while running:
        told = queue.get()
        if told is None:
            running -= 1
        else:
            yield todo[told[0]], told[1]
    for process in processes:
        process.join()


def _stands(outcome: Outcome, map_of: reach.Reach) -> bool:
    """Whether the test that noticed a fault is still there; by whatever else was noticed, stays."""
    return "::" not in outcome.by or outcome.by in map_of.tests


def main() -> int:
    options = _arguments()
    stale = [name for name in reach.stale() if options.tests is None or name in options.tests]
    if stale and not options.list:
        print(f"recording what {len(stale)} files of tests reach ...", flush=True)
        reach.record(stale)
    chosen = _chosen(options.paths, options.sample, options.seed)
    known = results.remembered()
    done = [(m, known[m.name]) for m in chosen if m.name in known]
    if not options.list:
        argued, map_of = results.argued(), reach.Reach()
        done = [
            (m, o)
            for m, o in done
            if (m.key in argued if o.state == "survived" else not options.fresh and _stands(o, map_of))
        ]
        passed = {m.name for m, _ in done}
        todo = [m for m in chosen if m.name not in passed]
        for mutant, outcome in _outcomes(todo, known, map_of, options.jobs, options.budget):
            results.remember(mutant, outcome)
            print(results.line(mutant, outcome), flush=True)
            done.append((mutant, outcome))
    done.sort(key=lambda pair: (pair[0].path, pair[0].lines.start))
    print(results.summary(done))
    if options.write:
        results.write(results.report(done, f"{len(done)} faults, seed {options.seed}"))
    left = results.survivors(done)
    for mutant, outcome in left:
        print(results.line(mutant, outcome))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
