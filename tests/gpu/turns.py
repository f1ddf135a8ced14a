"""Work on named things within seconds: what no time was left for is left to the next call."""

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LEFT = "no time was left"
Row = dict[str, Any]


def turns(
    asked: Sequence[Row], before: Sequence[Row], limit: float, work: Callable[..., list[Row]], at_once: int = 1
) -> list[Row]:
    """The rows of everything asked, in that order: those of `before` where they are measured, else those of
    `work(ends=..., **each)`, which is begun before `ends`, `limit` seconds from now; else one with `left` in it.

    Work that runs out of time raises TimeoutExpired; another RuntimeError, OSError or ValueError is a row with
    `failed`.
    """
    ends = time.monotonic() + limit

    def rows(each: Row) -> list[Row]:
        had = [row for row in before if "left" not in row and all(row.get(key) == each[key] for key in each)]
        if had:
            return had
        if time.monotonic() > ends:
            return [{**each, "left": LEFT}]
        try:
            return [{**each, **row} for row in work(ends=ends, **each)]
        except subprocess.TimeoutExpired:
            return [{**each, "left": LEFT}]
        except (RuntimeError, OSError, ValueError) as error:
            return [{**each, "failed": (str(error).strip().splitlines() or [type(error).__name__])[0][:200]}]

    if at_once == 1:  # a CUDA graph is better recorded in the main thread
        return [row for each in asked for row in rows(each)]
    with ThreadPoolExecutor(at_once) as pool:
        return [row for some in pool.map(rows, asked) for row in some]
