"""Training speed of one model: forward and backward over rows of random ids; the optimizer is left out."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch

from supervisors.bench.matrix import timed
from supervisors.bench.memory import PeakMemory, available
from supervisors.bench.subjects import Trained
from supervisors.training.precision import autocast

_SAMPLE = 1.0  # seconds that a sample lasts at least
_LONG = 5.0  # seconds from which on a step needs no warm-up
_FIRST = 16  # tokens of the first steps, of which one loads and compiles what there is to load
_NAMED = 40  # operators of a profile that are kept
_SHARE = 0.6  # of the memory at hand that a step may be expected to take
_PROFILED = 0.5  # seconds of a step that is profiled at most: a profile takes many times as long

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Training:
    """`prepare` climbs from short rows to those asked for, `sample` then times steps."""

    def __init__(self, subject: Trained, vocabulary: int, device: str) -> None:
        self.subject, self.vocabulary, self.device = subject, vocabulary, device
        self.precision, self.batch, self.length, self.count = "fp32", 1, _FIRST, 1
        self._told = _FIRST

    def prepare(self, precision: str, batch: int, length: int, limit: float) -> dict[str, Any]:
        """Warms up and reads the peak memory of a step.

        Rows grow fourfold from 16 tokens on. Where the next step is expected to take more than `limit` seconds or most
        of the memory, the climb ends: `length` is what was reached and `limited` says why.
        """
        self.subject.model.train()
        self.precision, self.batch = precision, batch
        seconds: list[float] = []
        limited = ""
        memory: PeakMemory | None = None
        for rung in _rungs(length):
            if memory is not None:
                expected = _next(seconds) * math.log(rung / self.length, 4)
                room = available(self.device)
                if expected > limit:
                    limited = f"a step of {rung} tokens a row would take about {expected:.0f} s"
                elif room is not None and (needed := memory.bytes() * rung / self.length) > _SHARE * room:
                    limited = f"a step of {rung} tokens a row would take about {needed / 2**30:.0f} GiB"
                if limited:
                    break
            self.length = rung
            ids, targets = self._data(rung)
            if memory is None:
                self._step(ids, targets)  # may compile for half a minute
            seconds.append(timed(lambda: self._step(ids, targets), self.device))  # noqa: B023
            if seconds[-1] < _PROFILED or rung == _FIRST:
                self._told = rung
            if memory is None:
                memory = PeakMemory(self.device)
        assert memory is not None
        peak = memory.bytes()
        last = seconds[-1]
        self._ids, self._targets = self._data(self.length)
        if last < _SAMPLE:  # less than it seemed: the first step of a length has to get its memory
            last = timed(lambda: self._step(self._ids, self._targets), self.device)
        self.count = max(1, math.ceil(_SAMPLE / last))
        return {
            "length": self.length,
            "limited": limited,
            "peak_bytes": peak,
            # A long step is a sample already.
            "tokens_per_second": [batch * self.length / last] if last > _LONG else [],
            "seconds": sum(seconds),
        }

    def sample(self) -> dict[str, float]:
        """Tokens a second over as many steps as fill the time of a sample; several follow one that is not timed."""
        if self.count > 1:  # it finds other models' numbers in the caches
            self._step(self._ids, self._targets)
        seconds = timed(self._steps, self.device)
        return {"tokens_per_second": self.batch * self.length * self.count / seconds, "seconds": seconds}

    def profile(self) -> list[tuple[str, float]]:
        """Operators of the longest quick step and their shares of its time, largest first."""
        ids, targets = self._data(self._told)
        self._step(ids, targets)
        return profiled(lambda: self._step(ids, targets), self.device)

    def _steps(self) -> None:
        for _ in range(self.count):
            self._step(self._ids, self._targets)

    def _step(self, ids: torch.Tensor, targets: torch.Tensor) -> None:
        self.subject.model.zero_grad(set_to_none=True)
        with autocast(torch.device(self.device), DTYPES[self.precision]):
            loss = self.subject.loss(ids, targets)
        loss.backward()

    def _data(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(0, self.vocabulary, (self.batch, length + 1), generator=generator).to(self.device)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def _rungs(length: int) -> Iterator[int]:
    yield from itertools.takewhile(lambda rung: rung < length, (_FIRST * 4**power for power in itertools.count()))
    yield length


def _next(seconds: list[float]) -> float:
    """Seconds of a step over four times as many tokens, from how the steps before grew: at least linear."""
    growth = seconds[-1] / seconds[-2] if len(seconds) > 2 else 4.0
    return seconds[-1] * min(16.0, max(4.0, growth))


def profiled(work: Any, device: str) -> list[tuple[str, float]]:
    """Names of operators and their own shares of the time of `work`, largest first."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as prof:
        timed(work, device)
    key = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    spent = {event.key: float(getattr(event, key)) for event in prof.key_averages()}
    total = sum(spent.values()) or 1.0
    shares = sorted(((name, value / total) for name, value in spent.items()), key=lambda pair: -pair[1])
    return shares[:_NAMED]
