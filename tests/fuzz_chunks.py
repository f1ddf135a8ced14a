"""What a worker does with a chunk of fuzzed inputs, and the tally that it sends back."""

import logging
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from core.contracts.tokenizer import Ids, vocab_sizes
from tests import fuzz_cases, fuzz_tokens

SECONDS = 20.0  # for one input, as the hub's data.seconds_per_file
WRITTEN = 10  # of so many inputs one is written as MIDI and ABC and read again, where it is music
FINDINGS = ("slow", "memory", "unhandled", "crash")

corpus = cache(fuzz_cases.corpus)


class Tally:
    """Counts of ends and reasons, findings, and the slowest input."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.findings: list[tuple[int, str, str]] = []
        self.slowest = (0.0, -1)

    def add(self, outcome: fuzz_cases.Outcome, number: int) -> None:
        self.ends[outcome.end] += 1
        if outcome.end == "refused":
            self.reasons[fuzz_cases.family(outcome.why)] += 1
        if outcome.end in FINDINGS:
            self.findings.append((number, outcome.end, outcome.why))
        self.slowest = max(self.slowest, (outcome.seconds, number))

    def finished(self) -> dict[str, Any]:
        return {
            "ends": dict(self.ends),
            "reasons": dict(self.reasons),
            "findings": self.findings,
            "slowest": self.slowest,
            "megabytes": fuzz_cases.peak_megabytes(),
        }


def readers(folder: str, task: tuple[str, int, int, int]) -> dict[str, dict[str, Any]]:
    """What became of inputs start to stop of one kind: (kind, seed, start, stop)."""
    kind, seed, start, stop = task
    tally = Tally()
    with tempfile.TemporaryDirectory() as place:
        for number in range(start, stop):
            data = fuzz_cases.case(kind, seed, number, corpus(folder))
            write = number % WRITTEN == 0
            tally.add(fuzz_cases.reading(kind, data, Path(place), SECONDS, write), number)
    return {kind: tally.finished()}


def tokenizers(folder: str, task: tuple[str, int, int, int]) -> dict[str, dict[str, Any]]:
    """What became of scores start to stop in the tokenizers named (with commas, or "all"), and of one sequence of ids
    for each in its decoder.
    """
    names, seed, start, stop = task
    chosen = {name: made for name, made in fuzz_tokens.built().items() if names == "all" or name in names.split(",")}
    tallies = {f"{name}, {way}": Tally() for name in chosen for way in ("encode", "decode")}
    real: dict[str, Ids] = {}
    with tempfile.TemporaryDirectory() as place:
        for number in range(start, stop):
            piece = fuzz_tokens.read_case(seed, number, corpus(folder), Path(place))
            for name, tokenizer in chosen.items():
                random = Random(f"{name} {seed} {number}")
                ids: Ids = []
                tallies[f"{name}, encode"].add(fuzz_tokens.encoding(tokenizer, piece, ids), number)
                before, real[name] = real.get(name, []), ids or real.get(name, [])
                odd = fuzz_tokens.fuzzed_ids(random, vocab_sizes(tokenizer), ids, before)
                tallies[f"{name}, decode"].add(fuzz_tokens.decoding(tokenizer, odd, number % WRITTEN == 0), number)
    return {name: tally.finished() for name, tally in tallies.items()}


def warm(folder: str) -> None:
    """Loads the good files and music21 once a worker."""
    from music21 import converter

    assert converter
    logging.getLogger("swaptunes").setLevel(logging.ERROR)
    corpus(folder)
