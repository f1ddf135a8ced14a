"""Decoding speed of one model: the likeliest token again and again, after a prompt of a given length.

Shapes: b batch, v vocabulary.
"""

import math
import time
from typing import Any

import torch

from supervisors.bench_matrix import timed
from supervisors.bench_subjects import Subject
from supervisors.bench_training import profiled

_SAMPLE = 0.3  # seconds that a sample lasts at least
_MOST_STEPS = 64  # from one context, so that it stays about what it says
_FEWEST_STEPS = 4


class Decoding:
    """`prepare` reads a prompt of random ids, `sample` times greedy steps, each burst from the same cache."""

    def __init__(self, subject: Subject, vocabulary: int, device: str) -> None:
        self.subject, self.vocabulary, self.device = subject, vocabulary, device
        self.batch, self.steps = 1, _FEWEST_STEPS
        self._cache: Any = None
        self._first = torch.zeros(1, 1)

    @torch.inference_mode()
    def prepare(self, batch: int, length: int) -> dict[str, Any]:
        """Reads `length` tokens of one row, makes `batch` equal ones of it, and warms up."""
        self.subject.model.eval()
        began = time.perf_counter()
        self._cache, self.batch = None, batch
        ids = torch.randint(0, self.vocabulary, (1, length), generator=torch.Generator().manual_seed(length))
        cache = self.subject.cache(length + _MOST_STEPS)
        for part in ids.to(self.device).split(self.subject.chunk or length, 1):
            logits, cache = self.subject.read(part, cache)
        self._cache = self.subject.repeat(cache, batch)
        self._first = logits.argmax(-1, keepdim=True).expand(batch, 1).contiguous()  # (b 1)
        read = time.perf_counter() - began
        self.steps = _FEWEST_STEPS
        self._burst()
        step = self._burst() / _FEWEST_STEPS
        self.steps = min(_MOST_STEPS, max(_FEWEST_STEPS, math.ceil(_SAMPLE / step)))
        return {"length": length, "limited": "", "tokens_per_second": [], "peak_bytes": None, "seconds": read}

    @torch.inference_mode()
    def sample(self) -> dict[str, float]:
        """Tokens a second of the whole batch."""
        seconds = tokens = 0.0
        while seconds < _SAMPLE:
            seconds += self._burst()
            tokens += self.steps * self.batch
        return {"tokens_per_second": tokens / seconds, "seconds": seconds}

    @torch.inference_mode()
    def profile(self) -> list[tuple[str, float]]:
        """Operators of a few steps and their shares of the time, largest first."""
        cache = self.subject.copy(self._cache)
        self.steps = _FEWEST_STEPS
        return profiled(lambda: self._steps(cache), self.device)

    def _burst(self) -> float:
        cache = self.subject.copy(self._cache)
        return timed(lambda: self._steps(cache), self.device)

    def _steps(self, cache: Any) -> None:
        ids = self._first
        for _ in range(self.steps):
            logits, cache = self.subject.read(ids, cache)
            ids = logits.argmax(-1, keepdim=True)
