"""Kills a run at random moments, again and again, and shows that it ends as one that was left alone, bit for bit.

`python -m tests.soak [kills=30] [seed=0] [out=runs/soak] [key=value ...]` writes soak.json and soak.md to `out`; other
settings go to the run. A third of the kills is aimed at the writing of a checkpoint, a third at that of the model
folder, and a third may come at any time, starting up included. Exit code 1 when anything differs.
"""

import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.files import checksum, write_json, write_text
from tests import warm
from tests.walks import write_walks

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT, MODEL, ANY = "a checkpoint", "the model folder", "any time"
WRITING = {CHECKPOINT: ("checkpoints/.step_*",), MODEL: (".model*",), ANY: (".*.tmp", "*.tmp")}  # while it lasts
STEPS_A_KILL = 8  # optimizer steps that the run is given for each kill
PATIENCE = 900.0  # seconds in which it must come to where it is to be killed


@dataclass
class Kill:
    """One SIGKILL: when it came, what it cut short, and where the next process went on."""

    aim: str
    seconds: float  # after the start of the process
    step: int  # the last one logged
    cut: list[str]
    went_on_from: str = ""


@dataclass
class Soak:
    """The outcome; `differences` is empty when nothing differs."""

    steps: int
    kills: list[Kill] = field(default_factory=list)
    lines: int = 0  # of metrics.jsonl
    repeated: int = 0  # of these, lines that another line replaces
    sha256: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def cutting(self, what: str) -> int:
        """How many kills cut the writing of a checkpoint, or of the model folder, short."""
        start = WRITING[what][0].rstrip("*")
        return sum(any(part.startswith(start) for part in kill.cut) for kill in self.kills)


class Run:
    """A folder of runs with one run in it, of which one process after the other is started."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.folder, self.words = folder, words
        self.path = folder / "tiny"
        self.began = 0.0
        folder.mkdir()

    def start(self) -> "warm.Child | subprocess.Popen[bytes]":
        """The command in the background; what it says is added to the file `output`."""
        self.began = time.monotonic()
        with (self.folder / "output").open("ab") as output:
            output.write(b"== start ==\n")
            output.flush()
            env = {**os.environ, "SWAPTUNES_RUNS": str(self.folder)}
            return warm.start([*warm.COMMAND, *self.words], cwd=ROOT, env=env, stdout=output, stderr=output)

    def finish(self) -> None:
        """Lets a process run to the end."""
        code = self.start().wait(timeout=PATIENCE)
        assert code == 0, (self.folder / "output").read_text()

    def step(self) -> int:
        """The last step logged."""
        path = self.path / "metrics.jsonl"
        found = re.findall(r'^{"step": (\d+), "loss"', path.read_text() if path.exists() else "", re.MULTILINE)
        return int(found[-1]) if found else 0

    def writing(self, aim: str) -> set[tuple[str, int]]:
        """What is being written, or was when a process was killed, and when it last changed."""
        found = set()
        for pattern in WRITING[aim]:
            for path in self.path.glob(pattern):
                try:
                    found.add((str(path.relative_to(self.path)), path.stat().st_mtime_ns))
                except OSError:
                    continue  # it just got its name
        return found

    def went_on(self) -> list[str]:
        """Where each process went on."""
        sections = (self.folder / "output").read_text(errors="replace").split("== start ==\n")[1:]
        places = [re.search(r"going on from \S*(step_\d+)", section) for section in sections]
        return [
            place[1] if place else "the beginning" if "step/s" in section else "(killed again before)"
            for place, section in zip(places, sections, strict=True)
        ]


class Killer:
    """Kills the processes of a run; learns how long its writing lasts, so as to hit it."""

    def __init__(self, run: Run, seed: int, startup: float) -> None:
        self.run, self.startup = run, startup
        self._draw = random.Random(seed)
        self._lasts = {CHECKPOINT: 0.1, MODEL: 0.1}

    def kill(self, aim: str) -> Kill:
        """Starts a process, waits for the moment, kills it."""
        leftovers = {kind: self.run.writing(kind) for kind in WRITING}
        first = self.run.step()
        process = self.run.start()
        wait = self._wait_any_time if aim == ANY else self._wait_for_writing
        wait(aim, process, leftovers, first)
        assert process.poll() is None, "the run ended unkilled:\n" + (self.run.folder / "output").read_text()
        process.kill()
        process.wait()
        cut = sorted({name for kind in WRITING for name, _ in self.run.writing(kind) - leftovers[kind]})
        return Kill(aim, round(time.monotonic() - self.run.began, 2), self.run.step(), cut)

    def _wait_any_time(
        self,
        aim: str,
        process: "warm.Child | subprocess.Popen[bytes]",
        leftovers: dict[str, set[tuple[str, int]]],
        first: int,
    ) -> None:
        end = self.run.began + self._draw.uniform(0.3 * self.startup, 1.2 * self.startup + 1)
        while time.monotonic() < end and self.run.step() < first + STEPS_A_KILL - 2 and process.poll() is None:
            time.sleep(0.002)

    def _wait_for_writing(
        self,
        aim: str,
        process: "warm.Child | subprocess.Popen[bytes]",
        leftovers: dict[str, set[tuple[str, int]]],
        first: int,
    ) -> None:
        for _ in range(self._draw.randint(0, 1)):
            self._until(process, lambda: self._busy(aim, leftovers))
            self._until(process, lambda: not self._busy(aim, leftovers))
        while process.poll() is None:
            self._until(process, lambda: self._busy(aim, leftovers))
            time.sleep(self._draw.uniform(0, self._lasts[aim]))
            if self._busy(aim, leftovers):
                return
            self._lasts[aim] *= 0.7  # it was over sooner; the next one will do

    def _busy(self, aim: str, leftovers: dict[str, set[tuple[str, int]]]) -> bool:
        return bool(self.run.writing(aim) - leftovers[aim])

    def _until(self, process: "warm.Child | subprocess.Popen[bytes]", reached: Callable[[], bool]) -> None:
        while not reached() and process.poll() is None:
            assert time.monotonic() < self.run.began + PATIENCE, (self.run.folder / "output").read_text()
            time.sleep(0.002)


def soak(kills: int, seed: int, out: Path, words: Sequence[str] = ()) -> Soak:
    """Trains undisturbed, then killed `kills` times, and compares; everything lies below `out`, made anew."""
    shutil.rmtree(out, ignore_errors=True)
    music = out.absolute() / "music"
    music.mkdir(parents=True)
    write_walks(music)
    result = Soak(steps=24 + STEPS_A_KILL * kills)
    words = [
        "--hparams", "tiny", "dataset=folder", f"dataset.path={music}", f"train.steps={result.steps}",
        "evaluate.every=2", "evaluate.tokens=512", "checkpoint.every=2", "backbone.dropout=0.1",
        "data.augment.transpose=2", "generate.count=1", "generate.length=32", *words,
    ]  # fmt: skip
    alone, killed = Run(out / "alone", words), Run(out / "killed", words)
    process = alone.start()
    while not alone.step() and process.poll() is None:
        time.sleep(0.01)
    startup = time.monotonic() - alone.began
    assert process.wait(timeout=PATIENCE) == 0, (alone.folder / "output").read_text()
    killer = Killer(killed, seed, startup)
    for number in tqdm(range(kills), desc="soak", unit="kill", dynamic_ncols=True):
        result.kills.append(killer.kill(list(WRITING)[number % len(WRITING)]))
    killed.finish()
    for kill, place in zip(result.kills, killed.went_on()[1:], strict=True):
        kill.went_on_from = place
    compare(alone.path, killed.path, result)
    return result


def compare(alone: Path, killed: Path, result: Soak) -> None:
    """Fills in checksums, counts of lines, and what differs."""
    last = f"checkpoints/step_{result.steps:06d}"
    names = [f"{last}/model.safetensors", f"{last}/engine/optimizer.safetensors", "model/model.safetensors"]
    names += [str(path.relative_to(alone)) for path in sorted(alone.glob("samples/*/*.mid"))]
    for name in names:
        result.sha256[name] = checksum(alone / name)
        if not (killed / name).exists() or checksum(killed / name) != result.sha256[name]:
            result.differences.append(name)
    expected, _ = curve(alone)
    found, result.lines = curve(killed)
    result.repeated = result.lines - len(found)
    result.differences += [f"metrics.jsonl, {key}" for key in expected if found.get(key) != expected[key]]
    result.differences += [f"metrics.jsonl, {key} is too many" for key in found.keys() - expected.keys()]


def curve(run: Path) -> tuple[dict[str, Any], int]:
    """The lines of metrics.jsonl by step and kind, without their speed, and how many there are."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    for entry in entries:
        entry.pop("tokens_per_second", None)
    return {f"step {entry['step']}{' validation' * ('valid_loss' in entry)}": entry for entry in entries}, len(lines)


def report(result: Soak, seed: int, words: Sequence[str]) -> str:
    """The outcome as Markdown."""
    outcome = "equal, bit for bit" if not result.differences else f"DIFFERENT: {', '.join(result.differences)}"
    lines = [
        f"# {len(result.kills)} kills: {outcome}",
        "",
        f"A run of {result.steps} steps (`tiny`, seed {seed}{''.join(f', {word}' for word in words)}; "
        f"{platform.system()}, Python {platform.python_version()}) got SIGKILL {len(result.kills)} times, "
        f"{result.cutting(CHECKPOINT)} of them while it wrote a checkpoint and {result.cutting(MODEL)} while it wrote "
        "the model folder. Compared with the same run left alone: sha256 of the last weights, of the optimizer's state,"
        f" of the best model and of what it plays, and all lines of metrics.jsonl ({result.lines}, of which "
        f"{result.repeated} repeat a step) but for their speed.",
        "",
        "| kill | aimed at | after, s | last step logged | cut short | went on from |",
        "|---|---|---|---|---|---|",
    ]
    for number, kill in enumerate(result.kills, 1):
        cut = ", ".join(kill.cut) or "-"
        lines.append(f"| {number} | {kill.aim} | {kill.seconds:.2f} | {kill.step} | {cut} | {kill.went_on_from} |")
    lines += ["", "| file | sha256 |", "|---|---|"]
    lines += [f"| {name} | {digest} |" for name, digest in result.sha256.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """The command."""
    settings = dict(word.partition("=")[::2] for word in arguments)
    kills, seed = int(settings.pop("kills", "30")), int(settings.pop("seed", "0"))
    out = Path(settings.pop("out", "runs/soak"))
    words = [f"{key}={value}" for key, value in settings.items()]
    result = soak(kills, seed, out, words)
    facts = {"cut_checkpoint": result.cutting(CHECKPOINT), "cut_model": result.cutting(MODEL)}
    write_json(out / "soak.json", {"seed": seed, "settings": words, **facts, **asdict(result)})
    write_text(out / "soak.md", report(result, seed, words))
    print(report(result, seed, words), end="")
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
