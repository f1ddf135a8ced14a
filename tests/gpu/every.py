"""A run of every registered backbone on the same tokens of Bach's chorales, which come with the install."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plugins.manager import load_manager
from tests.gpu.runs import train
from tests.gpu.turns import Row, turns

LIMIT = 150.0  # seconds of all together
_AT_ONCE = {"cuda": 6, "cpu": 2}  # runs that share the device
_LENGTH = {
    "cuda": ("train.steps=400", "evaluate.every=100"),
    "cpu": ("train.steps=4", "data.length=64", "data.batch_size=2"),
}
_BESIDE = ("generate.count=1", "generate.length=64", "evaluate.tokens=8192")


def measure(device: str, before: list[Row]) -> dict[str, Any]:
    """Rows of name, learning rate, steps, parameters, validation loss, tokens a second and minutes."""
    manager = load_manager()
    usual = manager.preset("mamba_remi").train.lr

    def work(name: str, ends: float) -> list[Row]:
        lr = manager.backbones[name].defaults.get("train.lr", usual)
        words = [f"backbone={name}", f"train.lr={lr}", *_LENGTH[device], *_BESIDE]
        with TemporaryDirectory() as folder:
            limit = ends - time.monotonic()
            _, end = train(Path(folder), "mamba_remi", words, device, limit=limit, OMP_NUM_THREADS="1")
        return [{"lr": lr, **end}]

    rows = turns([{"name": name} for name in manager.backbones], before, LIMIT, work, _AT_ONCE[device])
    return {"rows": rows, "at_once": _AT_ONCE[device]}
