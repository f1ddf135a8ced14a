"""Models that installed packages ship: `--run model:NAME`, found through the entry-point group `swaptunes.models`.

An entry point names a folder as `model/` of a run is one: a path, or a function without arguments that gives it.
"""

from importlib import metadata
from pathlib import Path

from core.errors import HubError
from core.names import did_you_mean

GROUP = "swaptunes.models"
PREFIX = "model:"


def shipped(name: str) -> Path:
    """The folder of an installed model; HubError where there is none of this name, or its package fails."""
    points = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name not in points:
        here = f" Installed: {', '.join(sorted(points))}." if points else " No installed package ships one."
        raise HubError(f'there is no model "{name}".{did_you_mean(name, points)}{here}')
    point = points[name]
    package = point.dist.name if point.dist else point.value
    try:
        found = point.load()
        folder = Path(found() if callable(found) else found)
    except (Exception, SystemExit) as error:  # whatever a foreign package raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise HubError(f'model "{name}" of {package} cannot be found ({reason}); install {package} again') from error
    if not folder.is_dir():
        raise HubError(f'model "{name}" of {package} is not there ({folder}); install {package} again')
    return folder
