"""What several tests share: a small folder of music made on the spot, and a cache of their own."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.walks import write_walks

# The files that cost most go first, so that no process is left alone with one in the end.
DEAR = [
    *("native_mamba", "run", "store", "twin", "store_damage", "compare"),
    *("third_party", "ranks", "storage", "resume", "no_test_split", "soak", "api"),
]
NATIVE = os.environ.get("SWAPTUNES_NATIVE", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only the tests of compiled code compile it; to all others the plain path is the known one."""
    os.environ["SWAPTUNES_NATIVE"] = NATIVE if item.path.name.startswith("test_native_") else "0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders files, and nothing within them."""
    places = {f"test_{name}": place for place, name in enumerate(DEAR)}
    items.sort(key=lambda item: places.get(item.path.stem, len(DEAR)))


FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines of measured figures, which close the output of the tests."""
    return pytestconfig.stash.setdefault(FIGURES, [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that ran a part of the tests hands its figures to the one that prints them."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = session.config.stash.get(FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes the figures of such a process."""
    node.config.stash.setdefault(FIGURES, []).extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the figures that tests measured, however quiet pytest is asked to be."""
    if lines := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the tests out of the person's cache; what is prepared once serves all tests of a session.

    What is compiled lies under its sources' digest in build/, for all processes that test and for the next session.
    """
    folder = tmp_path_factory.mktemp("cache")
    native = Path(__file__).parents[1] / "build" / "native"
    native.mkdir(parents=True, exist_ok=True)
    (folder / "native").symlink_to(native)
    patch = pytest.MonkeyPatch()
    patch.setenv("SWAPTUNES_CACHE", str(folder))
    patch.setenv("SWAPTUNES_LOAD_PLUGINS", "")
    return folder


@pytest.fixture(scope="session")
def music_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four MIDI files of random walks."""
    folder = tmp_path_factory.mktemp("music")
    write_walks(folder)
    return folder
