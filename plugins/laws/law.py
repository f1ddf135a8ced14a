"""What a law is: measured on cases, judged by a tolerance, and shrunk to the smallest case that breaks it."""

import math
import time
import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.errors import HubError
from core.names import did_you_mean
from core.words import counted

SHRINK_SECONDS = 3.0


class Finding(NamedTuple):
    """One measurement: what was compared, and by how much it deviates (of the largest entry; inf: plainly wrong)."""

    what: str
    deviation: float


def verdict(what: str, holds: bool) -> Finding:
    """A finding without a measure."""
    return Finding(what, 0.0 if holds else math.inf)


class LawBroken(AssertionError):
    """A law does not hold; the message names the smallest case that was found."""


class Skipped(unittest.SkipTest):
    """A law that does not concern this plugin; pytest and unittest report it as skipped, with the reason."""


@dataclass(frozen=True)
class Verdict:
    """`passed` is None for a law that was skipped; `deviation` is the largest one met."""

    law: str
    passed: bool | None
    deviation: float
    detail: str
    seconds: float


@dataclass(frozen=True)
class Law:
    """A named property. `measure(case)` yields findings; `smaller(case)` the cases to try when one is broken."""

    name: str
    measure: Callable[[Any], Iterable[Finding]]
    cases: Callable[[], Sequence[Any]]
    smaller: Callable[[Any], Iterable[Any]]
    tolerance: float

    def judge(self) -> Verdict:
        """Measures all cases. An error of any kind inside a law is a broken law, never a crash."""
        began = time.perf_counter()
        worst = 0.0
        try:
            for case in self.cases():
                fault, deviation = self._measure(case)
                if fault:
                    fault, deviation = self._shrink(case, fault, deviation)
                    return Verdict(self.name, False, deviation, fault, time.perf_counter() - began)
                worst = max(worst, deviation)
        except Skipped as reason:
            return Verdict(self.name, None, 0.0, str(reason), time.perf_counter() - began)
        except Exception as error:
            return Verdict(self.name, False, math.inf, _raised(error), time.perf_counter() - began)
        return Verdict(self.name, True, worst, "", time.perf_counter() - began)

    def __call__(self) -> None:
        """For a test: raises LawBroken when the law is broken, Skipped when it does not apply."""
        verdict = self.judge()
        if verdict.passed is None:
            raise Skipped(verdict.detail)
        if not verdict.passed:
            raise LawBroken(f"{self.name}: {verdict.detail} (deviation {verdict.deviation:.2g})")

    def __str__(self) -> str:
        return self.name

    def _measure(self, case: Any) -> tuple[str, float]:
        """What is wrong ("" if nothing is) and the largest deviation; a case that yields nothing measures nothing."""
        worst = 0.0
        try:
            for finding in self.measure(case):
                deviation = math.inf if math.isnan(finding.deviation) else finding.deviation
                if deviation > self.tolerance:
                    return _on(case, finding.what), deviation
                worst = max(worst, deviation)
        except Skipped:
            raise
        except LawBroken as error:
            return _on(case, str(error)), math.inf
        except Exception as error:
            return _on(case, _raised(error)), math.inf
        return "", worst

    def _shrink(self, case: Any, fault: str, deviation: float) -> tuple[str, float]:
        end = time.perf_counter() + SHRINK_SECONDS
        for smaller in self.smaller(case):
            if time.perf_counter() > end:
                break
            found, by = self._measure(smaller)
            if found:
                return found, by
        return fault, deviation


def _on(case: Any, fault: str) -> str:
    return f"{case}: {fault}" if str(case) else fault


def _raised(error: Exception) -> str:
    return f"raised {type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch on one thread: many only wait for each other over tensors as small as the laws use."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def table(verdicts: Sequence[Verdict]) -> str:
    """One line a law: law, verdict, largest deviation; below a broken one the smallest case that shows it."""
    width = max([len(verdict.law) for verdict in verdicts], default=0)
    lines = []
    for verdict in verdicts:
        word = {True: "holds", False: "BROKEN", None: "skipped"}[verdict.passed]
        shown = "-" if verdict.passed is None else f"{verdict.deviation:.1e}"
        lines.append(f"{verdict.law:<{width}}  {word:<7}  {shown:>8}  {verdict.seconds:6.2f} s")
        if verdict.detail:
            lines.append(f"    {verdict.detail}")
    broken = sum(verdict.passed is False for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    lines.append(f"{counted(len(verdicts), 'law')}, {broken or 'none'} broken, {seconds:.1f} s")
    return "\n".join(lines)


def parameters(laws: Sequence[Law], expected_failures: Mapping[str, str]) -> tuple[str, list[Any]]:
    """Arguments of `pytest.mark.parametrize`; an expected failure that holds is reported as a failure."""
    import pytest

    known = [law.name for law in laws]
    for name in expected_failures:
        if name not in known:
            raise HubError(f'expected_failures names no law: "{name}".{did_you_mean(name, known)}')

    def marked(law: Law) -> Iterator[Any]:
        if law.name in expected_failures:
            yield pytest.mark.xfail(reason=expected_failures[law.name], strict=True)

    return "law", [pytest.param(law, id=law.name.replace(" ", "-"), marks=list(marked(law))) for law in laws]
