"""What a run writes down while it trains: metrics.jsonl, its trackers, and one line of progress."""

import json
import math
import os
from pathlib import Path

from tqdm import tqdm

from core.files import atomic, explained
from core.log import logger
from hparams.base import HParams
from supervisors.training.trackers import Tracker, opened


class Logbook:
    """Numbers by optimizer step; a run that goes on from step n drops what was written after n."""

    def __init__(self, hparams: HParams, folder: Path, step: int, steps: int, *, write: bool) -> None:
        self._path = folder / "metrics.jsonl"
        self._lines = None
        self._trackers: list[Tracker] = []
        self._bar = None
        if not write:
            return
        _keep_until(self._path, step)
        with explained(self._path):
            self._lines = self._path.open("a", encoding="utf-8", buffering=1)
        self._trackers = opened(hparams, folder, step)
        self._bar = tqdm(total=steps, initial=step, desc="train", unit="step", dynamic_ncols=True)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Writes one line, and tells the trackers."""
        if self._lines is None or self._bar is None:
            return
        with explained(self._path):
            entry = {"step": step, **{key: _finite(value) for key, value in values.items()}}
            self._lines.write(json.dumps(entry) + "\n")
            for tracker in self._trackers:
                tracker.numbers(step, values)
        shown = {"loss": "loss", "valid_loss": "valid"}
        parts = {name: f"{values[key]:.4f}" for key, name in shown.items() if key in values}
        if "loss" in parts:
            self._bar.update(1)
        self._bar.set_postfix({**getattr(self, "_shown", {}), **parts}, refresh=False)
        self._shown = {**getattr(self, "_shown", {}), **parts}

    def say(self, text: str) -> None:
        """Prints a line without breaking the progress bar."""
        if self._bar is not None:
            self._bar.write(text)

    def sync(self) -> None:
        """Forces the lines to the disk, so that a checkpoint that outlives a power cut has its curve."""
        if self._lines is not None:
            with explained(self._path):
                self._lines.flush()
                os.fsync(self._lines.fileno())

    def close(self) -> None:
        """Flushes and closes everything."""
        with explained(self._path):
            for part in (self._bar, self._lines, *self._trackers):
                if part is not None:
                    part.close()


def _finite(value: float) -> float | None:
    # JSON has no NaN.
    return value if math.isfinite(value) else None


def _keep_until(path: Path, step: int) -> None:
    """Drops the lines after `step`, and the last one when a kill cut it short; other damaged lines are named."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines()
    kept, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + b"\n")
        except (ValueError, KeyError, TypeError):
            damaged.append(number)
    if damaged and damaged != [len(lines)]:
        logger.warning("%s: line %s is damaged and left out", path, ", ".join(map(str, damaged)))
    with atomic(path) as temporary:
        temporary.write_bytes(b"".join(kept))
