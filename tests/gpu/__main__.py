"""`python -m tests.gpu [minutes=8] [device=cuda] [out=gpu] [only=laws,scan]`: what a CUDA machine says of all this.

Runs, in the order of worth and within its minutes, the laws of every backbone, the Triton kernels beside the plain
path, their speed, training and decoding, whole runs beside the CPU's, two ranks on one card, a run of every backbone
and other people's models; writes `gpu.json` and `gpu.md` to `out` after each of them. A second call goes on where the
first one ended. `device=cpu` rehearses all of it, small. `python -m tests.gpu wheels` lists the packages that such a
machine may lack.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.gpu import context, decoding, every, laws, machine, parity, peers, ranks, runs, scans, training, wheels
from tests.gpu.page import page
from tests.gpu.turns import LEFT


@dataclass(frozen=True)
class Stage:
    """What the page shows is `measure(device)`; of one that `goes_on`, `measure(device, rows of the call before)`.

    It is begun when `needs` seconds are left.
    """

    measure: Callable[..., dict[str, Any]]
    goes_on: bool = False
    needs: float = 0.0


# In the order of worth.
STAGES = {
    "machine": Stage(machine.measure),
    "laws": Stage(laws.measure, goes_on=True),
    "parity": Stage(parity.measure),
    "scan": Stage(scans.measure),
    "training": Stage(training.measure),
    "decoding": Stage(decoding.measure, goes_on=True),
    "losses": Stage(runs.losses),
    "whole": Stage(runs.whole),
    "context": Stage(context.measure, needs=30),
    "ranks": Stage(ranks.measure, needs=90),
    "every": Stage(every.measure, goes_on=True, needs=every.LIMIT),
    "peers": Stage(peers.measure, needs=peers.LIMIT),
}


def main(words: list[str]) -> int:
    """Runs what is left to run; 1 when a stage failed or a law is broken."""
    if words == ["wheels"]:
        print("\n".join(wheels.missing()))
        return 0
    settings = {"minutes": "8", "device": "cuda", "out": "gpu", "only": ",".join(STAGES)}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in settings:
            print(f"{word} is not among wheels and {', '.join(f'{key}=' for key in settings)}", file=sys.stderr)
            return 2
        settings[key] = value
    if wrong := fault(settings):
        print(wrong, file=sys.stderr)
        return 2
    names = settings["only"].split(",")
    if unknown := [name for name in names if name not in STAGES]:
        print(f"{unknown[0]} is not among {', '.join(STAGES)}", file=sys.stderr)
        return 2
    folder = Path(settings["out"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gpu.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if (before := found.get("machine", {}).get("device", settings["device"])) != settings["device"]:
        print(f"{path} is of device={before}; give another out=", file=sys.stderr)
        return 2
    ends = time.monotonic() + 60 * float(settings["minutes"])
    for name in names:
        if done(found.get(name, {})):
            continue
        if time.monotonic() + STAGES[name].needs > ends:
            found.setdefault(name, {"left": LEFT})
        else:
            print(f"== {name}", flush=True)
            found[name] = ran(STAGES[name], found.get(name, {}), settings["device"])
            print(f"== {name}: {found[name].get('seconds', 0):.0f} s", flush=True)
        path.write_text(json.dumps(found, indent=1))
        (folder / "gpu.md").write_text(page(found))
    print(page(found).partition("## Laws")[0])  # the machine and the goals
    print(f"page {folder / 'gpu.md'}, figures {path}")
    if left := [name for name in names if not done(found[name])]:
        print(f"not measured in full: {', '.join(left)}; the same command goes on with these")
    return int(any("failed" in stage or stage.get("broken") for stage in found.values()))


def fault(settings: dict[str, str]) -> str:
    """What is wrong with minutes and device; nothing: none."""
    device = settings["device"]
    if not settings["minutes"].replace(".", "", 1).isdigit():
        return f"minutes is {settings['minutes']}; expected a number"
    if device not in ("cuda", "cpu"):
        return f"device is {device}; expected cuda, or cpu to rehearse"
    if device == "cuda" and not torch.cuda.is_available():
        return "device is cuda, and PyTorch finds no GPU here; device=cpu rehearses all of it, small"
    return ""


def done(stage: dict[str, Any]) -> bool:
    """Whether nothing of a stage is left to measure."""
    return "seconds" in stage and not any("left" in row for row in stage.get("rows", []))


def ran(stage: Stage, before: dict[str, Any], device: str) -> dict[str, Any]:
    """What a stage finds, after what a call before found; an error leaves that, and the other stages their turn."""
    began = time.monotonic()
    try:
        found = stage.measure(device, before.get("rows", [])) if stage.goes_on else stage.measure(device)
    except Exception as error:
        traceback.print_exc()
        return {**before, "failed": f"{type(error).__name__}: {error}"[:500]}
    return {**found, "seconds": before.get("seconds", 0.0) + time.monotonic() - began}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
