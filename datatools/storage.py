"""Writing to disk so that a file is there whole or not at all, and storage that fails says so in one line."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import HubError

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def cache_folder() -> Path:
    """Where prepared data lies: SWAPTUNES_CACHE, else swaptunes below XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("SWAPTUNES_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "swaptunes"


@contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Turns a full or forbidden disk into a HubError that names `folder` and the way out."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        if error.errno in _FULL:
            raise HubError(
                f"no space left for {where}; free some, or set SWAPTUNES_CACHE to a folder on another disk"
            ) from error
        if error.errno in _FORBIDDEN:
            raise HubError(
                f"{where} cannot be written ({error.strerror}); set SWAPTUNES_CACHE to a folder of yours"
            ) from error
        raise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there replaces `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, thing: Any) -> None:
    """Writes JSON with sorted keys, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(thing, indent=1, sort_keys=True) + "\n")


@contextmanager
def locked(path: Path, notice: str) -> Iterator[None]:
    """Holds a lock that ends with the process; logs `notice` when another process has it and waits."""
    from core.log import logger

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info(notice)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets the lock go
