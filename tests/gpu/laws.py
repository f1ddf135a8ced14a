"""The laws of every registered backbone on the device, in fp32 and bf16, a process each, side by side."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from plugins.manager import load_manager
from tests.gpu.turns import Row, turns

_LIMIT = 120.0  # seconds of all together
_ASK = """
import json, sys
from plugins import checks
from plugins.manager import load_manager
verdicts = checks.run(load_manager(), sys.argv[1], sys.argv[2], sys.argv[3])
print("verdicts", json.dumps([[v.law, v.passed, v.deviation, v.detail, v.seconds] for v in verdicts]))
"""


def measure(device: str, before: list[Row]) -> dict[str, Any]:
    """Per backbone and precision: laws held, skipped and broken, the largest deviation, seconds."""
    asked = [{"name": name, "dtype": dtype} for dtype in ("float32", "bfloat16") for name in load_manager().backbones]

    def judge(name: str, dtype: str, ends: float) -> list[Row]:
        return [_judge(name, dtype, device, ends)]

    rows = turns(asked, before, _LIMIT, judge, max(1, (os.cpu_count() or 2) * 3 // 4))
    return {"rows": rows, "broken": [row for row in rows if row.get("broken")]}


def _judge(name: str, dtype: str, device: str, ends: float) -> Row:
    done = subprocess.run(
        [sys.executable, "-c", _ASK, name, device, dtype],
        capture_output=True, text=True, timeout=max(0.1, ends - time.monotonic()), check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("verdicts ")]
    said = [line for line in done.stderr.splitlines() if "mamba:" in line or "transformer:" in line]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return {"broken": [["the process", last]], "held": 0, "said": said}
    verdicts = json.loads(lines[-1].removeprefix("verdicts "))
    return {
        "held": sum(passed is True for _, passed, *_ in verdicts),
        "skipped": [[law, detail] for law, passed, _, detail, _ in verdicts if passed is None],
        "broken": [[law, detail, deviation] for law, passed, deviation, detail, _ in verdicts if passed is False],
        "worst": max((deviation for _, passed, deviation, *_ in verdicts if passed), default=0.0),
        "seconds_of_laws": sum(each[-1] for each in verdicts),
        "said": said,
    }
