"""Where prepared data lies, and what a failing disk there says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.files import REMEDIES, StorageError


def cache_folder() -> Path:
    """Where prepared data lies: SWAPTUNES_CACHE, else swaptunes below XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("SWAPTUNES_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "swaptunes"


@contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Turns a full or forbidden disk into a StorageError that names `folder`, or the file, and the way out."""
    way_out = "or set SWAPTUNES_CACHE to a folder elsewhere"
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error}, {way_out}") from error
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        where = error.filename or folder
        raise StorageError(f"cannot write {where}: {REMEDIES[error.errno]}, {way_out}") from error
