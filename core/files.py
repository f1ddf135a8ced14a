"""Files that are complete or absent: JSON, text, whole folders.

Everything is written under a temporary name, synced and renamed, so that a kill at any moment leaves the old file or
the new one. The same content gives the same bytes.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import HubError

REMEDIES = {
    errno.ENOSPC: "no space is left on the disk; free some and start again",
    errno.EDQUOT: "the disk quota is used up; free some space and start again",
    errno.EFBIG: "a file may not grow that large here; raise the limit (ulimit -f) or choose another folder",
    errno.EIO: "the disk reports an error; check it or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
}


class StorageError(HubError):
    """A disk that is full, or a place where nothing may be written."""


def write_json(path: str | Path, content: Any) -> None:
    """Writes `content` as indented JSON, keys sorted; NaN and infinity, which JSON has not, are a ValueError."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """The one text that `write_json` gives `content`."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` in UTF-8 with Unix line ends."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def checksum(path: str | Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there is synced and takes the place of `path`.

    Folders on the way are made. When the block raises, the temporary file goes and `path` stays as it was. A full
    disk, a read-only one and missing rights become a StorageError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            if temporary.exists():
                temporary.unlink()


@contextmanager
def atomic_folder(final: str | Path) -> Iterator[Path]:
    """Yields a new folder beside `final`, which takes its place when the block ends, and goes when it raises."""
    final = Path(final)
    temporary = final.with_name(f".{final.name}")
    with explained(final):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            publish_folder(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # half of it would keep a full disk full


def publish_folder(temporary: str | Path, final: str | Path) -> None:
    """Gives a finished folder its name, in place of an older one; all its files are synced first.

    Both lie on one file system. A kill in the moment between the two renames leaves the older folder under a hidden
    name beside `final`, from where `recover_folder` fetches it.
    """
    temporary, final = Path(temporary), Path(final)
    with explained(final):
        for path in [*temporary.rglob("*"), temporary]:
            _sync(path)
        recover_folder(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            os.replace(final, _aside(final))
        os.replace(temporary, final)
        _sync(final.parent)
        shutil.rmtree(_aside(final), ignore_errors=True)


def recover_folder(final: str | Path) -> None:
    """Undoes a `publish_folder` that was killed between its two renames; does nothing otherwise."""
    final = Path(final)
    if _aside(final).exists():
        if final.exists():
            shutil.rmtree(_aside(final))
        else:
            os.replace(_aside(final), final)


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the system errors that a person can mend into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in REMEDIES:
            raise StorageError(f"cannot write {path}: {REMEDIES[error.errno]}") from error
        raise


def _sync(path: Path) -> None:
    """Forces a file, or the entries of a folder, to the disk; Windows knows no such thing for folders."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
