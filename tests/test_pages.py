"""Pages hold all that they show: no address outside them, the notes of the music, tables and pictures."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from datatools.reading import scores
from datatools.writing import instruments
from datatools.writing.page import page, roll

MUSIC = Path(__file__).parent / "music"


class Elements(HTMLParser):
    """Counts elements; raises on none, so that a page that is cut off is seen by its missing end."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.links = {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.links += [value for key, value in attrs if key in ("src", "href")]


@pytest.fixture
def band():
    return scores.read(MUSIC / "band.mid").score


def test_a_piece_bears_its_notes_in_seconds_and_its_drums(band):
    text = roll.section(band, "p0", "A & B <script>", given=1.0)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])
    seconds = band.to("second")
    wanted = sorted(
        (round(n.time, 3), round(n.duration, 3), n.pitch, n.velocity, i)
        for i, t in enumerate(seconds.tracks)
        for n in t.notes
    )
    assert [tuple(note) for note in data["notes"]] == wanted
    assert data["drums"] == [i for i, t in enumerate(band.tracks) if t.is_drum] == [2]
    assert "A &amp; B &lt;script&gt;" in text
    found = Elements(text).seen
    assert found["rect"] >= len(wanted) + 1 and found["button"] == 1


def test_a_track_is_called_by_its_name_and_its_instrument(band):
    assert [instruments.label(track) for track in band.tracks] == [
        "melody (acoustic grand piano)",
        "bass (acoustic bass)",
        "drums",
    ]


def test_a_page_fetches_nothing(band, tmp_path):
    text = page.page("Samples", roll.section(band, "p0", "one"))
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    assert not [link for link in Elements(text).links if not link.startswith("#")]  # engraving refers to its own signs
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)


def test_markdown_becomes_a_page_with_its_pictures_inside(tmp_path):
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 20
    (tmp_path / "a.png").write_bytes(png)
    text = page.from_markdown("T", "# T\n\n![x](a.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", tmp_path)
    found = Elements(text)
    assert found.seen["table"] == 1 and found.seen["h1"] == 1
    assert found.links == ["data:image/png;base64,iVBORw0KGgowMDAwMDAwMDAwMDAwMDAwMDAwMA=="]
