"""How fast the studio answers and how much it holds: `python -m tests.studio.speed RUN [TOKENS]`.

Times are of a client on the same machine, through HTTP: from the request to the first note, seconds of music by seconds
of drawing of one stream and of sixteen at once, and the memory of the process while it draws one endless piece.
"""

import resource
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.studio.serving import Client, serving

TRIES, STREAMS = 15, 16


def megabytes() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def first_event(client: Client, model: str, what: str) -> list[float]:
    """Milliseconds until the first event that brings something of that name."""
    found = []
    for seed in range(TRIES):
        began = time.perf_counter()
        stream = client.stream({"model": model, "seed": seed, "length": 64})
        for _, data in stream:
            if data.get(what):
                found.append((time.perf_counter() - began) * 1000)
                break
        stream.close()
        time.sleep(0.3)
    return sorted(found)


def real_time(client: Client, model: str, streams: int, tokens: int = 500) -> tuple[list[float], float]:
    """Seconds of music by seconds of drawing, of each of so many streams at once; and of all by processor seconds."""
    found: list[float] = []
    music: list[float] = []

    def play(seed: int) -> None:
        began, seconds = time.perf_counter(), 0.0
        for _, data in client.stream({"model": model, "seed": seed, "endless": True, "length": tokens}):
            seconds = data.get("seconds", seconds)
        found.append(seconds / (time.perf_counter() - began))
        music.append(seconds)

    used = time.process_time()
    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found), sum(music) / (time.process_time() - used)


def memory(client: Client, model: str, most: int) -> None:
    """Prints the memory along one endless piece."""
    tokens, told, began = 0, most // 10, time.perf_counter()
    stream = client.stream({"model": model, "seed": 1, "endless": True})
    for _, data in stream:
        tokens += len(data.get("tokens", ()))
        if tokens >= told:
            rate = tokens / (time.perf_counter() - began)
            print(f"{tokens:>8,} tokens  {megabytes():7.1f} MB  {rate:6.0f} tokens/s", flush=True)
            told += most // 10
        if tokens >= most:
            break
    stream.close()


def main(words: list[str]) -> None:
    """Measures one run."""
    run = Path(words[0])
    with serving(run.parent, run, streams=STREAMS) as client:
        name: Any = run.resolve().name
        client.piece({"model": name, "length": 64})
        for what in ("tokens", "notes"):
            times = first_event(client, name, what)
            print(
                f"first {what}: median {statistics.median(times):.0f} ms, {times[0]:.0f} to {times[-1]:.0f} (n {TRIES})"
            )
        for streams in (1, STREAMS):
            times, alone = real_time(client, name, streams)
            told = f"{times[0]:.1f} to {times[-1]:.1f} x real time each, {alone:.1f} x together by processor time"
            print(f"{streams} at once: {told}", flush=True)
        memory(client, name, int(words[1]) if len(words) > 1 else 100_000)


if __name__ == "__main__":
    main(sys.argv[1:])
