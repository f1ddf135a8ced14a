"""Decoding speed of one model: the likeliest token again and again, after a prompt of a given length.

Shapes: b batch, v vocabulary.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from supervisors.bench.matrix import timed
from supervisors.bench.subjects import Subject
from supervisors.bench.training import profiled

_SAMPLE = 0.3  # seconds that a sample lasts at least
_MOST_STEPS = 64  # from one context, so that it stays about what it says
_FEWEST_STEPS = 4


class Decoding:
    """`prepare` reads a prompt of random ids, `sample` times greedy steps, each burst from the same cache.

    The caches of all lengths stay until another batch is prepared, so that samples of unlike contexts can take turns.
    """

    def __init__(self, subject: Subject, vocabulary: int, device: str) -> None:
        self.subject, self.vocabulary, self.device = subject, vocabulary, device
        self.batch = 1
        self._read: dict[int, _Prompt] = {}

    @torch.inference_mode()
    def prepare(self, batch: int, length: int) -> dict[str, Any]:
        """Reads `length` tokens of one row, makes `batch` equal ones of it, and warms up."""
        self.subject.model.eval()
        began = time.perf_counter()
        if batch != self.batch:
            self.batch, self._read = batch, {}
        ids = torch.randint(0, self.vocabulary, (1, length), generator=torch.Generator().manual_seed(length))
        cache = self.subject.cache(length + _MOST_STEPS)
        for part in ids.to(self.device).split(self.subject.chunk or length, 1):
            logits, cache = self.subject.read(part, cache)
        first = logits.argmax(-1, keepdim=True).expand(batch, 1).contiguous()  # (b 1)
        prompt = _Prompt(self.subject.repeat(cache, batch), first, _FEWEST_STEPS)
        read = time.perf_counter() - began
        self._burst(prompt)
        step = self._burst(prompt) / _FEWEST_STEPS
        prompt.steps = min(_MOST_STEPS, max(_FEWEST_STEPS, math.ceil(_SAMPLE / step)))
        self._read[length] = prompt
        return {"length": length, "limited": "", "tokens_per_second": [], "peak_bytes": None, "seconds": read}

    @torch.inference_mode()
    def sample(self, length: int) -> dict[str, float]:
        """Tokens a second of the whole batch."""
        prompt = self._read[length]
        seconds = tokens = 0.0
        while seconds < _SAMPLE:
            seconds += self._burst(prompt)
            tokens += prompt.steps * self.batch
        return {"tokens_per_second": tokens / seconds, "seconds": seconds}

    @torch.inference_mode()
    def profile(self, length: int) -> list[tuple[str, float]]:
        """Operators of a few steps and their shares of the time, largest first."""
        prompt = self._read[length]
        cache = self.subject.copy(prompt.cache)
        return profiled(lambda: self._steps(prompt.first, cache, _FEWEST_STEPS), self.device)

    def _burst(self, prompt: "_Prompt") -> float:
        cache = self.subject.copy(prompt.cache)
        return timed(lambda: self._steps(prompt.first, cache, prompt.steps), self.device)

    def _steps(self, ids: torch.Tensor, cache: Any, count: int) -> None:
        for _ in range(count):
            logits, cache = self.subject.read(ids, cache)
            ids = logits.argmax(-1, keepdim=True)


@dataclass
class _Prompt:
    """What was read: the cache after it, the tokens (b 1) that follow, and how many steps a burst takes from there."""

    cache: Any
    first: torch.Tensor
    steps: int
