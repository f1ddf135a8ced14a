"""Prepares a corpus of 100,000 files, killed twice on the way: `python -m tests.scale n=100000 folder=F music=M`.

`music` is a folder of any music (empty: the folk tunes of music21 alone), whose windows are strung together into `n`
files below `folder`; `folder` keeps them and the cache between calls, `fresh=1` empties the cache. The figures: files
a second, the peak memory of the process and of its largest worker, the time from a restart to new work, the
time to open the store and to prepare again in a new process.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHILD = """
import json, sys, time
began = time.perf_counter()
from functools import partial
from core.log import logger
from datatools.cache import prepare
from hparams.base import DataHParams
from plugins.datasets.folder import Folder
from plugins.manager import load_manager
entry = load_manager().tokenizers[sys.argv[2]]
data = DataHParams(workers=int(sys.argv[3]))
imported = time.perf_counter()
store = prepare(Folder(sys.argv[1]), partial(entry.build, entry.hparams()), sys.argv[2], data, progress=False)
prepared = time.perf_counter()
from datatools.store import TokenStore
opening = time.perf_counter()
again = TokenStore(store.folder)
again.ids("train", again.count("train") - 1).sum(), again.lengths("train").sum()
opened = time.perf_counter()
again.pieces("valid")
print(json.dumps({
    "import": imported - began, "prepare": prepared - imported, "open": opened - opening,
    "pieces of valid": time.perf_counter() - opened, "manifest": store.manifest,
}))
"""


@dataclass
class Watch:
    """One preparation in a process of its own, looked at four times a second."""

    command: list[str]
    cache: Path
    peaks: dict[int, int] = field(default_factory=dict)  # kB by process; 0 is the preparation itself
    processor: dict[int, float] = field(default_factory=dict)  # seconds by process

    def __post_init__(self) -> None:
        environment = {**os.environ, "SWAPTUNES_CACHE": str(self.cache), "PYTHONPATH": str(ROOT)}
        self.began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, env=environment)

    def states(self) -> Iterator[tuple[int, int]]:
        """Lines of the survey and of the tokens' progress, until the process ends."""
        while self.process.poll() is None:
            self._look()
            yield self.lines("surveys/*.jsonl"), self.lines("stores/*.part/progress.jsonl")
            time.sleep(0.25)

    def lines(self, pattern: str) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self.cache.glob(pattern))

    def _look(self) -> None:
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        numbers = [int(word) for task in children.parent.parent.glob("*/children") for word in task.read_text().split()]
        for number in (parent, *numbers):
            try:
                status = Path(f"/proc/{number}/status").read_text()
                peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
                used = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
            except (OSError, StopIteration):  # it has just ended
                continue
            key = 0 if number == parent else number
            self.peaks[key] = max(peak, self.peaks.get(key, 0))
            self.processor[key] = sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def run(folder: Path, tokenizer: str, workers: int, count: int) -> dict[str, object]:
    """Prepares, killing the process in the middle of reading and of tokenizing."""
    cache = folder / "cache"
    command = [sys.executable, "-c", CHILD, str(folder / "music"), tokenizer, str(workers)]
    figures: dict[str, object] = {}
    peak = largest = 0
    total = own = others = 0.0
    for place, name in ((0, "reading"), (1, "tokenizing"), (2, "the end")):
        watch, had, first = Watch(command, cache), None, 0.0
        reached: list[tuple[float, int]] = []
        for state in watch.states():
            done = state[min(place, 1)]
            had = done if had is None else had
            if not first and done > had and had:
                first = time.monotonic() - watch.began
            reached.append((time.monotonic() - watch.began, done))
            if place < 2 and done > count * 0.5:
                watch.process.send_signal(signal.SIGKILL)
                break
        output = watch.process.communicate()[0]
        seconds = time.monotonic() - watch.began
        total += seconds
        own += watch.processor[0]
        others += sum(watch.processor.values()) - watch.processor[0]
        peak = max(peak, watch.peaks.pop(0))
        largest = max(largest, *watch.peaks.values())
        figures[f"seconds up to {name}"] = round(seconds, 1)
        moving = [(when, done) for when, done in reached if done > (had or 0)]
        if len(moving) > 1:
            (t0, n0), (t1, n1) = moving[0], moving[-1]
            figures[f"files/s while {('reading', 'tokenizing')[min(place, 1)]}, run {place + 1}"] = round(
                (n1 - n0) / max(t1 - t0, 1e-9), 1
            )
        if place:
            figures[f"restart {place}: lines kept"] = had
            figures[f"restart {place}: seconds to new work"] = round(first, 1)
        print(json.dumps(figures), flush=True)
    if watch.process.returncode:
        raise SystemExit(f"the preparation ended with {watch.process.returncode}")
    told = json.loads(output)
    manifest = told["manifest"]
    figures |= {
        "files": count,
        "seconds in all": round(total, 1),
        "files/s in all": round(count / total, 1),
        "processor seconds of the process and of its workers": (round(own), round(others)),
        "peak MB": peak >> 10,
        "largest worker MB": largest >> 10,
        "counts": manifest["counts"],
        "failures": manifest["failures"],
        "near": manifest["near_duplicates"],
        "left out": manifest["left_out"],
    }
    again = Watch(command, cache)
    told = json.loads(again.process.communicate()[0])
    figures["second prepare, whole process, seconds"] = round(time.monotonic() - again.began, 2)
    figures |= {f"second process: {key}, seconds": round(told[key], 3) for key in told if key != "manifest"}
    return figures


def main(words: list[str]) -> None:
    """Makes what is missing of the corpus, prepares it and prints the figures."""
    from plugins.datasets.folder import Folder
    from plugins.datasets.folk_tunes import FolkTunes
    from tests.scale_corpus import make, pieces_of, windows

    settings = {"n": "100000", "folder": "scale", "music": "", "tokenizer": "remi", "workers": "0", "fresh": "1"}
    settings |= dict(word.split("=", 1) for word in words)
    folder, count = Path(settings["folder"]).absolute(), int(settings["n"])
    if sum(1 for path in folder.glob("music/*/*") if path.suffix != ".part") < count:
        notated = windows(pieces_of(FolkTunes()), step=60)
        performed = windows(pieces_of(Folder(settings["music"]))) if settings["music"] else []
        make(count, folder / "music", performed + notated, notated)
    if settings["fresh"] == "1":
        shutil.rmtree(folder / "cache", ignore_errors=True)
    figures = run(folder, settings["tokenizer"], int(settings["workers"]), count)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
