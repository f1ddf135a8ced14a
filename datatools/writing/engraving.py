"""A score as an engraved page, SVG, through Verovio (`pip install 'swaptunes[notation]'`)."""

import re
from pathlib import Path
from typing import Any

import symusic

from core.errors import HubError
from datatools.writing import musicxml

WIDTH = 2100  # tenths of a millimetre, A4
_OPTIONS = {
    "pageWidth": WIDTH,
    "pageHeight": 60_000,  # one long page, cut to what is on it
    "adjustPageHeight": True,
    "scale": 40,
    "footer": "none",
    "header": "auto",
    "svgViewBox": True,
    "svgRemoveXlink": True,
}


def svg(score: symusic.Score, title: str = "") -> str:
    """All staves on one page, as SVG text; ValueError for a note off the grid, HubError without Verovio."""
    toolkit = _toolkit()
    toolkit.setOptions(_OPTIONS)
    if not toolkit.loadData(musicxml.text(score, title)):
        raise ValueError("Verovio cannot read the score that was written for it")
    pages = [toolkit.renderToSVG(number + 1) for number in range(toolkit.getPageCount())]
    return str(pages[0]) if len(pages) == 1 else _joined(pages)


def write(score: symusic.Score, path: str | Path, title: str = "") -> None:
    """Writes `svg`."""
    Path(path).write_text(svg(score, title), encoding="utf-8")


def _toolkit() -> Any:
    try:
        import verovio
    except ImportError as error:
        raise HubError("engraving needs Verovio: pip install 'swaptunes[notation]'") from error
    verovio.enableLog(verovio.LOG_OFF)
    return verovio.toolkit()


def _joined(pages: list[str]) -> str:
    """Pages below one another in one SVG, for music that is longer than the longest page."""
    boxes = [re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', page) for page in pages]
    sizes = [(float(box[1]), float(box[2])) for box in boxes if box]
    width, height = max(size[0] for size in sizes), sum(size[1] for size in sizes)
    body, at = [], 0.0
    for page, (_, tall) in zip(pages, sizes, strict=True):
        page = re.sub(r"<\?xml.*?\?>", "", page)
        body.append(page.replace("<svg ", f'<svg y="{at:g}" height="{tall:g}" ', 1))
        at += tall
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">' + "".join(body) + "</svg>"
