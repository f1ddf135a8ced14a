"""Where a published dataset lies: the folder, archive or file that a person names, else a verified download."""

import hashlib
from pathlib import Path

from core.errors import HubError
from core.files import checksum
from core.locks import locked
from datatools.fetching.archives import is_archive, unpack
from datatools.fetching.download import Remote, download


def root(path: str, expected: str, remote: Remote | None, folder: Path) -> Path:
    """The folder that holds the dataset; archives are unpacked below `folder`.

    `path` is a folder, an archive, or a folder of archives and no folders; when it is empty, `remote` is downloaded.
    `expected` says what should be there. HubError when it is not.
    """
    if not path:
        if remote is None:
            raise HubError(f"dataset.path is empty; expected {expected}: dataset.path=PATH")
        return _unpacked([download(remote, folder)], folder)
    found = given(path, expected)
    if found.is_dir():
        inside = sorted(entry for entry in found.iterdir() if not entry.name.startswith("."))
        archives = [entry for entry in inside if entry.is_file() and is_archive(entry)]
        return found if not archives or any(entry.is_dir() for entry in inside) else _unpacked(archives, folder)
    if not is_archive(found):
        raise HubError(f"dataset.path is {found}, a file that is no archive; expected {expected}")
    return _unpacked([found], folder)


def file(path: str, remote: Remote, folder: Path) -> Path:
    """One published file: `path` itself, the one of its name in a folder or archive there, else downloaded."""
    if not path:
        return download(remote, folder)
    expected = f"{remote.name} (from {remote.address}), or a folder or archive that holds it"
    found = given(path, expected)
    if found.is_file() and not is_archive(found):
        return found
    files = sorted(root(path, expected, None, folder).rglob(remote.name), key=lambda file: (len(file.parts), file))
    if not files:
        raise HubError(f"dataset.path is {found}, which does not hold {remote.name}; expected {expected}")
    return files[0]


def given(path: str, expected: str) -> Path:
    """What `dataset.path` names; HubError when it does not exist."""
    found = Path(path).expanduser().resolve()
    if not found.exists():
        raise HubError(f"dataset.path is {found}, which does not exist; expected {expected}")
    return found


def _unpacked(archives: list[Path], folder: Path) -> Path:
    """What archives hold, each in a folder of its own, unpacked once below `folder` under the hash of their bytes."""
    sums = [checksum(archive) for archive in archives]
    target = folder / f"unpacked-{hashlib.sha256(' '.join(sums).encode()).hexdigest()[:16]}"
    with locked(folder / f".{target.name}.lock", f"another process unpacks {archives[0]}; waiting for it"):
        for archive, sum in zip(archives, sums, strict=True):
            unpack(archive, target / sum[:16])
    return target
