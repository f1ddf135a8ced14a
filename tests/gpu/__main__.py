"""`python -m tests.gpu [minutes=8] [device=cuda] [out=gpu] [only=laws,scan]`: what a CUDA machine says of all this.

Runs, in the order of worth and within its minutes, the laws of every backbone, the Triton kernels beside the plain
path, their speed, decoding, training against length, and whole runs beside the CPU's; writes `gpu.json` and `gpu.md`
to `out` after each of them. A second call goes on where the first one ended. `device=cpu` rehearses all of it, small.
`python -m tests.gpu wheels` lists the packages that such a machine may lack.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.gpu import decoding, laws, machine, parity, runs, scans, training, wheels
from tests.gpu.page import page

# In the order of worth; each gives what the page shows of it.
STAGES: dict[str, Callable[[str], dict[str, Any]]] = {
    "machine": machine.measure,
    "laws": laws.measure,
    "parity": parity.measure,
    "scan": scans.measure,
    "training": training.measure,
    "decoding": decoding.measure,
    "losses": runs.losses,
    "whole": runs.whole,
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
    folder, device = Path(settings["out"]), settings["device"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gpu.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    ends = time.monotonic() + 60 * float(settings["minutes"])
    for name in settings["only"].split(","):
        if "seconds" in found.get(name, {}):
            continue
        if time.monotonic() > ends:
            found[name] = {"left": "no time was left"}
            continue
        began = time.monotonic()
        print(f"== {name}", flush=True)
        try:
            found[name] = STAGES[name](device)
            found[name]["seconds"] = time.monotonic() - began
        except Exception as error:  # the other stages may still tell something
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            traceback.print_exc()
        path.write_text(json.dumps(found, indent=1))
        (folder / "gpu.md").write_text(page(found))
        print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    print(page(found))
    return int(any("failed" in stage or stage.get("broken") for stage in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
