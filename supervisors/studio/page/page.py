"""Puts the studio's page together; nothing in it comes from elsewhere, and all that it does goes through the API."""

from functools import cache
from pathlib import Path

from datatools.writing import page as shared

_HERE, _SHARED = Path(__file__).parent, Path(shared.__file__).parent
_SCRIPTS = ("api.js", "roll.js", "live.js", "takes.js", "prompt.js", "settings.js", "studio.js")


@cache
def page() -> str:
    """The HTML document."""
    styles = _text(_SHARED / "style.css") + _text(_HERE / "studio.css")
    scripts = _text(_SHARED / "sound.js") + "".join(_text(_HERE / name) for name in _SCRIPTS)
    return _text(_HERE / "studio.html").replace("/*styles*/", styles).replace("/*scripts*/", scripts)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
