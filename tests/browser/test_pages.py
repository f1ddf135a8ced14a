"""Pages that runs and listening tests leave, opened from disk and clicked through as a person would."""

import json
from pathlib import Path
from typing import Any

import pytest

from datatools.reading import scores
from datatools.writing.page import page as pages
from datatools.writing.page import roll
from hparams.listen import ListenHParams
from supervisors.listening import site
from tests.test_listening import tune

playwright = pytest.importorskip("playwright.sync_api", reason="a browser needs the extra [browser]")

expect = playwright.expect
MUSIC = Path(__file__).resolve().parents[1] / "music"


def test_samples_are_seen_and_heard(page: Any, tmp_path: Path) -> None:
    scores_of = [scores.read(MUSIC / name).score for name in ("band.mid", "mill_lane.abc")]
    sections = [roll.section(score, f"p{i}", f"Piece {i}", "facts") for i, score in enumerate(scores_of)]
    (tmp_path / "index.html").write_text(pages.page("Samples", "\n".join(sections)), encoding="utf-8")
    page.goto((tmp_path / "index.html").as_uri())
    first, second = (page.locator("section[data-piece]").nth(i) for i in range(2))
    first.get_by_role("button", name="Play").click()
    expect(first.locator(".play")).to_have_text("Stop")
    page.wait_for_timeout(600)
    assert float(str(first.locator(".cursor").get_attribute("x1"))) > 0
    second.get_by_role("button", name="Play").focus()
    page.keyboard.press("Enter")  # one stops the other
    expect(second.locator(".play")).to_have_text("Stop")
    expect(first.locator(".play")).to_have_text("Play")
    second.locator("svg.roll").click(position={"x": 400, "y": 40})
    page.wait_for_timeout(200)
    assert float(str(second.locator(".clock").text_content()).split()[0]) > 1
    second.locator(".play").click()
    if second.locator("summary").count():  # where scores can be engraved
        second.locator("summary").click()
        expect(second.locator(".score svg").first).to_be_visible()


def test_tables_of_a_report_sort(page: Any, tmp_path: Path) -> None:
    text = "# T\n\n## Measures\n\n| system | value |\n|---|---|\n| b | 10 |\n| a | 9.5 |\n| c | ≥ 100 |\n"
    (tmp_path / "index.html").write_text(pages.from_markdown("Evaluation", text, tmp_path), encoding="utf-8")
    page.goto((tmp_path / "index.html").as_uri())
    column = page.locator("tbody td:nth-child(2)")
    page.get_by_text("value", exact=True).click()
    assert column.all_text_contents() == ["9.5", "10", "≥ 100"]
    page.get_by_text("value", exact=True).focus()
    page.keyboard.press("Enter")
    assert column.all_text_contents() == ["≥ 100", "10", "9.5"]


def test_a_listening_test_is_answered_to_its_end(page: Any, tmp_path: Path) -> None:
    systems = {name: [tune(60 + i, 60) for i in range(2)] for name in ("a", "b")}
    site.write(systems, ListenHParams(pieces=2, seconds=1.0, scales=("overall", "melody")), tmp_path)
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.fill("#code", "7")
    page.locator("#begin button").click()
    answered = 0
    while page.locator("#trial form").count():
        if page.locator("#trial audio").count():
            for audio in page.locator("#trial audio").all():
                audio.evaluate("one => new Promise((on) => { one.onended = on; one.playbackRate = 8; one.play(); })")
        asked = str(page.locator("#trial").text_content())
        choice = asked.split("please choose ")[1][0] if "please choose" in asked else "4"
        for group in page.locator("#trial fieldset").all():
            group.get_by_label(choice, exact=True).check()
        page.get_by_role("button", name="Next").click()
        answered += 1
    assert answered == 1 + 4 + 1  # practice, clips, attention
    with page.expect_download() as download:
        page.get_by_role("link").click()
    tree = json.loads(Path(download.value.path()).read_text())
    assert len(tree["answers"]) == 4 and tree["checks"][0]["values"]["overall"] == str(tree["checks"][0]["asked"])
