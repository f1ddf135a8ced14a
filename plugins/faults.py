"""One line for people about a plugin that had to be skipped."""

import importlib
import traceback
from importlib import metadata
from pathlib import Path

import pluggy

from core.errors import HubError
from core.registry import BrokenPlugin

# Files of the loading machinery: a traceback's last frame outside of them is the plugin's own.
HERE = Path(__file__).parent
MACHINERY = (
    *(str(HERE / name) for name in ("guarding.py", "making.py", "manager.py", "registration.py")),
    *(str(file) for file in (importlib.__file__, metadata.__file__)),
    str(Path(pluggy.__file__).parent),
    "<",
)


def broken_plugin(error: BaseException, name: str, distribution: str, version: str) -> BrokenPlugin:
    """Names the plugin, its error, and the place in the plugin where it arose."""
    file, line = _arose(error)
    said = " ".join(str(error).split()) or "no message"
    origin = f" of {distribution} {version}".rstrip() if distribution else ""
    reason = said if isinstance(error, HubError) else f"{type(error).__name__}: {said}"
    message = f'plugin "{name}"{origin} is broken: {reason}{place(error)}; mend or uninstall it'
    broken = BrokenPlugin(message, plugin=name, distribution=distribution, version=version, file=file, line=line)
    broken.__cause__ = error
    return broken


def place(error: BaseException) -> str:
    """` (file:line)` of the deepest line that is not the loading machinery's; empty where there is none."""
    file, line = _arose(error)
    return f" ({file}:{line})" if file else ""


def _arose(error: BaseException) -> tuple[str, int]:
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(MACHINERY)]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
