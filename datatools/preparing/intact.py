"""Whether a token store is as it was written: its manifest names size and sha256 of every file that is read back.

Sizes are looked at whenever a store is opened; checksums too where the files are 64 MB or less in all, which takes a
fraction of a second. In a larger store bytes that changed in place, at the same size, go unseen.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from core.errors import HubError
from core.files import checksum

MOST_HASHED = 64 << 20  # bytes
READ_BACK = ("tokens.bin", "offsets.npy", "pieces.jsonl")


class Damaged(HubError):
    """A file of a store is missing, cut or changed; `fault` names it and says how. The store can be made again."""

    def __init__(self, path: Path, fault: str) -> None:
        self.fault = f"{path} {fault}"
        super().__init__(f"{self.fault}: it is damaged; delete the store's folder and prepare again")


def inventory(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of the files of a store that are read back, the saved tokenizer's included."""
    saved = sorted(path for path in (folder / "tokenizer").rglob("*") if path.is_file())
    paths = [*(folder / name for name in READ_BACK), *saved]
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": checksum(path)} for path in paths
    }


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its own checksum."""
    return manifest | {"sha256": _seal(manifest)}


def manifest_of(folder: Path, expected: int) -> dict[str, Any]:
    """The manifest of a store whose files are as it says; Damaged where one is not, or the format is not `expected`."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Damaged(path, "is missing") from None
    except ValueError as error:
        raise Damaged(path, f"is no JSON ({error})") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != expected:
        raise Damaged(path, f"is of format {found}; expected {expected}")
    if manifest.pop("sha256", None) != _seal(manifest):
        raise Damaged(path, "is not as it was written")
    _compare(folder, manifest["files"])
    return dict(manifest)


def _compare(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise Damaged(path, "is missing")
        if path.stat().st_size != expected["bytes"]:
            raise Damaged(path, f"has {path.stat().st_size} bytes; expected {expected['bytes']}")
    if sum(expected["bytes"] for expected in files.values()) > MOST_HASHED:
        return
    for name, expected in files.items():
        if checksum(folder / name) != expected["sha256"]:
            raise Damaged(folder / name, "is not as it was written (its sha256 is another)")


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
