"""A Chromium that tests click through: the system's, driven by playwright; without either, these tests are skipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="a browser needs the extra [browser]")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed; on Debian: apt install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Both looks of a page."""
    return str(request.param)


@pytest.fixture
def page(browser: Any, scheme: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fresh page that sees no network but this machine's; what its scripts complain of fails the test.

    A picture of how it was left lies in build/screenshots.
    """
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.route(lambda url: not url.startswith(("http://127.0.0.1", "file:", "data:", "blob:")), _refused)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    opened.faults = faults
    yield opened
    SHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SHOTS / f"{request.node.originalname.removeprefix('test_')}_{scheme}.png", full_page=True)
    context.close()
    assert not faults, faults


def _refused(route: Any) -> None:
    route.abort()
    raise AssertionError(f"the page asks for {route.request.url}")
