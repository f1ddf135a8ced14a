"""Archives unpacked so that nothing in them can reach beyond their folder or fill the disk: zip and tar files.

Only folders and plain files are taken; a path that leads elsewhere, a link, a device, a name given twice, and more than
an archive of music can hold, are refused by name, and nothing of such an archive stays.
"""

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from core.errors import HubError

MOST_FILES = 200_000
MOST_BYTES = 4 * 2**30  # of all files together, unpacked
MOST_OF_A_PATH = 2000  # bytes; systems take 4,096 for a path with all that stands before it
MOST_AT_ONCE = 2**24  # bytes that the tar format may ask for in one piece, as it does for long names
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CHUNK = 2**20
_BROKEN: tuple[type[Exception], ...] = (EOFError, OSError, RuntimeError, ValueError)  # what damaged bytes raise
_BROKEN += (zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
Entry = tuple[str, IO[bytes] | None]  # a name and a reader of its bytes, None for a folder


class Refused(HubError):
    """An archive that holds what none should."""


def is_archive(path: Path) -> bool:
    """Whether a file is called like an archive that can be unpacked here."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> Path:
    """`folder`, with all that the archive holds in it; what lies there already is taken to be just that.

    HubError naming the archive and the entry when it is refused or damaged; nothing is left behind then.
    """
    if folder.is_dir():
        return folder
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        files = size = 0
        for name, reader in _entries(archive):
            target = part / _safe(name, archive)
            files += 1
            if files > MOST_FILES:
                raise Refused(f"{archive} holds more than {MOST_FILES:,} files; expected an archive of music")
            if reader is None:
                _make(target, archive, name)
                continue
            _make(target.parent, archive, name)
            if target.exists():
                raise Refused(f"{archive} holds {name!r} twice; expected each name once")
            with target.open("xb") as file:
                while data := _read(reader, archive, name):
                    size += len(data)
                    if size > MOST_BYTES:
                        raise Refused(
                            f"{archive} holds more than {MOST_BYTES / 2**30:g} GiB (in {name!r}); expected music"
                        )
                    file.write(data)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _safe(name: str, archive: Path) -> PurePosixPath:
    """The name as a path below a folder; Refused when it leads out of it or is none."""
    path = PurePosixPath(name)
    parts = path.parts
    if path.is_absolute() or ".." in parts or "\\" in name or (parts and parts[0][1:2] == ":"):
        raise Refused(f"{archive} holds {name!r}, which leads out of its folder; it is not unpacked")
    fair = all(part.isprintable() and len(os.fsencode(part)) < 200 for part in parts) and len(parts) <= 40
    if not fair or not name or len(os.fsencode(path)) > MOST_OF_A_PATH:
        raise Refused(f"{archive} holds {name[:200]!r}, a name that no file should bear; it is not unpacked")
    return path


def _make(folder: Path, archive: Path, name: str) -> None:
    """Makes a folder that an entry needs; Refused where the archive has put a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(f"{archive} holds {name!r}, and a file where it needs a folder; it is not unpacked") from error


def _read(reader: IO[bytes], archive: Path, name: str) -> bytes:
    try:
        return reader.read(_CHUNK)
    except Refused:
        raise
    except _BROKEN as error:
        raise HubError(f"{archive} is damaged in {name!r} ({error}); fetch it again") from error


def _entries(archive: Path) -> Iterator[Entry]:
    """Folders and files of an archive, each reader being good until the next entry is asked for."""
    try:
        with archive.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped:
            yield from _zip(archive)
        else:
            yield from _tar(archive)
    except HubError:
        raise
    except _BROKEN as error:
        raise HubError(f"{archive} is no zip or tar file that can be read ({error}); fetch it again") from error


def _zip(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = info.external_attr >> 28  # file type of a Unix mode; 0 where the writer gave none
            if kind not in (0, 0o04, 0o10):
                raise Refused(f"{archive} holds {info.filename!r}, a link or device; it is not unpacked")
            if info.filename.endswith("/"):  # `is_dir` of Python 3.11 fails over an entry without a name
                yield info.filename, None
                continue
            with opened.open(info) as reader:
                yield info.filename, reader


def _tar(archive: Path) -> Iterator[Entry]:
    with archive.open("rb") as raw, tarfile.open(fileobj=_Bounded(raw), mode="r:") as opened:  # type: ignore[call-overload]
        for member in opened:
            if member.isdir():
                yield member.name, None
            elif member.isreg():
                reader = opened.extractfile(member)
                assert reader is not None
                yield member.name, reader
            else:
                raise Refused(f"{archive} holds {member.name!r}, a link or device; it is not unpacked")


class _Bounded:
    """The decompressed bytes of a tar file, of which nobody gets too many at once."""

    def __init__(self, raw: Any) -> None:
        start = raw.read(6)
        raw.seek(0)
        self._name = getattr(raw, "name", "an archive")
        self._inner: Any = raw
        for magic, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
            if start.startswith(magic):
                self._inner = opened(raw)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_AT_ONCE:
            raise Refused(f"{self._name} holds an entry whose name alone takes {size:,} bytes; it is not unpacked")
        data: bytes = self._inner.read(size)
        return data

    def seek(self, position: int) -> int:
        return int(self._inner.seek(position))

    def tell(self) -> int:
        return int(self._inner.tell())
