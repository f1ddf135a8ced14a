"""What a run writes down while it trains: metrics.jsonl always, TensorBoard, and one line of progress."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm


class Logbook:
    """Numbers by optimizer step; a run that goes on from step n drops what was written after n."""

    def __init__(self, folder: Path, step: int, steps: int, *, write: bool) -> None:
        self._lines = None
        self._board = None
        self._bar = None
        if not write:
            return
        path = folder / "metrics.jsonl"
        _keep_until(path, step)
        self._lines = path.open("a", encoding="utf-8", buffering=1)
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(total=steps, initial=step, desc="train", unit="step", dynamic_ncols=True)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Writes one line; `valid_*` values join TensorBoard under their own names."""
        if self._lines is None or self._board is None or self._bar is None:
            return
        self._lines.write(json.dumps({"step": step, **{key: _finite(value) for key, value in values.items()}}) + "\n")
        for key, value in values.items():
            self._board.add_scalar(key, value, step)
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

    def close(self) -> None:
        """Flushes and closes all three."""
        for part in (self._lines, self._board, self._bar):
            if part is not None:
                part.close()


def add_picture(folder: Path, name: str, step: int, image: np.ndarray) -> None:
    """Adds an image (h w 3) of bytes to the TensorBoard of a run."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as board:
        board.add_image(name, image, step, dataformats="HWC")


def _finite(value: float) -> float | None:
    # JSON has no NaN.
    return value if math.isfinite(value) else None


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            break  # the line that was being written when the run was killed
        if entry["step"] > step:
            break
        kept.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)
