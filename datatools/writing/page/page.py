"""Pages that open from disk in any browser, offline: styles, player and pictures are inside, nothing is fetched."""

import base64
import re
from html import escape
from pathlib import Path

_HERE = Path(__file__).parent


def page(title: str, body: str) -> str:
    """A whole HTML document around `body`."""
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    player = "".join((_HERE / name).read_text(encoding="utf-8") for name in ("sound.js", "player.js"))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><h1>{escape(title)}</h1>\n{body}\n<script>{player}</script></body></html>\n"
    )


def from_markdown(title: str, text: str, folder: Path, more: str = "") -> str:
    """The document of a page that was written as Markdown, and `more` HTML; its pictures, in `folder`, go inside."""
    import markdown

    def inside(match: re.Match[str]) -> str:
        path = folder / match[1]
        if not path.is_file():
            return match[0]
        return f'src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"'

    body = markdown.markdown(re.sub(r"\A# .*\n+", "", text), extensions=["tables", "fenced_code"])
    body = re.sub(r'src="([^":]+\.png)"', inside, body)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return page(title, body + more)
