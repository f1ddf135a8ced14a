"""The studio, clicked through as a person would."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datatools.reading import scores
from tests.studio.serving import GOLDEN, Client, golden_runs, serving

pytest.importorskip("starlette", reason="the studio needs the extra [studio]")
playwright = pytest.importorskip("playwright.sync_api", reason="a browser needs the extra [browser]")

expect = playwright.expect
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(golden_runs(tmp_path_factory.mktemp("runs"), "first", "second")) as running:
        yield running


@pytest.fixture
def studio(page: Any, client: Client) -> Any:
    page.goto(client.address)
    expect(page.locator("#about")).to_contain_text("parameters")
    return page


def drawn(page: Any) -> None:
    """Waits until nothing is drawn any more."""
    expect(page.locator("#stop")).to_be_disabled()


def facts(page: Any, lane: int = 0) -> str:
    return str(page.locator(".lane .facts").nth(lane).text_content())


def test_a_piece_is_drawn_heard_and_gone_on_from(studio: Any) -> None:
    studio.fill("#set-seed", "3")
    studio.fill("#set-bars", "8")
    studio.click("#new")
    expect(studio.locator("#play")).to_have_text("Pause")  # it plays while it is drawn
    drawn(studio)
    expect(studio.locator(".lane .facts")).to_contain_text(re.compile("complete|ended by itself"))
    expect(studio.locator(".lane .facts")).to_contain_text("notes")
    studio.wait_for_timeout(1500)
    studio.keyboard.press(" ")
    expect(studio.locator("#play")).to_have_text("Play")
    assert float(facts(studio).split(" of ")[0]) > 0  # the cursor has moved
    studio.locator(".lane canvas").focus()
    studio.keyboard.press("Home")
    for _ in range(4):
        studio.keyboard.press("ArrowRight")
    expect(studio.locator(".lane canvas")).not_to_have_attribute("aria-valuenow", "0.0")
    studio.click("#variations")
    drawn(studio)
    expect(studio.locator("#takes li")).to_have_count(5)
    assert "from take 1" in str(studio.locator("#takes li").nth(4).text_content())
    studio.locator("#takes li button.take").nth(2).click()
    studio.keyboard.press("u")
    expect(studio.locator('#takes li button.take[aria-current="true"]')).to_contain_text("Take 2")
    studio.get_by_label("forget take 5").click()
    expect(studio.locator("#takes li")).to_have_count(4)


def test_bars_are_marked_and_filled(studio: Any) -> None:
    studio.fill("#set-seed", "3")
    studio.fill("#set-bars", "8")
    studio.click("#new")
    drawn(studio)
    studio.keyboard.press(" ")
    studio.click("#mark")
    box = studio.locator(".lane canvas").bounding_box()
    studio.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    studio.mouse.down()
    studio.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + 60, steps=4)
    studio.mouse.up()
    studio.click("#fill")
    expect(studio.locator("#status")).to_contain_text("ways")
    expect(studio.locator(".lane .facts")).to_contain_text("bars drawn anew")


def test_a_prompt_is_dropped_clicked_and_taken_back(studio: Any) -> None:
    studio.set_input_files("#file", GOLDEN / "music" / "00.mid")
    expect(studio.locator("#prompted")).to_contain_text("00.mid")
    studio.fill("#set-length", "40")
    studio.click("#new")
    expect(studio.locator(".lane .facts")).to_contain_text("tokens drawn")
    drawn(studio)
    studio.click("#clear")
    expect(studio.locator("#prompted")).to_contain_text("No prompt")
    studio.get_by_label("C 4", exact=True).click()
    studio.keyboard.press("ArrowRight")
    studio.keyboard.press("Enter")
    expect(studio.locator("#prompted")).to_contain_text("2 notes")
    studio.click("#back")
    expect(studio.locator("#prompted")).to_contain_text("1 note.")
    studio.click("#new")
    drawn(studio)
    studio.set_input_files("#file", {"name": "bad.mid", "mimeType": "audio/midi", "buffer": b"nothing"})
    studio.click("#new")
    expect(studio.locator("#status.bad")).to_contain_text("cannot be read")
    studio.faults.clear()  # the browser's own words for a refused request


def test_a_take_is_scored_kept_and_exported(studio: Any, client: Client, tmp_path: Path) -> None:
    studio.fill("#set-bars", "4")
    studio.click("#new")
    drawn(studio)
    studio.click("#score")
    expect(studio.locator(".lane .facts")).to_contain_text("nats a note")
    studio.click("#keep")
    expect(studio.locator("#status")).to_contain_text("Kept: ")
    kept = Path(str(studio.text_content("#status")).removeprefix("Kept: "))
    assert json.loads(kept.with_suffix(".json").read_text())["notes"] == scores.read(kept).score.note_num()
    for format in ("mid", "musicxml", "abc", "wav", "png"):
        studio.select_option("#format", format)
        with studio.expect_download() as download:
            studio.click("#export")
        assert download.value.suggested_filename.endswith(f".{format}")
        download.value.save_as(tmp_path / "file")
        assert (tmp_path / "file").stat().st_size > 100


def test_two_models_are_heard_blind(studio: Any) -> None:
    studio.select_option("#other", "second")
    studio.check("#blind")
    studio.fill("#set-bars", "4")
    studio.click("#new")
    drawn(studio)
    expect(studio.locator(".lane")).to_have_count(2)
    assert studio.locator(".lane b").all_text_contents() == ["the first", "the second"]
    assert "second" not in str(studio.locator("#takes").text_content()).replace("seconds", "")
    studio.locator(".lane canvas").nth(1).click()
    studio.get_by_text("I prefer the second").click()
    expect(studio.locator("#status")).to_contain_text("So far:")
    names = studio.locator(".lane b").all_text_contents()
    assert sorted(names) == ["first", "second"]


def test_an_endless_piece_is_stopped_and_a_lost_studio_is_said(studio: Any) -> None:
    studio.check("#set-endless")
    studio.click("#new")
    expect(studio.locator(".lane .facts")).to_contain_text("real time")
    studio.click("#stop")
    expect(studio.locator(".lane .facts")).to_contain_text("stopped")
    studio.context.set_offline(True)
    studio.click("#new")
    expect(studio.locator("#status.bad")).to_contain_text("cannot be reached")
    studio.faults.clear()  # the browser's own words for it
