"""A file from the web: gone on with where it broke off, verified before it takes its place."""

import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.errors import HubError
from core.files import checksum
from core.locks import locked
from core.log import logger

TRIES = 4  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second try, then twice as long each time
SILENCE = 30.0  # seconds without a byte after which a server is given up
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # answers that another try may better
_CHUNK = 2**18


@dataclass(frozen=True)
class Remote:
    """A published file: where it lies, what it is called here, how long it is and what its bytes hash to."""

    address: str
    name: str
    size: int
    sha256: str


class _Broken(Exception):
    """The connection gave less than it promised, or nothing; `hopeless` where another try would be in vain."""

    def __init__(self, why: str, hopeless: bool = False) -> None:
        super().__init__(why)
        self.hopeless = hopeless


def download(remote: Remote, folder: Path) -> Path:
    """The file in `folder`, once it is there and verified; a good one is never fetched again.

    What arrives lies in NAME.part until it is whole and its sha256 is right; a broken transfer goes on there, also in
    a later process. A damaged file stays until a good one replaces it. HubError with the way out when that fails.
    """
    target = folder / remote.name
    if target.is_file() and checksum(target) == remote.sha256:
        return target
    with locked(folder / f".{remote.name}.lock", f"another process downloads {remote.name}; waiting for it"):
        if target.is_file():  # another process may have brought it meanwhile
            if checksum(target) == remote.sha256:
                return target
            logger.warning("%s is damaged (its sha256 is another); it is downloaded again", target)
        part = target.with_name(f"{remote.name}.part")
        resumed = _fetch(remote, part, target)
        if checksum(part) != remote.sha256 and resumed:
            logger.warning("what lay in %s does not fit the rest; all of it is fetched again", part)
            part.unlink()
            _fetch(remote, part, target)
        found = checksum(part)
        if found != remote.sha256:
            part.unlink()
            raise HubError(
                f"{remote.address} gave a file of sha256 {found}; expected {remote.sha256}; nothing of it is kept; "
                f"{_remedy(target)}"
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    return target


def _remedy(target: Path) -> str:
    return f"get it in another way and put it at {target}, or give dataset.path=PATH"


def _fetch(remote: Remote, part: Path, target: Path) -> bool:
    """Fills `part` up to the promised size; whether something that lay there before is in it."""
    if part.exists() and part.stat().st_size > remote.size:
        part.unlink()
    resumed = part.exists() and part.stat().st_size > 0
    failures, furthest = 0, part.stat().st_size if resumed else 0
    with part.open("ab") as file, _bar(remote) as bar:
        while file.tell() < remote.size:
            try:
                _transfer(remote, file, bar)
            except _Broken as broken:
                resumed |= file.tell() > 0
                failures = 0 if file.tell() > furthest else failures + 1
                furthest = max(furthest, file.tell())
                if failures == TRIES or broken.hopeless:
                    what = f"{remote.name} cannot be downloaded from {remote.address} ({broken})"
                    raise HubError(f"{what}; {_remedy(target)}") from broken
                time.sleep(PAUSE * 2 ** max(0, failures - 1))
            except urllib.error.HTTPError as error:
                raise HubError(f"{remote.address} answers {error.code} {_why(error)}; {_remedy(target)}") from error
    return resumed


def _bar(remote: Remote) -> Any:
    return tqdm(total=remote.size, desc=remote.name, unit="B", unit_scale=True, delay=1.0, leave=False)


def _transfer(remote: Remote, file: Any, bar: Any) -> None:
    """One request for what is missing behind the end of `file`; _Broken when it ends before all is there."""
    start = file.tell()
    headers = {"User-Agent": "swaptunes", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(remote.address, headers=headers), timeout=SILENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server has less than lies here: another file, or another server
            file.truncate(file.seek(0))
            raise _Broken("the server has no bytes from there on") from error
        if error.code in PASSING:
            raise _Broken(f"it answers {error.code} {_why(error)}") from error
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(_why(error), isinstance(getattr(error, "reason", None), socket.gaierror)) from error
    except ValueError as error:  # an address that is none, which the server sent us to
        raise _Broken(_why(error), hopeless=True) from error
    with answer:
        if start and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            file.truncate(file.seek(0))  # the server sends all of it, whatever was asked for
        bar.update(file.tell() - bar.n)
        while True:
            try:
                data = answer.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(_why(error)) from error
            file.write(data[: remote.size - file.tell()])
            bar.update(file.tell() - bar.n)
            if file.tell() == remote.size:
                return
            if not data:
                raise _Broken(f"the server sent {file.tell()} of {remote.size} bytes")


def _why(error: Exception) -> str:
    # A server's own words may hold line ends and control sequences.
    reason = str(getattr(error, "reason", None) or error)
    return " ".join("".join(c if c.isprintable() else " " for c in reason).split()) or type(error).__name__
