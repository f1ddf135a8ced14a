"""A plugin of pytest that notes which lines each test reaches, in its processes too, and what each test takes.

What a shared fixture reaches counts for every test that asks for it, not only for the one that came first.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

CONTEXT = "MUTANTS_CONTEXT"  # the test that a child process works for
OUT = "MUTANTS_OUT"


class Recorder:
    def __init__(self) -> None:
        self.coverage = coverage.Coverage(config_file=os.environ["COVERAGE_PROCESS_START"], data_suffix=True)
        self.tests: dict[str, dict[str, Any]] = {}
        self.fixtures: dict[str, float] = {}
        self.shared = 0.0  # seconds that fixtures took within the test at hand
        self.coverage.start()

    def _switch(self, context: str) -> str:
        before = os.environ.get(CONTEXT, "")
        os.environ[CONTEXT] = context
        self.coverage.switch_context(context)
        return before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._switch(item.nodeid)
        self.shared = 0.0
        began = _spent()
        defs = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009
        keys = {_key(d[-1]) for d in defs.values() if d[-1].scope != "function"}
        self.tests[item.nodeid] = {"fixtures": sorted(keys), "passed": True}
        result = yield
        self.tests[item.nodeid]["seconds"] = _spent() - began - self.shared
        self._switch("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        before = self._switch(_key(fixturedef))
        began, shared = _spent(), self.shared
        try:
            return (yield)
        finally:
            self._switch(before)
            own = _spent() - began - (self.shared - shared)
            self.fixtures[_key(fixturedef)] = self.fixtures.get(_key(fixturedef), 0.0) + own
            self.shared += own

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.tests[report.nodeid]["passed"] = False

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        told = {"tests": self.tests, "fixtures": self.fixtures}
        Path(os.environ[OUT]).write_text(json.dumps(told), encoding="utf-8")


def _spent() -> float:
    """Seconds of a processor for this process and its ended children: other people's load does not count."""
    return sum(os.times()[:4])


def _key(fixturedef: Any) -> str:
    return f"@{fixturedef.baseid}::{fixturedef.argname}"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(), "mutants-recorder")
