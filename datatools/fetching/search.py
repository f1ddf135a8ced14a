"""Finds the music in a folder: recursively, in an order of its own, never twice, and naming what it skips."""

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.files import atomic, checksum
from core.words import agree, counted


@dataclass
class Found:
    """Files below `root` in the order of their relative paths with slashes, and (path, reason) of what is none."""

    root: Path
    files: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    hidden: int = 0


def search(root: Path, extensions: Collection[str] | None) -> Found:
    """All files below `root` whose extension, in lower case, is among `extensions`; hidden ones are only counted.
    None: all files.

    A folder that links lead back to is entered once. What bears such an extension and is no file that can be opened is
    skipped with its reason.
    """
    found = Found(root)
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    links: list[Path] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)  # real folders first: a link never takes their place
        name = folder.relative_to(root).as_posix()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            found.skipped.append((name, f"a folder that cannot be opened ({error.strerror})"))
            continue
        for entry in entries:
            path = Path(entry.path)
            wanted = extensions is None or os.path.splitext(entry.name)[1].lower() in extensions
            if entry.name.startswith("."):
                found.hidden += wanted
            elif _is(entry, "dir"):
                (links if entry.is_symlink() else waiting).append(path)
                if wanted and extensions is not None:
                    found.skipped.append((path.relative_to(root).as_posix(), "a folder; what is in it is read"))
            elif wanted and not _is(entry, "file"):
                why = "no regular file" if os.path.exists(path) else "a link to nothing"
                found.skipped.append((path.relative_to(root).as_posix(), why))
            elif wanted and not entry.name.isascii() and "\\udc" in ascii(str(path)):
                found.skipped.append((path.relative_to(root).as_posix(), "a file whose name is not UTF-8; rename it"))
            elif wanted:
                found.files.append(path)
    found.files.sort(key=lambda path: path.relative_to(root).as_posix())
    found.skipped.sort()
    return found


def passed_over(name: str, count: int, what: str) -> str:
    """What to say of files that a set of this name leaves; `what` they are."""
    return f"{counted(count, 'file')} of {name} {agree(count, 'is', 'are')} not read: {what}"


def _is(entry: "os.DirEntry[str]", kind: str) -> bool:
    """Whether an entry is a folder (dir) or a plain file; a link that leads to itself, or behind a lock, is neither."""
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:
        return False


def fingerprint(found: Found, memory: Path) -> str:
    """A sha256 over relative paths, sizes and contents.

    `memory` is a file that keeps the contents' checksums by size and time of change, so that only new and changed files
    are read again.
    """
    old: dict[str, list[Any]] = _remembered(memory)
    new: dict[str, list[Any]] = {}
    whole = hashlib.sha256()
    for path in found.files:
        name = path.relative_to(found.root).as_posix()
        try:
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            known = old.get(name)
            new[name] = known if known is not None and known[:2] == stamp else [*stamp, checksum(path)]
        except OSError as error:  # it will be named when it is read
            new[name] = [-1, -1, f"unreadable {error.errno}"]
        whole.update(f"{name}\0{new[name][0]}\0{new[name][2]}\n".encode("utf-8", "surrogateescape"))
    if new != old:
        with atomic(memory) as temporary:
            temporary.write_text(json.dumps(new))
    return whole.hexdigest()


def _remembered(memory: Path) -> dict[str, list[Any]]:
    try:
        return dict(json.loads(memory.read_text()))
    except (OSError, ValueError):  # nothing is lost: the files are read again
        return {}
