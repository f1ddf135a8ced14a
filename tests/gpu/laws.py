"""The laws of every registered backbone on the device, in fp32 and bf16, a process each, side by side."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from plugins.manager import load_manager

_LIMIT = 120.0  # seconds of all together
_ASK = """
import json, sys
from plugins import checks
from plugins.manager import load_manager
verdicts = checks.run(load_manager(), sys.argv[1], sys.argv[2], sys.argv[3])
print("verdicts", json.dumps([[v.law, v.passed, v.deviation, v.detail, v.seconds] for v in verdicts]))
"""


def measure(device: str) -> dict[str, Any]:
    """Per backbone and precision: laws held, skipped and broken, the largest deviation, seconds."""
    asked = [(name, dtype) for dtype in ("float32", "bfloat16") for name in load_manager().backbones]
    ends = time.monotonic() + _LIMIT
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) * 3 // 4)) as pool:
        found = list(pool.map(lambda pair: _judge(*pair, device, ends), asked))
    return {"verdicts": found, "broken": [each for each in found if each["broken"]]}


def _judge(name: str, dtype: str, device: str, ends: float) -> dict[str, Any]:
    left = {"name": name, "dtype": dtype, "held": 0, "skipped": [["all", "no time was left"]], "broken": []}
    if time.monotonic() > ends:
        return left
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK, name, device, dtype],
            capture_output=True, text=True, timeout=ends - time.monotonic(), check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return left
    lines = [line for line in done.stdout.splitlines() if line.startswith("verdicts ")]
    said = [line for line in done.stderr.splitlines() if "mamba:" in line or "transformer:" in line]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return {"name": name, "dtype": dtype, "broken": [["the process", last]], "held": 0, "said": said}
    verdicts = json.loads(lines[-1].removeprefix("verdicts "))
    return {
        "name": name,
        "dtype": dtype,
        "held": sum(passed is True for _, passed, *_ in verdicts),
        "skipped": [[law, detail] for law, passed, _, detail, _ in verdicts if passed is None],
        "broken": [[law, detail, deviation] for law, passed, deviation, detail, _ in verdicts if passed is False],
        "worst": max((deviation for _, passed, deviation, *_ in verdicts if passed), default=0.0),
        "seconds_of_laws": sum(each[-1] for each in verdicts),
        "said": said,
    }
