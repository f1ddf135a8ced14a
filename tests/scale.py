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
from datatools.preparing.cache import prepare
from hparams.base import DataHParams
from plugins.datasets.folder import Folder
from plugins.manager import load_manager
entry = load_manager().tokenizers[sys.argv[2]]
data = DataHParams(workers=int(sys.argv[3]))
imported = time.perf_counter()
store = prepare(Folder(sys.argv[1]), partial(entry.build, entry.hparams()), sys.argv[2], data, progress=False)
prepared = time.perf_counter()
from datatools.preparing.store import TokenStore
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
    counted: dict[Path, tuple[int, int]] = field(default_factory=dict)  # bytes and lines seen of a file

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
        """Lines of the files of a pattern; only what is new in them is read."""
        total = 0
        for path in self.cache.glob(pattern):
            offset, count = self.counted.get(path, (0, 0))
            with path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < offset:  # cut behind what is whole
                    offset = count = 0
                file.seek(offset)
                new = file.read()
            self.counted[path] = offset + len(new), count + new.count(b"\n")
            total += self.counted[path][1]
        return total

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
    killed_at = 0
    for phase, stage in enumerate(("reading", "tokenizing", "")):
        watch = Watch(command, cache)
        seen: list[tuple[float, tuple[int, int]]] = []
        for state in watch.states():
            seen.append((time.monotonic() - watch.began, state))
            if stage and state[phase] > count // 2:
                watch.process.send_signal(signal.SIGKILL)
                break
        output = watch.process.communicate()[0]
        total += time.monotonic() - watch.began
        own += watch.processor[0]
        others += sum(watch.processor.values()) - watch.processor[0]
        peak = max(peak, watch.peaks.pop(0))
        largest = max(largest, *watch.peaks.values(), 0)  # no worker where all tokens were made before
        if phase:
            done = [(when, state[phase - 1]) for when, state in seen]
            kept = done[0][1]
            figures[f"restart {phase}"] = {
                "lines when killed": killed_at,
                "lines kept": kept,
                "seconds to new work": round(next(when for when, lines in done if lines > kept), 1),
            }
        if stage:
            moving = [(when, state[phase]) for when, state in seen if state[phase]]
            (since, few), (until, many) = moving[0], moving[-1]
            figures[f"files/s while {stage}"] = round((many - few) / (until - since), 1)
            killed_at = many
        print(json.dumps(figures), flush=True)
    if watch.process.returncode:
        raise SystemExit(f"the preparation ended with {watch.process.returncode}")
    told = json.loads(output)
    manifest = told["manifest"]
    figures |= {
        "files": count,
        "lines of the survey": watch.lines("surveys/*.jsonl") - 1,  # as many as files: none was read twice
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
    from hparams.datasets import FolkTunesHParams
    from plugins.datasets.folder import Folder
    from plugins.datasets.folk_tunes import build as folk_tunes
    from tests.scale_corpus import make, pieces_of, windows

    settings = {"n": "100000", "folder": "scale", "music": "", "tokenizer": "remi", "workers": "0", "fresh": "1"}
    settings |= dict(word.split("=", 1) for word in words)
    folder, count = Path(settings["folder"]).absolute(), int(settings["n"])
    if sum(1 for path in folder.glob("music/*/*") if path.suffix != ".part") < count:
        notated = windows(pieces_of(folk_tunes(FolkTunesHParams())), step=60)
        performed = windows(pieces_of(Folder(settings["music"]))) if settings["music"] else []
        make(count, folder / "music", performed + notated, notated)
    if settings["fresh"] == "1":
        shutil.rmtree(folder / "cache", ignore_errors=True)
    figures = run(folder, settings["tokenizer"], int(settings["workers"]), count)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
